//! Collections: documents, fields, segments, filters, hybrid search. The API boundary of Tamis.
//!
//! An [`Engine`] is a directory of [`Collection`]s. Documents are added, committed and searched through
//! immutable snapshots ([`Searcher`]).

mod bm25;
mod collection;
mod config;
mod document;
mod engine;
mod error;
mod fusion;
mod request;
mod response;
mod schema;
mod searcher;
mod stats;
mod token_map;

pub use bm25::Bm25Params;
pub use collection::Collection;
pub use config::{CollectionConfig, DEFAULT_MAX_WEIGHT, validate_name};
pub use document::{
    AddReport, Document, DocumentFailure, MAX_FIELD_VALUES, MAX_ID_BYTES, MAX_TEXT_BYTES, MAX_VECTOR_TERMS,
    StoredDocument,
};
pub use engine::{CollectionEntry, Engine};
pub use error::{Error, ErrorKind};
pub use fusion::{Fusion, FusionMethod};
pub use request::{Algorithm, MAX_QUERY_BYTES, MAX_RESULT_WINDOW, Mode, SearchRequest};
pub use response::{
    Explanation, FusedPart, Highlight, QueryTerm, SearchHit, SearchResponse, SearchWork, Snippet, TermContribution,
    Took,
};
pub use schema::{FieldSchema, FieldType, MAX_FIELDS, MAX_KEYWORD_BYTES};
pub use searcher::Searcher;
pub use stats::CollectionStats;
