//! A training run: steps, log, evaluations, checkpoints, the model at the end.

mod card;
mod folder;
mod log;
mod model;
mod observer;
mod options;
mod state;
mod training;
mod window;

pub use log::{EndReason, EndRecord, EvaluationRecord, LogRecord, NegativesRecord, StartRecord, StepRecord, read_log};
pub use observer::{Observer, StepView};
pub use options::RunOptions;
pub use training::{Finished, TrainingRun};
