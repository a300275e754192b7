//! What a pickle program works on: plain values, none of which can do anything.

use super::tensor::{Element, Storage, TensorView};
use std::rc::Rc;

/// The content of a tuple or list, or keys and values of a dictionary in turn.
pub(super) type Node = Vec<Value>;

/// A value. Containers are numbers of nodes, so that values nest without recursion.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Text(Rc<str>),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<TensorView>),
    /// A number or bytes that no tensor needs: carried and never looked at.
    Other,
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Text(_) => "a text",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a name",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Other => "another number or bytes",
        }
    }
}

/// The names that a program may use. None of them is called: each stands for what it would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`: a dictionary.
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`: a view of a storage.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: its first argument.
    RebuildParameter,
    /// `torch.Size`: a tuple.
    Size,
    /// `torch.FloatStorage` and its kin: the type of a storage.
    Storage(Element),
}

impl Global {
    /// The allowed name, if it is one.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        let element = match (module, name) {
            ("collections", "OrderedDict") => return Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => return Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => return Some(Self::RebuildParameter),
            ("torch", "Size") => return Some(Self::Size),
            ("torch", "FloatStorage") => Element::F32,
            ("torch", "HalfStorage") => Element::F16,
            ("torch", "BFloat16Storage") => Element::BF16,
            ("torch", "DoubleStorage") => Element::F64,
            ("torch", "LongStorage") => Element::I64,
            ("torch", "IntStorage") => Element::I32,
            ("torch", "ShortStorage") => Element::I16,
            ("torch", "CharStorage") => Element::I8,
            ("torch", "ByteStorage") => Element::U8,
            ("torch", "BoolStorage") => Element::Bool,
            _ => return None,
        };
        Some(Self::Storage(element))
    }
}
