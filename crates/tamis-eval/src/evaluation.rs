//! Scoring a run against judgements.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::metric::{JudgedRanking, Metric};
use crate::qrels::Qrels;
use crate::run::{Run, ScoredDocument, ranked};

/// How a run is scored. The default is `trec_eval -c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationOptions {
    /// The lowest grade that counts as relevant; at least 1 (lower is taken as 1), default 1.
    /// nDCG goes by the grades themselves and does not look at it.
    pub relevance_level: i32,
    /// Whether a result whose id equals the query's id is removed before anything is cut off. BEIR does
    /// so, for collections whose queries are themselves documents (ArguAna, Quora). Off by default: where
    /// both kinds of id are plain numbers, it removes documents that only share a number with the query.
    pub remove_identical_ids: bool,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        Self {
            relevance_level: 1,
            remove_identical_ids: false,
        }
    }
}

/// Values of metrics, in the order in which the metrics were asked for; as JSON a map from name to value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores(Vec<(Metric, f64)>);

impl Scores {
    /// The value of a metric, `None` if it was not asked for.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.0.iter().find(|(own, _)| *own == metric).map(|&(_, value)| value)
    }

    /// All metrics with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, f64)> {
        self.0.iter().copied()
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (metric, value) in &self.0 {
            map.serialize_entry(metric, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<Metric, f64>::deserialize(deserializer)?;
        Ok(Self(values.into_iter().collect()))
    }
}

/// One query's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryEvaluation {
    /// The query's id.
    pub query: String,
    /// Its values.
    pub scores: Scores,
    /// Results the run has for it, after removal of identical ids where that was asked for.
    pub num_results: usize,
    /// Documents judged relevant.
    pub num_relevant: usize,
    /// How many of those are among the results.
    pub num_relevant_found: usize,
}

/// What [`evaluate`] found: means, and the values behind them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Judged queries: what the means divide by.
    pub num_queries: usize,
    /// Judged queries for which the run has no result; they count 0 in every mean.
    pub num_missing: usize,
    /// Queries of the run that are not judged; they count nowhere.
    pub num_not_judged: usize,
    /// The mean of each metric over all judged queries; 0 when there are none.
    pub mean: Scores,
    /// Every judged query, by query id.
    pub per_query: Vec<QueryEvaluation>,
}

/// Scores a run with the default [`EvaluationOptions`].
///
/// Per query the values are those of `trec_eval`: results ranked by score descending, then by document
/// id *descending*, whatever ranks the run file says; negative grades gain nothing. Means are over
/// *all* judged queries (`trec_eval -c`), those without a relevant document included, and a query
/// that the run lacks counts 0. A metric that is asked for twice is given once.
#[must_use]
pub fn evaluate(qrels: &Qrels, run: &Run, metrics: &[Metric]) -> Evaluation {
    evaluate_with(qrels, run, metrics, &EvaluationOptions::default())
}

/// Scores a run; see [`evaluate`].
#[must_use]
pub fn evaluate_with(qrels: &Qrels, run: &Run, metrics: &[Metric], options: &EvaluationOptions) -> Evaluation {
    let metrics = distinct(metrics);
    let per_query: Vec<QueryEvaluation> = qrels
        .queries()
        .map(|query| {
            let results = ranked(run.results(query).unwrap_or_default());
            evaluate_query(qrels, query, results, &metrics, options)
        })
        .collect();
    Evaluation {
        num_queries: per_query.len(),
        num_missing: per_query.iter().filter(|query| query.num_results == 0).count(),
        num_not_judged: run.iter().filter(|(query, _)| !qrels.contains_query(query)).count(),
        mean: mean(&metrics, &per_query),
        per_query,
    }
}

fn evaluate_query(
    qrels: &Qrels,
    query: &str,
    mut results: Vec<&ScoredDocument>,
    metrics: &[Metric],
    options: &EvaluationOptions,
) -> QueryEvaluation {
    if options.remove_identical_ids {
        results.retain(|result| result.id != query);
    }
    let relevance_level = options.relevance_level.max(1);
    let mut ideal: Vec<i32> = qrels
        .judgements(query)
        .map(|(_, grade)| grade)
        .filter(|&grade| grade > 0)
        .collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let ranking = JudgedRanking {
        grades: results
            .iter()
            .map(|result| qrels.grade(query, &result.id).unwrap_or(0))
            .collect(),
        num_relevant: ideal.iter().filter(|&&grade| grade >= relevance_level).count(),
        ideal,
        relevance_level,
    };
    QueryEvaluation {
        query: query.to_owned(),
        scores: Scores(metrics.iter().map(|&metric| (metric, metric.of(&ranking))).collect()),
        num_results: results.len(),
        num_relevant: ranking.num_relevant,
        num_relevant_found: ranking.num_relevant_in(None),
    }
}

fn distinct(metrics: &[Metric]) -> Vec<Metric> {
    let mut kept: Vec<Metric> = Vec::with_capacity(metrics.len());
    for metric in metrics {
        if !kept.contains(metric) {
            kept.push(*metric);
        }
    }
    kept
}

/// Sums in query order, so the same input gives the same bits.
fn mean(metrics: &[Metric], per_query: &[QueryEvaluation]) -> Scores {
    #[expect(clippy::cast_precision_loss, reason = "query counts stay far below 2^53")]
    let count = per_query.len().max(1) as f64;
    let mean_of = |metric| {
        per_query
            .iter()
            .filter_map(|query| query.scores.get(metric))
            .fold(0.0, |sum, value| sum + value)
            / count
    };
    Scores(metrics.iter().map(|&metric| (metric, mean_of(metric))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[(&str, &[(&str, f64)])]) -> Run {
        let mut run = Run::new();
        for (query, results) in lines {
            let results = results
                .iter()
                .map(|&(id, score)| ScoredDocument {
                    id: id.to_owned(),
                    score,
                })
                .collect();
            run.insert(*query, results).expect("a clean run");
        }
        run
    }

    fn metrics(names: &[&str]) -> Vec<Metric> {
        names.iter().map(|name| name.parse().expect("a metric")).collect()
    }

    #[test]
    fn missing_queries_count_as_zero_and_strangers_not_at_all() {
        let mut qrels = Qrels::new();
        for query in ["1", "2", "3", "4"] {
            qrels.insert(query, "a", 1);
        }
        let run = run(&[
            ("1", &[("a", 1.0)]),
            ("2", &[]),
            ("3", &[("b", 1.0)]),
            ("9", &[("a", 1.0)]),
        ]);
        let evaluation = evaluate(&qrels, &run, &metrics(&["mrr", "p@1", "mrr"]));
        assert_eq!(
            (
                evaluation.num_queries,
                evaluation.num_missing,
                evaluation.num_not_judged
            ),
            (4, 2, 1)
        );
        assert_eq!(evaluation.mean.get(Metric::ReciprocalRank(None)), Some(0.25));
        assert_eq!(evaluation.mean.iter().count(), 2);
        assert_eq!(evaluation.mean.get(Metric::Ndcg(None)), None);
        let ids: Vec<&str> = evaluation.per_query.iter().map(|query| query.query.as_str()).collect();
        assert_eq!(ids, ["1", "2", "3", "4"]);
    }

    #[test]
    fn a_query_that_is_a_document_is_removed_when_asked() {
        let mut qrels = Qrels::new();
        qrels.insert("a", "b", 1);
        let run = run(&[("a", &[("a", 2.0), ("b", 1.0)])]);
        let first = metrics(&["mrr"]);
        assert_eq!(evaluate(&qrels, &run, &first).mean.get(first[0]), Some(0.5));
        let options = EvaluationOptions {
            remove_identical_ids: true,
            ..EvaluationOptions::default()
        };
        assert_eq!(
            evaluate_with(&qrels, &run, &first, &options).mean.get(first[0]),
            Some(1.0)
        );
    }

    #[test]
    fn negative_grades_alone_give_zero() {
        let mut qrels = Qrels::new();
        qrels.insert("q", "a", -1);
        let every = metrics(&["ndcg", "mrr", "recall", "map", "p@1", "success@1"]);
        let evaluation = evaluate(&qrels, &run(&[("q", &[("a", 1.0)])]), &every);
        assert!(
            evaluation.mean.iter().all(|(_, value)| value.to_bits() == 0),
            "{:?}",
            evaluation.mean
        );
    }

    #[test]
    fn nothing_judged_gives_zero_means() {
        let evaluation = evaluate(&Qrels::new(), &Run::new(), &metrics(&["ndcg@10"]));
        assert_eq!(
            evaluation.mean.iter().next().expect("one metric").1.to_bits(),
            0.0_f64.to_bits()
        );
    }

    #[test]
    fn json_names_metrics_in_the_order_asked() {
        let mut qrels = Qrels::new();
        qrels.insert("q", "d", 1);
        let run = run(&[("q", &[("d", 1.0)])]);
        let evaluation = evaluate(&qrels, &run, &metrics(&["recall@100", "map"]));
        let json = serde_json::to_string(&evaluation).expect("serialisable");
        assert_eq!(
            json,
            r#"{"num_queries":1,"num_missing":0,"num_not_judged":0,"mean":{"recall@100":1.0,"map":1.0},"#.to_owned()
                + r#""per_query":[{"query":"q","scores":{"recall@100":1.0,"map":1.0},"#
                + r#""num_results":1,"num_relevant":1,"num_relevant_found":1}]}"#
        );
        let back: Evaluation = serde_json::from_str(&json).expect("readable");
        assert_eq!(back.per_query[0].scores.get(Metric::AveragePrecision(None)), Some(1.0));
    }
}
