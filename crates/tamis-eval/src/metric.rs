//! What a ranked list is worth: nDCG after Järvelin and Kekäläinen (TOIS 2002), the other measures as `trec_eval`
//! defines them.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A measure of one ranked list, as `trec_eval` defines it.
///
/// The cutoff is the number of results looked at; `None` looks at all of them. Names are read and
/// written as `ndcg@10`, `mrr@10`, `mrr`, `recall@100`, `map`, `p@10`, `success@5`; read are also
/// `rr`, `r@100`, `ap`, `precision@10`, and `trec_eval`'s `ndcg_cut.10`, `ndcg_cut_10`,
/// `recip_rank`, `map_cut.10`, `recall.100`, `P.10`, `success.5`. Case is ignored.
///
/// A document counts as relevant from [`EvaluationOptions::relevance_level`] on, 1 unless said otherwise.
///
/// [`EvaluationOptions::relevance_level`]: crate::EvaluationOptions::relevance_level
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Metric {
    /// Normalised discounted cumulative gain: the grade as gain, discounted by log2(rank + 1), over the
    /// best order there can be (Järvelin and Kekäläinen, TOIS 2002; linear gain). `ndcg_cut`, `ndcg`.
    Ndcg(Option<NonZeroUsize>),
    /// One over the rank of the first relevant document, 0 if there is none within the cutoff. `recip_rank`.
    ReciprocalRank(Option<NonZeroUsize>),
    /// The share of the relevant documents that was found. `recall`.
    Recall(Option<NonZeroUsize>),
    /// The mean, over all relevant documents, of the precision at their rank; 0 for those not found. `map`, `map_cut`.
    AveragePrecision(Option<NonZeroUsize>),
    /// The share of relevant documents among the first k; k divides even when fewer were found. `P`.
    Precision(NonZeroUsize),
    /// 1 when any of the first k is relevant, else 0. `success`.
    Success(NonZeroUsize),
}

/// A name that is no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown metric {name:?}; known are ndcg@K, mrr@K, recall@K, map@K, p@K and success@K with K from 1, and ndcg, mrr, recall, map without a cutoff"
)]
pub struct UnknownMetric {
    /// The name.
    pub name: String,
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        let unknown = || UnknownMetric { name: name.to_owned() };
        let lower = name.trim().to_ascii_lowercase();
        let (measure, cutoff) = split_cutoff(&lower);
        let cutoff = match cutoff {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse::<NonZeroUsize>().map_err(|_| unknown())?)
            }
            Some(_) => return Err(unknown()),
            None => None,
        };
        match (measure, cutoff) {
            ("ndcg", _) | ("ndcg_cut", Some(_)) => Ok(Self::Ndcg(cutoff)),
            ("mrr" | "rr" | "recip_rank", _) => Ok(Self::ReciprocalRank(cutoff)),
            ("recall" | "r", _) => Ok(Self::Recall(cutoff)),
            ("map" | "ap", _) | ("map_cut", Some(_)) => Ok(Self::AveragePrecision(cutoff)),
            ("p" | "precision", Some(k)) => Ok(Self::Precision(k)),
            ("success", Some(k)) => Ok(Self::Success(k)),
            _ => Err(unknown()),
        }
    }
}

/// Splits `ndcg@10`, `ndcg_cut.10` and `ndcg_cut_10` before the cutoff.
fn split_cutoff(name: &str) -> (&str, Option<&str>) {
    if let Some((measure, cutoff)) = name.split_once(['@', '.']) {
        return (measure, Some(cutoff));
    }
    match name.rsplit_once('_') {
        Some((measure, cutoff)) if cutoff.starts_with(|first: char| first.is_ascii_digit()) => (measure, Some(cutoff)),
        _ => (name, None),
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measure, cutoff) = match *self {
            Self::Ndcg(k) => ("ndcg", k),
            Self::ReciprocalRank(k) => ("mrr", k),
            Self::Recall(k) => ("recall", k),
            Self::AveragePrecision(k) => ("map", k),
            Self::Precision(k) => ("p", Some(k)),
            Self::Success(k) => ("success", Some(k)),
        };
        match cutoff {
            Some(k) => write!(f, "{measure}@{k}"),
            None => f.write_str(measure),
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A ranked list reduced to grades: all that a metric looks at.
pub(crate) struct JudgedRanking {
    /// The grade of each result, best first; 0 where not judged.
    pub(crate) grades: Vec<i32>,
    /// All positive grades of the query, highest first: the best ranking there can be.
    pub(crate) ideal: Vec<i32>,
    /// From this grade on a document is relevant.
    pub(crate) relevance_level: i32,
    /// How many documents of the query are relevant.
    pub(crate) num_relevant: usize,
}

impl JudgedRanking {
    fn is_relevant(&self, grade: i32) -> bool {
        grade >= self.relevance_level
    }

    fn first(&self, cutoff: Option<NonZeroUsize>) -> &[i32] {
        &self.grades[..cutoff.map_or(self.grades.len(), |k| k.get().min(self.grades.len()))]
    }

    pub(crate) fn num_relevant_in(&self, cutoff: Option<NonZeroUsize>) -> usize {
        self.first(cutoff)
            .iter()
            .filter(|&&grade| self.is_relevant(grade))
            .count()
    }

    fn average_precision(&self, cutoff: Option<NonZeroUsize>) -> f64 {
        let relevant_ranks = (1_usize..)
            .zip(self.first(cutoff))
            .filter(|&(_, &grade)| self.is_relevant(grade));
        let sum = (1_usize..)
            .zip(relevant_ranks)
            .map(|(found, (rank, _))| ratio(found, rank))
            .fold(0.0, |sum, term| sum + term);
        if self.num_relevant == 0 {
            0.0
        } else {
            sum / as_f64(self.num_relevant)
        }
    }
}

impl Metric {
    /// The value of this metric for a ranking; between 0 and 1, and 0 when nothing is relevant.
    pub(crate) fn of(self, ranking: &JudgedRanking) -> f64 {
        match self {
            Self::Ndcg(k) => {
                let ideal = &ranking.ideal[..k.map_or(ranking.ideal.len(), |k| k.get().min(ranking.ideal.len()))];
                let best = discounted_gain(ideal);
                if best > 0.0 {
                    discounted_gain(ranking.first(k)) / best
                } else {
                    0.0
                }
            }
            Self::ReciprocalRank(k) => {
                let first = ranking.first(k).iter().position(|&grade| ranking.is_relevant(grade));
                first.map_or(0.0, |index| ratio(1, index + 1))
            }
            Self::Recall(k) => ratio(ranking.num_relevant_in(k), ranking.num_relevant),
            Self::AveragePrecision(k) => ranking.average_precision(k),
            Self::Precision(k) => ratio(ranking.num_relevant_in(Some(k)), k.get()),
            Self::Success(k) => f64::from(u8::from(ranking.num_relevant_in(Some(k)) > 0)),
        }
    }
}

/// Grades as gains (negative ones gain nothing), each over log2(rank + 1).
fn discounted_gain(grades: &[i32]) -> f64 {
    (2_usize..)
        .zip(grades)
        .filter(|&(_, &grade)| grade > 0)
        .map(|(place, &grade)| f64::from(grade) / as_f64(place).log2())
        .fold(0.0, |sum, gain| sum + gain)
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { as_f64(part) / as_f64(whole) }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ranks and counts of one query stay far below 2^53"
)]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_aliases_are_read() {
        for name in [
            "ndcg@10",
            "ndcg",
            "mrr@10",
            "mrr",
            "recall@100",
            "recall",
            "map",
            "map@1000",
            "p@10",
            "success@5",
        ] {
            assert_eq!(name.parse::<Metric>().expect("a canonical name").to_string(), name);
        }
        for (alias, name) in [
            ("rr", "mrr"),
            ("rr@10", "mrr@10"),
            ("recip_rank", "mrr"),
            ("R@100", "recall@100"),
            ("recall.100", "recall@100"),
            ("ndcg_cut.10", "ndcg@10"),
            ("ndcg_cut_10", "ndcg@10"),
            ("NDCG@10", "ndcg@10"),
            ("ap", "map"),
            ("map_cut_5", "map@5"),
            ("P.10", "p@10"),
            ("P_10", "p@10"),
            ("precision@1", "p@1"),
            (" success_5 ", "success@5"),
        ] {
            assert_eq!(alias.parse::<Metric>().expect("an alias").to_string(), name);
        }
    }

    #[test]
    fn names_that_are_no_metric_are_refused() {
        for name in [
            "",
            "ndgc@10",
            "ndcg@0",
            "ndcg@-1",
            "ndcg@+1",
            "ndcg@",
            "ndcg@1.5",
            "ndcg_cut",
            "map_cut",
            "p",
            "success",
            "@10",
            "p@99999999999999999999999",
        ] {
            assert_eq!(name.parse::<Metric>(), Err(UnknownMetric { name: name.to_owned() }));
        }
    }

    #[test]
    fn values_of_a_ranking_worked_out_by_hand() {
        let ranking = JudgedRanking {
            grades: vec![0, 2, -1, 1],
            ideal: vec![3, 2, 1],
            relevance_level: 1,
            num_relevant: 3,
        };
        let value = |name: &str| name.parse::<Metric>().expect("a metric").of(&ranking);
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        close(value("ndcg@2"), (2.0 / 3f64.log2()) / (3.0 + 2.0 / 3f64.log2()));
        close(
            value("ndcg"),
            (2.0 / 3f64.log2() + 1.0 / 5f64.log2()) / (3.0 + 2.0 / 3f64.log2() + 0.5),
        );
        close(value("mrr"), 0.5);
        close(value("mrr@1"), 0.0);
        close(value("recall@2"), 1.0 / 3.0);
        close(value("recall"), 2.0 / 3.0);
        close(value("map"), (0.5 + 0.5) / 3.0);
        close(value("map@3"), 0.5 / 3.0);
        close(value("p@10"), 0.2);
        close(value("success@1"), 0.0);
        close(value("success@2"), 1.0);
    }
}
