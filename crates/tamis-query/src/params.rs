//! What to search for, apart from the query itself.

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

/// How to search. All of them return the same list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// The cheapest by estimate, chosen for every window. The default.
    #[default]
    Auto,
    /// Scores every document by itself over the forward index: slow, and what all others are held to.
    Oracle,
    /// Accumulates every posting of every query term, window by window.
    Exhaustive,
    /// Scores only blocks whose upper bound can still enter the result.
    BlockMax,
}

/// How many results of which documents, and how to find them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchParams<'a> {
    /// How many hits are wanted; fewer come back when fewer documents share a term with the query.
    pub k: usize,
    /// How to search.
    pub algorithm: Algorithm,
    /// Only these documents may be returned (ids without a document are ignored); `None` allows all.
    pub filter: Option<&'a RoaringBitmap>,
}

impl SearchParams<'_> {
    /// The `k` best of all documents, found in the cheapest way.
    #[must_use]
    pub const fn top(k: usize) -> Self {
        Self {
            k,
            algorithm: Algorithm::Auto,
            filter: None,
        }
    }
}
