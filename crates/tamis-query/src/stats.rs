//! What a search did.

use serde::{Deserialize, Serialize};

/// How the documents of a search were scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing could match: no term of the query is in the index, `k` is 0 or no document is allowed.
    #[default]
    Nothing,
    /// Every document by itself, naively.
    Oracle,
    /// The few allowed documents by themselves.
    Forward,
    /// Every visited window as a whole.
    Exhaustive,
    /// Single blocks of every visited window.
    BlockMax,
    /// Some windows as a whole, single blocks of others.
    Mixed,
}

impl Strategy {
    /// The name in reports, the same as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Oracle => "oracle",
            Self::Forward => "forward",
            Self::Exhaustive => "exhaustive",
            Self::BlockMax => "block_max",
            Self::Mixed => "mixed",
        }
    }
}

/// Counts of one search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchStats {
    /// How documents were scored.
    pub strategy: Strategy,
    /// Query terms that have a posting in the index.
    pub num_terms: u32,
    /// Windows without a chance: their bound is too low, or none of their documents is allowed.
    pub windows_skipped: u32,
    /// Windows that were accumulated as a whole.
    pub windows_exhaustive: u32,
    /// Windows of which at most single blocks were scored.
    pub windows_pruned: u32,
    /// Blocks of 64 documents that were scored by themselves.
    pub blocks_scored: u32,
    /// Blocks of pruned windows that were not scored.
    pub blocks_skipped: u32,
    /// Impacts that were multiplied; in dense columns the zeros between them too.
    pub postings: u64,
    /// Documents whose whole score was computed.
    pub documents_scored: u64,
}

impl SearchStats {
    /// Names the strategy after the windows that were visited.
    pub(crate) fn settle(&mut self) {
        self.strategy = match (self.windows_exhaustive, self.windows_pruned) {
            (0, 0) => Strategy::Nothing,
            (_, 0) => Strategy::Exhaustive,
            (0, _) => Strategy::BlockMax,
            _ => Strategy::Mixed,
        };
    }
}
