//! The masked-language-model head, pooled.
//!
//! SPLADE-max (Formal et al., SPLADE v2, 2021) gives each vocabulary entry `log(1 + relu(max over tokens of its
//! logit))`; SPLADE v1 (Formal et al., SIGIR 2021) sums `log(1 + relu(logit))` over tokens.

use super::decoder::{Decoder, Weights};
use super::linear::{LayerNorm, Linear, values};
use super::parameters::MlmParameters;
use super::pool_rule::PoolRule;
use super::rows::Workers;
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;
use tamis_kernels::{Activation, PackedMatrix, PackedRows, Precision};

/// `LN(g(W h + b)) E^T + c`.
#[derive(Debug)]
pub(crate) struct MlmHead {
    transform: Linear,
    activation: Activation,
    norm: LayerNorm,
    decoder: Decoder,
}

/// Word embeddings as loaded and, where the backbone packed them, as packed.
pub(crate) type Words<'a> = (&'a Tensor, Option<&'a Arc<PackedMatrix>>);

/// `matrix`, or the word embeddings where there is none, in `precision`; shared where they are packed so already.
pub(super) fn packed_or_shared(
    matrix: Option<&Tensor>,
    words: Words<'_>,
    precision: Precision,
) -> Result<Arc<PackedMatrix>> {
    if let (None, Some(words)) = (matrix, words.1.filter(|words| words.precision() == precision)) {
        return Ok(Arc::clone(words));
    }
    let matrix = matrix.unwrap_or(words.0);
    Ok(Arc::new(PackedMatrix::pack(
        precision,
        &values(matrix)?,
        matrix.dim(1)?,
        None,
    )))
}

impl MlmHead {
    /// `words` stand for a decoder that is not there.
    pub(crate) fn new(parameters: &MlmParameters, words: Words<'_>, precision: Precision) -> Result<Self> {
        Ok(Self {
            transform: Linear::new(&parameters.transform, precision)?,
            activation: parameters.activation.kernel(),
            norm: LayerNorm::new(&parameters.norm)?,
            decoder: Decoder {
                matrix: packed_or_shared(parameters.decoder.as_ref(), words, precision)?,
                bias: values(&parameters.bias)?,
            },
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
        let mut rows = Vec::new();
        self.transform
            .forward(workers, hidden, &mut rows, &mut PackedRows::default());
        workers.for_each_row(&mut rows, self.transform.outputs(), |_, row| {
            workers.kernels.activate(row, self.activation);
            self.norm.apply(workers.kernels, row);
        });
        self.decoder.pool(workers, &rows, ranges, rule)
    }
}
