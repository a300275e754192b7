//! The weight of a word in a document (Robertson et al., TREC-3, 1994).

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

impl Bm25Params {
    /// What `frequency` occurrences are worth in a document of `length` words, before IDF.
    #[expect(
        clippy::cast_precision_loss,
        reason = "frequencies and lengths shape a smooth weight"
    )]
    pub(crate) fn weight(&self, frequency: u32, length: u32, average: f32) -> f32 {
        let (frequency, length) = (frequency as f32, length as f32);
        let norm = self.k1 * (1.0 - self.b + self.b * length / average);
        frequency * (self.k1 + 1.0) / (frequency + norm)
    }
}
