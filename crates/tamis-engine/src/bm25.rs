//! BM25.

use serde::{Deserialize, Serialize};

/// The constants of BM25.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bm25Params {
    /// How late repetitions of a term saturate; 0 or more.
    pub k1: f32,
    /// How much a document's length counts, 0 to 1.
    pub b: f32,
}

impl Default for Bm25Params {
    fn default() -> Self {
        Self { k1: 0.9, b: 0.4 }
    }
}
