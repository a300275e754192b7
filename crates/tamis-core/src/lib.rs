//! Ground floor of Tamis: the types every other crate speaks in.
//!
//! Ids ([`DocId`], [`TermId`]), vectors ([`SparseVector`]), quantised weights ([`Impact`]), integer
//! scores ([`Score`]) with a proof that they cannot wrap, results ([`Hit`], [`TopK`]), the term
//! dictionary ([`Vocabulary`]) and the checksummed [`container`] that all files are written in.
//!
//! This crate performs no I/O except over [`std::io::Read`] and [`std::io::Write`].

pub mod container;
mod fingerprint;
mod hit;
mod ids;
mod impact;
mod integer_rule;
mod score;
mod topk;
mod vector;
mod vocabulary;

pub use fingerprint::Fingerprint;
pub use hit::Hit;
pub use ids::{DocId, TermId};
pub use impact::{Impact, ImpactError, Quantiser};
pub use integer_rule::{INTEGER_RULES, IntegerRule, ParseIntegerRuleError};
pub use score::{MAX_IMPACT, MAX_QUERY_TERMS, MAX_QUERY_WEIGHT, Score};
pub use topk::TopK;
pub use vector::{SparseVector, VectorError};
pub use vocabulary::{Vocabulary, VocabularyError};
