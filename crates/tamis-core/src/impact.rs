//! Impacts: document weights as the integers that are stored and multiplied.
//!
//! Uniform quantisation of learned term weights to 8 bits is due to Anh, de Kretser and Moffat
//! (SIGIR 2001, section 3); Mackenzie, Trotman and Lin (TOIS 2023) found it lossless in practice for
//! learned sparse models.

use crate::SparseVector;
use crate::score::MAX_IMPACT;
use serde::{Deserialize, Serialize};

/// A quantised document weight, 1 to 255. A weight of nothing is stored as nothing, so 0 is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Impact(u8);

impl Impact {
    /// Makes an impact, or `None` of 0.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value == 0 { None } else { Some(Self(value)) }
    }

    /// The integer that is multiplied.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Maps document weights to impacts: `impact = round(weight / step)`, kept within 1 to 255.
///
/// For weights of at most [`Quantiser::max_weight`] the error `|weight - impact * step|` is at most
/// half a step, except that weights below half a step are kept as one step (error below one step).
/// Heavier weights saturate at impact 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiser {
    step: f32,
}

/// Why a quantiser cannot be made, or may not be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImpactError {
    /// The largest weight is zero, negative, infinite or not a number.
    #[error("the largest weight {0} is not a finite positive number")]
    BadMaximum(f32),
    /// The weight of one unit of impact is zero, subnormal, negative, infinite or not a number.
    #[error("the weight {0} of one unit of impact is not a normal positive number")]
    BadStep(f32),
}

impl Quantiser {
    /// Weights are integers from 1 to 255 already and are kept as they are.
    pub const IDENTITY: Self = Self { step: 1.0 };

    /// Spreads the 255 impacts over weights up to `max_weight`.
    ///
    /// # Errors
    /// When `max_weight` is not finite and positive, or so small that a step vanishes.
    pub fn with_max_weight(max_weight: f32) -> Result<Self, ImpactError> {
        let step = max_weight / MAX_IMPACT as f32;
        if max_weight.is_finite() && step.is_normal() && step > 0.0 {
            Ok(Self { step })
        } else {
            Err(ImpactError::BadMaximum(max_weight))
        }
    }

    /// The quantiser whose unit of impact stands for `step`: what [`Quantiser::step`] gave, read back.
    ///
    /// # Errors
    /// When `step` is not a normal positive number.
    pub fn from_step(step: f32) -> Result<Self, ImpactError> {
        if step.is_normal() && step > 0.0 {
            Ok(Self { step })
        } else {
            Err(ImpactError::BadStep(step))
        }
    }

    /// Whether `weight` is an integer from 1 to 255, which [`Quantiser::IDENTITY`] keeps exactly.
    #[must_use]
    pub fn is_integer_impact(weight: f32) -> bool {
        (1.0..=MAX_IMPACT as f32).contains(&weight) && weight.fract() == 0.0
    }

    /// The weight that one unit of impact stands for.
    #[must_use]
    pub fn step(self) -> f32 {
        self.step
    }

    /// The heaviest weight that does not saturate.
    #[must_use]
    pub fn max_weight(self) -> f32 {
        self.step * MAX_IMPACT as f32
    }

    /// The impact of a finite positive `weight`.
    #[must_use]
    pub fn impact(self, weight: f32) -> Impact {
        let rounded = (weight / self.step).round().clamp(1.0, MAX_IMPACT as f32);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 1..=255"
        )]
        Impact(rounded as u8)
    }

    /// The weight that `impact` stands for.
    #[must_use]
    pub fn weight(self, impact: Impact) -> f32 {
        f32::from(impact.get()) * self.step
    }

    /// How many weights of `vector` are too heavy and saturate.
    #[must_use]
    pub fn num_saturated(self, vector: &SparseVector) -> usize {
        let limit = self.step * (MAX_IMPACT as f32 + 0.5);
        vector.weights().iter().filter(|&&weight| weight >= limit).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_integers_exactly() {
        for value in 1..=255u8 {
            assert_eq!(Quantiser::IDENTITY.impact(f32::from(value)).get(), value);
            assert!(Quantiser::is_integer_impact(f32::from(value)));
        }
        for weight in [0.0, 0.5, 1.5, 256.0, -1.0, f32::NAN] {
            assert!(!Quantiser::is_integer_impact(weight), "{weight}");
        }
    }

    #[test]
    fn refuses_a_useless_maximum() {
        for bad in [0.0, -2.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE] {
            assert!(Quantiser::with_max_weight(bad).is_err(), "{bad}");
        }
        for bad in [0.0, -2.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 2.0] {
            assert!(Quantiser::from_step(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn error_is_within_the_stated_bound(max in 0.01f32..1000.0, share in 0.0f32..=1.0) {
            let quantiser = Quantiser::with_max_weight(max).expect("positive");
            prop_assert_eq!(Quantiser::from_step(quantiser.step()), Ok(quantiser));
            let weight = (max * share).max(f32::MIN_POSITIVE);
            let error = (weight - quantiser.weight(quantiser.impact(weight))).abs();
            let bound = if weight < quantiser.step() / 2.0 { 1.0 } else { 0.5 };
            prop_assert!(error <= quantiser.step() * (bound + 1e-4));
        }
    }
}
