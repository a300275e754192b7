//! The masked-language-model head, pooled over each text without a matrix of tokens by vocabulary.
//!
//! SPLADE-max (Formal et al., SPLADE v2, 2021) gives each vocabulary entry `log(1 + relu(max over tokens of its
//! logit))`; SPLADE v1 (Formal et al., SIGIR 2021) sums `log(1 + relu(logit))` over tokens. The vocabulary is taken
//! panel by panel: logits of 32 entries for a few rows, still in the first-level cache, are at once reduced to one value
//! a text and entry. As the activation grows with its argument, the maximum is taken of bare logits, and only what is
//! above zero in the end is activated and kept. Memory: 128 bytes a text, and 8 for every weight above zero.

use super::linear::{LayerNorm, Linear, values};
use super::parameters::MlmParameters;
use super::rows::Workers;
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use tamis_kernels::{Activation, LANES, Lanes, PackedMatrix, PackedRows, Precision};

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

/// Vocabulary entries with a weight above zero, ascending.
pub(crate) type Weights = Vec<(u32, f32)>;

/// `LN(g(W h + b)) E^T + c`.
#[derive(Debug)]
pub(crate) struct MlmHead {
    transform: Linear,
    activation: Activation,
    norm: LayerNorm,
    /// E, `[vocabulary, width]`; the word embeddings themselves where they are tied to it.
    decoder: Arc<PackedMatrix>,
    /// c, a value a vocabulary entry.
    bias: Vec<f32>,
}

impl MlmHead {
    /// `words` are the packed word embeddings, which stand for a decoder that is not there and are shared where they
    /// have the same precision.
    pub(crate) fn new(
        parameters: &MlmParameters,
        words: (&Tensor, &Arc<PackedMatrix>),
        precision: Precision,
    ) -> Result<Self> {
        let bias = values(&parameters.bias)?;
        let decoder = match &parameters.decoder {
            None if words.1.precision() == precision => Arc::clone(words.1),
            own => {
                let matrix = own.as_ref().unwrap_or(words.0);
                Arc::new(PackedMatrix::pack(precision, &values(matrix)?, matrix.dim(1)?, None))
            }
        };
        Ok(Self {
            transform: Linear::new(&parameters.transform, precision)?,
            activation: parameters.activation.kernel(),
            norm: LayerNorm::new(&parameters.norm)?,
            decoder,
            bias,
        })
    }

    /// The weights of each range of rows of `hidden`; none for an empty range. `None` for a text whose logits are not
    /// all finite.
    pub(crate) fn pool(
        &self,
        workers: Workers,
        hidden: &[f32],
        ranges: &[Range<usize>],
        pooling: Pooling,
        activation: SpladeActivation,
    ) -> Vec<Option<Weights>> {
        let (kernels, width) = (workers.kernels, self.decoder.inputs());
        let mut packed = PackedRows::default();
        let mut rows = Vec::new();
        self.transform.forward(workers, hidden, &mut rows, &mut packed);
        workers.for_each_row(&mut rows, width, |_, row| {
            kernels.activate(row, self.activation);
            self.norm.apply(kernels, row);
        });
        packed.pack(kernels, self.decoder.precision(), &rows, width);
        let parts = workers.in_parts(self.decoder.num_panels(), |panels| {
            let mut pool = Pool::new(self, ranges, pooling, activation);
            self.decoder.multiply(kernels, &packed, panels, |panel, first, logits| {
                pool.add(workers, panel, first, logits);
            });
            pool.finish()
        });
        let mut pooled: Vec<Option<Weights>> = ranges
            .iter()
            .map(|range| {
                let rows = &rows[range.start * width..range.end * width];
                rows.iter().all(|x| x.is_finite()).then(Vec::new)
            })
            .collect();
        for part in parts {
            for (weights, more) in pooled.iter_mut().zip(part) {
                if let Some(weights) = weights {
                    weights.extend(more);
                }
            }
        }
        pooled
    }
}

/// What has been seen of one panel, and all weights of the panels before it.
struct Pool<'a> {
    head: &'a MlmHead,
    ranges: &'a [Range<usize>],
    pooling: Pooling,
    activation: SpladeActivation,
    panel: Option<usize>,
    /// One value a text and lane: the largest logit, or the sum of activated ones.
    values: Vec<Lanes>,
    /// The text of the row that comes next.
    text: usize,
    weights: Vec<Weights>,
}

impl<'a> Pool<'a> {
    fn new(head: &'a MlmHead, ranges: &'a [Range<usize>], pooling: Pooling, activation: SpladeActivation) -> Self {
        Self {
            head,
            ranges,
            pooling,
            activation,
            panel: None,
            values: vec![[0.0; LANES]; ranges.len()],
            text: 0,
            weights: vec![Weights::new(); ranges.len()],
        }
    }

    /// Takes in the logits of adjacent rows from `first` on, which may belong to several texts.
    fn add(&mut self, workers: Workers, panel: usize, first: usize, logits: &[Lanes]) {
        if self.panel != Some(panel) {
            self.flush();
            self.start(panel);
        }
        let end = first + logits.len();
        let mut at = first;
        while at < end {
            while self.ranges[self.text].end <= at {
                self.text += 1;
            }
            let until = self.ranges[self.text].end.min(end);
            let rows = &logits[at - first..until - first];
            let values = &mut self.values[self.text];
            match self.pooling {
                Pooling::Max => workers.kernels.max_of_rows(values, rows),
                Pooling::Sum => {
                    let bias = self.head.bias_of(panel);
                    for row in rows {
                        for ((value, x), bias) in values.iter_mut().zip(row).zip(bias) {
                            *value += self.activation.of(x + bias);
                        }
                    }
                }
            }
            at = until;
        }
    }

    fn start(&mut self, panel: usize) {
        let start = match self.pooling {
            Pooling::Max => f32::NEG_INFINITY,
            Pooling::Sum => 0.0,
        };
        self.values.fill([start; LANES]);
        (self.panel, self.text) = (Some(panel), 0);
    }

    /// Keeps what is above zero of the panel that is complete.
    fn flush(&mut self) {
        let Some(panel) = self.panel.take() else {
            return;
        };
        let bias = self.head.bias_of(panel);
        let first = u32::try_from(panel * LANES).expect("vocabularies are below 2^32");
        for (values, weights) in self.values.iter().zip(&mut self.weights) {
            for ((id, &value), bias) in (first..).zip(values).zip(bias) {
                let weight = match self.pooling {
                    Pooling::Max => self.activation.of(value + bias),
                    Pooling::Sum => value,
                };
                if weight > 0.0 {
                    weights.push((id, weight));
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Weights> {
        self.flush();
        self.weights
    }
}

impl MlmHead {
    /// The bias of the entries of `panel`.
    fn bias_of(&self, panel: usize) -> &[f32] {
        let start = panel * LANES;
        &self.bias[start..self.bias.len().min(start + LANES)]
    }
}
