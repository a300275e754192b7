//! How logits of the tokens of a text become one weight per vocabulary entry.
//!
//! The general form of MacAvaney et al. (EPIC, SIGIR 2020), Formal et al. (SPLADE, SIGIR and arXiv 2021) and Nguyen et
//! al. (ECIR 2023), whose framework covers them all: `pool over tokens i of norm(activation(factor_i * logit_i))`.

use serde::{Deserialize, Serialize};

/// How the tokens of a text become one weight per vocabulary entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The largest: SPLADE v2 and all later ones.
    Max,
    /// The sum: SPLADE v1.
    Sum,
    /// That of the first token: clsMLM.
    Cls,
}

/// What keeps weights from being negative; names as in sentence-transformers and the LSR framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpladeActivation {
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)`, and the norm is [`Norm::Log1pLog1p`]: sentence-transformers' name for models trained with an l0
    /// penalty (Shen et al., 2025).
    Log1pRelu,
    /// `log(1 + e^x)`.
    Softplus,
    /// `x`; weights below zero are dropped at the end.
    Identity,
}

/// What dampens large weights, after the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// `x`.
    Identity,
    /// `log(1 + x)`.
    Log1p,
    /// `log(1 + log(1 + x))`.
    Log1pLog1p,
}

/// `norm(activation(x))`. Grows with `x`, so that the weight of a largest logit is the largest weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighting {
    pub(crate) activation: SpladeActivation,
    pub(crate) norm: Norm,
}

impl Weighting {
    /// The weight of a logit. NaN stays NaN.
    pub(crate) fn of(self, x: f32) -> f32 {
        let positive = match self.activation {
            SpladeActivation::Relu | SpladeActivation::Log1pRelu if x <= 0.0 => return 0.0,
            SpladeActivation::Relu | SpladeActivation::Log1pRelu | SpladeActivation::Identity => x,
            SpladeActivation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        };
        match self.norm {
            Norm::Identity => positive,
            Norm::Log1p => positive.ln_1p(),
            Norm::Log1pLog1p => positive.ln_1p().ln_1p(),
        }
    }
}

impl Weighting {
    /// The same in double precision.
    pub(crate) fn of_double(self, x: f64) -> f64 {
        let positive = match self.activation {
            SpladeActivation::Relu | SpladeActivation::Log1pRelu if x <= 0.0 => return 0.0,
            SpladeActivation::Relu | SpladeActivation::Log1pRelu | SpladeActivation::Identity => x,
            SpladeActivation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p() + 0.0 * x,
        };
        match self.norm {
            Norm::Identity => positive,
            Norm::Log1p => positive.ln_1p(),
            Norm::Log1pLog1p => positive.ln_1p().ln_1p(),
        }
    }

    /// How fast the weight of a logit grows with it; 0 where relu has its corner, as in PyTorch.
    pub(crate) fn slope(self, x: f64) -> f64 {
        let (positive, slope) = match self.activation {
            SpladeActivation::Relu | SpladeActivation::Log1pRelu if x <= 0.0 => return 0.0,
            SpladeActivation::Relu | SpladeActivation::Log1pRelu | SpladeActivation::Identity => (x, 1.0),
            SpladeActivation::Softplus => (x.max(0.0) + (-x.abs()).exp().ln_1p(), 1.0 / (1.0 + (-x).exp())),
        };
        match self.norm {
            Norm::Identity => slope,
            Norm::Log1p => slope / (1.0 + positive),
            Norm::Log1pLog1p => slope / ((1.0 + positive) * (1.0 + positive.ln_1p())),
        }
    }
}

/// The rule by which a head pools.
#[derive(Clone, Debug)]
pub(crate) struct PoolRule {
    /// [`Pooling::Cls`] is a matter of which rows are given, and pools as [`Pooling::Max`].
    pub(crate) pooling: Pooling,
    pub(crate) weighting: Weighting,
    /// EPIC's importance of each token, at least 0: its logits are multiplied by it, the bias included.
    pub(crate) factors: Option<Vec<f32>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighting(activation: SpladeActivation, norm: Norm) -> Weighting {
        Weighting { activation, norm }
    }

    #[test]
    fn weightings_have_their_known_values() {
        let softplus = weighting(SpladeActivation::Softplus, Norm::Log1p);
        // What a masked position of the LSR framework leaves in every column.
        assert!((softplus.of(0.0) - 0.526_589).abs() < 1e-5);
        assert!((softplus.of(-100.0)).abs() < 1e-6 && (softplus.of(100.0) - 101f32.ln()).abs() < 1e-6);
        let relu = weighting(SpladeActivation::Relu, Norm::Log1p);
        assert_eq!((relu.of(-3.0), relu.of(1.0)), (0.0, 2f32.ln()));
        let twice = weighting(SpladeActivation::Log1pRelu, Norm::Log1pLog1p);
        assert!((twice.of(1.0) - 2f32.ln().ln_1p()).abs() < 1e-7);
        let identity = weighting(SpladeActivation::Identity, Norm::Identity);
        assert_eq!((identity.of(-3.0), identity.of(2.0)), (-3.0, 2.0));
        assert!(identity.of(f32::NAN).is_nan() && relu.of(f32::NAN).is_nan() && softplus.of(f32::NAN).is_nan());
    }

    #[test]
    fn slopes_are_differences_in_double_precision() {
        for activation in [
            SpladeActivation::Relu,
            SpladeActivation::Log1pRelu,
            SpladeActivation::Softplus,
            SpladeActivation::Identity,
        ] {
            for norm in [Norm::Identity, Norm::Log1p, Norm::Log1pLog1p] {
                let rule = weighting(activation, norm);
                for x in [-0.4, -0.1, 0.2, 3.0] {
                    let difference = (rule.of_double(x + 1e-6) - rule.of_double(x - 1e-6)) / 2e-6;
                    assert!((rule.slope(x) - difference).abs() < 1e-8, "{rule:?} at {x}");
                    #[expect(clippy::cast_possible_truncation, reason = "a test value")]
                    let single = f64::from(rule.of(x as f32));
                    assert!((rule.of_double(x) - single).abs() < 1e-6, "{rule:?} at {x}");
                }
            }
        }
        assert_eq!(weighting(SpladeActivation::Relu, Norm::Log1p).slope(0.0), 0.0);
        assert!(
            weighting(SpladeActivation::Softplus, Norm::Log1p)
                .of_double(f64::NAN)
                .is_nan()
        );
    }
}
