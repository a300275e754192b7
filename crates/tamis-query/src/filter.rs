//! Which documents may be returned, in the form that costs least.

use crate::blocks::{BLOCK_BITS, BLOCK_POSITIONS};
use roaring::RoaringBitmap;
use tamis_core::DocId;
use tamis_index::Index;

/// What looking up the documents that reach the threshold for one hit costs, in bits of a mask set:
/// four or so have to be looked up, a few tens of nanoseconds each.
const LOOK_UP: f64 = 20.0;

/// An allow-list over documents, prepared for one search over windows.
#[derive(Clone, Copy)]
pub(crate) enum Filter<'a> {
    /// Everything may be returned.
    All,
    /// Many may: each document that reached the threshold is looked up.
    Check {
        allowed: &'a RoaringBitmap,
        /// Documents of the index that are not allowed.
        num_excluded: usize,
    },
    /// Few may: a bit for every position, one word a block.
    Mask(&'a [u64]),
}

impl<'a> Filter<'a> {
    /// Prepares `allowed`, of which `num_allowed` are documents of `index`, for a search for `k`; a mask
    /// is made in `words`.
    pub(crate) fn prepare(
        index: &Index,
        (allowed, num_allowed): (&'a RoaringBitmap, u64),
        k: usize,
        words: &'a mut Vec<u64>,
    ) -> Self {
        let num_docs = index.num_docs();
        let num_looked_up = k as f64 * f64::from(num_docs) / num_allowed as f64;
        if num_looked_up * LOOK_UP < num_allowed as f64 {
            let num_excluded = num_docs as usize - usize::try_from(num_allowed).expect("at most num_docs");
            return Self::Check { allowed, num_excluded };
        }
        words.clear();
        words.resize((num_docs as usize).div_ceil(BLOCK_POSITIONS), 0);
        for doc in allowed.iter().take_while(|&doc| doc < num_docs) {
            let position = index.position_of(DocId::new(doc));
            words[position as usize >> BLOCK_BITS] |= 1 << (position % 64);
        }
        Self::Mask(words)
    }

    /// The words of the window from `first` on, if there is a mask.
    pub(crate) fn mask(self, first: u32, len: usize) -> Option<&'a [u64]> {
        match self {
            Self::Mask(words) => {
                let start = first as usize >> BLOCK_BITS;
                Some(&words[start..(start + len.div_ceil(BLOCK_POSITIONS)).min(words.len())])
            }
            Self::All | Self::Check { .. } => None,
        }
    }

    /// How many documents without permission may be among those that a mask lets through.
    pub(crate) fn num_unmasked(self) -> usize {
        match self {
            Self::Check { num_excluded, .. } => num_excluded,
            Self::All | Self::Mask(_) => 0,
        }
    }

    /// Whether a document that a mask let through may be returned.
    pub(crate) fn admits(self, doc: DocId) -> bool {
        match self {
            Self::Check { allowed, .. } => allowed.contains(doc.get()),
            Self::All | Self::Mask(_) => true,
        }
    }
}
