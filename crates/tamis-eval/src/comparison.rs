//! Whether two runs differ by more than chance: a paired randomisation test.
//!
//! If it made no difference which of the two systems gave a value, each query's difference could as well have the other
//! sign. The p-value is the share of such relabellings whose mean difference is at least as large as the one observed
//! (Fisher, 1935; recommended for retrieval by Smucker, Allan and Carterette, "A comparison of statistical significance
//! tests for information retrieval evaluation", CIKM 2007). Nothing is assumed of how values are distributed.

use crate::evaluation::Evaluation;
use crate::metric::Metric;
use serde::Serialize;
use std::collections::HashMap;

/// Relabellings that are tried: p-values near .05 are then good to about .004.
const RELABELLINGS: u32 = 10_000;

/// How one evaluation compares with another by one metric, over the queries that both have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The metric.
    pub metric: Metric,
    /// Queries compared.
    pub num_queries: usize,
    /// The mean of the evaluation.
    pub mean: f64,
    /// The mean of the other one.
    pub other_mean: f64,
    /// Queries with a higher value here.
    pub num_better: usize,
    /// Queries with a lower value here.
    pub num_worse: usize,
    /// How often chance alone gives so large a difference of means, in either direction: above 0, at most 1.
    pub p_value: f64,
}

impl Comparison {
    /// Compares by `metric`; `None` where one of the two was not evaluated by it, or they share no query.
    ///
    /// Always gives the same p-value for the same values. Cost: 10,000 additions a query.
    #[must_use]
    pub fn of(evaluation: &Evaluation, other: &Evaluation, metric: Metric) -> Option<Self> {
        let values = |evaluation: &Evaluation| {
            let queries = evaluation.per_query.iter();
            queries
                .map(|query| Some((query.query.clone(), query.scores.get(metric)?)))
                .collect::<Option<Vec<_>>>()
        };
        let others: HashMap<String, f64> = values(other)?.into_iter().collect();
        let pairs = values(evaluation)?.into_iter();
        let pairs: Vec<(f64, f64)> = pairs
            .filter_map(|(query, value)| Some((value, *others.get(&query)?)))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "query counts stay far below 2^53")]
        let count = pairs.len() as f64;
        let differences: Vec<f64> = pairs.iter().map(|(value, other)| value - other).collect();
        Some(Self {
            metric,
            num_queries: pairs.len(),
            mean: pairs.iter().map(|pair| pair.0).sum::<f64>() / count,
            other_mean: pairs.iter().map(|pair| pair.1).sum::<f64>() / count,
            num_better: differences.iter().filter(|difference| **difference > 0.0).count(),
            num_worse: differences.iter().filter(|difference| **difference < 0.0).count(),
            p_value: p_value(&differences),
        })
    }
}

/// The share of relabellings with a sum at least as large, the observed one among them.
fn p_value(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    // Sums of the same numbers in another order of signs differ in their last digits.
    let least = observed - 1e-9 * (1.0 + observed);
    let differences: Vec<f64> = differences
        .iter()
        .copied()
        .filter(|difference| *difference != 0.0)
        .collect();
    let mut state = 0u64;
    let mut as_large = 1u32;
    for _ in 0..RELABELLINGS {
        let mut sum = 0.0;
        for chunk in differences.chunks(64) {
            let mut signs = next(&mut state);
            for difference in chunk {
                sum += if signs & 1 == 0 { *difference } else { -difference };
                signs >>= 1;
            }
        }
        as_large += u32::from(sum.abs() >= least);
    }
    f64::from(as_large) / f64::from(RELABELLINGS + 1)
}

/// The next 64 random bits (splitmix64: Steele, Lea and Flood, OOPSLA 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Qrels, Run, ScoredDocument, evaluate};

    #[test]
    fn few_differences_are_counted_exactly() {
        // Five queries, all better by the same: of 32 relabellings the observed one and its mirror image are as large.
        let p = p_value(&[0.25; 5]);
        assert!((p - 2.0 / 32.0).abs() < 0.01, "{p}");
        // Of the 8 relabellings of 1, 2, 4 those with a sum of 7, 5, -5 or -7 reach |1 - 2 - 4| = 5.
        let p = p_value(&[1.0, -2.0, -4.0]);
        assert!((p - 4.0 / 8.0).abs() < 0.02, "{p}");
        assert!((p_value(&[0.0; 9]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_p_value_is_that_of_a_normal_tail_for_many_queries() {
        // 400 differences of .5 +- 5 times noise of unit variance; z is about mean / sd * 20.
        let mut state = 7;
        #[expect(clippy::cast_precision_loss, reason = "a random number of 53 bits")]
        let mut uniform = || (next(&mut state) >> 11) as f64 / (1u64 << 53) as f64;
        let mut values: Vec<f64> = (0..400)
            .map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0)
            .collect();
        let mean = values.iter().sum::<f64>() / 400.0;
        values.iter_mut().for_each(|value| *value += 0.1 - mean);
        let variance = values.iter().map(|value| value * value).sum::<f64>() / 400.0;
        let z = 0.1 / variance.sqrt() * 20.0;
        assert!((1.8..2.2).contains(&z), "{z}");
        // Both tails beyond two standard deviations hold .0455.
        let p = p_value(&values);
        assert!((0.03..0.075).contains(&p), "{p} at z {z}");
    }

    #[test]
    fn runs_are_compared_over_their_queries() {
        let mut qrels = Qrels::default();
        let (mut good, mut bad) = (Run::new(), Run::new());
        let results = |ids: &[&str]| {
            let scored = ids.iter().zip([2.0, 1.0]);
            scored
                .map(|(id, score)| ScoredDocument {
                    id: (*id).to_owned(),
                    score,
                })
                .collect::<Vec<_>>()
        };
        for query in ["a", "b", "c"] {
            let _ = qrels.insert(query, "d1", 1);
            good.insert(query, results(&["d1", "d2"])).expect("new");
            bad.insert(query, results(if query == "a" { &["d1", "d2"] } else { &["d2", "d1"] }))
                .expect("new");
        }
        let metric: Metric = "mrr@10".parse().expect("a metric");
        let [good, bad] = [good, bad].map(|run| evaluate(&qrels, &run, &[metric]));
        let compared = Comparison::of(&good, &bad, metric).expect("shared queries");
        assert_eq!(
            (compared.num_queries, compared.num_better, compared.num_worse),
            (3, 2, 0)
        );
        assert!((compared.mean - 1.0).abs() < 1e-12 && (compared.other_mean - 2.0 / 3.0).abs() < 1e-12);
        assert!((compared.p_value - 0.5).abs() < 0.02, "{compared:?}");
        let other: Metric = "map".parse().expect("a metric");
        assert!(Comparison::of(&good, &bad, other).is_none());
    }
}
