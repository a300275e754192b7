//! What a collection holds.

use serde::{Deserialize, Serialize};

/// Counts of a collection at one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionStats {
    /// The commit.
    pub generation: u64,
    /// Live documents.
    pub num_docs: u64,
    /// Deleted documents that still take up room until their segment is merged.
    pub num_deleted: u64,
    /// Segments.
    pub num_segments: u64,
    /// Terms in the vocabulary.
    pub num_terms: u64,
    /// Postings of the impact indexes, deleted documents included.
    pub num_postings: u64,
    /// Words of the live documents, as BM25 counts them.
    pub num_words: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Weights cut to the quantiser's range since the collection was made.
    pub saturated_weights: u64,
    /// Documents added or deleted since the commit, not searchable yet.
    pub num_pending: u64,
}
