//! A trainable tensor and its name.

use candle_core::Var;

/// A variable under the name that it is saved by. Clones share the tensor.
#[derive(Clone, Debug)]
pub struct NamedVariable {
    /// Unique among the variables of a model; parameter groups and saved states go by it.
    pub name: String,
    /// The tensor.
    pub var: Var,
}
