//! Two rankings made one.
//!
//! Reciprocal rank fusion is due to Cormack, Clarke and Buettcher (SIGIR 2009); min-max normalised
//! weighted sums to Lee (SIGIR 1997), CombSUM over scores scaled to 0..1.

use crate::Error;
use serde::{Deserialize, Serialize};

/// How the sparse and the BM25 ranking become one. The defaults of fusion are those of this type's
/// [`Default`]: reciprocal ranks with k = 60 over the 1,000 best of each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fusion {
    /// How a document's standing in one ranking becomes a number.
    pub method: FusionMethod,
    /// Factor of the sparse ranking, 0 or more.
    pub sparse_weight: f32,
    /// Factor of the BM25 ranking, 0 or more.
    pub bm25_weight: f32,
    /// The constant of reciprocal rank fusion.
    pub rrf_k: u32,
    /// How many of each ranking's best documents take part; at least `offset + limit` do.
    pub depth: usize,
}

/// How a document's standing in one ranking becomes a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusionMethod {
    /// `1 / (rrf_k + rank)`, ranks from 1.
    #[default]
    Rrf,
    /// `(score - lowest) / (highest - lowest)` over the documents that take part; 1 where all are equal.
    MinMax,
}

impl Default for Fusion {
    fn default() -> Self {
        Self {
            method: FusionMethod::Rrf,
            sparse_weight: 1.0,
            bm25_weight: 1.0,
            rrf_k: 60,
            depth: 1000,
        }
    }
}

impl Fusion {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let weights = [self.sparse_weight, self.bm25_weight];
        if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) || weights == [0.0, 0.0] {
            return Err(Error::request(
                "fusion",
                format!(
                    "sparse_weight {} and bm25_weight {}: numbers of at least 0 are allowed, not both 0",
                    self.sparse_weight, self.bm25_weight
                ),
            ));
        }
        if !(1..=crate::request::MAX_RESULT_WINDOW).contains(&self.depth) {
            return Err(Error::request(
                "fusion",
                format!(
                    "depth {} is not within 1 to {}",
                    self.depth,
                    crate::request::MAX_RESULT_WINDOW
                ),
            ));
        }
        Ok(())
    }
}
