//! Scoring only blocks whose upper bound can still enter the result.
//!
//! Block-max pruning after Mallia, Suel and Tonellotto (SIGIR 2024): the bound of a block of documents
//! is the sum over terms of query weight times the largest impact of the term in the block; blocks are
//! scored best bound first until no bound reaches the threshold. Ours computes exact integer bounds
//! with the same kernels that sum documents, scores blocks in growing batches (so that each posting
//! list is walked once a batch, not once a block), admits ties at the threshold, and gives a window up
//! to [`exhaustive`] scoring when more blocks survive than that costs.

use crate::blocks::{BLOCK_BITS, BLOCK_POSITIONS, BlockSet};
use crate::scratch::{Space, WINDOW_BLOCKS, WINDOW_POSITIONS};
use crate::window::{Part, Pass, Window, add_columns};
use crate::{cost, exhaustive};
use std::cmp::Reverse;
use tamis_index::{Blocks, Postings};
use tamis_kernels::{Column, Kernels};

/// The first batch has this many blocks, or an eighth of `k` where that is more.
const FIRST_BATCH: usize = 8;

/// Each batch is this many times the one before.
const BATCH_GROWTH: usize = 4;

/// Share of the surviving blocks that is expected to be scored, since the threshold keeps rising.
const EXPECTED_SHARE: f64 = 0.7;

/// Scores `window` block by block. With `may_switch` it is scored exhaustively where that is
/// estimated to cost less.
pub(crate) fn score_window(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>], may_switch: bool) {
    let k = pass.space.top.k();
    let exhaustive_cost = cost::exhaustive(window, parts);
    let block_cost = cost::block(window, parts);
    let first_batch = FIRST_BATCH.max(k / 8);
    if may_switch && !pass.is_settled && first_batch as f64 * block_cost > exhaustive_cost / 2.0 {
        return exhaustive::score_window(pass, window, parts);
    }
    let num_blocks = window.len.div_ceil(BLOCK_POSITIONS);
    let mut left = find_candidates(pass, window, parts);
    let mut batch_len = first_batch;
    let mut num_scored = 0;
    while left > 0 {
        let expected = left as f64 * EXPECTED_SHARE * block_cost;
        if may_switch && pass.is_settled && expected > exhaustive_cost {
            exhaustive::score_window(pass, window, parts);
            pass.stats.blocks_scored += num_scored;
            pass.space.done.clear();
            return;
        }
        take_batch(pass.space, batch_len);
        num_scored += u32::try_from(pass.space.batch.len()).expect("a window has at most 1,024 blocks");
        score_batch(pass, window, parts);
        pass.is_settled = true;
        batch_len *= BATCH_GROWTH;
        let threshold = pass.threshold();
        pass.space.candidates.retain(|candidate| candidate.sum >= threshold);
        left = pass.space.candidates.len();
    }
    pass.space.done.clear();
    pass.stats.windows_pruned += 1;
    pass.stats.blocks_scored += num_scored;
    pass.stats.blocks_skipped += u32::try_from(num_blocks).expect("at most 1,024") - num_scored;
}

/// Fills the candidates with the blocks that may hold a hit; returns their number.
fn find_candidates(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) -> usize {
    let num_blocks = window.len.div_ceil(BLOCK_POSITIONS);
    let threshold = pass.threshold();
    let mask = pass.filter.mask(window.first, window.len);
    let Space { bounds, candidates, .. } = &mut *pass.space;
    bound_blocks(pass.kernels, parts, (bounds, num_blocks));
    candidates.clear();
    pass.kernels
        .drain_at_least(&mut bounds[..num_blocks], threshold, 0, candidates);
    if let Some(mask) = mask {
        candidates.retain(|candidate| mask[candidate.position as usize] != 0);
    }
    candidates.len()
}

/// Adds up the upper bounds of all blocks of a window.
fn bound_blocks(kernels: Kernels, parts: &[Part<'_>], (bounds, num_blocks): (&mut [u32; WINDOW_BLOCKS], usize)) {
    for part in parts {
        let weight = u32::from(part.weight);
        match (part.postings.blocks, part.postings.postings) {
            (Blocks::Sparse { blocks, maxima, .. }, _) => kernels.accumulate_list(bounds, blocks, maxima, weight),
            (Blocks::None, Postings::List { ids, impacts }) => bound_list(bounds, ids, impacts, weight),
            (Blocks::None, Postings::Dense { .. }) => {
                let bound = weight * u32::from(part.postings.max_impact);
                bounds[..num_blocks].iter_mut().for_each(|sum| *sum += bound);
            }
            (Blocks::Dense { .. }, _) => {}
        }
    }
    let columns = parts.iter().filter_map(|part| match part.postings.blocks {
        Blocks::Dense { maxima, .. } => Some(Column {
            bytes: maxima,
            weight: part.weight,
        }),
        _ => None,
    });
    add_columns(kernels, &mut bounds[..num_blocks], columns);
}

/// Adds the block maxima of a list that has none stored: `max(a, b) = a + (b - a if b > a)`.
fn bound_list(bounds: &mut [u32; WINDOW_BLOCKS], ids: &[u16], impacts: &[u8], weight: u32) {
    let (mut block, mut max) = (u16::MAX, 0);
    for (&id, &impact) in ids.iter().zip(impacts) {
        let before = if id >> BLOCK_BITS == block { max } else { 0 };
        block = id >> BLOCK_BITS;
        max = impact.max(before);
        bounds[usize::from(block) % WINDOW_BLOCKS] += weight * u32::from(max - before);
    }
}

/// Moves the `len` candidates with the best bounds into the batch, in ascending order.
fn take_batch(space: &mut Space, len: usize) {
    let Space {
        candidates,
        batch,
        done,
        ..
    } = space;
    let len = len.min(candidates.len());
    if len < candidates.len() {
        candidates.select_nth_unstable_by_key(len - 1, |candidate| (Reverse(candidate.sum), candidate.position));
    }
    batch.clear();
    batch.extend(
        candidates
            .drain(..len)
            .map(|candidate| u16::try_from(candidate.position).expect("a window has at most 1,024 blocks")),
    );
    batch.sort_unstable();
    for &block in &*batch {
        done.insert(block);
    }
}

/// Scores all documents of the batch.
fn score_batch(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    let Space {
        sums, batch, members, ..
    } = &mut *pass.space;
    for &block in &*batch {
        members.insert(block);
    }
    for part in parts {
        pass.stats.postings += add_blocks(sums, part, (batch, members));
    }
    let mask = pass.filter.mask(window.first, window.len);
    let batch = std::mem::take(&mut pass.space.batch);
    for &block in &batch {
        let start = usize::from(block) * BLOCK_POSITIONS;
        let threshold = pass.threshold();
        let Space { sums, found, .. } = &mut *pass.space;
        let sums = &mut sums[start..start + BLOCK_POSITIONS];
        add_columns(
            pass.kernels,
            sums,
            parts
                .iter()
                .filter_map(|part| part.column(start, start + BLOCK_POSITIONS)),
        );
        if let Some(mask) = mask {
            pass.kernels.keep_masked(sums, &mask[usize::from(block)..]);
        }
        let base = u32::from(block) * 64;
        pass.kernels.drain_at_least(sums, threshold, base, found);
        pass.offer_found(window);
    }
    pass.stats.documents_scored += (batch.len() * BLOCK_POSITIONS) as u64;
    let num_columns = parts.iter().filter(|part| part.is_dense()).count();
    pass.stats.postings += (num_columns * batch.len() * BLOCK_POSITIONS) as u64;
    pass.space.batch = batch;
    pass.space.members.clear();
    pass.space.top.compact();
}

/// Adds the postings of a list that lie in the batch; returns how many.
fn add_blocks(sums: &mut [u32; WINDOW_POSITIONS], part: &Part<'_>, (batch, members): (&[u16], &BlockSet)) -> u64 {
    let Postings::List { ids, impacts } = part.postings.postings else {
        return 0;
    };
    let weight = u32::from(part.weight);
    let mut num_added = 0;
    let mut add = |start: usize, end: usize| {
        num_added += (end - start) as u64;
        for (&id, &impact) in ids[start..end].iter().zip(&impacts[start..end]) {
            sums[usize::from(id)] += u32::from(impact) * weight;
        }
    };
    match part.postings.blocks {
        Blocks::Dense { starts, .. } => {
            for &block in batch {
                let block = usize::from(block);
                add(usize::from(starts[block]), usize::from(starts[block + 1]));
            }
        }
        Blocks::Sparse { blocks, starts, .. } => {
            let end_of = |at: usize| starts.get(at + 1).map_or(ids.len(), |&start| usize::from(start));
            if is_searched(batch.len(), blocks.len()) {
                for block in batch {
                    if let Ok(at) = blocks.binary_search(block) {
                        add(usize::from(starts[at]), end_of(at));
                    }
                }
            } else {
                for (at, &block) in blocks.iter().enumerate() {
                    if members.contains(block) {
                        add(usize::from(starts[at]), end_of(at));
                    }
                }
            }
        }
        Blocks::None => {
            if is_searched(batch.len(), ids.len()) {
                for &block in batch {
                    let start = ids.partition_point(|&id| id >> BLOCK_BITS < block);
                    let len = ids[start..].iter().take_while(|&&id| id >> BLOCK_BITS == block).count();
                    add(start, start + len);
                }
            } else {
                for (at, &id) in ids.iter().enumerate() {
                    if members.contains(id >> BLOCK_BITS) {
                        add(at, at + 1);
                    }
                }
            }
        }
    }
    num_added
}

/// Whether searching each of `num_wanted` costs less than passing over all of `len`.
fn is_searched(num_wanted: usize, len: usize) -> bool {
    num_wanted * 16 < len
}
