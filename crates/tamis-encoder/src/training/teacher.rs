//! Scores of several teachers made one.
//!
//! Heterogeneous ensembles after OpenSearch (Geng et al., 2024): scores are min-max normalised for each query, averaged
//! and multiplied by 30. SPLADE-v3 (Lassance et al., 2024) also brings such an ensemble to the mean and deviation of one
//! of its teachers. Plain numbers: nothing here is differentiated.

use super::{not_negative, positive, refused};
use crate::Error;
use serde::{Deserialize, Serialize};

/// How teachers are combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ensemble {
    /// The weight of each teacher, 0 or more and not all 0. Default: all alike.
    pub weights: Vec<f64>,
    /// What is done to each query's scores before the mean. Default: min-max.
    pub rescaling: Rescaling,
    /// What the mean is multiplied by, above 0. Default 30, as OpenSearch does.
    pub scale: f64,
}

/// What is done to the scores that a teacher gives for a query's candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rescaling {
    /// `(s - min) / (max - min + 1e-6)`.
    #[default]
    MinMax,
    /// Nothing: teachers that score alike.
    None,
}

impl Default for Ensemble {
    fn default() -> Self {
        Self {
            weights: Vec::new(),
            rescaling: Rescaling::MinMax,
            scale: 30.0,
        }
    }
}

/// Keeps the quotient finite where all scores are equal.
const EPSILON: f64 = 1e-6;

impl Ensemble {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        for (at, &weight) in self.weights.iter().enumerate() {
            not_negative(format!("ensemble.weights[{at}]"), weight)?;
        }
        if !self.weights.is_empty() && self.weights.iter().all(|&weight| weight == 0.0) {
            return Err(refused("ensemble.weights", "0 for every teacher", "a weight above 0"));
        }
        positive("ensemble.scale", self.scale)
    }

    /// One score for each query and candidate from those of `teachers`, each `[queries, candidates]` row by row; row by
    /// row again.
    ///
    /// # Errors
    /// When an option is out of its range, the numbers of teachers or scores do not fit, or a score is not finite
    /// (fill in missing ones with [`missing_positives`] first).
    pub fn combine(&self, teachers: &[&[f32]], candidates: usize) -> Result<Vec<f32>, Error> {
        self.validate()?;
        if teachers.is_empty() || (!self.weights.is_empty() && self.weights.len() != teachers.len()) {
            let found = format!("{} for {} teachers", self.weights.len(), teachers.len());
            return Err(refused(
                "ensemble.weights",
                found,
                "a weight for each teacher, of which there is one at least",
            ));
        }
        let length = teachers[0].len();
        let mut sums = vec![0.0; length];
        let mut total = 0.0;
        for (teacher, scores) in teachers.iter().enumerate() {
            if scores.len() != length || candidates == 0 || !length.is_multiple_of(candidates) {
                return Err(Error::TrainingShape {
                    input: format!("scores of teacher {teacher}"),
                    found: vec![scores.len()],
                    expected: format!("[{length}], rows of {candidates} candidates"),
                });
            }
            if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
                return Err(Error::TeacherScore {
                    teacher,
                    query: at / candidates,
                    candidate: at % candidates,
                    reason: "is missing or not finite",
                });
            }
            let weight = self.weights.get(teacher).copied().unwrap_or(1.0);
            total += weight;
            for (row, sums) in scores.chunks(candidates).zip(sums.chunks_mut(candidates)) {
                let (low, width) = self.rescaling.of(row);
                for (&score, sum) in row.iter().zip(sums) {
                    *sum += weight * (f64::from(score) - low) / width;
                }
            }
        }
        Ok(sums.into_iter().map(|sum| single(self.scale * sum / total)).collect())
    }
}

impl Rescaling {
    /// What is subtracted from a row's scores, and what they are then divided by.
    fn of(self, row: &[f32]) -> (f64, f64) {
        match self {
            Self::None => (0.0, 1.0),
            Self::MinMax => {
                let low = row.iter().copied().fold(f32::INFINITY, f32::min);
                let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                (f64::from(low), f64::from(high) - f64::from(low) + EPSILON)
            }
        }
    }
}

/// The precision that batches carry scores in.
#[expect(
    clippy::cast_possible_truncation,
    reason = "batches carry scores in single precision"
)]
fn single(score: f64) -> f32 {
    score as f32
}

/// Fills in the positives that a teacher did not score (NaN) with the largest of the query's other scores, as naver's
/// code does. `scores` are `[queries, candidates]` row by row; `positive` names the column of each query's positive.
///
/// # Errors
/// When the numbers do not fit, another score is missing, or a query has no other score.
pub fn missing_positives(
    scores: &mut [f32],
    candidates: usize,
    positive: impl Fn(usize) -> usize,
) -> Result<(), Error> {
    if candidates == 0 || !scores.len().is_multiple_of(candidates) {
        return Err(Error::TrainingShape {
            input: "scores".to_owned(),
            found: vec![scores.len()],
            expected: format!("rows of {candidates} candidates"),
        });
    }
    for (query, row) in scores.chunks_mut(candidates).enumerate() {
        let column = positive(query);
        let refuse = |candidate, reason| Error::TeacherScore {
            teacher: 0,
            query,
            candidate,
            reason,
        };
        if column >= candidates {
            return Err(refuse(column, "is beyond the query's candidates"));
        }
        let others = row.iter().enumerate().filter(|&(at, _)| at != column);
        let mut largest: Option<f32> = None;
        for (at, &score) in others {
            if !score.is_finite() {
                return Err(refuse(at, "is missing or not finite"));
            }
            largest = Some(largest.map_or(score, |before| before.max(score)));
        }
        if row[column].is_nan() {
            row[column] =
                largest.ok_or_else(|| refuse(column, "is missing, and there is no other to take its place"))?;
        }
    }
    Ok(())
}

/// Mean and deviation of a stream of scores (Welford, 1962), to bring one teacher to another's scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Takes note of scores, in order.
    pub fn add(&mut self, scores: &[f32]) {
        for &score in scores {
            self.count += 1;
            let excess = f64::from(score) - self.mean;
            self.mean += excess / super::span::count(self.count);
            self.squares += excess * (f64::from(score) - self.mean);
        }
    }

    /// The mean; 0 of no scores.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation over all scores (not a sample's estimate); 0 of no scores.
    pub fn deviation(&self) -> f64 {
        (self.squares / super::span::count(self.count.max(1))).sqrt()
    }

    /// Brings scores with these moments to the mean and the deviation of `reference`. Scores that are all equal come to
    /// the mean.
    pub fn rescale(&self, scores: &mut [f32], reference: &Self) {
        let deviation = self.deviation();
        let factor = if deviation > 0.0 {
            reference.deviation() / deviation
        } else {
            0.0
        };
        for score in scores {
            *score = single((f64::from(*score) - self.mean) * factor + reference.mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-4,
                "{found}, expected {expected}"
            );
        }
    }

    #[test]
    fn teachers_of_other_scales_count_alike() {
        let dense = [0.9, 0.5, 0.7, 0.2, 0.2, 0.2];
        let sparse = [10.0, 20.0, 15.0, 4.0, 0.0, 1.0];
        let combined = Ensemble::default().combine(&[&dense, &sparse], 3).expect("fits");
        // By hand: (1, 0, .5) and (0, 1, .5); then (0, 0, 0) and (1, 0, .25).
        close(&combined, &[15.0, 15.0, 15.0, 15.0, 0.0, 3.75]);
        let weighted = Ensemble {
            weights: vec![3.0, 1.0],
            ..Ensemble::default()
        };
        close(
            &weighted.combine(&[&dense, &sparse], 3).expect("fits"),
            &[22.5, 7.5, 15.0, 7.5, 0.0, 1.875],
        );
        let plain = Ensemble {
            rescaling: Rescaling::None,
            scale: 1.0,
            ..Ensemble::default()
        };
        close(
            &plain.combine(&[&[1.0, 2.0], &[3.0, 5.0]], 2).expect("fits"),
            &[2.0, 3.5],
        );
    }

    #[test]
    fn equal_scores_do_not_divide_by_zero() {
        close(
            &Ensemble::default().combine(&[&[2.0, 2.0]], 2).expect("fits"),
            &[0.0, 0.0],
        );
        // The quotient keeps a millionth: (s - min) / (1e-6 + 1e-6).
        let near = Ensemble::default().combine(&[&[0.0, 1e-6]], 2).expect("fits");
        close(&near, &[0.0, 15.0]);
    }

    #[test]
    fn a_missing_positive_takes_the_largest_negative() {
        let mut scores = [f32::NAN, 0.5, 0.7, 0.9, 0.1, 0.2];
        missing_positives(&mut scores, 3, |_| 0).expect("the rest is there");
        assert_eq!(scores, [0.7, 0.5, 0.7, 0.9, 0.1, 0.2]);
        let mut all = [0.1, f32::NAN, 0.3, f32::NAN];
        missing_positives(&mut all, 2, |_| 1).expect("the rest is there");
        assert_eq!(all, [0.1, 0.1, 0.3, 0.3]);
        let message = missing_positives(&mut [0.5, f32::NAN], 2, |_| 0)
            .expect_err("refused")
            .to_string();
        assert!(
            message.contains("query 0") && message.contains("candidate 1"),
            "{message}"
        );
        assert!(missing_positives(&mut [f32::NAN], 1, |_| 0).is_err());
    }

    #[test]
    fn an_ensemble_comes_to_the_scale_of_its_reference() {
        let (mut own, mut reference) = (Moments::default(), Moments::default());
        let mut scores = [1.0, 2.0, 3.0, 6.0];
        own.add(&scores[..1]);
        own.add(&scores[1..]);
        reference.add(&[-10.0, 10.0]);
        assert!((own.mean() - 3.0).abs() < 1e-12 && (own.deviation() - 3.5f64.sqrt()).abs() < 1e-12);
        own.rescale(&mut scores, &reference);
        let factor = 10.0 / 3.5f64.sqrt();
        close(&scores, &[-2.0 * factor, -factor, 0.0, 3.0 * factor]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let ensemble = Ensemble::default();
        let message = |result: Result<Vec<f32>, Error>| result.expect_err("refused").to_string();
        assert!(
            message(ensemble.combine(&[&[1.0, f32::NAN]], 2))
                .contains("teacher 0: the score of query 0 for candidate 1")
        );
        assert!(message(ensemble.combine(&[&[1.0, 2.0], &[1.0]], 2)).contains("teacher 1"));
        assert!(message(ensemble.combine(&[&[1.0, 2.0, 3.0]], 2)).contains("rows of 2"));
        assert!(message(ensemble.combine(&[], 2)).contains("ensemble.weights"));
        for (weights, name) in [
            (vec![0.0, 0.0], "ensemble.weights"),
            (vec![-1.0, 1.0], "ensemble.weights[0]"),
        ] {
            let ensemble = Ensemble {
                weights,
                ..Ensemble::default()
            };
            assert!(message(ensemble.combine(&[&[1.0], &[1.0]], 1)).contains(name));
        }
        let ensemble = Ensemble {
            scale: 0.0,
            ..Ensemble::default()
        };
        assert!(message(ensemble.combine(&[&[1.0]], 1)).contains("ensemble.scale"));
    }
}
