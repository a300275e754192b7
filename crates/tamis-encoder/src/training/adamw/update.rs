//! One step of AdamW on one variable.

use super::AdamWOptions;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;
use std::sync::Mutex;

/// Elements that one thread takes at a time.
const CHUNK: usize = 1 << 14;

/// The numbers of a step, the same for all elements of a variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    /// What the variable is multiplied by first.
    keep: f64,
    /// The learning rate, corrected for the first moment's start at 0.
    rate: f64,
    /// The root of the correction for the second moment's start at 0.
    root: f64,
    /// What gradients are multiplied by.
    gradient_factor: f64,
}

impl Update {
    /// The `step`th step (from 1) at the learning rate `rate`.
    pub(super) fn new(options: &AdamWOptions, rate: f64, weight_decay: f64, step: u64) -> Self {
        // A power beyond 2^31 steps is 0 long before.
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        Self {
            beta1: options.beta1,
            beta2: options.beta2,
            epsilon: options.epsilon,
            keep: 1.0 - rate * weight_decay,
            rate: rate / (1.0 - options.beta1.powi(power)),
            root: (1.0 - options.beta2.powi(power)).sqrt(),
            gradient_factor: 1.0,
        }
    }

    /// The same for gradients that are still to be multiplied by `factor`.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self {
            gradient_factor: factor,
            ..self
        }
    }
}

/// The two moments of a variable.
#[derive(Debug)]
pub(super) enum Moments {
    /// Single precision on the CPU.
    Slices { first: Vec<f32>, second: Vec<f32> },
    /// Anything else.
    Tensors { first: Tensor, second: Tensor },
}

impl Moments {
    pub(super) fn zeros(var: &Var) -> Result<Self> {
        if in_place(var) {
            let zeros = vec![0.0; var.elem_count()];
            return Ok(Self::Slices {
                first: zeros.clone(),
                second: zeros,
            });
        }
        Ok(Self::Tensors {
            first: var.zeros_like()?.detach(),
            second: var.zeros_like()?.detach(),
        })
    }

    /// Moments of the shape and type of `var`.
    pub(super) fn from_tensors(first: &Tensor, second: &Tensor, var: &Var) -> Result<Self> {
        if in_place(var) {
            return Ok(Self::Slices {
                first: first.flatten_all()?.to_vec1()?,
                second: second.flatten_all()?.to_vec1()?,
            });
        }
        let on = |tensor: &Tensor| tensor.to_device(var.device())?.copy();
        Ok(Self::Tensors {
            first: on(first)?,
            second: on(second)?,
        })
    }

    /// Copies of both.
    pub(super) fn tensors(&self, var: &Var) -> Result<[Tensor; 2]> {
        match self {
            Self::Slices { first, second } => Ok([
                Tensor::from_slice(first, var.shape(), var.device())?,
                Tensor::from_slice(second, var.shape(), var.device())?,
            ]),
            Self::Tensors { first, second } => Ok([first.copy()?, second.copy()?]),
        }
    }

    /// Changes moments and variable. `gradient` has the variable's shape.
    pub(super) fn step(&mut self, var: &Var, gradient: &Tensor, update: &Update) -> Result<()> {
        match self {
            Self::Slices { first, second } => {
                let operation = InPlace {
                    update,
                    moments: Mutex::new((first, second)),
                };
                var.inplace_op2(&gradient.contiguous()?, &operation)
            }
            Self::Tensors { first, second } => {
                let gradient = (gradient.detach() * update.gradient_factor)?;
                *first = ((&*first * update.beta1)? + (&gradient * (1.0 - update.beta1))?)?;
                *second = ((&*second * update.beta2)? + (gradient.sqr()? * (1.0 - update.beta2))?)?;
                let deviation = ((second.sqrt()? / update.root)? + update.epsilon)?;
                let change = ((&*first / deviation)? * update.rate)?;
                var.set(&((var.as_detached_tensor() * update.keep)? - change)?)
            }
        }
    }
}

/// Whether a step changes the variable's own memory.
fn in_place(var: &Var) -> bool {
    var.device().is_cpu() && var.dtype() == DType::F32
}

/// A step in single precision on the CPU.
struct InPlace<'a> {
    update: &'a Update,
    moments: Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, variable: &mut CpuStorage, to: &Layout, gradient: &CpuStorage, from: &Layout) -> Result<()> {
        let (CpuStorage::F32(variable), CpuStorage::F32(gradient)) = (variable, gradient) else {
            candle_core::bail!("adamw: the gradient is of another type than its variable");
        };
        let (Some((start, end)), Some((first, last))) = (to.contiguous_offsets(), from.contiguous_offsets()) else {
            candle_core::bail!("adamw: contiguous values expected");
        };
        let mut moments = self
            .moments
            .lock()
            .expect("no thread panics while it holds the moments");
        let (means, squares) = &mut *moments;
        let numbers = Numbers::from(self.update);
        variable[start..end]
            .par_chunks_mut(CHUNK)
            .zip(gradient[first..last].par_chunks(CHUNK))
            .zip(means.par_chunks_mut(CHUNK).zip(squares.par_chunks_mut(CHUNK)))
            .for_each(|((variable, gradient), (means, squares))| numbers.apply(variable, gradient, means, squares));
        Ok(())
    }
}

/// An update in single precision.
struct Numbers {
    beta2: f32,
    new1: f32,
    new2: f32,
    epsilon: f32,
    keep: f32,
    rate: f32,
    root: f32,
    gradient_factor: f32,
}

impl From<&Update> for Numbers {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded to the precision of the variables"
    )]
    fn from(update: &Update) -> Self {
        Self {
            beta2: update.beta2 as f32,
            new1: (1.0 - update.beta1) as f32,
            new2: (1.0 - update.beta2) as f32,
            epsilon: update.epsilon as f32,
            keep: update.keep as f32,
            rate: update.rate as f32,
            root: update.root as f32,
            gradient_factor: update.gradient_factor as f32,
        }
    }
}

impl Numbers {
    fn apply(&self, variables: &mut [f32], gradients: &[f32], means: &mut [f32], squares: &mut [f32]) {
        let moments = means.iter_mut().zip(squares);
        for ((variable, &gradient), (mean, square)) in variables.iter_mut().zip(gradients).zip(moments) {
            let gradient = gradient * self.gradient_factor;
            *mean += (gradient - *mean) * self.new1;
            *square = *square * self.beta2 + gradient * gradient * self.new2;
            let deviation = square.sqrt() / self.root + self.epsilon;
            *variable = *variable * self.keep - self.rate * (*mean / deviation);
        }
    }
}
