//! The memory of a search, kept between queries.

use crate::blocks::BlockSet;
use crate::quantised::QuantisedQuery;
use crate::runs::Run;
use crate::window::{Part, QueryTerm};
use tamis_core::{Hit, TopK};
use tamis_kernels::Found;

/// Positions of the largest window.
pub(crate) const WINDOW_POSITIONS: usize = 1 << 16;

/// Blocks of the largest window.
pub(crate) const WINDOW_BLOCKS: usize = 1 << 10;

/// All memory that a search needs, reused by the next one: after a few queries nothing is allocated.
///
/// About 270 KiB, plus 32 bytes a wanted hit and 250 bytes a query term; a filter adds one bit a document
/// of the index, or two bytes a term of it. One per thread; any index and any parameters may share it.
pub struct Scratch {
    pub(crate) query: QuantisedQuery,
    pub(crate) hits: Vec<Hit>,
    /// Allowed positions of a filtered search, one bit each.
    pub(crate) mask: Vec<u64>,
    /// Query weight of every term of the index, all zero between searches.
    pub(crate) term_weights: Vec<u16>,
    pub(crate) terms: Vec<QueryTerm<'static>>,
    pub(crate) parts: Vec<Part<'static>>,
    /// Windows with their bounds.
    pub(crate) order: Vec<Found>,
    pub(crate) space: Space,
}

/// What scoring a window needs.
pub(crate) struct Space {
    /// One sum for every position of a window; all zero between windows.
    pub(crate) sums: Box<[u32; WINDOW_POSITIONS]>,
    /// One upper bound for every block of a window.
    pub(crate) bounds: Box<[u32; WINDOW_BLOCKS]>,
    /// Blocks that may still be scored, with their bounds.
    pub(crate) candidates: Vec<Found>,
    /// Blocks being scored, ascending.
    pub(crate) batch: Vec<u16>,
    /// What the lists have in those blocks.
    pub(crate) runs: Vec<Run>,
    pub(crate) found: Vec<Found>,
    /// Sums of some positions of a window.
    pub(crate) sample: Vec<u32>,
    /// Blocks of the window that were scored already; empty between windows.
    pub(crate) done: BlockSet,
    /// The blocks of the batch; empty between batches.
    pub(crate) members: BlockSet,
    /// Blocks with a posting of a window that has few; empty between windows.
    pub(crate) touched: BlockSet,
    pub(crate) top: TopK,
}

impl Scratch {
    /// Memory for searches.
    #[must_use]
    pub fn new() -> Self {
        Self {
            query: QuantisedQuery::default(),
            hits: Vec::new(),
            mask: Vec::new(),
            term_weights: Vec::new(),
            terms: Vec::new(),
            parts: Vec::new(),
            order: Vec::new(),
            space: Space {
                sums: zeros(),
                bounds: zeros(),
                candidates: Vec::new(),
                batch: Vec::new(),
                runs: Vec::new(),
                found: Vec::new(),
                sample: Vec::new(),
                done: BlockSet::default(),
                members: BlockSet::default(),
                touched: BlockSet::default(),
                top: TopK::new(0),
            },
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// Zeros on the heap, without passing over the stack.
fn zeros<const N: usize>() -> Box<[u32; N]> {
    let zeros: Box<[u32]> = vec![0; N].into();
    zeros.try_into().expect("the slice has N elements")
}

/// Empties a vector so that it can hold what borrows from somewhere else, keeping its memory.
///
/// Collecting a vector's own iterator reuses the allocation when both element types have the same
/// layout, which they have here: they differ in a lifetime.
pub(crate) fn recycle<A, B>(mut vector: Vec<A>) -> Vec<B> {
    vector.clear();
    vector
        .into_iter()
        .map(|_| unreachable!("the vector was emptied"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycling_keeps_the_memory() {
        let mut vector: Vec<&'static str> = Vec::with_capacity(37);
        vector.push("word");
        let place = vector.as_ptr() as usize;
        let text = String::from("borrowed");
        let mut again: Vec<&str> = recycle(vector);
        assert!(again.is_empty() && again.capacity() == 37 && again.as_ptr() as usize == place);
        again.push(&text);
        assert_eq!(again, ["borrowed"]);
    }
}
