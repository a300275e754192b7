//! Teachers: who tells the model how well documents answer a query.
//!
//! Scores come with the data, from a sparse or dense encoder, from BM25, or from several of them together; nothing of it
//! needs Python. Distillation into sparse encoders by margins is Formal et al., 2021 (SPLADE v2), after Hofstätter et
//! al., 2020; heterogeneous teachers are Geng et al., 2024.

mod cache;
mod options;
mod scorer;

pub use options::{Combination, TeacherKind, TeacherMember, TeacherOptions};
pub use scorer::Teacher;

pub(crate) use cache::{TeacherCache, fill_scores};
pub(crate) use scorer::{Scored, bm25, passage_text};
