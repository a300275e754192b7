//! FLOPS: squares of mean weights (Paria et al., ICLR 2020), with every code base's grouping.
//!
//! The row threshold is the l0 mask of Shen et al., 2025; column weights are the IDF-aware penalty of Geng et al., 2024,
//! and DF-FLOPS of Porco et al., 2025.

use super::ColumnWeights;
use super::row_means::{RowWeights, row_means};
use crate::Error;
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// The sum over vocabulary entries of the squared mean absolute weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flops {
    /// Which rows a mean is over. Queries are one group. Default: flatten.
    pub grouping: Grouping,
    /// Only rows with more than so many weights other than 0 are penalised; means are still over all rows. Default:
    /// all rows. OpenSearch's l0 models take 150.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_threshold: Option<usize>,
    /// How vocabulary entries are weighed. Default: all alike.
    pub columns: ColumnWeighting,
}

/// Which documents share a mean. Position 0 of each group holds the positives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All: sentence-transformers, naver's trainer on Hugging Face.
    #[default]
    Flatten,
    /// Those of a position; the mean over positions.
    PositionMean,
    /// Those of a position; the sum over positions: OpenSearch, whose weights so count `group` times as much.
    PositionSum,
    /// Positives, and all negatives; the mean of the two: naver's first trainer.
    PositiveNegative,
    /// All, and all negatives; the mean of the two: the LSR framework's MarginMSE.
    AllNegative,
}

/// How vocabulary entries are weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnWeighting {
    /// All alike.
    #[default]
    Uniform,
    /// Mean weights are divided by the entry's IDF: the explicit form of the IDF-aware penalty. (Its other form is an
    /// ordinary FLOPS with queries weighed by IDF.)
    InverseIdf,
    /// Squares are multiplied by the document-frequency weight.
    DocumentFrequency,
    /// Mean weights are multiplied by the document-frequency weight before they are squared.
    DocumentFrequencySquared,
}

impl ColumnWeighting {
    pub(super) fn uses_document_frequencies(self) -> bool {
        matches!(self, Self::DocumentFrequency | Self::DocumentFrequencySquared)
    }
}

/// The mean over all of `rows` rows.
pub(super) fn flat(rows: usize) -> RowWeights {
    RowWeights::new(1, vec![vec![(0, share(rows))]; rows])
}

/// `1 / count`; 0 for none.
#[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^53 rows")]
fn share(count: usize) -> f64 {
    if count == 0 { 0.0 } else { 1.0 / count as f64 }
}

impl Grouping {
    /// Which means each of `rows` rows enters, and what each mean's FLOPS counts.
    fn means(self, rows: usize, group: usize) -> (RowWeights, Vec<f64>) {
        let queries = rows / group;
        let negatives = share(rows - queries);
        let position = |row: usize| vec![(row % group, share(queries))];
        let is_positive = |row: usize| row.is_multiple_of(group);
        match self {
            Self::Flatten => (flat(rows), vec![1.0]),
            Self::PositionMean => {
                let weights = RowWeights::new(group, (0..rows).map(position).collect());
                (weights, vec![share(group); group])
            }
            Self::PositionSum => {
                let weights = RowWeights::new(group, (0..rows).map(position).collect());
                (weights, vec![1.0; group])
            }
            // Without negatives the other half alone is left.
            Self::PositiveNegative | Self::AllNegative if group == 1 => (flat(rows), vec![1.0]),
            Self::PositiveNegative => {
                let of = |row| match is_positive(row) {
                    true => vec![(0, share(queries))],
                    false => vec![(1, negatives)],
                };
                (RowWeights::new(2, (0..rows).map(of).collect()), vec![0.5; 2])
            }
            Self::AllNegative => {
                let of = |row| match is_positive(row) {
                    true => vec![(0, share(rows))],
                    false => vec![(0, share(rows)), (1, negatives)],
                };
                (RowWeights::new(2, (0..rows).map(of).collect()), vec![0.5; 2])
            }
        }
    }
}

impl Flops {
    /// The penalty of `rows`, `[n, V]`, of which `group` neighbours belong to one query.
    pub(super) fn compute(&self, rows: &Tensor, group: usize, columns: &ColumnWeights) -> Result<Tensor, Error> {
        let (mut weights, counts) = self.grouping.means(rows.dims()[0], group);
        if let Some(threshold) = self.row_threshold {
            weights.keep(&active(rows)?, |active| active > threshold);
        }
        let mut squares = row_means(rows, weights)?.sqr()?;
        if let Some(weights) = columns.squared(self.columns, rows)? {
            squares = squares.broadcast_mul(&weights)?;
        }
        let counts = Tensor::from_vec(counts, squares.dims()[0], rows.device())?.to_dtype(rows.dtype())?;
        Ok((squares.sum(D::Minus1)? * counts)?.sum_all()?)
    }
}

/// How many weights of each row are not 0.
pub(super) fn active(rows: &Tensor) -> Result<Vec<usize>, Error> {
    let active = rows
        .detach()
        .ne(0.0)?
        .to_dtype(candle_core::DType::U32)?
        .sum(D::Minus1)?;
    Ok(active
        .to_vec1::<u32>()?
        .into_iter()
        .map(|active| active as usize)
        .collect())
}
