//! The masked-language-model head, pooled over each text without a matrix of tokens by vocabulary.
//!
//! SPLADE-max (Formal et al., SPLADE v2, 2021) gives each vocabulary entry `log(1 + relu(max over tokens of its
//! logit))`; SPLADE v1 (Formal et al., SIGIR 2021) sums `log(1 + relu(logit))` over tokens. The vocabulary is taken in
//! tiles: logits of one tile for the rows of the batch, at once reduced to one row a text. As the bias is the same for
//! all tokens and the activation grows with its argument, the maximum is taken of the bare products; bias and
//! activation then touch one value per text and entry. Memory is `texts * vocabulary` plus one tile a thread.

use super::HiddenActivation;
use super::linear::{LayerNorm, Linear};
use super::parameters::MlmParameters;
use super::rows::read;
use candle_core::{Result, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the tokens of a text become one weight per vocabulary entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The largest: SPLADE v2 and all later ones.
    Max,
    /// The sum: SPLADE v1.
    Sum,
}

/// What makes a weight of a logit; names as in sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpladeActivation {
    /// `log(1 + relu(x))`.
    Relu,
    /// `log(1 + log(1 + relu(x)))`, of models trained with an l0 penalty (Shen et al., 2025).
    Log1pRelu,
}

impl SpladeActivation {
    fn of(self, logit: f32) -> f32 {
        if logit <= 0.0 {
            return 0.0;
        }
        match self {
            Self::Relu => logit.ln_1p(),
            Self::Log1pRelu => logit.ln_1p().ln_1p(),
        }
    }
}

/// Vocabulary entries of one tile.
const TILE: usize = 256;

/// `LN(g(W h + b)) E^T + c`.
#[derive(Debug)]
pub(crate) struct MlmHead {
    pub(crate) transform: Linear,
    pub(crate) transform_activation: HiddenActivation,
    pub(crate) norm: LayerNorm,
    /// E, `[vocabulary, width]`: the word embeddings themselves where the checkpoint ties them.
    pub(crate) decoder: Tensor,
    pub(crate) bias: Vec<f32>,
}

impl MlmHead {
    /// `words` are the word embeddings, which stand for a decoder that is not there.
    pub(crate) fn new(parameters: &MlmParameters, words: &Tensor) -> Result<Self> {
        Ok(Self {
            transform: Linear::new(&parameters.transform)?,
            transform_activation: parameters.activation,
            norm: LayerNorm::new(&parameters.norm)?,
            decoder: parameters.decoder.as_ref().unwrap_or(words).clone(),
            bias: parameters.bias.to_vec1()?,
        })
    }

    /// One weight per vocabulary entry for each range of rows of `hidden`; 0 everywhere for an empty range.
    ///
    /// A text whose hidden states are not finite gets NaN everywhere, for the caller to refuse.
    pub(crate) fn pool(
        &self,
        hidden: &Tensor,
        ranges: &[Range<usize>],
        pooling: Pooling,
        activation: SpladeActivation,
    ) -> Result<Vec<Vec<f32>>> {
        let vocabulary = self.bias.len();
        if hidden.dim(0)? == 0 {
            return Ok(vec![vec![0.0; vocabulary]; ranges.len()]);
        }
        let rows = self.transform.forward_activated(hidden, self.transform_activation)?;
        self.norm.apply_rows(&rows)?;
        let starts: Vec<usize> = (0..vocabulary).step_by(TILE).collect();
        let tiles = starts.par_iter().map(|&start| {
            let bias = &self.bias[start..vocabulary.min(start + TILE)];
            let logits = rows.matmul(&self.decoder.narrow(0, start, bias.len())?.t()?)?;
            read(&logits, |logits| match pooling {
                Pooling::Max => pool_max(logits, ranges, bias, activation),
                Pooling::Sum => pool_sum(logits, ranges, bias, activation),
            })
        });
        let tiles = tiles.collect::<Result<Vec<Vec<f32>>>>()?;
        let width = rows.dim(1)?;
        let finite: Vec<bool> = read(&rows, |rows| {
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
}

/// The values of `text` among those of all `texts` in one tile.
fn part(tile: &[f32], text: usize, texts: usize) -> &[f32] {
    let width = tile.len() / texts;
    &tile[text * width..(text + 1) * width]
}

fn pool_max(logits: &[f32], ranges: &[Range<usize>], bias: &[f32], activation: SpladeActivation) -> Vec<f32> {
    let width = bias.len();
    let mut pooled = vec![f32::NEG_INFINITY; width * ranges.len()];
    for (best, range) in pooled.chunks_exact_mut(width).zip(ranges) {
        for row in logits[range.start * width..range.end * width].chunks_exact(width) {
            best.iter_mut()
                .zip(row)
                .for_each(|(best, &x)| *best = if x > *best { x } else { *best });
        }
        best.iter_mut()
            .zip(bias)
            .for_each(|(best, bias)| *best = activation.of(*best + bias));
    }
    pooled
}

fn pool_sum(logits: &[f32], ranges: &[Range<usize>], bias: &[f32], activation: SpladeActivation) -> Vec<f32> {
    let width = bias.len();
    let mut pooled = vec![0.0; width * ranges.len()];
    for (sum, range) in pooled.chunks_exact_mut(width).zip(ranges) {
        for row in logits[range.start * width..range.end * width].chunks_exact(width) {
            sum.iter_mut()
                .zip(row)
                .zip(bias)
                .for_each(|((sum, &x), bias)| *sum += activation.of(x + bias));
        }
    }
    pooled
}
