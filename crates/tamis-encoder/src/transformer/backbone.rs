//! The layers of BERT and its kin on the CPU, over packed weights: token ids in, last hidden states out.
//!
//! Source: Devlin et al. (NAACL 2019); Sanh et al. (2019), whose DistilBERT lacks token types and is otherwise the
//! same; Liu et al. (2019), whose RoBERTa counts positions from behind its padding token, as do XLM-R (Conneau et al.,
//! ACL 2020) and CamemBERT (Martin et al., ACL 2020); Warner et al. (2024), whose ModernBERT turns queries and keys by
//! their position, gates its feed-forward blocks and looks only at near tokens in most layers.

use super::layer::Layer;
use super::linear::{LayerNorm, values};
use super::parameters::{LayerParameters, Parameters, places};
use super::rows::{Rows, Workers};
use candle_core::Result;
use std::sync::Arc;
use tamis_kernels::{PackedMatrix, PackedRows, Precision};

/// Embeddings and layers.
#[derive(Debug)]
pub(crate) struct Backbone {
    /// Word embeddings: a head that ties its decoder to them shares them.
    words: Arc<PackedMatrix>,
    positions: Option<Positions>,
    token_type: Option<Vec<f32>>,
    norm: LayerNorm,
    layers: Vec<Layer>,
    /// What [`Backbone::forward_both`] computes in the place of as many last layers.
    branch: Vec<Layer>,
    final_norm: Option<LayerNorm>,
    width: usize,
}

/// Learned position embeddings.
#[derive(Debug)]
struct Positions {
    /// `[rows, width]`.
    table: Vec<f32>,
    /// See [`super::PositionTable`].
    padding: Option<u32>,
}

/// Buffers of one batch, used by all layers in turn.
#[derive(Debug, Default)]
pub(super) struct LayerScratch {
    pub(super) packed: PackedRows,
    /// A block's input, where it is normalised first.
    pub(super) input: Vec<f32>,
    pub(super) qkv: Vec<f32>,
    pub(super) mixed: Vec<f32>,
    pub(super) wide: Vec<f32>,
    pub(super) block: Vec<f32>,
}

impl Backbone {
    /// Packs the weights of `parameters`. Embeddings never get fewer than 16 bits: they are looked up, not multiplied.
    pub(crate) fn new(parameters: &Parameters, precision: Precision) -> Result<Self> {
        let width = parameters.words.dim(1)?;
        let table_precision = match precision {
            Precision::Int8 => Precision::Int16,
            other => other,
        };
        let words = PackedMatrix::pack(table_precision, &values(&parameters.words)?, width, None);
        let positions = parameters.positions.as_ref().map(|positions| {
            Ok::<_, candle_core::Error>(Positions {
                table: values(&positions.table)?,
                padding: positions.padding,
            })
        });
        let layers = parameters.layers.iter();
        Ok(Self {
            words: Arc::new(words),
            positions: positions.transpose()?,
            token_type: parameters.token_type.as_ref().map(values).transpose()?,
            norm: LayerNorm::new(&parameters.norm)?,
            layers: layers
                .map(|layer| Layer::new(layer, parameters, precision))
                .collect::<Result<_>>()?,
            branch: Vec::new(),
            final_norm: parameters.final_norm.as_ref().map(LayerNorm::new).transpose()?,
            width,
        })
    }

    /// The same with a branch: `layers` in the place of as many last ones, of which there must be so many.
    pub(crate) fn with_branch(
        mut self,
        layers: &[LayerParameters],
        parameters: &Parameters,
        precision: Precision,
    ) -> Result<Self> {
        let layers = layers.iter().map(|layer| Layer::new(layer, parameters, precision));
        self.branch = layers.collect::<Result<_>>()?;
        Ok(self)
    }

    /// The packed word embeddings, for a head that is tied to them.
    pub(crate) fn words(&self) -> &Arc<PackedMatrix> {
        &self.words
    }

    /// Width of a hidden state.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// The last hidden states, `[rows, width]`.
    ///
    /// # Panics
    /// When an id is not below the vocabulary or a text has more tokens than there are positions: tokenizers are
    /// checked against both when a checkpoint is opened.
    pub(crate) fn forward(&self, workers: Workers, rows: &Rows) -> Vec<f32> {
        let x = self.embed(workers, rows);
        self.through(&self.layers, workers, rows, x)
    }

    /// The last hidden states, and those at the end of the branch, where there is one.
    ///
    /// # Panics
    /// As [`Backbone::forward`].
    pub(crate) fn forward_both(&self, workers: Workers, rows: &Rows) -> (Vec<f32>, Option<Vec<f32>>) {
        if self.branch.is_empty() {
            return (self.forward(workers, rows), None);
        }
        let (shared, last) = self.layers.split_at(self.layers.len() - self.branch.len());
        let mut x = self.embed(workers, rows);
        let mut scratch = LayerScratch::default();
        for layer in shared {
            layer.forward(workers, rows, &mut x, &mut scratch);
        }
        let branch = self.through(&self.branch, workers, rows, x.clone());
        (self.through(last, workers, rows, x), Some(branch))
    }

    /// `x` behind `layers` and the last normalisation.
    fn through(&self, layers: &[Layer], workers: Workers, rows: &Rows, mut x: Vec<f32>) -> Vec<f32> {
        let mut scratch = LayerScratch::default();
        for layer in layers {
            layer.forward(workers, rows, &mut x, &mut scratch);
        }
        if let Some(norm) = &self.final_norm {
            workers.for_each_row(&mut x, self.width, |_, row| norm.apply(workers.kernels, row));
        }
        x
    }

    fn embed(&self, workers: Workers, rows: &Rows) -> Vec<f32> {
        let kernels = workers.kernels;
        let positions: Vec<usize> = match &self.positions {
            Some(positions) => {
                let texts = rows.ranges.iter().map(|range| &rows.ids[range.clone()]);
                texts.flat_map(|ids| places(ids, positions.padding)).collect()
            }
            None => Vec::new(),
        };
        let mut x = vec![0.0; rows.ids.len() * self.width];
        workers.for_each_row(&mut x, self.width, |at, row| {
            self.words.read_row(rows.ids[at] as usize, row);
            if let Some(table) = &self.positions {
                kernels.add(row, &table.table[positions[at] * self.width..][..self.width]);
            }
            if let Some(token_type) = &self.token_type {
                kernels.add(row, token_type);
            }
            self.norm.apply(kernels, row);
        });
        x
    }
}
