//! Activations by the names that `config.json` gives them.

use tamis_kernels::Activation;

/// The function between the two halves of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HiddenActivation {
    /// `x Phi(x)` with the exact error function: "gelu".
    Gelu,
    /// The same with a tanh approximation: "gelu_new", "gelu_pytorch_tanh", "gelu_fast".
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + e^-x)`: "silu", "swish".
    Silu,
}

impl HiddenActivation {
    /// All names accepted, for messages.
    pub(crate) const NAMES: &str = "one of gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish";

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Some(Self::GeluTanh),
            "relu" => Some(Self::Relu),
            "silu" | "swish" => Some(Self::Silu),
            _ => None,
        }
    }

    /// The kernel that computes it.
    pub(crate) const fn kernel(self) -> Activation {
        match self {
            Self::Gelu => Activation::Gelu,
            Self::GeluTanh => Activation::GeluTanh,
            Self::Relu => Activation::Relu,
            Self::Silu => Activation::Silu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_message_is_known() {
        for name in HiddenActivation::NAMES.trim_start_matches("one of ").split(", ") {
            assert!(HiddenActivation::from_name(name).is_some(), "{name}");
        }
        assert_eq!(HiddenActivation::from_name("softsign"), None);
    }
}
