//! The functions between two linear maps.

use super::block::Block;
use super::element::Element;
use super::loan::Loan;
use super::rows::for_each_row;
use crate::transformer::HiddenActivation;
use candle_core::{Result, Shape};
use rayon::prelude::*;

/// Values that one task changes.
const VALUES_PER_TASK: usize = 1 << 14;

/// Applies `activation` to all values; of gated rows to the first half, which is multiplied with the second and alone
/// remains.
pub(super) fn activated<E: Element>(rows: &[E], activation: HiddenActivation, gate: Option<usize>) -> Vec<E> {
    let Some(inner) = gate else {
        let mut out = vec![E::zero(); rows.len()];
        let parts = out
            .par_chunks_mut(VALUES_PER_TASK)
            .zip(rows.par_chunks(VALUES_PER_TASK));
        parts.for_each(|(out, rows)| {
            out.copy_from_slice(rows);
            E::activate(out, activation);
        });
        return out;
    };
    let mut out = vec![E::zero(); rows.len() / 2];
    for_each_row(&mut out, inner, |at, out| {
        let (first, second) = rows[2 * at * inner..][..2 * inner].split_at(inner);
        out.copy_from_slice(first);
        E::activate(out, activation);
        E::scale_by(out, second);
    });
    out
}

/// From `rows` and the gradient of [`activated`]: what that gave, and the gradient of `rows`.
pub(super) fn activated_backward<E: Element>(
    rows: Vec<E>,
    mut gradient: Vec<E>,
    activation: HiddenActivation,
    gate: Option<usize>,
) -> (Vec<E>, Vec<E>) {
    let mut out = rows;
    let Some(inner) = gate else {
        let pairs = out.par_chunks_mut(VALUES_PER_TASK);
        pairs
            .zip(gradient.par_chunks_mut(VALUES_PER_TASK))
            .for_each(|(row, gradient)| E::activate_backward(row, gradient, activation));
        return (out, gradient);
    };
    let mut values = vec![E::zero(); gradient.len()];
    let rows = out.par_chunks_exact_mut(2 * inner);
    let results = values.par_chunks_exact_mut(inner).zip(gradient.par_chunks_exact(inner));
    rows.zip(results).for_each(|(row, (value, gradient))| {
        // `row` becomes its own gradient.
        let (first, second) = row.split_at_mut(inner);
        value.copy_from_slice(first);
        first.copy_from_slice(gradient);
        E::scale_by(first, second);
        E::activate_backward(value, first, activation);
        for ((second, value), gradient) in second.iter_mut().zip(value).zip(gradient) {
            let gate = *second;
            *second = *value * *gradient;
            *value *= gate;
        }
    });
    (values, out)
}

/// A function of single values.
#[derive(Debug)]
pub(super) struct Activate(pub(super) HiddenActivation);

impl<E: Element> Block<E> for Activate {
    type Saved = ();

    const NAME: &'static str = "activation";

    fn loans(&self) -> Vec<&Loan> {
        Vec::new()
    }

    fn shape(&self, shape: &Shape) -> Result<Shape> {
        Ok(shape.clone())
    }

    fn forward(&self, x: &[E]) -> Result<(Vec<E>, ())> {
        Ok((activated(x, self.0, None), ()))
    }

    fn backward(&self, x: &[E], (): (), gradient: &[E], _: bool) -> Result<Vec<E>> {
        Ok(activated_backward(x.to_vec(), gradient.to_vec(), self.0, None).1)
    }
}
