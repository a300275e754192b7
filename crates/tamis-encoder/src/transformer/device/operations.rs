//! Operations composed of those that candle differentiates.
//!
//! candle's own fused normalisation, softmax and rotary embedding cut gradients without a word; these do not, and give
//! the same values. All work on any device and any floating-point type.

use crate::transformer::{HiddenActivation, LinearParameters, Norm, NormParameters, SpladeActivation, Weighting};
use candle_core::{D, Result, Tensor};

/// `x W^T + b` for the rows of `x`, `[rows, inputs]`.
pub(crate) fn linear(x: &Tensor, parameters: &LinearParameters) -> Result<Tensor> {
    let product = x.matmul(&parameters.weight.t()?)?;
    match &parameters.bias {
        Some(bias) => product.broadcast_add(bias),
        None => Ok(product),
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last dimension.
pub(super) fn normalise(x: &Tensor, parameters: &NormParameters) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let deviation = (variance + f64::from(parameters.epsilon))?.sqrt()?;
    let scaled = centred.broadcast_div(&deviation)?.broadcast_mul(&parameters.weight)?;
    match &parameters.bias {
        Some(bias) => scaled.broadcast_add(bias),
        None => Ok(scaled),
    }
}

/// Softmax over the last dimension.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    // Subtracting any constant changes nothing, so the largest needs no gradient.
    let largest = x.detach().max_keepdim(D::Minus1)?;
    let powers = x.broadcast_sub(&largest)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

/// The function between the two halves of a feed-forward block.
pub(super) fn activate(x: &Tensor, activation: HiddenActivation) -> Result<Tensor> {
    match activation {
        HiddenActivation::Gelu => x.gelu_erf(),
        HiddenActivation::GeluTanh => x.gelu(),
        HiddenActivation::Relu => x.relu(),
        HiddenActivation::Silu => x.silu(),
    }
}

/// The weight of a logit.
pub(crate) fn weigh(logits: &Tensor, weighting: Weighting) -> Result<Tensor> {
    let positive = match weighting.activation {
        SpladeActivation::Relu | SpladeActivation::Log1pRelu => logits.relu()?,
        SpladeActivation::Identity => logits.clone(),
        // The larger half never overflows; |x| is x or -x by the side of zero.
        SpladeActivation::Softplus => (logits.relu()? + log1p(&(logits.relu()? * -2.0)?.add(logits)?.exp()?)?)?,
    };
    match weighting.norm {
        Norm::Identity => Ok(positive),
        Norm::Log1p => log1p(&positive),
        Norm::Log1pLog1p => log1p(&log1p(&positive)?),
    }
}

fn log1p(x: &Tensor) -> Result<Tensor> {
    (x + 1.0)?.log()
}

/// The largest values along the last dimension, which goes away. Of equal ones the first takes the whole gradient, as in
/// PyTorch; candle's own maximum would give it to each of them.
pub(super) fn largest(x: &Tensor) -> Result<Tensor> {
    let at = x.detach().argmax_keepdim(D::Minus1)?;
    x.gather(&at, D::Minus1)?.squeeze(D::Minus1)
}
