//! A transformer where it computes: packed weights on the CPU, or tensors on a device.

use super::decoder::Weights;
use super::mlm_head::Words;
use super::{
    Backbone, DeviceBackbone, DeviceMlmHead, LayerParameters, MlmHead, MlmParameters, Parameters, PoolRule, Rows,
    Workers,
};
use crate::{Compute, DeviceChoice, Error, Precision};
use candle_core::{Device, Result, Tensor};
use std::ops::Range;

/// Which of the two ways of computing, and where.
#[derive(Clone, Debug)]
pub(crate) enum Placement {
    /// Weights packed for the CPU's vector units.
    Packed(Precision),
    /// Tensor operations.
    Tensors(Device),
}

impl Placement {
    /// The place that `compute` asks for; starts the device.
    pub(crate) fn of(compute: Compute) -> std::result::Result<Self, Error> {
        compute.check_precision()?;
        let device = compute.device;
        match device {
            DeviceChoice::Cpu => Ok(Self::Packed(compute.settled(false))),
            DeviceChoice::Cuda(_) if !candle_core::utils::cuda_is_available() => Err(Error::DeviceNotBuilt { device }),
            DeviceChoice::Cuda(number) => match Device::new_cuda(number) {
                Ok(opened) => Ok(Self::Tensors(opened)),
                Err(source) => Err(Error::Device { device, source }),
            },
        }
    }

    /// The precision of weights that are packed: heads that have no tensor form are packed beside any backbone.
    pub(crate) fn precision(&self) -> tamis_kernels::Precision {
        match self {
            Self::Packed(precision) => (*precision).into(),
            Self::Tensors(_) => tamis_kernels::Precision::F32,
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
    /// Tokens of all texts, which one thread computes.
    Ragged(usize),
    /// Texts times the longest one's tokens, which the device computes.
    Padded(usize),
}

impl PlacedBackbone {
    pub(crate) fn new(parameters: &Parameters, placement: &Placement) -> Result<Self> {
        match placement {
            Placement::Packed(_) => Backbone::new(parameters, placement.precision()).map(Self::Packed),
            Placement::Tensors(device) => DeviceBackbone::new(parameters, device).map(Self::Device),
        }
    }

    /// The last hidden states, `[rows, width]`.
    pub(crate) fn forward(&self, workers: Workers, rows: &Rows) -> Result<Vec<f32>> {
        match self {
            Self::Packed(backbone) => Ok(backbone.forward(workers, rows)),
            Self::Device(backbone) => backbone.forward(rows)?.flatten_all()?.to_vec1(),
        }
    }

    /// The same with a branch: `layers` in the place of as many last ones, of which there must be so many.
    pub(crate) fn with_branch(
        self,
        layers: Vec<LayerParameters>,
        parameters: &Parameters,
        placement: &Placement,
    ) -> Result<Self> {
        match self {
            Self::Packed(backbone) => {
                let backbone = backbone.with_branch(&layers, parameters, placement.precision());
                backbone.map(Self::Packed)
            }
            Self::Device(backbone) => backbone.with_branch(layers).map(Self::Device),
        }
    }

    /// The last hidden states, `[rows, width]`, and those at the end of the branch, where there is one.
    pub(crate) fn forward_both(&self, workers: Workers, rows: &Rows) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        match self {
            Self::Packed(backbone) => Ok(backbone.forward_both(workers, rows)),
            Self::Device(backbone) => {
                let branch = backbone.forward_branch(rows)?;
                let branch = branch.map(|states| states.flatten_all()?.to_vec1()).transpose()?;
                Ok((self.forward(workers, rows)?, branch))
            }
        }
    }

    /// Width of a hidden state.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Packed(backbone) => backbone.width(),
            Self::Device(backbone) => backbone.words().dims()[1],
        }
    }

    /// The word embeddings, for heads that share them; `words` as loaded.
    pub(crate) fn words<'a>(&'a self, words: &'a Tensor) -> Words<'a> {
        match self {
            Self::Packed(backbone) => (words, Some(backbone.words())),
            Self::Device(_) => (words, None),
        }
    }

    /// On the CPU enough tokens for weights to be read from far away once for many rows, few enough that hidden states
    /// stay in the cache; on a GPU about a gigabyte.
    pub(crate) fn batch_budget(&self) -> BatchBudget {
        match self {
            Self::Packed(_) => BatchBudget::Ragged(256),
            Self::Device(backbone) if backbone.words().device().is_cpu() => BatchBudget::Padded(2048),
            Self::Device(_) => BatchBudget::Padded(16384),
        }
    }
}

impl PlacedMlmHead {
    /// The head where `backbone` computes; `words` are the word embeddings as loaded.
    pub(crate) fn new(
        parameters: &MlmParameters,
        backbone: &PlacedBackbone,
        words: &Tensor,
        placement: &Placement,
    ) -> Result<Self> {
        match backbone {
            PlacedBackbone::Packed(_) => {
                let words = backbone.words(words);
                MlmHead::new(parameters, words, placement.precision()).map(Self::Packed)
            }
            PlacedBackbone::Device(backbone) => DeviceMlmHead::new(parameters, backbone).map(Self::Device),
        }
    }

    /// The weights above zero of each range of rows of `hidden`; none for an empty range, `None` for a text whose
    /// weights are not all finite.
    pub(crate) fn pool(
        &self,
        workers: Workers,
        hidden: &[f32],
        ranges: &[Range<usize>],
        rule: &PoolRule,
    ) -> Result<Vec<Option<Weights>>> {
        match self {
            Self::Packed(head) => Ok(head.pool(workers, hidden, ranges, rule)),
            Self::Device(head) => {
                let rows = head.pool(&head.rows(hidden)?, ranges, rule)?.to_vec2::<f32>()?;
                Ok(rows.into_iter().map(above_zero).collect())
            }
        }
    }
}

/// The weights above zero; `None` when one is not finite.
fn above_zero(weights: Vec<f32>) -> Option<Weights> {
    let finite = weights.iter().all(|weight| weight.is_finite());
    let above = (0u32..).zip(weights).filter(|&(_, weight)| weight > 0.0);
    finite.then(|| above.collect())
}
