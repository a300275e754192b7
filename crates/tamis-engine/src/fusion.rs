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

/// What documents of one ranking add to a fused score, in the order of `scores` (best first).
pub(crate) fn contributions(fusion: &Fusion, weight: f32, scores: &[f32]) -> Vec<f32> {
    let (highest, lowest) = (
        scores.first().copied().unwrap_or(0.0),
        scores.last().copied().unwrap_or(0.0),
    );
    let contribution = |(rank, &score): (usize, &f32)| match fusion.method {
        #[expect(clippy::cast_precision_loss, reason = "ranks are at most 10,000")]
        FusionMethod::Rrf => weight / (fusion.rrf_k as f32 + rank as f32 + 1.0),
        FusionMethod::MinMax if highest > lowest => weight * (score - lowest) / (highest - lowest),
        FusionMethod::MinMax => weight,
    };
    scores.iter().enumerate().map(contribution).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standings_become_numbers() {
        let rrf = Fusion::default();
        assert_eq!(contributions(&rrf, 2.0, &[9.0, 9.0]), [2.0 / 61.0, 2.0 / 62.0]);
        let scaled = Fusion {
            method: FusionMethod::MinMax,
            ..rrf
        };
        assert_eq!(contributions(&scaled, 2.0, &[5.0, 4.0, 1.0]), [2.0, 1.5, 0.0]);
        assert_eq!(contributions(&scaled, 2.0, &[5.0, 5.0]), [2.0, 2.0]);
        assert!(contributions(&scaled, 2.0, &[]).is_empty());
    }

    #[test]
    fn useless_weights_are_refused() {
        for (sparse_weight, bm25_weight) in [(0.0, 0.0), (-1.0, 1.0), (f32::NAN, 1.0)] {
            let fusion = Fusion {
                sparse_weight,
                bm25_weight,
                ..Fusion::default()
            };
            assert!(fusion.validate().is_err(), "{sparse_weight} {bm25_weight}");
        }
        assert!(Fusion::default().validate().is_ok());
    }
}
