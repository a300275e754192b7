//! How the authors of a model made integers of its weights.
//!
//! Source: the code of each family. SPLADE (Formal et al., 2021) takes round(100 w); Anserini (Lin and Ma, 2021)
//! round(256 w / 5), uniCOIL's own scripts ceil(256 w / 5); DeepImpact (Mallia et al., 2021) ceil(256 w / max); TILDEv2
//! (Zhuang and Zuccon, 2021) trunc(255 w / max).

use serde::{Deserialize, Serialize};

/// From a weight to an integer: `rounding(levels * weight / of)`.
///
/// The index quantises by itself; this is for who exports integers as the authors did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantisationHint {
    /// What becomes of fractions.
    pub rounding: Rounding,
    /// The integer of a weight that equals `of`.
    pub levels: f32,
    /// `None`: the largest weight of the collection.
    pub of: Option<f32>,
}

/// What becomes of fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest integer, halves to the even one.
    Nearest,
    /// Up: no weight is lost.
    Up,
    /// Down.
    Down,
}

impl QuantisationHint {
    /// The integer of `weight` in a collection whose largest weight is `largest`, as a whole number in floating point:
    /// nothing is clamped, as in the authors' code.
    #[must_use]
    pub fn impact(&self, weight: f32, largest: f32) -> f32 {
        let exact = f64::from(self.levels) * f64::from(weight) / f64::from(self.of.unwrap_or(largest));
        let whole = match self.rounding {
            Rounding::Nearest => exact.round_ties_even(),
            Rounding::Up => exact.ceil(),
            Rounding::Down => exact.floor(),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a whole number far below 2^24")]
        let whole = whole as f32;
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_rules_give_their_integers() {
        let of = |rounding, levels, of, weight| QuantisationHint { rounding, levels, of }.impact(weight, 4.0);
        assert_eq!(of(Rounding::Nearest, 100.0, Some(1.0), 1.236), 124.0, "SPLADE");
        assert_eq!(
            of(Rounding::Nearest, 256.0, Some(5.0), 6.0),
            307.0,
            "Anserini does not clamp"
        );
        assert_eq!(
            of(Rounding::Nearest, 256.0, Some(5.0), 0.009),
            0.0,
            "and loses the smallest"
        );
        assert_eq!(of(Rounding::Up, 256.0, Some(5.0), 0.009), 1.0, "uniCOIL does not");
        assert_eq!(of(Rounding::Up, 256.0, None, 4.0), 256.0, "DeepImpact");
        assert_eq!(of(Rounding::Down, 255.0, None, 3.99), 254.0, "TILDEv2");
    }
}
