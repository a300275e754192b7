//! What commands share that judge: runs of what was found, tables of metrics, thresholds.

use crate::exit::Exit;
use crate::output;
use std::str::FromStr;
use tamis_eval::{Evaluation, Metric, Query, QueryEvaluation, Run, ScoredDocument};

/// `METRIC=VALUE`: the least that is acceptable.
#[derive(Clone, Debug)]
pub struct Threshold {
    /// Which figure.
    pub metric: Metric,
    /// The least value.
    pub at_least: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (metric, value) = text
            .split_once('=')
            .ok_or("write METRIC=VALUE, for example ndcg@10=0.65")?;
        let metric = metric
            .parse()
            .map_err(|error: tamis_eval::UnknownMetric| error.to_string())?;
        let at_least = value.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
        Ok(Self {
            metric,
            at_least: at_least.ok_or_else(|| format!("{value:?} is not a number from 0 to 1"))?,
        })
    }
}

/// The run of what was found for each query, best first: at most `k` documents each, without the query's own id unless
/// that is kept.
pub fn run_of(queries: &[Query], hits: Vec<Vec<(String, f64)>>, k: usize, keep_identical: bool) -> anyhow::Result<Run> {
    let mut run = Run::new();
    for (query, hits) in queries.iter().zip(hits) {
        let others = hits
            .into_iter()
            .filter(|(id, _)| keep_identical || *id != query.id)
            .take(k);
        let results = others.map(|(id, score)| ScoredDocument { id, score });
        run.insert(query.id.as_str(), results.collect())?;
    }
    Ok(run)
}

/// Reports figures below their threshold; `exit` stays when there are none.
pub fn check(thresholds: &[Threshold], evaluation: &Evaluation, exit: Exit) -> Exit {
    let mut exit = exit;
    for Threshold { metric, at_least } in thresholds {
        let value = evaluation.mean.get(*metric).unwrap_or(0.0);
        if value < *at_least {
            output::note(&format!("{metric} is {value:.4}, below {at_least}"));
            exit = Exit::Threshold;
        }
    }
    exit
}

/// A table with a row for each query.
pub fn query_table(evaluation: &Evaluation) -> String {
    let metrics: Vec<String> = evaluation.mean.iter().map(|(metric, _)| metric.to_string()).collect();
    let mut header = vec!["query"];
    header.extend(metrics.iter().map(String::as_str));
    let row = |query: &QueryEvaluation| {
        let figures = query.scores.iter().map(|(_, value)| format!("{value:.4}"));
        [query.query.clone()].into_iter().chain(figures).collect()
    };
    output::table(&header, &evaluation.per_query.iter().map(row).collect::<Vec<_>>())
}

/// A table with a row for each of `rows` and a column for each metric.
pub fn table(what: &str, rows: &[(&str, &Evaluation)]) -> String {
    let metrics: Vec<String> = rows.first().map_or_else(Vec::new, |(_, first)| {
        first.mean.iter().map(|(metric, _)| metric.to_string()).collect()
    });
    let mut header = vec![what, "queries"];
    header.extend(metrics.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, evaluation)| {
            let figures = evaluation.mean.iter().map(|(_, value)| format!("{value:.4}"));
            [(*name).to_owned(), evaluation.num_queries.to_string()]
                .into_iter()
                .chain(figures)
                .collect()
        })
        .collect();
    output::table(&header, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read() {
        let threshold: Threshold = "ndcg@10=0.5".parse().expect("valid");
        assert_eq!(
            (threshold.metric.to_string().as_str(), threshold.at_least),
            ("ndcg@10", 0.5)
        );
        for bad in ["ndcg@10", "x@1=0.5", "ndcg@10=high", "ndcg@10=2"] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }
}
