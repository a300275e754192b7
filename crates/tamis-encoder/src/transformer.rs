//! The transformer: ragged rows through the layers of BERT or its kin, then a head that pools into one vector a text.
//!
//! Texts of a batch lie one after the other as rows of one matrix, without padding; only attention looks at where a
//! text begins and ends. Matrix products are candle's, everything between them works on rows in place. `device` computes
//! the same by tensor operations alone, on any device; `placed` chooses between the two.

mod attention;
mod backbone;
mod device;
mod functions;
mod linear;
mod mlm_head;
mod parameters;
mod placed;
mod rows;
mod token_head;

use backbone::Backbone;
use device::{DeviceBackbone, DeviceMlmHead};
pub(crate) use functions::HiddenActivation;
use mlm_head::MlmHead;
pub use mlm_head::{Pooling, SpladeActivation};
pub(crate) use parameters::{
    LayerParameters, LinearParameters, MlmParameters, NormParameters, Norms, Parameters, PositionTable, Rotary,
};
pub(crate) use placed::{BatchBudget, PlacedBackbone, PlacedMlmHead, Placement};
pub(crate) use rows::Rows;
pub(crate) use token_head::TokenHead;
