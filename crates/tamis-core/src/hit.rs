//! One result, and the total order of results.

use crate::{DocId, Score};
use std::cmp::Ordering;

/// A document with its score.
///
/// Hits are ordered best first: `a < b` when `a` ranks before `b`, that is by descending score and
/// then by ascending document. The order is total, so a result list is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hit {
    /// The score, above zero in every result list.
    pub score: Score,
    /// The document.
    pub doc: DocId,
}

impl Hit {
    /// Makes a hit.
    #[must_use]
    pub const fn new(score: Score, doc: DocId) -> Self {
        Self { score, doc }
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.cmp(&self.score).then(self.doc.cmp(&other.doc))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
