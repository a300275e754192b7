//! AdamW: adaptive moments with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), as PyTorch computes it.

mod options;
mod update;

pub use options::{AdamWOptions, ParameterGroup};

use super::{Gradients, NamedVariable};
use crate::Error;
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use update::{Moments, Update};

/// The optimiser of a run.
///
/// In single precision on the CPU a step is one pass over each variable, its gradient and its two moments, in place and
/// on all threads; each element is computed alone, so bytes do not depend on their number. Elsewhere tensor operations
/// do the same.
#[derive(Debug)]
pub struct AdamW {
    options: AdamWOptions,
    slots: Vec<Slot>,
}

/// What the optimiser keeps for a variable.
#[derive(Debug)]
struct Slot {
    variable: NamedVariable,
    rate_factor: f64,
    weight_decay: f64,
    /// Steps that the variable took part in.
    steps: u64,
    moments: Moments,
}

impl AdamW {
    /// An optimiser of `variables`, all moments 0. Variables of frozen groups are left out.
    ///
    /// Takes twice the memory of the variables that are not frozen.
    ///
    /// # Errors
    /// When an option is out of its range or two variables share a name.
    pub fn new(variables: Vec<NamedVariable>, options: AdamWOptions) -> Result<Self, Error> {
        options.validate()?;
        let mut slots: Vec<Slot> = Vec::with_capacity(variables.len());
        for variable in variables {
            let settings = options.of(&variable.name);
            if settings.frozen {
                continue;
            }
            if slots.iter().any(|slot| slot.variable.name == variable.name) {
                return Err(Error::OptimiserState {
                    tensor: variable.name,
                    reason: "is the name of two variables",
                });
            }
            slots.push(Slot {
                moments: Moments::zeros(&variable.var)?,
                variable,
                rate_factor: settings.rate_factor,
                weight_decay: settings.weight_decay,
                steps: 0,
            });
        }
        Ok(Self { options, slots })
    }

    /// Changes the variables by one step at the learning rate `rate` (times the factor of their group). Variables
    /// without a gradient stay as they are, moments included.
    ///
    /// # Errors
    /// When a gradient has another shape or type than its variable.
    pub fn step(&mut self, gradients: &Gradients, rate: f64) -> Result<(), Error> {
        let by_name: BTreeMap<&str, &Tensor> = gradients.unscaled().collect();
        for slot in &mut self.slots {
            let Some(gradient) = by_name.get(slot.variable.name.as_str()) else {
                continue;
            };
            let var = &slot.variable.var;
            if gradient.dims() != var.dims() {
                return Err(Error::TrainingShape {
                    input: format!("gradient of {:?}", slot.variable.name),
                    found: gradient.dims().to_vec(),
                    expected: format!("{:?}", var.dims()),
                });
            }
            slot.steps += 1;
            let update = Update::new(&self.options, rate * slot.rate_factor, slot.weight_decay, slot.steps);
            slot.moments.step(var, gradient, &update.scaled(gradients.factor()))?;
        }
        Ok(())
    }

    /// The names of the variables that are optimised, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.variable.name.as_str())
    }

    /// What has to be saved: for each variable `NAME.first_moment`, `NAME.second_moment` and `NAME.steps` (one
    /// integer), in order. Copies.
    ///
    /// # Errors
    /// When the tensor operation fails.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>, Error> {
        let mut state = Vec::with_capacity(3 * self.slots.len());
        for slot in &self.slots {
            let name = &slot.variable.name;
            let [first, second] = slot.moments.tensors(&slot.variable.var)?;
            let steps = i64::try_from(slot.steps).expect("a run has fewer than 2^63 steps");
            state.push((format!("{name}.first_moment"), first));
            state.push((format!("{name}.second_moment"), second));
            state.push((
                format!("{name}.steps"),
                Tensor::new(&[steps], slot.variable.var.device())?,
            ));
        }
        Ok(state)
    }

    /// Goes on from a saved state of the same variables. On an error nothing is changed.
    ///
    /// # Errors
    /// [`Error::OptimiserState`] names the first tensor that is missing, superfluous or of another shape or type.
    pub fn restore(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        let refuse = |tensor: &str, reason| Error::OptimiserState {
            tensor: tensor.to_owned(),
            reason,
        };
        let mut by_name: BTreeMap<&str, &Tensor> = state.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut restored = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let var = &slot.variable.var;
            let mut take = |part: &str| {
                let name = format!("{}.{part}", slot.variable.name);
                by_name.remove(name.as_str()).ok_or_else(|| refuse(&name, "is missing"))
            };
            let (first, second, steps) = (take("first_moment")?, take("second_moment")?, take("steps")?);
            for (part, tensor) in [("first_moment", first), ("second_moment", second)] {
                let name = format!("{}.{part}", slot.variable.name);
                if tensor.dims() != var.dims() {
                    return Err(refuse(&name, "has another shape than its variable"));
                }
                if tensor.dtype() != var.dtype() {
                    return Err(refuse(&name, "has another type than its variable"));
                }
            }
            let name = format!("{}.steps", slot.variable.name);
            if steps.dims() != [1] || steps.dtype() != DType::I64 {
                return Err(refuse(&name, "is no single 64-bit integer"));
            }
            let steps = steps.to_vec1::<i64>()?[0];
            let steps = u64::try_from(steps).map_err(|_| refuse(&name, "is negative"))?;
            restored.push((Moments::from_tensors(first, second, var)?, steps));
        }
        if let Some(name) = by_name.keys().next() {
            return Err(refuse(name, "belongs to no variable of this model"));
        }
        for (slot, (moments, steps)) in self.slots.iter_mut().zip(restored) {
            slot.moments = moments;
            slot.steps = steps;
        }
        Ok(())
    }
}
