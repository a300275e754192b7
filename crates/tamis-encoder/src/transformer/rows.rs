//! Where the texts of a batch lie, and how its rows are shared out.

use rayon::prelude::*;
use std::ops::Range;
use tamis_kernels::Kernels;

/// A batch of texts as consecutive rows: `ids[ranges[t]]` are the tokens of text `t`.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Token ids of all texts, one after the other.
    pub(crate) ids: Vec<u32>,
    /// One range a text: ascending, adjacent, not empty unless the text has no row.
    pub(crate) ranges: Vec<Range<usize>>,
}

impl Rows {
    /// Appends a text.
    pub(crate) fn push(&mut self, ids: &[u32]) {
        let start = self.ids.len();
        self.ids.extend_from_slice(ids);
        self.ranges.push(start..self.ids.len());
    }
}

/// Who computes a batch: this thread alone (the others have batches of their own), or all threads together. The
/// result is the same to the bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workers {
    pub(crate) kernels: Kernels,
    /// Whether the rows and columns of this batch are shared out.
    pub(crate) shared: bool,
}

/// Values that one task should change at least, or sharing out costs more than it gains.
const VALUES_PER_TASK: usize = 1 << 14;

impl Workers {
    /// Calls `change(row number, row)` for all rows of `width` values.
    pub(crate) fn for_each_row(self, rows: &mut [f32], width: usize, change: impl Fn(usize, &mut [f32]) + Sync) {
        if self.shared {
            let rows = rows.par_chunks_exact_mut(width).enumerate();
            rows.with_min_len(VALUES_PER_TASK.div_ceil(width))
                .for_each(|(at, row)| change(at, row));
        } else {
            let rows = rows.chunks_exact_mut(width).enumerate();
            rows.for_each(|(at, row)| change(at, row));
        }
    }

    /// The results of `part` over `0..len` in about equal parts, in order; one part where nothing is shared out.
    pub(crate) fn in_parts<T: Send>(self, len: usize, part: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
        let parts = if self.shared {
            rayon::current_num_threads().min(len).max(1)
        } else {
            1
        };
        let range = |at: usize| at * len / parts..(at + 1) * len / parts;
        match parts {
            1 => vec![part(0..len)],
            _ => (0..parts).into_par_iter().map(|at| part(range(at))).collect(),
        }
    }
}
