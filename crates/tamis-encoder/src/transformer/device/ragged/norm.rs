//! Layer normalisation of rows.

use super::block::Block;
use super::element::Element;
use super::loan::Loan;
use super::rows::{change_and_sum, for_each_row};
use super::view::Norm;
use crate::transformer::NormParameters;
use candle_core::{Result, Shape};

/// A layer normalisation, its parameters lent.
#[derive(Debug)]
pub(super) struct LayerNorm {
    weight: Loan,
    bias: Option<Loan>,
    epsilon: f32,
}

impl LayerNorm {
    pub(super) fn new(parameters: &NormParameters) -> Result<Self> {
        Ok(Self {
            weight: Loan::new(&parameters.weight)?,
            bias: parameters.bias.as_ref().map(Loan::new).transpose()?,
            epsilon: parameters.epsilon,
        })
    }

    pub(super) fn loans(&self) -> impl Iterator<Item = &Loan> {
        [Some(&self.weight), self.bias.as_ref()].into_iter().flatten()
    }

    fn width(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The rows normalised.
    pub(super) fn normalised<E: Element>(&self, rows: &[E]) -> Result<Vec<E>> {
        let width = self.width();
        let mut out = vec![E::zero(); rows.len()];
        self.with(|norm| {
            for_each_row(&mut out, width, |at, out| {
                out.copy_from_slice(&rows[at * width..][..width]);
                E::normalise(out, norm);
            });
            Ok(())
        })?;
        Ok(out)
    }

    /// Turns the gradient of the result into that of `rows`, and adds to those of the parameters.
    pub(super) fn turn_back<E: Element>(&self, rows: &[E], gradient: &mut [E]) -> Result<()> {
        let width = self.width();
        let [weight, bias] = self.with(|norm| {
            Ok(change_and_sum(gradient, width, |at, gradient, sums| {
                E::normalise_backward(&rows[at * width..][..width], gradient, norm, sums);
            }))
        })?;
        self.weight.add_gradient(|sum| E::add_row(sum, &weight))?;
        match &self.bias {
            Some(loan) => loan.add_gradient(|sum| E::add_row(sum, &bias)),
            None => Ok(()),
        }
    }

    fn with<E: Element, T>(&self, call: impl FnOnce(&Norm<'_, E>) -> Result<T>) -> Result<T> {
        self.weight.read(|weight: &[E]| {
            let call = |bias: &[E]| {
                call(&Norm {
                    weight,
                    bias,
                    epsilon: self.epsilon,
                })
            };
            match &self.bias {
                Some(bias) => bias.read(call),
                None => call(&vec![E::zero(); weight.len()]),
            }
        })
    }
}

impl<E: Element> Block<E> for LayerNorm {
    type Saved = ();

    const NAME: &'static str = "layer norm";

    fn loans(&self) -> Vec<&Loan> {
        self.loans().collect()
    }

    fn shape(&self, shape: &Shape) -> Result<Shape> {
        Ok(shape.clone())
    }

    fn forward(&self, x: &[E]) -> Result<(Vec<E>, ())> {
        Ok((self.normalised(x)?, ()))
    }

    fn backward(&self, x: &[E], (): (), gradient: &[E], _: bool) -> Result<Vec<E>> {
        let mut gradient = gradient.to_vec();
        self.turn_back(x, &mut gradient)?;
        Ok(gradient)
    }
}
