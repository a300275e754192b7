//! A transformer where it computes: packed weights on the CPU, or tensors on a device.

use super::{
    Backbone, DeviceBackbone, DeviceMlmHead, MlmHead, MlmParameters, Norms, Parameters, Pooling, Rows, SpladeActivation,
};
use crate::{Compute, DeviceChoice, Error, Precision};
use candle_core::{Device, Result, Tensor};
use std::ops::Range;

/// Which of the two ways of computing, and where.
#[derive(Clone, Debug)]
pub(crate) enum Placement {
    /// Weights repacked for the CPU's vector units.
    Packed(
        #[expect(
            dead_code,
            reason = "the packed path knows single precision only, and computes any choice in it"
        )]
        Precision,
    ),
    /// Tensor operations.
    Tensors(Device),
}

impl Placement {
    /// The place that `compute` asks for; starts the device.
    pub(crate) fn of(compute: Compute) -> std::result::Result<Self, Error> {
        compute.check_precision()?;
        let device = compute.device;
        match device {
            DeviceChoice::Cpu => Ok(Self::Packed(compute.precision)),
            DeviceChoice::Cuda(_) if !candle_core::utils::cuda_is_available() => Err(Error::DeviceNotBuilt { device }),
            DeviceChoice::Cuda(number) => match Device::new_cuda(number) {
                Ok(opened) => Ok(Self::Tensors(opened)),
                Err(source) => Err(Error::Device { device, source }),
            },
        }
    }
}

/// Token ids to hidden states.
#[derive(Debug)]
pub(crate) enum PlacedBackbone {
    Packed(Backbone),
    Device(DeviceBackbone),
}

/// Hidden states to weights over the vocabulary.
#[derive(Debug)]
pub(crate) enum PlacedMlmHead {
    Packed(MlmHead),
    Device(DeviceMlmHead),
}

/// How many tokens a batch may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchBudget {
    /// Tokens of all texts.
    Ragged(usize),
    /// Texts times the longest one's tokens.
    Padded(usize),
}

impl PlacedBackbone {
    pub(crate) fn new(parameters: &Parameters, placement: &Placement) -> Result<Self> {
        match placement {
            Placement::Packed(_) if is_packable(parameters) => Backbone::new(parameters).map(Self::Packed),
            Placement::Packed(_) => DeviceBackbone::new(parameters, &Device::Cpu).map(Self::Device),
            Placement::Tensors(device) => DeviceBackbone::new(parameters, device).map(Self::Device),
        }
    }

    /// The last hidden states, `[rows, width]`, on the device that computed them.
    pub(crate) fn forward(&self, rows: &Rows) -> Result<Tensor> {
        match self {
            Self::Packed(backbone) => backbone.forward(rows),
            Self::Device(backbone) => backbone.forward(rows),
        }
    }

    /// Enough tokens for matrix products at full speed, few enough that a batch stays within some tens of megabytes on
    /// the CPU and about a gigabyte on a GPU.
    pub(crate) fn batch_budget(&self) -> BatchBudget {
        match self {
            Self::Packed(_) => BatchBudget::Ragged(2048),
            Self::Device(backbone) if backbone.words().device().is_cpu() => BatchBudget::Padded(2048),
            Self::Device(_) => BatchBudget::Padded(16384),
        }
    }
}

/// What the packed path computes so far; all other models take tensors on the CPU too.
fn is_packable(parameters: &Parameters) -> bool {
    let layers = &parameters.layers;
    parameters.positions.is_some()
        && parameters.final_norm.is_none()
        && layers.iter().all(|layer| {
            let is_post_norm = matches!(layer.norms, Norms::After { .. });
            is_post_norm && !layer.gated && layer.rotary.is_none() && layer.window.is_none()
        })
}

impl PlacedMlmHead {
    /// The head where `backbone` computes; `words` are its word embeddings.
    pub(crate) fn new(parameters: &MlmParameters, backbone: &PlacedBackbone, words: &Tensor) -> Result<Self> {
        match backbone {
            PlacedBackbone::Packed(_) => MlmHead::new(parameters, words).map(Self::Packed),
            PlacedBackbone::Device(backbone) => DeviceMlmHead::new(parameters, backbone).map(Self::Device),
        }
    }

    /// One weight per vocabulary entry for each range of rows of `hidden`; 0 everywhere for an empty range.
    ///
    /// A text whose hidden states are not finite gets NaN everywhere, for the caller to refuse.
    pub(crate) fn pool(
        &self,
        hidden: &Tensor,
        ranges: &[Range<usize>],
        pooling: Pooling,
        activation: SpladeActivation,
    ) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Packed(head) => head.pool(hidden, ranges, pooling, activation),
            Self::Device(head) => head.pool(hidden, ranges, pooling, activation)?.to_vec2(),
        }
    }
}
