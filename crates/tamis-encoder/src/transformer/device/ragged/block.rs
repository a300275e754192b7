//! A part of the network as one operation of candle's graph.

use super::element::Element;
use super::loan::{Loan, values_of, with_values};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::{Mutex, PoisonError};

/// Rows in, rows out: forward and backward of a part of the network, over plain slices.
///
/// Parameters are loans: they are read, and their gradients added to, by the part itself.
pub(super) trait Block<E: Element>: Send + Sync + 'static {
    /// What the backward pass needs beside the input; it goes away when that has used it.
    type Saved: Send;

    /// For messages.
    const NAME: &'static str;

    /// Whatever the part reads.
    fn loans(&self) -> Vec<&Loan>;

    /// The result's shape for an input of `shape`.
    fn shape(&self, shape: &Shape) -> Result<Shape>;

    /// The result, and what is to be kept of the way there.
    fn forward(&self, x: &[E]) -> Result<(Vec<E>, Self::Saved)>;

    /// The gradient of `x` from that of the result; adds to those of the loans. Without `wanted` nobody looks at that of
    /// `x`.
    fn backward(&self, x: &[E], saved: Self::Saved, gradient: &[E], wanted: bool) -> Result<Vec<E>>;
}

/// Applies `block` to `x`, which is on the CPU.
pub(super) fn apply<E: Element, B: Block<E>>(x: &Tensor, block: B) -> Result<Tensor> {
    let token = Loan::join(block.loans().into_iter())?;
    let operation = Operation {
        keeps: x.track_op() || token.track_op(),
        block,
        saved: Mutex::new(None),
    };
    x.contiguous()?.apply_op2(&token, operation)
}

/// A block and what it keeps for its backward pass.
struct Operation<E: Element, B: Block<E>> {
    block: B,
    keeps: bool,
    saved: Mutex<Option<B::Saved>>,
}

impl<E: Element, B: Block<E>> CustomOp2 for Operation<E, B> {
    fn name(&self) -> &'static str {
        B::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (out, saved) = self.block.forward(values_of(x, layout)?)?;
        if self.keeps {
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        }
        Ok((E::to_cpu_storage_owned(out), self.block.shape(layout.shape())?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        token: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(saved) = saved else {
            candle_core::bail!("{}: a graph gives its gradients once", B::NAME)
        };
        let wanted = x.track_op();
        let gradient = with_values(x, |values| {
            with_values(gradient, |gradient| {
                self.block.backward(values, saved, gradient, wanted)
            })
        })?;
        let gradient = match wanted {
            true => Some(Tensor::from_vec(gradient, x.shape(), x.device())?),
            false => None,
        };
        let token = token.track_op().then(|| token.zeros_like()).transpose()?;
        Ok((gradient, token))
    }
}
