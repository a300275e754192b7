//! SPARTA's head: hidden states against the input embeddings of the words, without a transform between.
//!
//! Source: Zhao, Lu and Lee (NAACL 2021), `log(1 + relu(max over tokens of E h + b))`.

use super::pool_rule::PoolRule;
use super::rows::read;
use candle_core::{Result, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// Vocabulary entries of one tile.
const TILE: usize = 256;

/// `h E^T + b`.
#[derive(Debug)]
pub(crate) struct EmbeddingHead {
    /// E, `[vocabulary, width]`.
    pub(crate) words: Tensor,
    /// One number for all entries.
    pub(crate) bias: f32,
}

impl EmbeddingHead {
    /// One weight per vocabulary entry for each range of rows of `hidden`; 0 everywhere for an empty range, NaN
    /// everywhere for a text whose hidden states are not finite.
    pub(crate) fn pool(&self, hidden: &Tensor, ranges: &[Range<usize>], rule: &PoolRule) -> Result<Vec<Vec<f32>>> {
        let bias = vec![self.bias; self.words.dim(0)?];
        pool_products(hidden, &self.words, &bias, (ranges, rule))
    }
}

/// Pools `rows table^T + bias` tile by tile, so that no matrix of tokens by vocabulary is made.
pub(super) fn pool_products(
    rows: &Tensor,
    table: &Tensor,
    bias: &[f32],
    (ranges, rule): (&[Range<usize>], &PoolRule),
) -> Result<Vec<Vec<f32>>> {
    let vocabulary = bias.len();
    if rows.dim(0)? == 0 {
        return Ok(vec![vec![0.0; vocabulary]; ranges.len()]);
    }
    let starts: Vec<usize> = (0..vocabulary).step_by(TILE).collect();
    let tiles = starts.par_iter().map(|&start| {
        let bias = &bias[start..vocabulary.min(start + TILE)];
        let logits = rows.matmul(&table.narrow(0, start, bias.len())?.t()?)?;
        read(&logits, |logits| rule.pool(logits, ranges, bias))
    });
    let tiles = tiles.collect::<Result<Vec<Vec<f32>>>>()?;
    let width = rows.dim(1)?;
    let finite: Vec<bool> = read(rows, |rows| {
        let rows_of = |range: &Range<usize>| &rows[range.start * width..range.end * width];
        ranges
            .iter()
            .map(|range| rows_of(range).iter().all(|x| x.is_finite()))
            .collect()
    })?;
    let pooled = finite.iter().enumerate().map(|(text, &finite)| match finite {
        true => tiles
            .iter()
            .flat_map(|tile| part(tile, text, ranges.len()))
            .copied()
            .collect(),
        false => vec![f32::NAN; vocabulary],
    });
    Ok(pooled.collect())
}

/// The values of `text` among those of all `texts` in one tile.
fn part(tile: &[f32], text: usize, texts: usize) -> &[f32] {
    let width = tile.len() / texts;
    &tile[text * width..(text + 1) * width]
}
