//! What a build did.

use serde::{Deserialize, Serialize};
use tamis_core::Quantiser;

/// Counts of a finished build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildReport {
    /// Documents, empty ones included.
    pub num_docs: u32,
    /// One above the largest term id with a posting.
    pub num_terms: u32,
    /// (document, term) pairs.
    pub num_postings: u64,
    /// Weights above the largest one that impacts can express.
    pub num_saturated: u64,
    /// What an impact stands for.
    pub quantiser: Quantiser,
    /// Size of the whole file.
    pub bytes: u64,
    /// Bytes of each section in file order.
    pub section_bytes: Vec<(String, u64)>,
    /// How often memory was full and bytes went to the spill folder.
    pub spilled_runs: u64,
    /// Bytes that went to the spill folder.
    pub spilled_bytes: u64,
    /// (term, window) pairs that are stored as a dense column.
    pub num_dense_columns: u64,
    /// Bytes of block maxima with their places, a part of section `postings`.
    pub block_bytes: u64,
}
