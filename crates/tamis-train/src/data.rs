//! What is trained on: rows of queries, passages and negatives, of any of the forms in use, as one set.

mod collection;
mod line;
mod options;
mod reading;
mod training_data;

pub use options::DataOptions;
pub(crate) use training_data::listed;
pub use training_data::{Candidate, DataFile, Row, TrainingData};
