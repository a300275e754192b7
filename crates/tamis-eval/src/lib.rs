//! Evaluation of ranked runs: qrels, runs, BEIR collections, metrics.
