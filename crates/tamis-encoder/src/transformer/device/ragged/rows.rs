//! Rows shared out to all threads, and sums over them in an order of their own.

use super::element::Element;
use candle_core::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Values that one task should change at least.
const VALUES_PER_TASK: usize = 1 << 14;

/// Rows that are summed up before their sums are: the same for any number of threads.
const ROWS_PER_SUM: usize = 128;

/// Calls `change(row number, row)` for all rows of `width` values.
pub(super) fn for_each_row<E: Element>(rows: &mut [E], width: usize, change: impl Fn(usize, &mut [E]) + Sync) {
    let rows = rows.par_chunks_exact_mut(width).enumerate();
    rows.with_min_len(VALUES_PER_TASK.div_ceil(width))
        .for_each(|(at, row)| change(at, row));
}

/// Adds `other` to `values`, one by one.
pub(super) fn add_all<E: Element>(values: &mut [E], other: &[E]) {
    let parts = values
        .par_chunks_mut(VALUES_PER_TASK)
        .zip(other.par_chunks(VALUES_PER_TASK));
    parts.for_each(|(values, other)| E::add_row(values, other));
}

/// Multiplies `values` with `other`, one by one.
pub(super) fn scale_all<E: Element>(values: &mut [E], other: &[E]) {
    let parts = values
        .par_chunks_mut(VALUES_PER_TASK)
        .zip(other.par_chunks(VALUES_PER_TASK));
    parts.for_each(|(values, other)| E::scale_by(values, other));
}

/// Adds all rows to `sum`.
pub(super) fn add_rows<E: Element>(rows: &[E], sum: &mut [E]) {
    let parts = rows.par_chunks(ROWS_PER_SUM * sum.len()).map(|rows| {
        let mut part = vec![E::zero(); sum.len()];
        rows.chunks_exact(part.len()).for_each(|row| E::add_row(&mut part, row));
        part
    });
    let parts: Vec<Vec<E>> = parts.collect();
    parts.iter().for_each(|part| E::add_row(sum, part));
}

/// Calls `change(row number, row, sums)` for all rows of `width` values; gives both sums, which begin at zero.
pub(super) fn change_and_sum<E: Element>(
    rows: &mut [E],
    width: usize,
    change: impl Fn(usize, &mut [E], [&mut [E]; 2]) + Sync,
) -> [Vec<E>; 2] {
    let parts = rows
        .par_chunks_mut(ROWS_PER_SUM * width)
        .enumerate()
        .map(|(part, rows)| {
            let [mut first, mut second] = [vec![E::zero(); width], vec![E::zero(); width]];
            for (at, row) in rows.chunks_exact_mut(width).enumerate() {
                change(part * ROWS_PER_SUM + at, row, [&mut first, &mut second]);
            }
            [first, second]
        });
    let parts: Vec<[Vec<E>; 2]> = parts.collect();
    let mut sums = [vec![E::zero(); width], vec![E::zero(); width]];
    for part in &parts {
        sums.iter_mut().zip(part).for_each(|(sum, part)| E::add_row(sum, part));
    }
    sums
}

/// The rows of each range, for writing; ranges are in order and do not overlap.
pub(super) fn split<'a, E>(rows: &'a mut [E], width: usize, ranges: &[Range<usize>]) -> Result<Vec<&'a mut [E]>> {
    let (mut rest, mut at) = (rows, 0);
    let parts = ranges.iter().map(|range| {
        let skipped = range.start.checked_sub(at).map(|rows| rows * width);
        let length = range.len() * width;
        let Some(skipped) = skipped.filter(|skipped| skipped + length <= rest.len()) else {
            candle_core::bail!("rows {range:?} are not there or come twice")
        };
        let (_, tail) = std::mem::take(&mut rest).split_at_mut(skipped);
        let (part, tail) = tail.split_at_mut(length);
        (rest, at) = (tail, range.end.max(range.start));
        Ok(part)
    });
    parts.collect()
}
