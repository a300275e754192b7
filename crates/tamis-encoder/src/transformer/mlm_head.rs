//! The masked-language-model head, pooled over each text without a matrix of tokens by vocabulary.
//!
//! SPLADE-max (Formal et al., SPLADE v2, 2021) gives each vocabulary entry `log(1 + relu(max over tokens of its
//! logit))`; SPLADE v1 (Formal et al., SIGIR 2021) sums `log(1 + relu(logit))` over tokens. The vocabulary is taken in
//! tiles: logits of one tile for the rows of the batch, at once reduced to one row a text. As the bias is the same for
//! all tokens and the activation grows with its argument, the maximum is taken of the bare products; bias and
//! activation then touch one value per text and entry. Memory is `texts * vocabulary` plus one tile a thread.

use super::HiddenActivation;
use super::embedding_head::pool_products;
use super::linear::{LayerNorm, Linear};
use super::parameters::MlmParameters;
use super::pool_rule::PoolRule;
use candle_core::{Result, Tensor};
use std::ops::Range;

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
    pub(crate) fn pool(&self, hidden: &Tensor, ranges: &[Range<usize>], rule: &PoolRule) -> Result<Vec<Vec<f32>>> {
        if hidden.dim(0)? == 0 {
            return Ok(vec![vec![0.0; self.bias.len()]; ranges.len()]);
        }
        let rows = self.transform.forward_activated(hidden, self.transform_activation)?;
        self.norm.apply_rows(&rows)?;
        pool_products(&rows, &self.decoder, &self.bias, (ranges, rule))
    }
}
