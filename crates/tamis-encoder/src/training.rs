//! Training: what is minimised, and how.
//!
//! A [`Loss`] ranks documents, [`Penalties`] keep representations sparse under their [`Schedule`]s or a [`Controller`],
//! [`AdamW`] follows the [`Gradients`]. Everything works in single and in double precision (gradients are checked in
//! the latter) and gives the same bytes for any number of threads.

mod adamw;
mod batch;
mod controller;
mod gradients;
mod loss;
mod randomness;
mod regulariser;
mod schedule;
mod span;
mod sparsity;
mod teacher;
mod text_model;
mod top_k;
mod trainer;
mod trainer_config;
mod variable;

pub use adamw::{AdamW, AdamWOptions, ParameterGroup};
pub use batch::TextBatch;
pub use controller::{Controlled, Controller, ControllerOptions, ControllerState};
pub use gradients::Gradients;
pub use loss::{
    Candidates, Contrastive, Hardness, Kl, Loss, LossInput, LossValue, MarginMse, MarginPairs, OpenSearchRanking,
    SentenceTransformersRanking, Symmetric, TermTargets, Weighted,
};
pub use randomness::{Randomness, Site, TextRows, dropout};
pub use regulariser::{
    ColumnWeighting, ColumnWeights, DocumentFrequencies, DocumentFrequencyOptions, Flops, Grouping, Penalties, Penalty,
    PenaltyInput, Regulariser, Side,
};
pub use schedule::{Decay, LearningRate, Ramp, Schedule, StepConvention};
pub use span::Span;
pub use sparsity::Sparsity;
pub use teacher::{Ensemble, Moments, Rescaling, missing_positives};
pub use text_model::TextModel;
pub use top_k::top_k;
pub use trainer::{StepOutcome, Trainer};
pub use trainer_config::TrainerConfig;
pub use variable::NamedVariable;

pub use crate::checkpoint::{
    DenseTexts, LiftedTexts, Pass, StartOptions, StepTexts, TableStart, TextStates, TrainableDense, TrainableLift,
    TrainableModel, TrainableOptions,
};

use crate::Error;

/// Says that an option is out of range.
fn refused(option: impl Into<String>, value: impl ToString, allowed: &'static str) -> Error {
    Error::TrainingOption {
        option: option.into(),
        value: value.to_string(),
        allowed,
    }
}

/// Refuses what is not a finite number above 0.
fn positive(option: impl Into<String>, value: f64) -> Result<(), Error> {
    match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => Err(refused(option, value, "a finite number above 0")),
    }
}

/// Refuses what is not a finite number of 0 or more.
fn not_negative(option: impl Into<String>, value: f64) -> Result<(), Error> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(refused(option, value, "a finite number of 0 or more")),
    }
}
