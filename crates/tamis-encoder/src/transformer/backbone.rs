//! The layers of BERT and its kin: token ids in, last hidden states out.
//!
//! Source: Devlin et al. (NAACL 2019); Sanh et al. (2019), whose DistilBERT lacks token types and is otherwise the
//! same; Liu et al. (2019), whose RoBERTa counts positions from behind its padding token, as do XLM-R (Conneau et al.,
//! ACL 2020) and CamemBERT (Martin et al., ACL 2020).

use super::attention::attend;
use super::linear::{LayerNorm, Linear};
use super::parameters::{LayerParameters, Norms, Parameters};
use super::rows::{for_each_row, read};
use super::{HiddenActivation, Rows};
use candle_core::{Result, Tensor};

/// Embeddings and layers with normalisation after each residual.
#[derive(Debug)]
pub(crate) struct Backbone {
    /// Word embeddings, `[vocabulary, width]`.
    pub(crate) words: Tensor,
    /// Position embeddings plus, where the model has token types, the one of the first type: `[positions, width]`.
    pub(crate) positions: Tensor,
    /// RoBERTa's padding token p: positions are p + 1, p + 2, ... over all other tokens, and p for itself where a text
    /// spells it out. Without one they are 0, 1, ...
    pub(crate) padding: Option<u32>,
    pub(crate) norm: LayerNorm,
    pub(crate) layers: Vec<Layer>,
    pub(crate) heads: usize,
    pub(crate) activation: HiddenActivation,
}

/// One layer: attention and feed-forward block.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Query, key and value maps as one, `[width] -> [3 width]`.
    pub(crate) qkv: Linear,
    pub(crate) mix: Linear,
    pub(crate) mix_norm: LayerNorm,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) down_norm: LayerNorm,
}

impl Backbone {
    pub(crate) fn new(parameters: &Parameters) -> Result<Self> {
        let Some(positions) = &parameters.positions else {
            candle_core::bail!("a table of positions expected");
        };
        let table = match &parameters.token_type {
            Some(offset) => positions.table.broadcast_add(offset)?,
            None => positions.table.clone(),
        };
        Ok(Self {
            words: parameters.words.clone(),
            positions: table,
            padding: positions.padding,
            norm: LayerNorm::new(&parameters.norm)?,
            layers: parameters.layers.iter().map(Layer::new).collect::<Result<_>>()?,
            heads: parameters.heads,
            activation: parameters.activation,
        })
    }

    /// The last hidden states, `[rows, width]`.
    ///
    /// Ids must be below the vocabulary and texts no longer than the positions; candle reports an error otherwise.
    pub(crate) fn forward(&self, rows: &Rows) -> Result<Tensor> {
        let mut x = self.embed(rows)?;
        for layer in &self.layers {
            let qkv = layer.qkv.forward(&x)?;
            let mixed = attend(&qkv, rows, self.heads)?;
            x = layer.mix.forward_residual(&mixed, &x, &layer.mix_norm)?;
            let wide = layer.up.forward_activated(&x, self.activation)?;
            x = layer.down.forward_residual(&wide, &x, &layer.down_norm)?;
        }
        Ok(x)
    }

    fn embed(&self, rows: &Rows) -> Result<Tensor> {
        let ids = Tensor::new(rows.ids.as_slice(), self.words.device())?;
        let x = self.words.index_select(&ids, 0)?;
        let (num_positions, width) = self.positions.dims2()?;
        let texts = rows.ranges.iter().map(|range| &rows.ids[range.clone()]);
        let position_of: Vec<usize> = texts.flat_map(|ids| position_rows(ids, self.padding)).collect();
        if let Some(beyond) = position_of.iter().find(|&&position| position >= num_positions) {
            candle_core::bail!("position {beyond} of {num_positions}");
        }
        read(&self.positions, |positions| {
            for_each_row(&x, |at, row| {
                let position = &positions[position_of[at] * width..][..width];
                row.iter_mut().zip(position).for_each(|(x, p)| *x += p);
                self.norm.apply(row);
            })
        })??;
        Ok(x)
    }
}

impl Layer {
    fn new(parameters: &LayerParameters) -> Result<Self> {
        let Norms::After { mix, down } = &parameters.norms else {
            candle_core::bail!("normalisation after each residual expected");
        };
        Ok(Self {
            qkv: Linear::new(&parameters.qkv)?,
            mix: Linear::new(&parameters.mix)?,
            mix_norm: LayerNorm::new(mix)?,
            up: Linear::new(&parameters.up)?,
            down: Linear::new(&parameters.down)?,
            down_norm: LayerNorm::new(down)?,
        })
    }
}

/// The rows of the position table that the tokens of one text take.
fn position_rows(ids: &[u32], padding: Option<u32>) -> impl Iterator<Item = usize> {
    let mut next = padding.map_or(0, |padding| padding as usize + 1);
    ids.iter().map(move |&id| match padding {
        Some(padding) if id == padding => padding as usize,
        _ => {
            next += 1;
            next - 1
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_counted_from_behind_the_padding_token() {
        let of = |padding| position_rows(&[0, 7, 1, 1, 9, 2], padding).collect::<Vec<_>>();
        assert_eq!(of(None), [0, 1, 2, 3, 4, 5]);
        assert_eq!(of(Some(1)), [2, 3, 1, 1, 4, 5]);
        assert_eq!(of(Some(9)), [10, 11, 12, 13, 9, 14]);
    }
}
