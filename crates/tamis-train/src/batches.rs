//! Batches of rows: which, in which order, with which negatives; all of it follows from seed and step number.

mod batch;
mod epoch;
mod options;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Batcher};
pub use options::BatchOptions;
