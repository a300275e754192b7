//! The transformer as tensor operations: any family, on any device that candle has, differentiable throughout.
//!
//! Weights for the CPU are packed and computed with elsewhere (`transformer/backbone.rs`); this path serves GPUs, is what
//! a gradient can be taken of, and is the second opinion that the tests compare with.
//!
//! On the CPU rows stay ragged and a layer is one operation with a gradient of its own (`ragged`). Elsewhere texts are
//! padded, those of a length together, and everything is composed of operations that candle differentiates.

mod attention;
mod mlm_head;
mod operations;
mod padded;
mod ragged;
pub mod step_probe;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use mlm_head::DeviceMlmHead;

use super::{LayerParameters, LinearParameters, Norms, Parameters, PositionTable, Rows};
use attention::{Attention, QUERIES_PER_BLOCK};
use candle_core::{Device, Result, Tensor};
pub(crate) use operations::weigh;
use operations::{activate, normalise};
use padded::{CELLS_PER_BLOCK, Padded, indices};
use ragged::Loan;
use transfer::Transfer;

/// Drops numbers of `(values, rows of each text, site)`: rows of padding may follow a text's own. Site 0 is behind the
/// embeddings, 1 + 2l and 2 + 2l are behind the attention and the feed-forward block of layer l.
pub(crate) type Dropout<'a> = &'a dyn Fn(&Tensor, &[usize], usize) -> Result<Tensor>;

/// Dropout over the cells of a batch.
struct Dropped<'a> {
    dropout: Option<Dropout<'a>>,
    /// Cells of each text.
    texts: Vec<usize>,
}

impl Dropped<'_> {
    fn apply(&self, x: Tensor, site: usize) -> Result<Tensor> {
        match self.dropout {
            None => Ok(x),
            Some(dropout) => dropout(&x, &self.texts, site),
        }
    }
}

/// `x W^T + b` for the rows of `x`, `[rows, inputs]`.
pub(crate) fn linear(x: &Tensor, parameters: &LinearParameters) -> Result<Tensor> {
    match ragged::serves(x) {
        true => ragged::linear(x, parameters),
        false => operations::linear(x, parameters),
    }
}

/// Embeddings and layers on one device.
#[derive(Debug)]
pub(crate) struct DeviceBackbone {
    parameters: Parameters,
    /// The word embeddings as rows on the CPU look them up; a head that is tied to them adds to the same gradient.
    words: Option<Loan>,
    /// The same with other last layers.
    branch: Option<Box<Self>>,
}

impl DeviceBackbone {
    /// Moves `parameters` to `device`. Variables among them that are there already stay variables.
    pub(crate) fn new(parameters: &Parameters, device: &Device) -> Result<Self> {
        let parameters = parameters.on(device)?;
        let words = ragged::serves(&parameters.words).then(|| Loan::new(&parameters.words));
        Ok(Self {
            words: words.transpose()?,
            parameters,
            branch: None,
        })
    }

    /// The same with a branch: `layers` in the place of as many last ones, of which there must be so many.
    pub(crate) fn with_branch(mut self, layers: Vec<LayerParameters>) -> Result<Self> {
        let mut parameters = self.parameters.clone();
        parameters.layers.truncate(parameters.layers.len() - layers.len());
        parameters.layers.extend(layers);
        let device = parameters.words.device().clone();
        self.branch = Some(Box::new(Self::new(&parameters, &device)?));
        Ok(self)
    }

    /// The states at the end of the branch, where there is one.
    pub(crate) fn forward_branch(&self, rows: &Rows) -> Result<Option<Tensor>> {
        self.branch.as_ref().map(|branch| branch.forward(rows)).transpose()
    }

    /// The word embeddings, `[vocabulary, width]`.
    pub(crate) fn words(&self) -> &Tensor {
        &self.parameters.words
    }

    /// The last hidden states, `[rows, width]`.
    ///
    /// Ids must be below the vocabulary and texts no longer than the positions; candle reports an error otherwise (a
    /// GPU gives NaN or reports it later).
    pub(crate) fn forward(&self, rows: &Rows) -> Result<Tensor> {
        self.forward_from(rows, None, None)
    }

    /// As [`DeviceBackbone::forward`], from the states `below`, `[rows, width]`, of layers that are not among these
    /// rather than from the embeddings, and with dropout.
    pub(crate) fn forward_from(
        &self,
        rows: &Rows,
        below: Option<&Tensor>,
        dropout: Option<Dropout<'_>>,
    ) -> Result<Tensor> {
        match &self.words {
            Some(words) => ragged::forward((&self.parameters, words), rows, below, dropout),
            None => self.forward_padded(rows, (below, dropout), [CELLS_PER_BLOCK, QUERIES_PER_BLOCK]),
        }
    }

    /// Padded, on any device, in blocks of so many cells; attention in blocks of so many queries.
    ///
    /// With dropout there is one block: what is dropped goes by the order of the texts.
    fn forward_padded(
        &self,
        rows: &Rows,
        (below, dropout): (Option<&Tensor>, Option<Dropout<'_>>),
        [cells_per_block, queries_per_block]: [usize; 2],
    ) -> Result<Tensor> {
        let parameters = &self.parameters;
        let device = parameters.words.device();
        if rows.ids.is_empty() {
            return Tensor::zeros((0, parameters.words.dim(1)?), parameters.words.dtype(), device);
        }
        let places = parameters.positions.as_ref().map(|table| places_of(rows, table));
        let places = places.transpose()?;
        let blocks = match dropout {
            Some(_) => vec![Padded::new(&rows.ranges)],
            None => Padded::blocks(&rows.ranges, cells_per_block),
        };
        let mut cells_of_rows = vec![0; rows.ids.len()];
        let (mut states, mut cells) = (Vec::with_capacity(blocks.len()), 0);
        for block in &blocks {
            let drop = Dropped {
                dropout,
                texts: vec![block.length; block.texts],
            };
            let x = match below {
                Some(below) => below.index_select(&block.rows_of_cells(device)?, 0)?,
                None => drop.apply(self.embed(rows, places.as_deref(), block)?, 0)?,
            };
            states.push(self.layers(x, block, &drop, queries_per_block)?);
            block
                .cells_of_rows()
                .for_each(|(row, cell)| cells_of_rows[row] = cells + cell);
            cells += block.cells();
        }
        Tensor::cat(&states, 0)?.index_select(&indices(cells_of_rows.into_iter(), device)?, 0)
    }

    /// The last hidden states of a block from `x`, `[texts * length, width]`.
    fn layers(&self, mut x: Tensor, block: &Padded, drop: &Dropped<'_>, queries_per_block: usize) -> Result<Tensor> {
        let parameters = &self.parameters;
        let attention = Attention::new(block, &parameters.layers, parameters.heads, &x, queries_per_block)?;
        for (at, layer) in parameters.layers.iter().enumerate() {
            let drop = |x: Tensor, part: usize| drop.apply(x, 1 + 2 * at + part);
            x = self.layer(layer, &x, &attention, &drop)?;
        }
        match &parameters.final_norm {
            Some(norm) => normalise(&x, norm),
            None => Ok(x),
        }
    }

    /// `[texts * length, width]`; `places` are the rows of the table of positions.
    fn embed(&self, rows: &Rows, places: Option<&[usize]>, block: &Padded) -> Result<Tensor> {
        let parameters = &self.parameters;
        let device = parameters.words.device();
        let ids = block.fill(0, |text, at| rows.ids[block.row(text, at)]);
        let mut x = parameters.words.index_select(&Tensor::new(ids, device)?, 0)?;
        if let (Some(positions), Some(places)) = (&parameters.positions, places) {
            let places = block.fill(0, |text, at| places[block.row(text, at)]);
            let places = positions.table.index_select(&indices(places.into_iter(), device)?, 0)?;
            x = (x + places)?;
        }
        if let Some(offset) = &parameters.token_type {
            x = x.broadcast_add(offset)?;
        }
        normalise(&x, &parameters.norm)
    }

    /// `drop` is applied to what the attention block and the feed-forward block add, parts 0 and 1.
    fn layer(
        &self,
        layer: &LayerParameters,
        x: &Tensor,
        attention: &Attention,
        drop: &dyn Fn(Tensor, usize) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mix = |x: &Tensor| {
            let mixed = attention.attend(&operations::linear(x, &layer.qkv)?, layer)?;
            drop(operations::linear(&mixed, &layer.mix)?, 0)
        };
        let feed_forward = |x: &Tensor| drop(self.feed_forward(layer, x)?, 1);
        match &layer.norms {
            Norms::After {
                mix: mix_norm,
                down: down_norm,
            } => {
                let x = normalise(&(x + mix(x)?)?, mix_norm)?;
                normalise(&(&x + feed_forward(&x)?)?, down_norm)
            }
            Norms::Before {
                mix: mix_norm,
                down: down_norm,
            } => {
                let x = match mix_norm {
                    Some(norm) => (x + mix(&normalise(x, norm)?)?)?,
                    None => (x + mix(x)?)?,
                };
                &x + feed_forward(&normalise(&x, down_norm)?)?
            }
        }
    }

    fn feed_forward(&self, layer: &LayerParameters, x: &Tensor) -> Result<Tensor> {
        let wide = operations::linear(x, &layer.up)?;
        let wide = if layer.gated {
            let inner = wide.dim(1)? / 2;
            let active = activate(&wide.narrow(1, 0, inner)?, self.parameters.activation)?;
            (active * wide.narrow(1, inner, inner)?)?
        } else {
            activate(&wide, self.parameters.activation)?
        };
        operations::linear(&wide, &layer.down)
    }
}

/// The row of the table that each token takes.
fn places_of(rows: &Rows, positions: &PositionTable) -> Result<Vec<usize>> {
    let texts = rows.ranges.iter().map(|range| &rows.ids[range.clone()]);
    let places: Vec<usize> = texts.flat_map(|ids| positions.places(ids)).collect();
    let num_positions = positions.table.dim(0)?;
    match places.iter().find(|&&place| place >= num_positions) {
        Some(beyond) => candle_core::bail!("position {beyond} of {num_positions}"),
        None => Ok(places),
    }
}
