//! Training data (pairs of a query and its passage, hard negatives mined with our own search) and the lift.
//!
//! [`TrainingPairs`] reads pairs from JSON lines, [`TrainingSet`] finds what is the same among them (by
//! [`TextKey`], normalised text), and [`mine`] searches every query over the distinct passages with any
//! encoder and keeps [`Example`]s: a query, its passage, and passages that rank high and are not its own.
//!
//! [`Lifting`] makes an inference-free sparse model of a dense sentence encoder in closed form, from [`LiftTexts`];
//! [`write_model`] writes it. The trainer by gradients (losses, regularisers, schedules, checkpoints) is not here yet.
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
mod data;
mod error;
mod evaluation;
mod example;
mod lift;
mod mining;
mod options;
mod pair;
mod passage_index;
mod sampler;
mod text_key;
mod training_set;

pub use batches::{Batch, BatchOptions, Batcher};
pub use data::{Candidate, DataFile, DataOptions, Row, TrainingData};
pub use error::Error;
pub use evaluation::{DevCollection, DevFigures, EvaluationOptions, mean_over};
pub use example::{Example, ExampleRecord, Negative, PassageRecord};
pub use lift::{
    FileCounts, LiftOptions, LiftProgress, LiftReport, LiftStage, LiftTexts, Lifting, ModelSource, RidgeReport, Solved,
    SparseRows, StemTable, check_place, write_model,
};
pub use mining::{Mined, MiningReport, mine};
pub use options::MiningOptions;
pub use pair::{TrainingPair, TrainingPairs};
pub use text_key::{TextKey, normalised};
pub use training_set::{Passage, SetCounts, SetPair, TrainingSet};
