//! Which documents may be returned, in the form that costs least.

use crate::blocks::{BLOCK_BITS, BLOCK_POSITIONS};
use roaring::RoaringBitmap;
use tamis_core::DocId;
use tamis_index::Index;

/// An allow-list over documents, prepared for one search over windows.
#[derive(Clone, Copy)]
pub(crate) enum Filter<'a> {
    /// Everything may be returned.
    All,
    /// Most may: each document that reached the threshold is looked up.
    Check(&'a RoaringBitmap),
    /// Few may: a bit for every position, one word a block.
    Mask(&'a [u64]),
}

impl<'a> Filter<'a> {
    /// Prepares `allowed`, of which `num_allowed` are documents of `index`; a mask is made in `words`.
    pub(crate) fn prepare(
        index: &Index,
        (allowed, num_allowed): (&'a RoaringBitmap, u64),
        words: &'a mut Vec<u64>,
    ) -> Self {
        let num_docs = index.num_docs();
        if num_allowed >= u64::from(num_docs) / 2 {
            return Self::Check(allowed);
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
            Self::All | Self::Check(_) => None,
        }
    }

    /// Whether a document that a mask let through may be returned.
    pub(crate) fn admits(self, doc: DocId) -> bool {
        match self {
            Self::Check(allowed) => allowed.contains(doc.get()),
            Self::All | Self::Mask(_) => true,
        }
    }
}
