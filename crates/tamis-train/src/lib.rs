//! Training: data, hard negatives mined with our own search, teachers, runs by gradients, and the lift.
//!
//! [`TrainingPairs`] reads pairs from JSON lines, [`TrainingSet`] finds what is the same among them (by
//! [`TextKey`], normalised text), and [`mine`] searches every query over the distinct passages with any
//! encoder and keeps [`Example`]s: a query, its passage, and passages that rank high and are not its own.
//!
//! [`Lifting`] makes an inference-free sparse model of a dense sentence encoder in closed form, from [`LiftTexts`];
//! [`write_model`] writes it.
//!
//! [`TrainingRun`] trains by gradients after a [`Recipe`]: [`TrainingData`] reads rows, a [`Batcher`] gives the batch of
//! any step, a [`Teacher`] scores it, [`tamis_encoder::training::Trainer`] takes the step, [`DevCollection`]s judge it.
//! A run that was killed goes on to the same bytes.
//!
//! ```
//! use tamis_train::{MiningOptions, TrainingPair, TrainingSet, mine};
//!
//! let rows = [("how to sift flour", "Shake the flour through a sieve."), ("what is a sieve", "A sieve is a mesh for flour.")];
//! let pairs = rows.map(|(query, text)| Ok(TrainingPair { query: query.into(), text: text.into(), ..Default::default() }));
//! let set = TrainingSet::collect(pairs)?;
//! let encoder = tamis_encoder::open("lexical")?;
//! let mined = mine(&set, encoder.as_ref(), &MiningOptions::default(), &std::env::temp_dir())?;
//! let negative = mined.examples[0].negatives[0].passage;
//! assert_eq!(set.passage(negative).text, "A sieve is a mesh for flour.");
//! # Ok::<(), tamis_train::Error>(())
//! ```

mod batches;
mod curves;
mod data;
mod error;
mod evaluation;
mod example;
mod hold_out;
mod lift;
mod mining;
mod negatives;
mod options;
mod pair;
mod passage_index;
mod recipe;
mod run;
mod sampler;
mod teacher;
mod text_key;
mod training_set;

pub use batches::{Batch, BatchOptions, Batcher};
pub use curves::{NamedLog, draw_run, draw_trade_off};
pub use data::{Candidate, DataFile, DataOptions, Row, TrainingData};
pub use error::Error;
pub use evaluation::{DevCollection, DevFigures, EvaluationOptions, mean_over};
pub use example::{Example, ExampleRecord, Negative, PassageRecord};
pub use hold_out::{HeldOut, HeldOutCounts, HoldOutOptions};
pub use lift::{
    BaseWeights, FileCounts, LiftOptions, LiftProgress, LiftReport, LiftStage, LiftTexts, Lifting, ModelSource,
    RidgeReport, Solved, SparseRows, StemTable, check_place, copy_dense, write_model,
};
pub use mining::{Mined, MiningReport, mine};
pub use negatives::{FirstSearch, NegativeOptions};
pub use options::MiningOptions;
pub use pair::{TrainingPair, TrainingPairs};
pub use recipe::{ModelOptions, PresetSummary, Recipe, preset_summaries, preset_text, recipe_names};
pub use run::{
    EndReason, EndRecord, EvaluationRecord, Finished, LogRecord, NegativesRecord, Observer, RunOptions, StartRecord,
    StepRecord, StepView, TrainingRun, read_log,
};
pub use teacher::{Combination, Teacher, TeacherKind, TeacherMember, TeacherOptions};
pub use text_key::{TextKey, normalised};
pub use training_set::{Passage, SetCounts, SetPair, TrainingSet};
