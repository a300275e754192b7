//! Gradients by name: summed over parts of a batch, measured, clipped.

mod in_place;

use super::NamedVariable;
use crate::Error;
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use in_place::{add_in_place, sum_of_squares};

/// Gradients of variables, in the order of the variables.
///
/// Sums are taken in the order of calls and norms in a fixed order of elements, so results do not depend on the number
/// of threads.
#[derive(Debug)]
pub struct Gradients {
    entries: Vec<Entry>,
    /// What all gradients are multiplied by when they are used.
    factor: f64,
}

#[derive(Debug)]
struct Entry {
    name: String,
    gradient: Option<Tensor>,
    /// Whether the tensor's memory is certainly nobody else's.
    own: bool,
}

impl Gradients {
    /// No gradient yet of any of `variables`.
    pub fn new(variables: &[NamedVariable]) -> Self {
        let empty = |variable: &NamedVariable| Entry {
            name: variable.name.clone(),
            gradient: None,
            own: false,
        };
        Self {
            entries: variables.iter().map(empty).collect(),
            factor: 1.0,
        }
    }

    /// Adds what a backward pass gave for `variables`, which are those of [`Gradients::new`] in the same order, and
    /// takes it out of `store`. Variables that took no part are left as they are.
    ///
    /// # Errors
    /// When the variables are others.
    pub fn accumulate(&mut self, store: &mut GradStore, variables: &[NamedVariable]) -> Result<(), Error> {
        if variables.len() != self.entries.len() {
            return Err(Error::TrainingShape {
                input: "variables".to_owned(),
                found: vec![variables.len()],
                expected: format!("[{}]", self.entries.len()),
            });
        }
        self.apply_factor()?;
        for (entry, variable) in self.entries.iter_mut().zip(variables) {
            if entry.name != variable.name {
                return Err(Error::TrainingInput {
                    objective: format!("the gradient of {:?}", entry.name),
                    needed: "variables in the order that the gradients were made with",
                });
            }
            if let Some(gradient) = store.remove(variable.var.as_tensor()) {
                entry.add(gradient)?;
            }
        }
        Ok(())
    }

    /// Adds `gradient` to that of the variable `name`.
    ///
    /// # Errors
    /// When there is no such variable, or the shape is another.
    pub fn add(&mut self, name: &str, gradient: Tensor) -> Result<(), Error> {
        self.apply_factor()?;
        let entry = self.entries.iter_mut().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| Error::TrainingInput {
            objective: format!("the gradient of {name:?}"),
            needed: "a variable of this name",
        })?;
        entry.add(gradient)
    }

    /// The gradient of a variable as it will be used; `None` where it took no part.
    ///
    /// # Errors
    /// When the tensor operation fails.
    pub fn get(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        match entry.and_then(|entry| entry.gradient.as_ref()) {
            Some(gradient) if self.factor == 1.0 => Ok(Some(gradient.clone())),
            Some(gradient) => Ok(Some((gradient * self.factor)?)),
            None => Ok(None),
        }
    }

    /// Multiplies all gradients; costs nothing until they are used.
    pub fn scale(&mut self, factor: f64) {
        self.factor *= factor;
    }

    /// The square root of the sum of squares over all gradients, summed in double precision.
    ///
    /// # Errors
    /// When the tensor operation fails.
    pub fn norm(&self) -> Result<f64, Error> {
        let mut sum = 0.0;
        for gradient in self.entries.iter().filter_map(|entry| entry.gradient.as_ref()) {
            sum += sum_of_squares(gradient)?;
        }
        Ok(sum.sqrt() * self.factor.abs())
    }

    /// Scales all gradients down so that their norm is at most `max_norm`, and gives the norm from before. As in
    /// PyTorch the factor is `max_norm / (norm + 1e-6)` where that is below 1.
    ///
    /// # Errors
    /// [`Error::GradientNotFinite`] names the first variable with an infinity or a NaN.
    pub fn clip(&mut self, max_norm: f64) -> Result<f64, Error> {
        let norm = self.finite_norm()?;
        let factor = max_norm / (norm + 1e-6);
        if factor < 1.0 {
            self.scale(factor);
        }
        Ok(norm)
    }

    /// The norm of gradients that are all finite.
    ///
    /// # Errors
    /// [`Error::GradientNotFinite`] names the first variable with an infinity or a NaN.
    pub fn finite_norm(&self) -> Result<f64, Error> {
        let norm = self.norm()?;
        if norm.is_finite() {
            return Ok(norm);
        }
        for entry in &self.entries {
            let Some(gradient) = &entry.gradient else { continue };
            let values = gradient.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
            if let Some(element) = values.iter().position(|value| !value.is_finite()) {
                return Err(Error::GradientNotFinite {
                    variable: entry.name.clone(),
                    element,
                });
            }
        }
        // Squares of finite numbers overflowed, or the scale is not finite.
        Err(Error::GradientNotFinite {
            variable: "norm of all gradients".to_owned(),
            element: 0,
        })
    }

    /// Names and gradients before they are scaled, in order; for the optimiser.
    pub(super) fn unscaled(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry.name.as_str(), entry.gradient.as_ref()?)))
    }

    /// What gradients are multiplied by.
    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    /// Makes the scale 1, so that other gradients can be added.
    fn apply_factor(&mut self) -> Result<(), Error> {
        if self.factor == 1.0 {
            return Ok(());
        }
        for entry in &mut self.entries {
            if let Some(gradient) = &entry.gradient {
                entry.gradient = Some((gradient * self.factor)?);
                entry.own = true;
            }
        }
        self.factor = 1.0;
        Ok(())
    }
}

impl Entry {
    fn add(&mut self, gradient: Tensor) -> Result<(), Error> {
        let gradient = gradient.detach();
        match &self.gradient {
            None => {
                self.gradient = Some(gradient.contiguous()?);
                self.own = false;
            }
            Some(sum) if sum.dims() != gradient.dims() => {
                return Err(Error::TrainingShape {
                    input: format!("gradient of {:?}", self.name),
                    found: gradient.dims().to_vec(),
                    expected: format!("{:?}", sum.dims()),
                });
            }
            Some(sum) if self.own => add_in_place(sum, &gradient)?,
            Some(sum) => {
                self.gradient = Some((sum + gradient)?);
                self.own = true;
            }
        }
        Ok(())
    }
}
