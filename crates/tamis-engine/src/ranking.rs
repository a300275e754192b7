//! Lists of documents over all segments of a snapshot, in the one order of results.

use crate::snapshot::Snapshot;
use std::cmp::Ordering;
use tamis_core::DocId;

/// A document of a snapshot with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked<S> {
    pub(crate) segment: usize,
    pub(crate) doc: DocId,
    pub(crate) score: S,
}

impl<S> Ranked<S> {
    pub(crate) fn place(&self) -> (usize, DocId) {
        (self.segment, self.doc)
    }

    pub(crate) fn map<T>(self, score: impl FnOnce(S) -> T) -> Ranked<T> {
        Ranked {
            segment: self.segment,
            doc: self.doc,
            score: score(self.score),
        }
    }
}

/// Keeps the `k` best, best first: by descending score, equal scores by ascending external id (bytes).
pub(crate) fn best<S: Copy>(
    mut hits: Vec<Ranked<S>>,
    k: usize,
    snapshot: &Snapshot,
    compare: impl Fn(&S, &S) -> Ordering,
) -> Vec<Ranked<S>> {
    let id = |hit: &Ranked<S>| snapshot.segments[hit.segment].impacts.id(hit.doc);
    hits.sort_unstable_by(|a, b| compare(&b.score, &a.score).then_with(|| id(a).cmp(id(b))));
    hits.truncate(k);
    hits
}
