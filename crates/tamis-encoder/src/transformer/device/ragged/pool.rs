//! Products of ragged rows with the whole vocabulary, the largest of each text, weighed: one weight a text and entry.
//!
//! No matrix of tokens by vocabulary exists in either direction. A weight is a function of one row, its text's best for
//! that entry, so a gradient passes through that row alone, and through none where the weight or its slope is zero: the
//! backward pass costs as much as there are entries in use (Formal et al., SPLADE v2, 2021, for the pooling).

use super::block::Block;
use super::element::{Element, Largest};
use super::loan::Loan;
use super::rows::{for_each_row, split};
use crate::transformer::Weighting;
use candle_core::{Result, Shape};
use rayon::prelude::*;
use std::ops::Range;

/// Texts whose gradients are added up together while the rows of the decoder pass by.
const TEXTS_PER_PASS: usize = 6;

/// The decoder with the texts it is pooled over.
#[derive(Debug)]
pub(in crate::transformer::device) struct Pool {
    /// `[vocabulary, width]`.
    pub(in crate::transformer::device) decoder: Loan,
    /// `[vocabulary]`.
    pub(in crate::transformer::device) bias: Loan,
    /// In order, without overlap.
    pub(in crate::transformer::device) ranges: Vec<Range<usize>>,
    pub(in crate::transformer::device) weighting: Weighting,
}

impl Pool {
    fn sizes(&self) -> (usize, usize) {
        (self.decoder.dims()[0], self.decoder.dims()[1])
    }

    /// Replaces the gradients of the weights by those of their logits.
    fn slopes<E: Element>(&self, largest: &Largest<E>, gradient: &[E]) -> Result<Vec<E>> {
        let vocabulary = self.sizes().0;
        let mut slopes = gradient.to_vec();
        self.bias.read(|bias: &[E]| {
            for_each_row(&mut slopes, vocabulary, |text, slopes| {
                let values = &largest.values[text * vocabulary..][..vocabulary];
                for ((slope, &value), &bias) in slopes.iter_mut().zip(values).zip(bias) {
                    // Most entries have no gradient in the first place.
                    if *slope != E::zero() {
                        let logit = (value + bias).to_f64();
                        let factor = if logit.is_finite() {
                            self.weighting.slope(logit)
                        } else {
                            0.0
                        };
                        *slope *= E::from_f64(factor);
                    }
                }
            });
            Ok(())
        })?;
        Ok(slopes)
    }

    /// Adds to the gradients of decoder and bias.
    fn add_gradients<E: Element>(&self, x: &[E], largest: &Largest<E>, slopes: &[E]) -> Result<()> {
        let (vocabulary, width) = self.sizes();
        let texts = slopes.len() / vocabulary;
        self.decoder.add_gradient(|sum: &mut [E]| {
            for_each_row(sum, width, |entry, sum| {
                for at in (0..texts).map(|text| text * vocabulary + entry) {
                    if slopes[at] != E::zero() {
                        E::add_scaled(sum, slopes[at], &x[largest.rows[at] as usize * width..][..width]);
                    }
                }
            });
        })?;
        self.bias.add_gradient(|sum: &mut [E]| {
            slopes
                .chunks_exact(vocabulary)
                .for_each(|slopes| E::add_row(sum, slopes));
        })
    }

    /// The gradient of the rows.
    fn row_gradients<E: Element>(&self, x: &[E], largest: &Largest<E>, slopes: &[E]) -> Result<Vec<E>> {
        let (vocabulary, width) = self.sizes();
        let mut gradient = vec![E::zero(); x.len()];
        let mut texts: Vec<(usize, &mut [E])> = split(&mut gradient, width, &self.ranges)?
            .into_iter()
            .enumerate()
            .collect();
        let per_pass = texts
            .len()
            .div_ceil(rayon::current_num_threads())
            .clamp(1, TEXTS_PER_PASS);
        self.decoder.read(|decoder: &[E]| {
            texts.par_chunks_mut(per_pass).for_each(|texts| {
                for (entry, column) in decoder.chunks_exact(width).enumerate() {
                    for (text, rows) in texts.iter_mut() {
                        let at = *text * vocabulary + entry;
                        if slopes[at] != E::zero() {
                            let row = largest.rows[at] as usize - self.ranges[*text].start;
                            E::add_scaled(&mut rows[row * width..][..width], slopes[at], column);
                        }
                    }
                }
            });
            Ok(())
        })?;
        Ok(gradient)
    }
}

impl<E: Element> Block<E> for Pool {
    type Saved = Largest<E>;

    const NAME: &'static str = "pooled decoder";

    fn loans(&self) -> Vec<&Loan> {
        vec![&self.decoder, &self.bias]
    }

    fn shape(&self, _: &Shape) -> Result<Shape> {
        Ok(Shape::from((self.ranges.len(), self.sizes().0)))
    }

    fn forward(&self, x: &[E]) -> Result<(Vec<E>, Largest<E>)> {
        let (vocabulary, width) = self.sizes();
        let largest = self
            .decoder
            .read(|decoder: &[E]| Ok(E::largest_products(x, decoder, width, &self.ranges)))?;
        let mut weights = largest.values.clone();
        self.bias.read(|bias: &[E]| {
            for_each_row(&mut weights, vocabulary, |text, weights| {
                let rows = &x[self.ranges[text].start * width..self.ranges[text].end * width];
                if rows.is_empty() {
                    return weights.fill(E::zero());
                }
                // A maximum passes over what is not a number; the text must not.
                let finite = rows.iter().all(|x| x.to_f64().is_finite());
                for (weight, &bias) in weights.iter_mut().zip(bias) {
                    let logit = if finite { (*weight + bias).to_f64() } else { f64::NAN };
                    *weight = E::from_f64(self.weighting.of_double(logit));
                }
            });
            Ok(())
        })?;
        Ok((weights, largest))
    }

    fn backward(&self, x: &[E], largest: Largest<E>, gradient: &[E], wanted: bool) -> Result<Vec<E>> {
        let slopes = self.slopes(&largest, gradient)?;
        self.add_gradients(x, &largest, &slopes)?;
        match wanted {
            true => self.row_gradients(x, &largest, &slopes),
            false => Ok(Vec::new()),
        }
    }
}
