//! Products with the whole vocabulary, pooled over each text without a matrix of tokens by vocabulary.
//!
//! The vocabulary is taken panel by panel: logits of 32 entries for a few rows, still in the first-level cache, are at
//! once reduced to one value a text and entry. As weights grow with their logit, the maximum is taken of bare logits,
//! and only what is above zero in the end is weighed and kept. Memory: 128 bytes a text, and 8 for every weight kept.

use super::pool_rule::{PoolRule, Pooling};
use super::rows::Workers;
use std::ops::Range;
use std::sync::Arc;
use tamis_kernels::{LANES, Lanes, PackedMatrix, PackedRows};

/// Vocabulary entries with a weight above zero, ascending.
pub(crate) type Weights = Vec<(u32, f32)>;

/// `x E^T + c`.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// E, `[vocabulary, width]`; the word embeddings themselves where they are tied to it.
    pub(super) matrix: Arc<PackedMatrix>,
    /// c, a value a vocabulary entry.
    pub(super) bias: Vec<f32>,
}

impl Decoder {
    /// The weights of each range of `rows`; none for an empty range. `None` for a text whose rows or weights are not
    /// all finite.
    pub(crate) fn pool(
        &self,
        workers: Workers,
        rows: &[f32],
        ranges: &[Range<usize>],
        rule: &PoolRule,
    ) -> Vec<Option<Weights>> {
        let (kernels, width) = (workers.kernels, self.matrix.inputs());
        let mut packed = PackedRows::default();
        packed.pack(kernels, self.matrix.precision(), rows, width);
        let parts = workers.in_parts(self.matrix.num_panels(), |panels| {
            let mut pool = Pool {
                workers,
                bias: &self.bias,
                ranges,
                rule,
                panel: None,
                values: vec![[0.0; LANES]; ranges.len()],
                text: 0,
                weights: vec![Weights::new(); ranges.len()],
            };
            self.matrix.multiply(kernels, &packed, panels, |panel, first, logits| {
                pool.add(panel, first, logits);
            });
            pool.flush();
            pool.weights
        });
        let mut pooled: Vec<Weights> = vec![Weights::new(); ranges.len()];
        for part in parts {
            pooled
                .iter_mut()
                .zip(part)
                .for_each(|(weights, more)| weights.extend(more));
        }
        let finite = |(range, weights): (&Range<usize>, Weights)| {
            let rows = &rows[range.start * width..range.end * width];
            let finite = rows.iter().all(|x| x.is_finite()) && weights.iter().all(|(_, weight)| weight.is_finite());
            finite.then_some(weights)
        };
        ranges.iter().zip(pooled).map(finite).collect()
    }
}

/// What has been seen of one panel, and all weights of the panels before it.
struct Pool<'a> {
    workers: Workers,
    bias: &'a [f32],
    ranges: &'a [Range<usize>],
    rule: &'a PoolRule,
    panel: Option<usize>,
    /// One value a text and lane: the largest logit, or the sum of weights.
    values: Vec<Lanes>,
    /// The text of the row that comes next.
    text: usize,
    weights: Vec<Weights>,
}

impl Pool<'_> {
    /// Takes in the logits, without bias, of adjacent rows from `first` on, which may belong to several texts.
    fn add(&mut self, panel: usize, first: usize, logits: &[Lanes]) {
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
            self.reduce(panel, at, &logits[at - first..until - first]);
            at = until;
        }
    }

    /// Takes in rows of the current text.
    fn reduce(&mut self, panel: usize, first: usize, rows: &[Lanes]) {
        let values = &mut self.values[self.text];
        let bias = bias_of(self.bias, panel);
        let factor = |row: usize| self.rule.factors.as_ref().map_or(1.0, |factors| factors[row]);
        match self.rule.pooling {
            Pooling::Sum => {
                for (row, logits) in (first..).zip(rows) {
                    let (factor, lanes) = (factor(row), values.iter_mut().zip(logits).zip(bias));
                    lanes.for_each(|((sum, x), bias)| *sum += self.rule.weighting.of((x + bias) * factor));
                }
            }
            Pooling::Max | Pooling::Cls if self.rule.factors.is_some() => {
                for (row, logits) in (first..).zip(rows) {
                    let (factor, lanes) = (factor(row), values.iter_mut().zip(logits).zip(bias));
                    lanes.for_each(|((best, x), bias)| *best = best.max((x + bias) * factor));
                }
            }
            // The bias is the same for all tokens, so it is added to the largest alone.
            Pooling::Max | Pooling::Cls => self.workers.kernels.max_of_rows(values, rows),
        }
    }

    fn start(&mut self, panel: usize) {
        let start = match self.rule.pooling {
            Pooling::Max | Pooling::Cls => f32::NEG_INFINITY,
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
        let weighting = self.rule.weighting;
        let first = u32::try_from(panel * LANES).expect("vocabularies are below 2^32");
        for (values, weights) in self.values.iter().zip(&mut self.weights) {
            for ((id, &value), bias) in (first..).zip(values).zip(bias_of(self.bias, panel)) {
                let weight = match self.rule.pooling {
                    Pooling::Sum => value,
                    Pooling::Max | Pooling::Cls if self.rule.factors.is_some() => weighting.of(value),
                    Pooling::Max | Pooling::Cls => weighting.of(value + bias),
                };
                // NaN stays, to be seen.
                if weight > 0.0 || weight.is_nan() {
                    weights.push((id, weight));
                }
            }
        }
    }
}

/// The bias of the entries of `panel`.
fn bias_of(bias: &[f32], panel: usize) -> &[f32] {
    let start = panel * LANES;
    &bias[start..bias.len().min(start + LANES)]
}

#[cfg(test)]
mod tests {
    use super::super::pool_rule::{Norm, SpladeActivation, Weighting};
    use super::*;
    use tamis_kernels::Precision;

    /// Three rows of two entries: a text of two rows, a text without any, a text of one.
    fn pool(pooling: Pooling, factors: Option<&[f32]>, shared: bool) -> Vec<Option<Weights>> {
        let identity = [1.0, 0.0, 0.0, 1.0];
        let decoder = Decoder {
            matrix: Arc::new(PackedMatrix::pack(Precision::F32, &identity, 2, None)),
            bias: vec![1.0, -1.0],
        };
        let rule = PoolRule {
            pooling,
            weighting: Weighting {
                activation: SpladeActivation::Relu,
                norm: Norm::Identity,
            },
            factors: factors.map(<[f32]>::to_vec),
        };
        let kernels = tamis_kernels::active();
        let rows = [1.0, -2.0, 3.0, -4.0, 5.0, 6.0];
        decoder.pool(Workers { kernels, shared }, &rows, &[0..2, 2..2, 2..3], &rule)
    }

    #[test]
    fn factors_weigh_the_bias_too() {
        let expected = |a: f32, b: f32, c: f32| vec![Some(vec![(0, a)]), Some(vec![]), Some(vec![(0, b), (1, c)])];
        let factors = Some([3.0, 1.0, 2.0].as_slice());
        for shared in [false, true] {
            assert_eq!(pool(Pooling::Max, None, shared), expected(4.0, 6.0, 5.0));
            assert_eq!(pool(Pooling::Sum, None, shared), expected(6.0, 6.0, 5.0));
            assert_eq!(pool(Pooling::Max, factors, shared), expected(6.0, 12.0, 10.0));
            assert_eq!(pool(Pooling::Sum, factors, shared), expected(10.0, 12.0, 10.0));
        }
    }

    #[test]
    fn a_broken_text_is_no_vector_and_leaves_the_others_alone() {
        let decoder = Decoder {
            matrix: Arc::new(PackedMatrix::pack(Precision::Int8, &[1.0; 64], 2, None)),
            bias: vec![0.0; 32],
        };
        let rule = PoolRule {
            pooling: Pooling::Max,
            weighting: Weighting {
                activation: SpladeActivation::Relu,
                norm: Norm::Log1p,
            },
            factors: None,
        };
        let kernels = tamis_kernels::active();
        let rows = [1.0, 1.0, f32::NAN, 1.0];
        let pooled = decoder.pool(Workers { kernels, shared: false }, &rows, &[0..1, 1..2], &rule);
        assert_eq!(pooled[0].as_ref().map(Vec::len), Some(32));
        assert_eq!(pooled[1], None);
    }
}
