//! What shapes an index: one place for every choice and its default.

use crate::Error;
use serde::{Deserialize, Serialize};

/// How an index is built. Everything but the memory budget shapes the bytes that are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexOptions {
    /// A window is `2^window_bits` consecutive positions, 8 to 16. Default 16: the sums of a window
    /// (u32 each) then take 256 KiB and stay in a 2 MiB second-level cache.
    pub window_bits: u32,
    /// How weights become impacts.
    pub quantisation: Quantisation,
    /// Where documents are laid out so that similar ones are neighbours, which searches with pruning need;
    /// on by default. `None` keeps the order of adding, which builds faster and smaller.
    pub reorder: Option<ReorderOptions>,
    /// Bytes that documents may take in memory while they are collected and sorted. Default 256 MiB.
    ///
    /// Half of it holds collected documents before they are spilled to disk, half of it the postings
    /// that are being sorted. A floor of 64 KiB + 32 bytes x `2^window_bits` is used where the budget
    /// is below it. Not counted: 36 bytes a term, 8 bytes a document, buffers of files (about 2 MiB), what
    /// [`Extras`](crate::Extras) hold, and what [`ReorderOptions`] need.
    pub memory_budget_bytes: usize,
}

/// How document weights become impacts (integers 1 to 255).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantisation {
    /// Weights that all are integers from 1 to 255 are kept exactly; otherwise 255 stands for the largest
    /// weight that was added, and the error is at most half of 1/255 of it (a whole one for weights that
    /// would round to 0). Documents are kept with their raw weights until the build is finished.
    #[default]
    Auto,
    /// Weights are integers from 1 to 255; another weight is an error.
    Exact,
    /// 255 stands for this weight; heavier ones saturate and are counted.
    MaxWeight(f32),
}

/// Reordering by recursive graph bisection (Dhulipala et al., KDD 2016).
///
/// The order is the same for any number of threads and on every platform. On top of the memory budget it
/// needs 4 bytes (up to 8 while they are collected) for each kept term of each document, 24 bytes a document,
/// and 20 bytes a term and thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReorderOptions {
    /// Halvings at most, counted from the whole collection. Default 32, which never binds.
    pub max_depth: u32,
    /// Rounds of exchange in a part at most. Default 20, as in the paper; half of them leave 0.5 % more pairs
    /// of term and block on 100,000 documents of 124 terms, for two thirds of the time.
    pub iterations: u32,
    /// Parts of at most this many documents are left in the order of adding. Default 64, one block.
    pub min_partition: u32,
    /// Only this many heaviest terms of a document take part. Default 128.
    pub max_terms: u32,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            window_bits: 16,
            quantisation: Quantisation::Auto,
            reorder: Some(ReorderOptions::default()),
            memory_budget_bytes: 256 << 20,
        }
    }
}

impl Default for ReorderOptions {
    fn default() -> Self {
        Self {
            max_depth: 32,
            iterations: 20,
            min_partition: 64,
            max_terms: 128,
        }
    }
}

impl IndexOptions {
    /// Checks every range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |option, value: u32, allowed| {
            let value = value.to_string();
            Err(Error::BadOption { option, value, allowed })
        };
        if !(8..=16).contains(&self.window_bits) {
            return bad("window_bits", self.window_bits, "8 to 16");
        }
        if let Some(reorder) = self.reorder {
            if reorder.min_partition == 0 {
                return bad("reorder.min_partition", 0, "at least 1");
            }
            if reorder.max_terms == 0 {
                return bad("reorder.max_terms", 0, "at least 1");
            }
        }
        Ok(())
    }

    /// Half of the memory budget, at least what one window of one term needs: bytes for collected
    /// documents, and again for postings being sorted.
    pub(crate) fn half_budget(&self) -> usize {
        let floor = (32 << 10) + (16 << self.window_bits);
        (self.memory_budget_bytes / 2).max(floor)
    }
}
