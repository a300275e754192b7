//! Tensors lent to operations that read more of them than candle's own operations can.
//!
//! candle's operations have at most three arguments, and add up gradients by copying. A loan is a one-element tensor
//! that stands for a tensor in the graph: an operation takes the tokens of all it reads as one argument, reads the
//! tensors themselves, and adds to their gradients in place. When all who hold the loan have had their turn, which the
//! order of the graph sees to, the token's own turn comes and gives the sum back.

use super::element::Element;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// A tensor that operations read, and add gradients to.
#[derive(Clone, Debug)]
pub(in crate::transformer::device) struct Loan {
    /// Contiguous and outside of the graph.
    tensor: Tensor,
    token: Tensor,
    gradient: Gradient,
    tracked: bool,
}

/// What is known so far of the gradient.
type Gradient = Arc<Mutex<Option<CpuStorage>>>;

impl Loan {
    /// Lends `tensor`, which is on the CPU. Gradients are kept only if it takes part in a graph.
    pub(in crate::transformer::device) fn new(tensor: &Tensor) -> Result<Self> {
        let gradient = Gradient::default();
        let tracked = tensor.track_op();
        let token = match tracked {
            true => tensor.apply_op1(Lend {
                gradient: Arc::clone(&gradient),
            })?,
            false => Tensor::zeros(1, tensor.dtype(), tensor.device())?,
        };
        Ok(Self {
            tensor: tensor.detach().contiguous()?,
            token,
            gradient,
            tracked,
        })
    }

    /// One argument that stands for all of `loans`.
    pub(super) fn join<'a>(loans: impl Iterator<Item = &'a Self>) -> Result<Tensor> {
        let tracked: Vec<&Tensor> = loans.filter(|loan| loan.tracked).map(|loan| &loan.token).collect();
        match tracked[..] {
            [] => Tensor::zeros(1, candle_core::DType::F32, &candle_core::Device::Cpu),
            _ => Tensor::cat(&tracked, 0),
        }
    }

    pub(super) fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Calls `read` with the values.
    pub(super) fn read<E: Element, T>(&self, read: impl FnOnce(&[E]) -> Result<T>) -> Result<T> {
        with_values(&self.tensor, read)
    }

    /// Calls `add` with the gradient so far, zero in the beginning, if one is wanted.
    pub(super) fn add_gradient<E: Element>(&self, add: impl FnOnce(&mut [E])) -> Result<()> {
        if !self.tracked {
            return Ok(());
        }
        let mut slot = self.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values = match slot.take() {
            Some(storage) => E::cpu_storage_data(storage)?,
            None => vec![E::zero(); self.tensor.elem_count()],
        };
        add(&mut values);
        *slot = Some(E::to_cpu_storage_owned(values));
        Ok(())
    }
}

/// The operation behind a token.
struct Lend {
    gradient: Gradient,
}

impl CustomOp1 for Lend {
    fn name(&self) -> &'static str {
        "lend"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let token = match storage {
            CpuStorage::F32(_) => CpuStorage::F32(vec![0.0]),
            CpuStorage::F64(_) => CpuStorage::F64(vec![0.0]),
            _ => candle_core::bail!("only single and double precision is lent"),
        };
        Ok((token, Shape::from(1)))
    }

    fn bwd(&self, lent: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        let gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gradient = match gradient {
            Some(CpuStorage::F32(values)) => Tensor::from_vec(values, lent.shape(), lent.device())?,
            Some(CpuStorage::F64(values)) => Tensor::from_vec(values, lent.shape(), lent.device())?,
            _ => lent.zeros_like()?,
        };
        Ok(Some(gradient))
    }
}

/// Calls `read` with the values of a tensor on the CPU.
pub(super) fn with_values<E: Element, T>(tensor: &Tensor, read: impl FnOnce(&[E]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => read(values_of(storage, layout)?),
        _ => candle_core::bail!("rows are computed on the CPU alone"),
    }
}

/// The values of a contiguous tensor.
pub(super) fn values_of<'a, E: Element>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [E]> {
    let values = E::cpu_storage_as_slice(storage)?;
    let start = layout.start_offset();
    Ok(&values[start..start + layout.shape().elem_count()])
}
