//! Accumulating every posting of a window.
//!
//! Term-at-a-time scoring into an array of sums, after Turtle and Flood (IPM 1995, section 3); impact
//! lists as Anh and Moffat (SIGIR 2006) have them. Ours works on windows of at most 65,536 documents,
//! so that the sums stay in the second-level cache, keeps frequent terms as dense columns, and scans
//! for sums that reach the threshold a tile at a time while it is in the first-level cache.

use crate::blocks::{BLOCK_BITS, BLOCK_POSITIONS, bits};
use crate::scratch::Space;
use crate::window::{Part, Pass, Window, add_columns};
use tamis_index::Postings;

/// Positions that are finished together: as many blocks as a word has bits; their sums take 16 KiB.
const TILE_POSITIONS: usize = 64 * BLOCK_POSITIONS;

/// A window with fewer postings than one for this many documents is scanned only where it was touched.
const SPARSE_WINDOW: usize = 16;

/// Scores all documents of `window` but those of blocks that are done.
pub(crate) fn score_window(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    pass.stats.windows_exhaustive += 1;
    pass.stats.documents_scored += window.len as u64;
    let num_postings: usize = parts.iter().map(|part| part.postings.num_docs as usize).sum();
    if num_postings < window.len / SPARSE_WINDOW && !parts.iter().any(Part::is_dense) {
        score_touched(pass, window, parts);
    } else {
        score_all(pass, window, parts);
    }
    pass.is_settled = true;
}

fn score_all(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    for part in parts {
        if let Postings::List { ids, impacts } = part.postings.postings {
            pass.kernels
                .accumulate_list(&mut pass.space.sums, ids, impacts, u32::from(part.weight));
            pass.stats.postings += ids.len() as u64;
        }
    }
    let len = window.len.next_multiple_of(BLOCK_POSITIONS);
    let num_columns = parts.iter().filter(|part| part.is_dense()).count();
    pass.stats.postings += (num_columns * len) as u64;
    let mask = pass.filter.mask(window.first, window.len);
    for start in (0..len).step_by(TILE_POSITIONS) {
        let end = (start + TILE_POSITIONS).min(len);
        let threshold = pass.threshold();
        let Space { sums, done, found, .. } = &mut *pass.space;
        let sums = &mut sums[start..end];
        let columns = parts.iter().filter_map(|part| part.column(start, end));
        add_columns(pass.kernels, sums, columns);
        for block in bits(done.word(start / TILE_POSITIONS)) {
            sums[block * BLOCK_POSITIONS..][..BLOCK_POSITIONS].fill(0);
        }
        if let Some(mask) = mask {
            pass.kernels.keep_masked(sums, &mask[start / BLOCK_POSITIONS..]);
        }
        let base = u32::try_from(start).expect("a window has at most 2^16 positions");
        pass.kernels.drain_at_least(sums, threshold, base, found);
        pass.offer_found(window);
    }
}

/// As [`score_all`] for windows with few postings and no column: only touched blocks are scanned.
fn score_touched(pass: &mut Pass<'_>, window: Window, parts: &[Part<'_>]) {
    let mut touched = std::mem::take(&mut pass.space.touched);
    for part in parts {
        if let Postings::List { ids, impacts } = part.postings.postings {
            pass.kernels
                .accumulate_list(&mut pass.space.sums, ids, impacts, u32::from(part.weight));
            pass.stats.postings += ids.len() as u64;
            for &id in ids {
                touched.insert(id >> BLOCK_BITS);
            }
        }
    }
    let mask = pass.filter.mask(window.first, window.len);
    for block in touched.iter() {
        let threshold = pass.threshold();
        let start = block * BLOCK_POSITIONS;
        let Space { sums, done, found, .. } = &mut *pass.space;
        let sums = &mut sums[start..start + BLOCK_POSITIONS];
        if done.word(block / 64) >> (block % 64) & 1 == 1 {
            sums.fill(0);
        } else if let Some(mask) = mask {
            pass.kernels.keep_masked(sums, &mask[block..]);
        }
        let base = u32::try_from(start).expect("a window has at most 2^16 positions");
        pass.kernels.drain_at_least(sums, threshold, base, found);
        pass.offer_found(window);
    }
    touched.clear();
    pass.space.touched = touched;
}
