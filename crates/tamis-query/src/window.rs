//! One search over windows: what is fixed for the query, and what a window needs.

use crate::blocks::{BLOCK_BITS, BlockSet};
use crate::filter::Filter;
use crate::scratch::Space;
use crate::stats::SearchStats;
use tamis_core::{Hit, Score};
use tamis_index::{Blocks, Index, Postings, TermPostings, WindowPostings};
use tamis_kernels::{Column, Kernels, prefetch};

/// Cache lines that are asked for at the beginning of a list.
const LINES: usize = 8;

/// A query term that the index knows.
#[derive(Clone, Copy)]
pub(crate) struct QueryTerm<'a> {
    pub(crate) weight: u16,
    pub(crate) postings: TermPostings<'a>,
}

/// What one query term has in one window.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) weight: u16,
    pub(crate) postings: WindowPostings<'a>,
}

impl<'a> Part<'a> {
    /// The dense column from position `start` to `end` of the window, if the part is one.
    pub(crate) fn column(&self, start: usize, end: usize) -> Option<Column<'a>> {
        match self.postings.postings {
            Postings::Dense { column } => Some(Column {
                bytes: &column[start..end],
                weight: self.weight,
            }),
            Postings::List { .. } => None,
        }
    }

    /// Whether the part is a list that has no block maxima because it is short or scattered.
    pub(crate) fn is_scattered(&self) -> bool {
        matches!(
            (self.postings.postings, self.postings.blocks),
            (Postings::List { .. }, Blocks::None)
        )
    }

    /// The most that the part can add to a score.
    pub(crate) fn bound(&self) -> u32 {
        u32::from(self.weight) * u32::from(self.postings.max_impact)
    }

    /// Adds the blocks that a list has postings in to `touched`; of a column, nothing.
    pub(crate) fn touch_blocks(&self, touched: &mut BlockSet) {
        match (self.postings.blocks, self.postings.postings) {
            (Blocks::Sparse { blocks, .. }, _) => blocks.iter().for_each(|&block| touched.insert(block)),
            (_, Postings::List { ids, .. }) => ids.iter().for_each(|&id| touched.insert(id >> BLOCK_BITS)),
            (_, Postings::Dense { .. }) => {}
        }
    }

    /// Asks for what bounding or scoring will read first.
    pub(crate) fn prefetch(&self) {
        if let Postings::List { ids, impacts } = self.postings.postings {
            prefetch(ids, LINES);
            prefetch(impacts, LINES / 2);
        }
        match self.postings.blocks {
            Blocks::None => {}
            Blocks::Sparse { blocks, maxima, .. } => {
                prefetch(blocks, LINES);
                prefetch(maxima, LINES / 2);
            }
            Blocks::Dense { maxima, .. } => prefetch(maxima, 1),
        }
    }

    pub(crate) fn is_dense(&self) -> bool {
        matches!(self.postings.postings, Postings::Dense { .. })
    }
}

/// Adds `columns`, eight at a time, to `sums`.
pub(crate) fn add_columns<'a>(kernels: Kernels, sums: &mut [u32], columns: impl Iterator<Item = Column<'a>>) {
    let mut group = [Column { bytes: &[], weight: 0 }; 8];
    let mut len = 0;
    for column in columns {
        group[len] = column;
        len += 1;
        if len == group.len() {
            kernels.accumulate_columns(sums, &group);
            len = 0;
        }
    }
    kernels.accumulate_columns(sums, &group[..len]);
}

/// A search that is under way.
pub(crate) struct Pass<'a> {
    pub(crate) index: &'a Index,
    pub(crate) kernels: Kernels,
    pub(crate) filter: Filter<'a>,
    pub(crate) space: &'a mut Space,
    pub(crate) stats: SearchStats,
    /// Whether documents were scored already, so that the threshold says something.
    pub(crate) is_settled: bool,
    /// A score that `k` documents are known to reach, though they were not offered yet.
    pub(crate) floor: u32,
    pub(crate) backoff: Backoff,
}

/// Bounding a window only to score all of it wastes the bounds. After such a window the next one is not
/// bounded; after two in a row, the next two; and so on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Windows not to be bounded.
    left: u32,
    /// How many it will be after the next waste.
    next: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { left: 0, next: 1 }
    }
}

/// Where a window lies.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// Position of its first document.
    pub(crate) first: u32,
    /// Number of documents.
    pub(crate) len: usize,
}

impl Window {
    pub(crate) fn new(index: &Index, number: u32) -> Self {
        let first = number << index.window_bits();
        let len = (index.num_docs() - first).min(1 << index.window_bits());
        Self {
            first,
            len: len as usize,
        }
    }
}

impl Pass<'_> {
    /// The lowest score that may still enter.
    pub(crate) fn threshold(&self) -> u32 {
        self.space.top.threshold().get().max(self.floor)
    }

    /// Whether this window should not be bounded; counts it.
    pub(crate) fn is_backing_off(&mut self) -> bool {
        let is_backing_off = self.backoff.left > 0;
        self.backoff.left = self.backoff.left.saturating_sub(1);
        is_backing_off
    }

    /// Notes that bounds were wasted.
    pub(crate) fn back_off(&mut self) {
        let next = self.backoff.next;
        self.backoff = Backoff {
            left: next,
            next: next.saturating_mul(2),
        };
    }

    /// Notes that bounds were worth it.
    pub(crate) fn stop_backing_off(&mut self) {
        self.backoff = Backoff::default();
    }

    /// Offers what was found in `window` to the result.
    pub(crate) fn offer_found(&mut self, window: Window) {
        let Space { found, top, .. } = &mut *self.space;
        for found in found.drain(..) {
            let score = Score::new(found.sum);
            // Padding after the last document of a window has sums of zero and never gets here.
            if score < top.threshold() {
                continue;
            }
            let doc = self.index.doc_of(window.first + found.position);
            if self.filter.admits(doc) {
                top.push(Hit::new(score, doc));
            }
        }
    }
}
