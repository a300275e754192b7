//! Accumulating every posting of a window.
//!
//! Term-at-a-time scoring into an array of sums, after Turtle and Flood (IPM 1995, section 3); impact
//! lists as Anh and Moffat (SIGIR 2006) have them. Ours works on windows of at most 65,536 documents,
//! so that the sums stay in the second-level cache, keeps frequent terms as dense columns, and scans
//! for sums that reach the threshold a tile at a time while it is in the first-level cache.

use crate::blocks::{BLOCK_POSITIONS, bits};
use crate::scratch::Space;
use crate::window::{Part, Pass, Window, add_columns};
use std::ops::Range;
use tamis_index::Postings;

/// Positions that are finished together: as many blocks as a word has bits; their sums take 16 KiB.
const TILE_POSITIONS: usize = 64 * BLOCK_POSITIONS;

/// From this `k` on, a first window is sampled for a better threshold.
const MIN_SAMPLED_K: usize = 50;

/// One position of this many is sampled.
const SAMPLE_STRIDE: usize = 32;

/// A window with fewer postings than one for this many documents is scanned only where it was touched.
const SPARSE_WINDOW: usize = 16;

/// Scores all documents of `window`.
pub(crate) fn score_window(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    if is_nearly_empty(window, parts) {
        score_touched(pass, window, parts);
    } else {
        add_lists(pass, parts.iter());
        finish_window(pass, window, parts);
    }
}

/// Whether the window has so few postings that only touched blocks are worth a look.
fn is_nearly_empty(window: Window, parts: &[Part<'_>]) -> bool {
    let num_postings: usize = parts.iter().map(|part| part.postings.num_docs as usize).sum();
    num_postings < window.len / SPARSE_WINDOW && !parts.iter().any(Part::is_dense)
}

/// Adds the postings of `parts` that are lists to the sums.
pub(crate) fn add_lists<'p, 'a: 'p>(pass: &mut Pass<'_>, parts: impl Iterator<Item = &'p Part<'a>>) {
    for part in parts {
        if let Postings::List { ids, impacts } = part.postings.postings {
            pass.kernels
                .accumulate_list(&mut pass.space.sums, ids, impacts, u32::from(part.weight));
            pass.stats.postings += ids.len() as u64;
        }
    }
}

/// Adds the columns among `parts` to sums that hold the lists already, and takes the hits of all blocks
/// but those that are done.
pub(crate) fn finish_window(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    let len = window.len.next_multiple_of(BLOCK_POSITIONS);
    let num_columns = parts.iter().filter(|part| part.is_dense()).count();
    pass.stats.postings += (num_columns * len) as u64;
    pass.stats.windows_exhaustive += 1;
    pass.stats.documents_scored += window.len as u64;
    let k = pass.space.top.k();
    let tiles = || {
        (0..len)
            .step_by(TILE_POSITIONS)
            .map(|start| start..(start + TILE_POSITIONS).min(len))
    };
    if !pass.is_settled && k >= MIN_SAMPLED_K && needed(pass) <= len / SAMPLE_STRIDE {
        pass.space.sample.clear();
        for tile in tiles() {
            complete_tile(pass, window, parts, tile.clone());
            let Space { sums, sample, .. } = &mut *pass.space;
            sample.extend(sums[tile].iter().step_by(SAMPLE_STRIDE));
        }
        raise_floor(pass, len);
        for tile in tiles() {
            drain_tile(pass, window, tile);
        }
    } else {
        for tile in tiles() {
            complete_tile(pass, window, parts, tile.clone());
            drain_tile(pass, window, tile);
        }
    }
    pass.is_settled = true;
}

/// Adds the columns to a tile, and removes what is done or not allowed.
fn complete_tile(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>], tile: Range<usize>) {
    let Space { sums, done, .. } = &mut *pass.space;
    let sums = &mut sums[tile.clone()];
    let columns = parts.iter().filter_map(|part| part.column(tile.start, tile.end));
    add_columns(pass.kernels, sums, columns);
    for block in bits(done.word(tile.start / TILE_POSITIONS)) {
        sums[block * BLOCK_POSITIONS..][..BLOCK_POSITIONS].fill(0);
    }
    if let Some(mask) = pass.filter.mask(window.first, window.len) {
        pass.kernels.keep_masked(sums, &mask[tile.start / BLOCK_POSITIONS..]);
    }
}

/// Offers what reaches the threshold in a tile, and clears it.
fn drain_tile(pass: &mut Pass<'_>, window: Window, tile: Range<usize>) {
    let threshold = pass.threshold();
    let base = u32::try_from(tile.start).expect("a window has at most 2^16 positions");
    let Space { sums, found, .. } = &mut *pass.space;
    pass.kernels.drain_at_least(&mut sums[tile], threshold, base, found);
    pass.offer_found(window);
}

/// Documents that prove `k` allowed ones among them.
fn needed(pass: &Pass<'_>) -> usize {
    pass.space.top.k().saturating_add(pass.filter.num_unmasked())
}

/// Guesses from the sample a score that somewhat more than `k` documents reach, and makes it the floor
/// when a count proves it. Without it a large `k` lets most documents in at first, only to drop them.
fn raise_floor(pass: &mut Pass<'_>, len: usize) {
    let needed = needed(pass);
    let Space { sums, sample, .. } = &mut *pass.space;
    let expected = needed / SAMPLE_STRIDE;
    // Two and a half standard deviations more than expected.
    let rank = expected + 5 * (expected + 1).isqrt() / 2;
    if rank >= sample.len() {
        return;
    }
    let (_, &mut guess, _) = sample.select_nth_unstable_by(rank, |a, b| b.cmp(a));
    if guess > pass.floor && pass.kernels.count_at_least(&sums[..len], guess) >= needed {
        pass.floor = guess;
    }
}

/// For windows with few postings and no column: only touched blocks are scanned.
fn score_touched(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    pass.stats.windows_exhaustive += 1;
    pass.is_settled = true;
    let mut touched = std::mem::take(&mut pass.space.touched);
    add_lists(pass, parts.iter());
    parts.iter().for_each(|part| part.touch_blocks(&mut touched));
    let mask = pass.filter.mask(window.first, window.len);
    for block in touched.iter() {
        let threshold = pass.threshold();
        let start = block * BLOCK_POSITIONS;
        let Space { sums, found, .. } = &mut *pass.space;
        let sums = &mut sums[start..start + BLOCK_POSITIONS];
        if let Some(mask) = mask {
            pass.kernels.keep_masked(sums, &mask[block..]);
        }
        pass.stats.documents_scored += BLOCK_POSITIONS as u64;
        let base = u32::try_from(start).expect("a window has at most 2^16 positions");
        pass.kernels.drain_at_least(sums, threshold, base, found);
        pass.offer_found(window);
    }
    touched.clear();
    pass.space.touched = touched;
}
