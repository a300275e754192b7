//! `x W^T + b`.

use super::block::Block;
use super::element::Element;
use super::loan::Loan;
use super::rows::add_rows;
use super::view::{Start, View};
use crate::transformer::LinearParameters;
use candle_core::{Result, Shape};

/// A linear map, its parameters lent.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Loan,
    bias: Option<Loan>,
}

impl Linear {
    pub(super) fn new(parameters: &LinearParameters) -> Result<Self> {
        Ok(Self {
            weight: Loan::new(&parameters.weight)?,
            bias: parameters.bias.as_ref().map(Loan::new).transpose()?,
        })
    }

    pub(super) fn loans(&self) -> impl Iterator<Item = &Loan> {
        [Some(&self.weight), self.bias.as_ref()].into_iter().flatten()
    }

    pub(super) fn inputs(&self) -> usize {
        self.weight.dims()[1]
    }

    pub(super) fn outputs(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The product of every row.
    pub(super) fn map<E: Element>(&self, x: &[E]) -> Result<Vec<E>> {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let mut out = vec![E::zero(); x.len() / inputs * outputs];
        self.weight.read(|weight| {
            let (x, weight) = (View::new(x, inputs), View::new(weight, inputs).t());
            match &self.bias {
                Some(bias) => bias.read(|bias| {
                    E::multiply(x, weight, Start::Bias(bias), &mut out);
                    Ok(())
                }),
                None => {
                    E::multiply(x, weight, Start::Zero, &mut out);
                    Ok(())
                }
            }
        })?;
        Ok(out)
    }

    /// Adds to the gradients of the parameters.
    pub(super) fn add_gradients<E: Element>(&self, x: &[E], gradient: &[E]) -> Result<()> {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        self.weight.add_gradient(|sum: &mut [E]| {
            let (gradient, x) = (View::new(gradient, outputs).t(), View::new(x, inputs));
            E::multiply(gradient, x, Start::Present, sum);
        })?;
        match &self.bias {
            Some(bias) => bias.add_gradient(|sum: &mut [E]| add_rows(gradient, sum)),
            None => Ok(()),
        }
    }

    /// Writes the gradient of `x` to `out`, or adds it to what is there.
    pub(super) fn map_back<E: Element>(&self, gradient: &[E], start: Start<'_, E>, out: &mut [E]) -> Result<()> {
        self.weight.read(|weight| {
            let (gradient, weight) = (View::new(gradient, self.outputs()), View::new(weight, self.inputs()));
            E::multiply(gradient, weight, start, out);
            Ok(())
        })
    }
}

impl<E: Element> Block<E> for Linear {
    type Saved = ();

    const NAME: &'static str = "linear";

    fn loans(&self) -> Vec<&Loan> {
        self.loans().collect()
    }

    fn shape(&self, shape: &Shape) -> Result<Shape> {
        Ok(Shape::from((shape.dims2()?.0, self.outputs())))
    }

    fn forward(&self, x: &[E]) -> Result<(Vec<E>, ())> {
        Ok((self.map(x)?, ()))
    }

    fn backward(&self, x: &[E], (): (), gradient: &[E], wanted: bool) -> Result<Vec<E>> {
        self.add_gradients(x, gradient)?;
        let mut out = vec![E::zero(); if wanted { x.len() } else { 0 }];
        if wanted {
            self.map_back(gradient, Start::Zero, &mut out)?;
        }
        Ok(out)
    }
}
