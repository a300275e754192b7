//! Query weights as integers.
//!
//! Integer query weights beside integer impacts follow Anh and Moffat (SIGIR 2006): a score is then a
//! sum of integer products, the same on every machine and in every order of summing.

use crate::Error;
use tamis_core::{MAX_QUERY_TERMS, MAX_QUERY_WEIGHT, SparseVector, TermId};

/// A query with integer weights from 1 to 4,095, which depend on the query alone.
///
/// Weights that all are such integers are kept. Otherwise the largest becomes 4,095 and the others
/// follow in proportion, rounded to the nearest integer but at least 1: an error of half a step, of a
/// whole one for the lightest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantisedQuery {
    terms: Vec<(TermId, u16)>,
    step: f32,
}

impl QuantisedQuery {
    /// Quantises `query`.
    ///
    /// # Errors
    /// [`Error::TooManyTerms`] above 4,096 terms.
    pub fn new(query: &SparseVector) -> Result<Self, Error> {
        let mut quantised = Self::default();
        quantised.replace(query)?;
        Ok(quantised)
    }

    /// Quantises `query` into the memory of this one.
    pub(crate) fn replace(&mut self, query: &SparseVector) -> Result<(), Error> {
        self.terms.clear();
        self.step = 1.0;
        let found = query.len();
        if found > MAX_QUERY_TERMS {
            return Err(Error::TooManyTerms { found });
        }
        let max = f64::from(MAX_QUERY_WEIGHT);
        let is_kept = |weight: f32| weight.fract() == 0.0 && (1.0..=max).contains(&f64::from(weight));
        let step = if query.weights().iter().all(|&weight| is_kept(weight)) {
            1.0
        } else {
            f64::from(query.max_weight()) / max
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounding to f32 is what a step is reported in"
        )]
        {
            self.step = step as f32;
        }
        self.terms.extend(query.iter().map(|(term, weight)| {
            let rounded = (f64::from(weight) / step).round().clamp(1.0, max);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1..=4095")]
            (term, rounded as u16)
        }));
        Ok(())
    }

    /// Terms with their weights (1 to 4,095), by ascending term; terms unknown to an index included.
    #[must_use]
    pub fn terms(&self) -> &[(TermId, u16)] {
        &self.terms
    }

    /// The query weight that one unit stands for.
    #[must_use]
    pub const fn step(&self) -> f32 {
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(weights: &[f32]) -> SparseVector {
        let pairs = weights
            .iter()
            .zip(0..)
            .map(|(&weight, term)| (TermId::new(term), weight));
        SparseVector::from_pairs(pairs.collect()).expect("distinct terms")
    }

    fn weights(quantised: &QuantisedQuery) -> Vec<u16> {
        quantised.terms().iter().map(|&(_, weight)| weight).collect()
    }

    #[test]
    fn keeps_integers() {
        let quantised = QuantisedQuery::new(&query(&[1.0, 4095.0, 7.0])).expect("three terms");
        assert_eq!(weights(&quantised), [1, 4095, 7]);
        assert_eq!(quantised.step(), 1.0);
    }

    #[test]
    fn spreads_others_up_to_the_largest() {
        for largest in [0.25f32, 4096.0, 1.5, f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            let quantised = QuantisedQuery::new(&query(&[largest, largest])).expect("two terms");
            assert_eq!(weights(&quantised), [4095, 4095], "{largest}");
        }
        let quantised = QuantisedQuery::new(&query(&[0.5, 0.25, 1e-9])).expect("three terms");
        assert_eq!(weights(&quantised), [4095, 2048, 1]);
        assert!((quantised.step() * 4095.0 - 0.5).abs() < 1e-6);
    }

    #[test]
    fn refuses_too_many_terms() {
        assert!(QuantisedQuery::new(&query(&vec![1.0; 4096])).is_ok());
        let refused = QuantisedQuery::new(&query(&vec![1.0; 4097]));
        assert_eq!(refused, Err(Error::TooManyTerms { found: 4097 }));
    }
}
