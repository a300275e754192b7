//! Collections: documents, fields, segments, filters, hybrid search. The API boundary of Tamis.
//!
//! An [`Engine`] is a directory of [`Collection`]s. Documents are added, committed and searched through
//! immutable snapshots ([`Searcher`]).

mod allowed;
mod bits;
mod bm25;
mod bm25_params;
mod checksum;
mod collection;
mod component;
mod config;
mod document;
mod engine;
mod error;
mod fields;
mod filter;
mod fusion;
mod impacts;
mod lock;
mod manifest;
mod prepare;
mod ranking;
mod request;
mod response;
mod schema;
mod searcher;
mod snapshot;
mod snippet;
mod sparse;
mod stats;
mod store;
mod term_log;
mod token_map;
mod words;
mod writer;

pub use bm25_params::Bm25Params;
pub use collection::Collection;
pub use config::{CollectionConfig, DEFAULT_MAX_WEIGHT, validate_name};
pub use document::{
    AddReport, Document, DocumentFailure, MAX_FIELD_VALUES, MAX_ID_BYTES, MAX_TEXT_BYTES, MAX_VECTOR_TERMS,
    StoredDocument,
};
pub use engine::{CollectionEntry, Engine};
pub use error::{Error, ErrorKind};
pub use filter::{Filter, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_VALUES};
pub use fusion::{Fusion, FusionMethod};
pub use request::{Algorithm, MAX_QUERY_BYTES, MAX_RESULT_WINDOW, Mode, SearchRequest};
pub use response::{
    Explanation, FusedPart, Highlight, QueryTerm, SearchHit, SearchResponse, SearchWork, Snippet, TermContribution,
    Took,
};
pub use schema::{FieldSchema, FieldType, MAX_FIELDS, MAX_KEYWORD_BYTES};
pub use searcher::Searcher;
pub use stats::CollectionStats;
