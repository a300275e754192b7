//! Evaluation of ranked runs: judged collections, qrels, runs and the metrics of `trec_eval`.
//!
//! [`BeirCollection`] reads a BEIR collection from its folder or straight from its archive.
//! [`Qrels`] holds relevance judgements and [`Run`] holds ranked results, both read and written as
//! TREC files. [`evaluate`] scores one against the other with [`Metric`]s and gives an
//! [`Evaluation`]; a [`Comparison`] tells whether two of them differ by more than chance.
//!
//! This crate scores *runs* and never sees an engine, so it can judge any system. It writes to no
//! disk except the run and qrels files it is asked to write, and takes nothing on trust from the
//! files it reads: whatever they hold, the answer is a value or an [`Error`] that names the place.

mod beir;
mod comparison;
mod error;
mod evaluation;
mod lines;
mod metric;
mod qrels;
mod run;
mod text_file;

pub use beir::{BeirCollection, Document, Documents, Query};
pub use comparison::Comparison;
pub use error::{Error, Place};
pub use evaluation::{Evaluation, EvaluationOptions, QueryEvaluation, Scores, evaluate, evaluate_with};
pub use lines::{Line, LineReader, MAX_LINE_BYTES};
pub use metric::{Metric, UnknownMetric};
pub use qrels::Qrels;
pub use run::{Run, ScoredDocument};
pub use text_file::write as write_text_file;
