//! What the reader hands to searches: slices of the postings, nothing copied.

use crate::layout::{BLOCK_BITS, BLOCK_LEN, BlockForm, KTH_STORED, ListRecord, ListWords, TermRecord, window_len};
use tamis_core::Impact;

/// All postings of one term.
#[derive(Clone, Copy, Debug)]
pub struct TermPostings<'a> {
    pub(crate) record: TermRecord,
    pub(crate) lists: &'a [ListWords],
    pub(crate) postings: &'a [u8],
    pub(crate) num_docs: u32,
    pub(crate) window_bits: u32,
}

/// The postings of one term in one window.
#[derive(Clone, Copy, Debug)]
pub struct WindowPostings<'a> {
    /// The window: positions from `window << window_bits` on.
    pub window: u32,
    /// Number of postings, at least 1.
    pub num_docs: u32,
    /// The largest impact.
    pub max_impact: u8,
    /// The postings.
    pub postings: Postings<'a>,
    /// Maxima of blocks of [`BLOCK_LEN`] positions.
    pub blocks: Blocks<'a>,
}

/// Postings of one term in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Postings<'a> {
    /// A sorted list.
    List {
        /// Positions counted from the start of the window, strictly ascending.
        ids: &'a [u16],
        /// The impact of each, never 0.
        impacts: &'a [u8],
    },
    /// One impact per position, 0 where the term is absent.
    Dense {
        /// As long as the window, rounded up with zeros to a multiple of [`BLOCK_LEN`].
        column: &'a [u8],
    },
}

/// The largest impact per block of one term in one window: exact, so also an upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks<'a> {
    /// The list is short or scattered: its postings serve as their own bounds.
    None,
    /// Only the blocks that have a posting.
    Sparse {
        /// Block numbers within the window, strictly ascending.
        blocks: &'a [u16],
        /// The largest impact of each.
        maxima: &'a [u8],
        /// Index in the list of each block's first posting; a block ends where the next one begins.
        starts: &'a [u16],
    },
    /// Every block of the window.
    Dense {
        /// The largest impact of each block, 0 for an empty one.
        maxima: &'a [u8],
        /// Index in the list of each block's first posting, and the list's length at the end (one more
        /// than there are blocks). Empty for a dense column, which needs none.
        starts: &'a [u16],
    },
}

impl<'a> TermPostings<'a> {
    /// Document frequency: the number of postings.
    #[inline]
    #[must_use]
    pub fn num_docs(&self) -> u32 {
        self.record.num_docs
    }

    /// The largest impact.
    #[inline]
    #[must_use]
    pub fn max_impact(&self) -> Impact {
        Impact::new(self.record.max_impact).expect("open checked that listed terms have a positive maximum")
    }

    /// A lower bound of the `k`-th largest impact, 0 when there are fewer than `k` postings.
    ///
    /// The k-th largest impacts for k = 10, 100 and 1000 are stored; another `k` is rounded up to the next
    /// of them, and is 0 above 1000. `k = 0` counts as 1, for which the maximum itself is known.
    #[must_use]
    pub fn kth_impact(&self, k: usize) -> u8 {
        if k <= 1 {
            return self.record.max_impact;
        }
        let stored = KTH_STORED.iter().position(|&stored| k <= stored);
        stored.map_or(0, |at| self.record.kth[at])
    }

    /// Number of windows with a posting.
    #[inline]
    #[must_use]
    pub fn num_windows(&self) -> usize {
        self.lists.len()
    }

    /// The windows that have a posting, ascending.
    #[inline]
    pub fn windows(&self) -> impl ExactSizeIterator<Item = WindowPostings<'a>> + use<'a> {
        let this = *self;
        this.lists.iter().map(move |&words| this.view(words))
    }

    /// The postings in window `window`, if there are any.
    ///
    /// One array access when the term is in all windows up to this one, a binary search otherwise.
    #[must_use]
    pub fn window(&self, window: u32) -> Option<WindowPostings<'a>> {
        let at = match self.lists.get(window as usize) {
            Some(words) if words[0] == window => window as usize,
            _ => self.lists.binary_search_by_key(&window, |words| words[0]).ok()?,
        };
        Some(self.view(self.lists[at]))
    }

    #[inline]
    fn view(&self, words: ListWords) -> WindowPostings<'a> {
        let record = ListRecord::from_words(words).expect("open checked every list");
        let len = window_len(self.num_docs, self.window_bits, record.window);
        view(&record, len, self.postings).expect("open checked every list")
    }
}

impl Blocks<'_> {
    /// Number of blocks with a posting; 0 where no maxima are stored.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Sparse { blocks, .. } => blocks.len(),
            Self::Dense { maxima, .. } => maxima.iter().filter(|&&maximum| maximum > 0).count(),
        }
    }
}

/// Cuts the slices of `record`, whose window has `window_len` positions, out of section `postings`.
///
/// `None` when they lie outside or are misaligned. A list is its ids, its impacts, padding to an even
/// offset and its blocks; a dense column is the column and its row of maxima.
#[inline]
pub(crate) fn view<'a>(record: &ListRecord, window_len: u32, postings: &'a [u8]) -> Option<WindowPostings<'a>> {
    let mut rest = postings.get(usize::try_from(record.offset).ok()?..)?;
    let mut bytes = |len: usize| rest.split_off(..len);
    let num_docs = record.num_docs as usize;
    let row_len = window_len.div_ceil(BLOCK_LEN) as usize;
    let num_blocks = usize::from(record.num_blocks);
    let (postings, row_starts) = if record.dense {
        let column = bytes(row_len << BLOCK_BITS)?;
        (Postings::Dense { column }, 0)
    } else {
        let ids = words(bytes(2 * num_docs)?)?;
        let impacts = bytes(num_docs)?;
        bytes(num_docs % 2)?;
        (Postings::List { ids, impacts }, row_len + 1)
    };
    let blocks = match record.blocks {
        BlockForm::None => Blocks::None,
        BlockForm::Sparse => Blocks::Sparse {
            blocks: words(bytes(2 * num_blocks)?)?,
            starts: words(bytes(2 * num_blocks)?)?,
            maxima: bytes(num_blocks)?,
        },
        BlockForm::Row => Blocks::Dense {
            starts: words(bytes(2 * row_starts)?)?,
            maxima: bytes(row_len)?,
        },
    };
    Some(WindowPostings {
        window: record.window,
        num_docs: record.num_docs,
        max_impact: record.max_impact,
        postings,
        blocks,
    })
}

#[inline]
fn words(bytes: &[u8]) -> Option<&[u16]> {
    bytemuck::try_cast_slice(bytes).ok()
}
