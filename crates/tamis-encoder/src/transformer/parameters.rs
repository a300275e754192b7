//! What a checkpoint says of a transformer: its tensors by the part they play, and what families differ in.
//!
//! The loader fills these from any family's names; whatever computes (packed weights on the CPU, tensors on a device)
//! is built from them, so a family is added in one place and every path has it.

use super::HiddenActivation;
use candle_core::Tensor;
use std::sync::Arc;

/// A transformer that turns token ids into hidden states.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    /// Word embeddings, `[vocabulary, width]`.
    pub(crate) words: Tensor,
    /// What tells tokens their place, where that is a table.
    pub(crate) positions: Option<PositionTable>,
    /// The embedding of the first token type, `[width]`, where the model has token types.
    pub(crate) token_type: Option<Tensor>,
    /// Applied to the sum of the embeddings.
    pub(crate) norm: NormParameters,
    pub(crate) layers: Vec<LayerParameters>,
    /// Applied to the last hidden states, in models that normalise before each block.
    pub(crate) final_norm: Option<NormParameters>,
    pub(crate) heads: usize,
    pub(crate) activation: HiddenActivation,
}

/// Learned position embeddings.
#[derive(Clone, Debug)]
pub(crate) struct PositionTable {
    /// `[rows, width]`.
    pub(crate) table: Tensor,
    /// RoBERTa's padding token p: positions are p + 1, p + 2, ... over all other tokens, and p for itself where a text
    /// spells it out. Without one they are 0, 1, ...
    pub(crate) padding: Option<u32>,
}

impl PositionTable {
    /// The rows of the table that the tokens of one text take.
    pub(crate) fn places<'a>(&self, ids: &'a [u32]) -> impl Iterator<Item = usize> + use<'a> {
        places(ids, self.padding)
    }
}

/// The rows of a table of positions that the tokens of one text take; `padding` as in [`PositionTable`].
pub(super) fn places(ids: &[u32], padding: Option<u32>) -> impl Iterator<Item = usize> {
    let mut next = padding.map_or(0, |padding| padding as usize + 1);
    ids.iter().map(move |&id| match padding {
        Some(padding) if id == padding => padding as usize,
        _ => {
            next += 1;
            next - 1
        }
    })
}

/// One layer: attention and feed-forward block.
#[derive(Clone, Debug)]
pub(crate) struct LayerParameters {
    /// Query, key and value maps as one, `[width] -> [3 width]`, each with its heads side by side.
    pub(crate) qkv: LinearParameters,
    pub(crate) mix: LinearParameters,
    /// `[width] -> [inner]`; where the block is gated `[width] -> [2 inner]`: the half that is activated, then the
    /// half that it is multiplied with.
    pub(crate) up: LinearParameters,
    pub(crate) gated: bool,
    pub(crate) down: LinearParameters,
    pub(crate) norms: Norms,
    /// Rotary embedding of queries and keys, where positions are not a table.
    pub(crate) rotary: Option<Rotary>,
    /// A token attends to those at most this far away; to all without one.
    pub(crate) window: Option<usize>,
}

/// Where a layer normalises.
#[derive(Clone, Debug)]
pub(crate) enum Norms {
    /// After each residual: BERT and its kin.
    After { mix: NormParameters, down: NormParameters },
    /// Before each block: ModernBERT, whose first layer leaves out the first one.
    Before {
        mix: Option<NormParameters>,
        down: NormParameters,
    },
}

/// Rotary position embedding: element i of a head's first half and element i of its second half are turned by
/// `position * inverse_frequencies[i]` (Su et al., 2021; halves rather than neighbours, as GPT-NeoX has them).
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    /// Half as many as a head is wide; equal ones share their memory.
    pub(crate) inverse_frequencies: Arc<[f32]>,
}

/// `x W^T + b`.
#[derive(Clone, Debug)]
pub(crate) struct LinearParameters {
    /// W as stored, `[outputs, inputs]`.
    pub(crate) weight: Tensor,
    /// `[outputs]`.
    pub(crate) bias: Option<Tensor>,
}

/// Layer normalisation.
#[derive(Clone, Debug)]
pub(crate) struct NormParameters {
    /// `[width]`.
    pub(crate) weight: Tensor,
    /// `[width]`.
    pub(crate) bias: Option<Tensor>,
    pub(crate) epsilon: f32,
}

/// A masked-language-model head: `LN(g(W h + b)) E^T + c`.
#[derive(Clone, Debug)]
pub(crate) struct MlmParameters {
    pub(crate) transform: LinearParameters,
    pub(crate) activation: HiddenActivation,
    pub(crate) norm: NormParameters,
    /// E, `[vocabulary, width]`, where it is not the word embeddings themselves.
    pub(crate) decoder: Option<Tensor>,
    /// c, `[vocabulary]`.
    pub(crate) bias: Tensor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn positions_are_counted_from_behind_the_padding_token() {
        let of = |padding| {
            let table = Tensor::zeros((1, 1), DType::F32, &Device::Cpu).expect("small");
            let table = PositionTable { table, padding };
            table.places(&[0, 7, 1, 1, 9, 2]).collect::<Vec<_>>()
        };
        assert_eq!(of(None), [0, 1, 2, 3, 4, 5]);
        assert_eq!(of(Some(1)), [2, 3, 1, 1, 4, 5]);
        assert_eq!(of(Some(9)), [10, 11, 12, 13, 9, 14]);
    }
}
