//! The transformer: ragged rows through the layers of BERT or its kin, then a head that pools into one vector a text.
//!
//! Texts of a batch lie one after the other as rows of one matrix, without padding; only attention looks at where a
//! text begins and ends. Weights are packed once, for products in single precision, 16 or 8 bits. `device` computes the
//! same by tensor operations alone, on any device; `placed` chooses between the two.

mod activation;
mod attention;
mod backbone;
mod decoder;
mod device;
mod embedding_head;
mod layer;
mod linear;
mod mlm_head;
mod parameters;
mod placed;
mod pool_rule;
mod rows;
mod token_head;

pub(crate) use activation::HiddenActivation;
use backbone::Backbone;
pub(crate) use decoder::Weights;
pub use device::step_probe;
pub(crate) use device::{DeviceBackbone, DeviceMlmHead, Dropout};
pub(crate) use device::{linear as linear_rows, weigh};
pub(crate) use embedding_head::EmbeddingHead;
use mlm_head::MlmHead;
pub(crate) use parameters::{
    LayerParameters, LinearParameters, MlmParameters, NormParameters, Norms, Parameters, PositionTable, Rotary,
};
pub(crate) use placed::{BatchBudget, PlacedBackbone, PlacedMlmHead, Placement};
pub use pool_rule::{Norm, Pooling, SpladeActivation};
pub(crate) use pool_rule::{PoolRule, Weighting};
pub(crate) use rows::{Rows, Workers};
pub(crate) use token_head::{InnerLayer, TokenHead};
