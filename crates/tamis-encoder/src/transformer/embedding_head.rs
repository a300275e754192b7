//! SPARTA's head: hidden states against the input embeddings of the words, without a transform between.
//!
//! Source: Zhao, Lu and Lee (NAACL 2021), `log(1 + relu(max over tokens of E h + b))`.

use super::decoder::{Decoder, Weights};
use super::mlm_head::{Words, packed_or_shared};
use super::pool_rule::PoolRule;
use super::rows::Workers;
use candle_core::Result;
use std::ops::Range;
use tamis_kernels::Precision;

/// `h E^T + b`.
#[derive(Debug)]
pub(crate) struct EmbeddingHead {
    decoder: Decoder,
}

impl EmbeddingHead {
    /// `bias` is one number for all entries.
    pub(crate) fn new(words: Words<'_>, bias: f32, precision: Precision) -> Result<Self> {
        let matrix = packed_or_shared(None, words, precision)?;
        let bias = vec![bias; matrix.outputs()];
        Ok(Self {
            decoder: Decoder { matrix, bias },
        })
    }

    /// The weights of each range of rows of `hidden`, as [`Decoder::pool`].
    pub(crate) fn pool(
        &self,
        workers: Workers,
        hidden: &[f32],
        ranges: &[Range<usize>],
        rule: &PoolRule,
    ) -> Vec<Option<Weights>> {
        self.decoder.pool(workers, hidden, ranges, rule)
    }
}
