//! Plain row access to tensors, and where the texts of a batch lie.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

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

/// Calls `read` with the elements of a contiguous single-precision tensor.
pub(super) fn read<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(elements)) = &*storage else {
        bail!("a single-precision tensor in main memory expected");
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a contiguous tensor expected");
    };
    Ok(read(&elements[start..end]))
}

/// Calls `change(row number, row)` for all rows of a contiguous single-precision matrix, in parallel.
pub(super) fn for_each_row(tensor: &Tensor, change: impl Fn(usize, &mut [f32]) + Sync) -> Result<()> {
    let (rows, width) = tensor.dims2()?;
    if rows == 0 || width == 0 {
        return Ok(());
    }
    tensor.inplace_op1(&ByRow { width, change })
}

/// Elements that one task should change at least, or splitting costs more than it gains.
const ELEMENTS_PER_TASK: usize = 1 << 14;

struct ByRow<F> {
    width: usize,
    change: F,
}

impl<F: Fn(usize, &mut [f32]) + Sync> InplaceOp1 for ByRow<F> {
    fn name(&self) -> &'static str {
        "by-row"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(elements), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("a contiguous single-precision tensor expected");
        };
        let rows = elements[start..end].par_chunks_exact_mut(self.width);
        let least = ELEMENTS_PER_TASK.div_ceil(self.width);
        rows.with_min_len(least)
            .enumerate()
            .for_each(|(at, row)| (self.change)(at, row));
        Ok(())
    }
}
