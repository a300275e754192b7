//! The reference: what every kernel computes, in plain Rust.

use crate::kernels::{BLOCK_SUMS, Column, Found};

/// Postings per turn of the unrolled loop.
const UNROLL: usize = 8;

pub(crate) fn accumulate_list<const N: usize>(sums: &mut [u32; N], ids: &[u16], impacts: &[u8], weight: u32) {
    const { assert!(N.is_power_of_two()) }
    let len = ids.len().min(impacts.len());
    let (id_chunks, id_rest) = ids[..len].as_chunks::<UNROLL>();
    let (impact_chunks, impact_rest) = impacts[..len].as_chunks::<UNROLL>();
    for (ids, impacts) in id_chunks.iter().zip(impact_chunks) {
        for (&id, &impact) in ids.iter().zip(impacts) {
            let sum = &mut sums[usize::from(id) & (N - 1)];
            *sum = sum.wrapping_add(u32::from(impact) * weight);
        }
    }
    for (&id, &impact) in id_rest.iter().zip(impact_rest) {
        let sum = &mut sums[usize::from(id) & (N - 1)];
        *sum = sum.wrapping_add(u32::from(impact) * weight);
    }
}

pub(crate) fn accumulate_columns(sums: &mut [u32], columns: &[Column<'_>]) {
    for column in columns {
        for (sum, &byte) in sums.iter_mut().zip(column.bytes) {
            *sum = sum.wrapping_add(u32::from(byte) * u32::from(column.weight));
        }
    }
}

pub(crate) fn find_at_least(sums: &[u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
    for (position, &sum) in (base..).zip(sums) {
        if sum >= threshold {
            found.push(Found { position, sum });
        }
    }
}

pub(crate) fn drain_at_least(sums: &mut [u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
    find_at_least(sums, threshold, base, found);
    sums.fill(0);
}

pub(crate) fn count_at_least(sums: &[u32], threshold: u32) -> usize {
    sums.iter().filter(|&&sum| sum >= threshold).count()
}

pub(crate) fn keep_masked(sums: &mut [u32], mask: &[u64]) {
    for (sums, &word) in sums.chunks_mut(64).zip(mask) {
        for (bit, sum) in sums.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *sum = 0;
            }
        }
    }
}

pub(crate) fn add_block_maxima(bounds: &mut [u32], blocks: &[[u32; BLOCK_SUMS]], at_least: u32) {
    for (bound, block) in bounds.iter_mut().zip(blocks) {
        if *bound >= at_least {
            *bound = bound.wrapping_add(block.iter().copied().fold(0, u32::max));
        }
    }
}
