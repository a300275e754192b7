//! Sparse vectors: what encoders produce, indexes store and queries are.

use crate::TermId;

/// A sparse vector: strictly ascending terms with finite, positive weights.
///
/// The invariant is established by [`SparseVector::new`], the only way to make a non-empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    terms: Vec<TermId>,
    weights: Vec<f32>,
}

/// Why a list of terms and weights is not a sparse vector.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// The two lists differ in length.
    #[error("{terms} terms but {weights} weights")]
    LengthMismatch {
        /// Number of terms given.
        terms: usize,
        /// Number of weights given.
        weights: usize,
    },
    /// A term is not greater than the one before it.
    #[error("term {term} at position {position} is not above the term before it ({previous})")]
    NotAscending {
        /// Index into the list of terms.
        position: usize,
        /// The offending term.
        term: TermId,
        /// Its predecessor.
        previous: TermId,
    },
    /// A weight is zero, negative, infinite or not a number.
    #[error("weight {weight} of term {term} at position {position} is not a finite positive number")]
    BadWeight {
        /// Index into the list of weights.
        position: usize,
        /// The term it belongs to.
        term: TermId,
        /// The offending weight.
        weight: f32,
    },
}

impl SparseVector {
    /// Makes a vector of `terms[i]` weighing `weights[i]`.
    ///
    /// # Errors
    /// When the lists differ in length, terms are not strictly ascending, or a weight is not finite
    /// and positive; the error names the position.
    pub fn new(terms: Vec<TermId>, weights: Vec<f32>) -> Result<Self, VectorError> {
        if terms.len() != weights.len() {
            return Err(VectorError::LengthMismatch {
                terms: terms.len(),
                weights: weights.len(),
            });
        }
        for (position, (&term, &weight)) in terms.iter().zip(&weights).enumerate() {
            if position > 0 && terms[position - 1] >= term {
                let previous = terms[position - 1];
                return Err(VectorError::NotAscending {
                    position,
                    term,
                    previous,
                });
            }
            if !(weight.is_finite() && weight > 0.0) {
                return Err(VectorError::BadWeight { position, term, weight });
            }
        }
        Ok(Self { terms, weights })
    }

    /// Sorts `pairs` by term and validates them with [`SparseVector::new`].
    ///
    /// # Errors
    /// As [`SparseVector::new`]; a repeated term is reported as not ascending.
    pub fn from_pairs(mut pairs: Vec<(TermId, f32)>) -> Result<Self, VectorError> {
        pairs.sort_unstable_by_key(|&(term, _)| term);
        let (terms, weights) = pairs.into_iter().unzip();
        Self::new(terms, weights)
    }

    /// Number of terms with a weight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether no term has a weight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The terms, strictly ascending.
    #[must_use]
    pub fn terms(&self) -> &[TermId] {
        &self.terms
    }

    /// The weights, in the order of [`SparseVector::terms`].
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Terms with their weights, by ascending term.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (TermId, f32)> + '_ {
        self.terms.iter().copied().zip(self.weights.iter().copied())
    }

    /// The weight of `term`, or `None` where it has none.
    #[must_use]
    pub fn weight(&self, term: TermId) -> Option<f32> {
        self.terms.binary_search(&term).ok().map(|at| self.weights[at])
    }

    /// The largest weight, or 0 of an empty vector.
    #[must_use]
    pub fn max_weight(&self) -> f32 {
        self.weights.iter().copied().fold(0.0, f32::max)
    }

    /// The inner product with `other`, summed in ascending term order in double precision.
    #[must_use]
    pub fn dot(&self, other: &Self) -> f64 {
        let (mut i, mut j, mut sum) = (0, 0, 0.0);
        while i < self.len() && j < other.len() {
            match self.terms[i].cmp(&other.terms[j]) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    sum += f64::from(self.weights[i]) * f64::from(other.weights[j]);
                    i += 1;
                    j += 1;
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(ids: &[u32]) -> Vec<TermId> {
        ids.iter().copied().map(TermId::new).collect()
    }

    #[test]
    fn keeps_what_is_valid() {
        let vector = SparseVector::new(terms(&[1, 5, 9]), vec![0.5, 2.0, 1.0]).expect("valid");
        assert_eq!(vector.weight(TermId::new(5)), Some(2.0));
        assert_eq!(vector.weight(TermId::new(6)), None);
        assert_eq!(vector.max_weight(), 2.0);
        assert_eq!(SparseVector::default().max_weight(), 0.0);
    }

    #[test]
    fn names_the_place_of_what_is_not() {
        let unsorted = SparseVector::new(terms(&[1, 5, 5]), vec![1.0; 3]);
        assert!(matches!(unsorted, Err(VectorError::NotAscending { position: 2, .. })));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let result = SparseVector::new(terms(&[3, 4]), vec![1.0, bad]);
            assert!(
                matches!(result, Err(VectorError::BadWeight { position: 1, .. })),
                "{bad}"
            );
        }
        let ragged = SparseVector::new(terms(&[3]), vec![]);
        assert!(matches!(
            ragged,
            Err(VectorError::LengthMismatch { terms: 1, weights: 0 })
        ));
    }

    #[test]
    fn sorts_pairs_and_refuses_repeats() {
        let pairs = vec![(TermId::new(7), 1.0), (TermId::new(2), 3.0)];
        let vector = SparseVector::from_pairs(pairs).expect("distinct");
        assert_eq!(vector.terms(), terms(&[2, 7]));
        let repeated = vec![(TermId::new(2), 1.0), (TermId::new(2), 3.0)];
        assert!(SparseVector::from_pairs(repeated).is_err());
    }

    #[test]
    fn multiplies_shared_terms_only() {
        let a = SparseVector::new(terms(&[1, 3, 8]), vec![2.0, 3.0, 1.0]).expect("valid");
        let b = SparseVector::new(terms(&[3, 4, 8]), vec![0.5, 9.0, 4.0]).expect("valid");
        assert_eq!(a.dot(&b), 5.5);
        assert_eq!(a.dot(&SparseVector::default()), 0.0);
    }
}
