//! How much of the float32 result an integer result holds.

use crate::csr::Csr;
use tamis_core::{Hit, SparseVector};

/// Scores that differ by less than this count as equal: the noise of summing in single precision.
const NOISE: f64 = 1e-4;

/// The inner products of every document with a query, from the original weights.
pub struct FloatScores {
    lists: Vec<Vec<(u32, f32)>>,
    num_docs: usize,
}

impl FloatScores {
    /// Prepares `docs`.
    pub fn new(docs: &Csr) -> Self {
        Self {
            lists: docs.by_column(),
            num_docs: docs.num_rows(),
        }
    }

    /// The scores of all documents.
    pub fn of(&self, query: &SparseVector) -> Vec<f64> {
        let mut scores = vec![0.0; self.num_docs];
        for (term, weight) in query.iter() {
            for &(doc, value) in self.lists.get(term.index()).map_or(&[][..], Vec::as_slice) {
                scores[doc as usize] += f64::from(weight) * f64::from(value);
            }
        }
        scores
    }
}

/// The share of the `k` best by `scores` that `hits` holds; documents that tie with the k-th count.
pub fn recall(scores: &[f64], hits: &[Hit], k: usize) -> f64 {
    let mut sorted: Vec<f64> = scores.iter().copied().filter(|&score| score > 0.0).collect();
    let wanted = k.min(sorted.len());
    if wanted == 0 {
        return 1.0;
    }
    let (_, kth, _) = sorted.select_nth_unstable_by(wanted - 1, |a, b| b.total_cmp(a));
    let limit = *kth - NOISE;
    let held = hits.iter().filter(|hit| scores[hit.doc.index()] >= limit).count();
    held.min(wanted) as f64 / wanted as f64
}
