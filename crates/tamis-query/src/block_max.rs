//! Scoring only blocks whose upper bound can still enter the result.
//!
//! Block-max pruning after Mallia, Suel and Tonellotto (SIGIR 2024): the bound of a block of documents
//! is the sum over terms of query weight times the largest impact of the term in the block; blocks are
//! scored best bound first until no bound reaches the threshold. Ours computes exact integer bounds
//! with the same kernels that sum documents, scores blocks in growing batches (so that each posting
//! list is walked once a batch, not once a block), admits ties at the threshold, and gives a window up
//! to [`exhaustive`] scoring when more blocks survive than that costs.

use crate::blocks::BLOCK_POSITIONS;
use crate::scratch::{Space, WINDOW_BLOCKS};
use crate::window::{Part, Pass, Window, add_columns};
use crate::{cost, exhaustive, runs};
use std::cmp::Reverse;
use tamis_index::{Blocks, Postings};
use tamis_kernels::{Column, Kernels};

/// The first batch has this many blocks, or an eighth of `k` where that is more.
const FIRST_BATCH: usize = 8;

/// Each batch is this many times the one before.
const BATCH_GROWTH: usize = 4;

/// Blocks that survive for each wanted hit: 2 to 7 were seen on synthetic collections.
const SURVIVORS_PER_HIT: f64 = 2.0;

/// Where scattered lists have fewer postings than one for this many blocks, only blocks that they touch
/// are looked at.
const FEW_SCATTERED: usize = 4;

/// Share of the surviving blocks that is expected to be scored, since the threshold keeps rising.
const EXPECTED_SHARE: f64 = 0.7;

/// Scores `window` block by block. With `may_switch` it is scored exhaustively where that is
/// estimated to cost less.
pub(crate) fn score_window(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>], may_switch: bool) {
    let exhaustive_cost = cost::exhaustive(window, parts);
    let block_cost = cost::block(window, parts);
    let mut batch_len = first_batch(pass);
    let is_hopeless = likely_survivors(pass, window) * block_cost > exhaustive_cost;
    if may_switch && (is_hopeless || pass.is_backing_off()) {
        return exhaustive::score_window(pass, window, parts);
    }
    find_candidates(pass, window, parts);
    let mut num_scored = 0;
    while !pass.space.candidates.is_empty() {
        let expected = pass.space.candidates.len() as f64 * EXPECTED_SHARE * block_cost;
        if may_switch && pass.is_settled && expected > exhaustive_cost {
            exhaustive::add_lists(pass, parts.iter().filter(|part| !part.is_scattered()));
            exhaustive::finish_window(pass, window, parts);
            pass.back_off();
            break;
        }
        num_scored += score_batch(pass, window, parts, batch_len);
        pass.is_settled = true;
        batch_len *= BATCH_GROWTH;
        let threshold = pass.threshold();
        pass.space.candidates.retain(|candidate| candidate.sum >= threshold);
    }
    pass.space.done.clear();
    pass.stats.blocks_scored += num_scored;
    if pass.space.candidates.is_empty() {
        clear_scattered(pass.space, parts);
        pass.stop_backing_off();
        let num_blocks = u32::try_from(window.len.div_ceil(BLOCK_POSITIONS)).expect("at most 1,024");
        pass.stats.windows_pruned += 1;
        pass.stats.blocks_skipped += num_blocks - num_scored;
    }
}

/// Blocks that survive even with a perfect threshold, as far as one can say without any bounds.
fn likely_survivors(pass: &Pass<'_>, window: Window) -> f64 {
    let share = window.len as f64 / f64::from(pass.index.num_docs());
    SURVIVORS_PER_HIT * pass.space.top.k() as f64 * share
}

/// How many blocks to score before looking at the threshold again.
fn first_batch(pass: &Pass<'_>) -> usize {
    let first = FIRST_BATCH.max(pass.space.top.k() / 8);
    if pass.is_settled { first * BATCH_GROWTH } else { first }
}

/// Fills the candidates with the blocks that may hold a hit. Leaves the postings of scattered lists in
/// the sums: adding them costs no more than bounding them would, and gives tighter bounds.
fn find_candidates(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    let num_blocks = window.len.div_ceil(BLOCK_POSITIONS);
    let threshold = pass.threshold();
    let mask = pass.filter.mask(window.first, window.len);
    exhaustive::add_lists(pass, parts.iter().filter(|part| part.is_scattered()));
    let Space {
        sums,
        bounds,
        candidates,
        touched,
        ..
    } = &mut *pass.space;
    bound_blocks(pass.kernels, parts, (bounds, num_blocks));
    let bounds = &mut bounds[..num_blocks];
    let scattered = || parts.iter().filter(|part| part.is_scattered());
    let at_least = threshold.saturating_sub(scattered().map(Part::bound).sum());
    let num_scattered: usize = scattered().map(|part| part.postings.num_docs as usize).sum();
    if num_scattered > num_blocks / FEW_SCATTERED {
        pass.kernels.add_block_maxima(bounds, sums.as_slice(), at_least);
    } else {
        scattered().for_each(|part| part.touch_blocks(touched));
        for block in touched.iter() {
            let sums = &sums[block * BLOCK_POSITIONS..];
            pass.kernels
                .add_block_maxima(&mut bounds[block..=block], sums, at_least);
        }
        touched.clear();
    }
    candidates.clear();
    pass.kernels.drain_at_least(bounds, threshold, 0, candidates);
    if let Some(mask) = mask {
        candidates.retain(|candidate| mask[candidate.position as usize] != 0);
    }
}

/// Takes what scattered lists left in the sums of blocks that were not scored.
fn clear_scattered(space: &mut Space, parts: &[Part<'_>]) {
    for part in parts.iter().filter(|part| part.is_scattered()) {
        if let Postings::List { ids, .. } = part.postings.postings {
            for &id in ids {
                space.sums[usize::from(id)] = 0;
            }
        }
    }
}

/// Adds up the upper bounds of all blocks of a window over all parts that are not scattered.
fn bound_blocks(kernels: Kernels, parts: &[Part<'_>], (bounds, num_blocks): (&mut [u32; WINDOW_BLOCKS], usize)) {
    for part in parts {
        let weight = u32::from(part.weight);
        match (part.postings.blocks, part.postings.postings) {
            (Blocks::Sparse { blocks, maxima, .. }, _) => kernels.accumulate_list(bounds, blocks, maxima, weight),
            (Blocks::None, Postings::Dense { .. }) => {
                let bound = part.bound();
                bounds[..num_blocks].iter_mut().for_each(|sum| *sum += bound);
            }
            (Blocks::None, Postings::List { .. }) | (Blocks::Dense { .. }, _) => {}
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

/// Scores all documents of the best `len` candidates, and removes those; returns their number.
fn score_batch(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>], len: usize) -> u32 {
    take_batch(pass.space, len);
    pass.stats.postings += runs::add_batch(pass.space, parts);
    let mask = pass.filter.mask(window.first, window.len);
    let batch = std::mem::take(&mut pass.space.batch);
    for &block in &batch {
        let start = usize::from(block) * BLOCK_POSITIONS;
        let end = start + BLOCK_POSITIONS;
        let threshold = pass.threshold();
        let Space { sums, found, .. } = &mut *pass.space;
        let sums = &mut sums[start..end];
        let columns = parts.iter().filter_map(|part| part.column(start, end));
        add_columns(pass.kernels, sums, columns);
        if let Some(mask) = mask {
            pass.kernels.keep_masked(sums, &mask[usize::from(block)..]);
        }
        let base = u32::from(block) * 64;
        pass.kernels.drain_at_least(sums, threshold, base, found);
        pass.offer_found(window);
    }
    let num_columns = parts.iter().filter(|part| part.is_dense()).count();
    pass.stats.documents_scored += (batch.len() * BLOCK_POSITIONS) as u64;
    pass.stats.postings += (num_columns * batch.len() * BLOCK_POSITIONS) as u64;
    let num_scored = u32::try_from(batch.len()).expect("a window has at most 1,024 blocks");
    pass.space.batch = batch;
    pass.space.top.compact();
    num_scored
}
