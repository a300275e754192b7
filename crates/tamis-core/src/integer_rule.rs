//! From weights to whole numbers, as published code bases do it for engines that index term frequencies.
//!
//! Each rule is `w / range * steps`, rounded; computed in single precision, as those code bases compute it. Our own
//! index quantises by itself ([`crate::Impact`]) and needs none of them.
//!
//! Sources: the code of SPLADE (Formal et al., SIGIR 2021), uniCOIL (Lin and Ma, 2021), DeepImpact (Mallia et al.,
//! SIGIR 2021), TILDEv2 (Zhuang and Zuccon, 2021), Pyserini (Lin et al., SIGIR 2021) and pyt_splade.

use std::fmt;
use std::str::FromStr;

/// How a weight becomes a whole number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IntegerRule {
    /// `round(100 w)`, halves to even: SPLADE's files for Anserini, and DeepCT.
    Splade,
    /// `trunc(100 w)`: pyt_splade.
    PytSplade,
    /// `round(w / 5 * 256)`, halves to even: Pyserini and Anserini. Weights above 5 give numbers above 256.
    Pyserini,
    /// `ceil(w / 5 * 256)`: uniCOIL. No positive weight becomes 0.
    Unicoil,
    /// `ceil(w * 256 / max)` with the largest weight of the collection: DeepImpact.
    DeepImpact {
        /// The largest weight.
        max: f32,
    },
    /// `trunc(w / max * (2^bits - 1))` with the largest weight of the collection: TILDE.
    Tilde {
        /// The largest weight.
        max: f32,
        /// Bits of the largest number, 1 to 16.
        bits: u32,
    },
}

/// What [`IntegerRule::from_str`] takes.
pub const INTEGER_RULES: &str = "splade, pyt-splade, pyserini, unicoil, deepimpact=MAX, tilde=MAX[:BITS]";

/// The text names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of {INTEGER_RULES}, with MAX above 0 and 1 to 16 BITS")]
pub struct ParseIntegerRuleError {
    text: String,
}

impl IntegerRule {
    /// The whole number of `weight`, which is finite and not negative; 0 means that the term is left out.
    #[must_use]
    pub fn integer(self, weight: f32) -> u32 {
        let number = match self {
            Self::Splade => (weight * 100.0).round_ties_even(),
            Self::PytSplade => (weight * 100.0).trunc(),
            Self::Pyserini => (weight / 5.0 * 256.0).round_ties_even(),
            Self::Unicoil => (weight / 5.0 * 256.0).ceil(),
            Self::DeepImpact { max } => (weight * 256.0 / max).ceil(),
            Self::Tilde { max, bits } => {
                #[expect(clippy::cast_precision_loss, reason = "below 2^16")]
                let steps = ((1u32 << bits.min(16)) - 1) as f32;
                (weight / max * steps).trunc()
            }
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole; the cast saturates"
        )]
        let integer = number as u32;
        integer
    }
}

impl FromStr for IntegerRule {
    type Err = ParseIntegerRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let max = |text: &str| text.parse().ok().filter(|max: &f32| max.is_finite() && *max > 0.0);
        let (name, value) = text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        let rule = match (name, value) {
            ("splade", None) => Some(Self::Splade),
            ("pyt-splade", None) => Some(Self::PytSplade),
            ("pyserini", None) => Some(Self::Pyserini),
            ("unicoil", None) => Some(Self::Unicoil),
            ("deepimpact", Some(value)) => max(value).map(|max| Self::DeepImpact { max }),
            ("tilde", Some(value)) => {
                let (value, bits) = value.split_once(':').unwrap_or((value, "8"));
                let bits = bits.parse().ok().filter(|bits| (1..=16).contains(bits));
                max(value).zip(bits).map(|(max, bits)| Self::Tilde { max, bits })
            }
            _ => None,
        };
        rule.ok_or_else(|| ParseIntegerRuleError { text: text.to_owned() })
    }
}

impl fmt::Display for IntegerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Splade => f.write_str("splade"),
            Self::PytSplade => f.write_str("pyt-splade"),
            Self::Pyserini => f.write_str("pyserini"),
            Self::Unicoil => f.write_str("unicoil"),
            Self::DeepImpact { max } => write!(f, "deepimpact={max}"),
            Self::Tilde { max, bits } => write!(f, "tilde={max}:{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_rounds_its_own_way() {
        let max = 4.0;
        for (rule, weights, expected) in [
            (IntegerRule::Splade, [0.004, 0.125, 1.376, 3.0], [0, 12, 138, 300]),
            (IntegerRule::PytSplade, [0.009, 0.125, 1.379, 3.0], [0, 12, 137, 300]),
            (IntegerRule::Pyserini, [0.009, 0.01, 2.5, 10.0], [0, 1, 128, 512]),
            (IntegerRule::Unicoil, [0.0001, 0.02, 2.5, 5.0], [1, 2, 128, 256]),
            (
                IntegerRule::DeepImpact { max },
                [0.0001, 1.0, 1.001, 4.0],
                [1, 64, 65, 256],
            ),
            (
                IntegerRule::Tilde { max, bits: 8 },
                [0.015, 1.0, 2.0, 4.0],
                [0, 63, 127, 255],
            ),
            (
                IntegerRule::Tilde { max, bits: 4 },
                [0.2, 0.27, 2.0, 4.0],
                [0, 1, 7, 15],
            ),
        ] {
            assert_eq!(weights.map(|weight| rule.integer(weight)), expected, "{rule}");
            assert_eq!(rule.integer(0.0), 0, "{rule}");
        }
        assert_eq!(IntegerRule::Splade.integer(f32::MAX), u32::MAX);
    }

    #[test]
    fn names_are_read_back() {
        for text in [
            "splade",
            "pyt-splade",
            "pyserini",
            "unicoil",
            "deepimpact=3.5",
            "tilde=7.25:6",
        ] {
            let rule: IntegerRule = text.parse().expect("a rule");
            assert_eq!(rule.to_string(), text);
        }
        assert_eq!("tilde=2".parse(), Ok(IntegerRule::Tilde { max: 2.0, bits: 8 }));
        for text in [
            "",
            "x100",
            "splade=3",
            "deepimpact",
            "deepimpact=0",
            "deepimpact=inf",
            "tilde=1:17",
            "tilde=1:0",
        ] {
            let error = text.parse::<IntegerRule>().expect_err(text).to_string();
            assert!(error.contains("pyserini"), "{error}");
        }
    }
}
