//! What scoring is estimated to cost, in nanoseconds.
//!
//! Only ratios matter: the constants decide between ways that give the same result.

use crate::blocks::BLOCK_POSITIONS;
use crate::window::{Part, Window};
use tamis_index::{Blocks, Postings};

/// Adding one posting of a list to a sum.
const POSTING: f64 = 0.8;

/// Adding one byte of a column.
const COLUMN_BYTE: f64 = 0.05;

/// Scanning and clearing one sum.
const SCANNED_SUM: f64 = 0.06;

/// Starting a list or a column.
const PART: f64 = 15.0;

/// Finding and adding the postings of one term in one block.
const RUN: f64 = 45.0;

/// Adding one block of a column.
const COLUMN_RUN: f64 = 8.0;

/// Scanning a block and taking it from the candidates.
const BLOCK: f64 = 40.0;

/// One document over the forward index, and one of its terms.
const FORWARD_DOCUMENT: f64 = 60.0;
const FORWARD_TERM: f64 = 4.5;

/// Accumulating all of a window.
pub(crate) fn exhaustive(window: Window, parts: &[Part<'_>]) -> f64 {
    let parts_cost: f64 = parts
        .iter()
        .map(|part| match part.postings.postings {
            Postings::List { ids, .. } => PART + POSTING * ids.len() as f64,
            Postings::Dense { column } => PART + COLUMN_BYTE * column.len() as f64,
        })
        .sum();
    parts_cost + SCANNED_SUM * window.len as f64
}

/// Scoring one block of the window that is as full as its blocks are on average.
pub(crate) fn block(window: Window, parts: &[Part<'_>]) -> f64 {
    let num_blocks = window.len.div_ceil(BLOCK_POSITIONS) as f64;
    let runs: f64 = parts
        .iter()
        .map(|part| match (part.postings.postings, part.postings.blocks) {
            (Postings::Dense { .. }, _) => COLUMN_RUN,
            (Postings::List { .. }, Blocks::Dense { .. }) => RUN,
            (Postings::List { .. }, Blocks::Sparse { blocks, .. }) => RUN * blocks.len() as f64 / num_blocks,
            (Postings::List { .. }, Blocks::None) => 0.0,
        })
        .sum();
    runs + BLOCK
}

/// Scoring `num_docs` documents of `terms_per_doc` terms one by one.
pub(crate) fn forward(num_docs: u64, terms_per_doc: f64) -> f64 {
    num_docs as f64 * (FORWARD_DOCUMENT + FORWARD_TERM * terms_per_doc)
}

/// Adding one posting, some of them in columns.
const COARSE_POSTING: f64 = 0.5;

/// Accumulating `num_postings` postings over `num_docs` documents: the coarse figure of a whole search.
pub(crate) fn windows(num_postings: u64, num_docs: u32) -> f64 {
    COARSE_POSTING * num_postings as f64 + SCANNED_SUM * f64::from(num_docs)
}
