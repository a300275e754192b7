//! Top-k retrieval over an impact index: exhaustive, pruned, filtered; all exact.
//!
//! [`search`] gives the `k` best documents of an index for a sparse query. Scores are sums of integer
//! products, so *exact* is meant to the bit: every [`Algorithm`] returns the same list of (document,
//! score) as the naive [`Algorithm::Oracle`], ties included (score descending, document ascending).
//!
//! A query runs in steps: weights become integers ([`QuantisedQuery`]), a starting threshold comes from
//! stored k-th impacts, windows of documents are visited best bound first, and each window is scored
//! exhaustively or block by block, whichever is estimated to cost less. A [`Scratch`] keeps all memory
//! between queries; [`SearchStats`] says what was done.

mod block_max;
mod blocks;
mod cost;
mod error;
mod exhaustive;
mod filter;
mod forward;
mod oracle;
mod params;
mod quantised;
mod runs;
mod scratch;
mod search;
mod stats;
mod window;

pub use error::Error;
pub use params::{Algorithm, SearchParams};
pub use quantised::QuantisedQuery;
pub use scratch::Scratch;
pub use search::{SearchResult, search};
pub use stats::{SearchStats, Strategy};
