//! Lifting: from a dense sentence encoder to an inference-free sparse model, in closed form.
//!
//! [`LiftTexts`] samples queries and background texts, [`Lifting`] counts stems, encodes words, queries and some
//! documents and then solves for W as often as there are lambdas to try; [`write_model`] writes the directory that
//! `tamis_encoder::open` opens.

mod card;
mod dense_vectors;
mod model_dir;
mod options;
mod ridge;
mod solve;
mod stem_table;
mod texts;

pub use model_dir::{ModelSource, check_place, copy_dense, write_model};
pub use options::{BaseWeights, LiftOptions};
pub use ridge::{RidgeReport, SparseRows};
pub use solve::{LiftProgress, LiftReport, LiftStage, Lifting, Solved};
pub use stem_table::StemTable;
pub use texts::{FileCounts, LiftTexts};
