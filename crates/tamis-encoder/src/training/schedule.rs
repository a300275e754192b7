//! How weights of penalties and learning rates change over a run, with the exact step conventions of the code bases.
//!
//! `step` is always the number of completed optimiser steps before the one it is for: 0 at the first.

use super::refused;
use super::span::{Span, count};
use crate::Error;
use serde::{Deserialize, Serialize};

/// How the weight of a penalty comes to its full height: as a preset writes it, `"constant"` or
/// `{ quadratic = { length = { steps = 50000 }, convention = "naver" } }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It is there from the first step.
    #[default]
    Constant,
    /// In proportion to the share of the ramp.
    Linear(Ramp),
    /// In proportion to the square of the share of the ramp (Paria et al., ICLR 2020).
    Quadratic(Ramp),
}

/// The way up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// T, its number of steps; a share of the run is rounded down. sentence-transformers takes a third of the run.
    pub length: Span,
    /// How steps are counted. Default: naver's.
    #[serde(default)]
    pub convention: StepConvention,
}

/// Where on the ramp the weight of step t (from 0) is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepConvention {
    /// naver's first trainer counts before it uses the weight: (t + 1) / T, the whole weight from t = T - 1 on.
    #[default]
    Naver,
    /// OpenSearch's: (t + 1) / T below T, then the whole. The same numbers as naver's.
    OpenSearch,
    /// The LSR framework counts after it used the weight: t / T, 0 at the first step, the whole weight from t = T on.
    Lsr,
    /// sentence-transformers': t / T as well, with T at least 1.
    SentenceTransformers,
    /// naver's trainer on Hugging Face: t / (T + 1), the whole weight from t = T + 1 on.
    NaverHuggingFace,
}

impl Ramp {
    /// The share of the ramp that is behind, from 0 to 1.
    fn share(&self, step: u64, total_steps: u64) -> f64 {
        let length = self.length.rounded_down(total_steps);
        let (done, length) = match self.convention {
            StepConvention::Naver | StepConvention::OpenSearch => (step.saturating_add(1), length),
            StepConvention::Lsr => (step, length),
            StepConvention::SentenceTransformers => (step, length.max(1)),
            StepConvention::NaverHuggingFace => (step, length.saturating_add(1)),
        };
        if done >= length {
            1.0
        } else {
            count(done) / count(length)
        }
    }
}

impl Schedule {
    /// The share of the weight that is in force at `step` of a run of `total_steps`, from 0 to 1.
    pub fn factor(&self, step: u64, total_steps: u64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Linear(ramp) => ramp.share(step, total_steps),
            Self::Quadratic(ramp) => ramp.share(step, total_steps).powi(2),
        }
    }

    /// Refuses ramps longer than the run by share; `option` is the name in messages.
    pub(super) fn validate(&self, option: &str) -> Result<(), Error> {
        match self {
            Self::Constant => Ok(()),
            Self::Linear(ramp) => ramp.length.validate(&format!("{option}.linear.length")),
            Self::Quadratic(ramp) => ramp.length.validate(&format!("{option}.quadratic.length")),
        }
    }
}

/// The learning rate over a run, in the convention of Hugging Face's schedules: the first step of a warm-up has rate 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRate {
    /// The highest rate, above 0. Default 2e-5, as SPLADE takes it.
    pub peak: f64,
    /// How long it rises in a line; a share of the run is rounded up. Default: no step.
    pub warm_up: Span,
    /// How it goes on. Default: falls in a line.
    pub decay: Decay,
}

/// What a learning rate does after its warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays.
    Constant,
    /// It falls in a line to 0 at the end of the run.
    #[default]
    Linear,
    /// It falls as half a wave of a cosine to 0 at the end of the run.
    Cosine,
}

impl Default for LearningRate {
    fn default() -> Self {
        Self {
            peak: 2e-5,
            warm_up: Span::Steps(0),
            decay: Decay::Linear,
        }
    }
}

impl LearningRate {
    /// The rate of `step` in a run of `total_steps`.
    pub fn at(&self, step: u64, total_steps: u64) -> f64 {
        let warm_up = self.warm_up.rounded_up(total_steps);
        if step < warm_up {
            return self.peak * count(step) / count(warm_up);
        }
        let length = total_steps.saturating_sub(warm_up).max(1);
        let behind = (count(step - warm_up) / count(length)).min(1.0);
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Linear => self.peak * (1.0 - behind),
            Decay::Cosine => self.peak * 0.5 * (1.0 + (std::f64::consts::PI * behind).cos()),
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        if !(self.peak.is_finite() && self.peak > 0.0) {
            return Err(refused("learning_rate.peak", self.peak, "a finite number above 0"));
        }
        self.warm_up.validate("learning_rate.warm_up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factors at t = 0, 1, T - 1, T and T + 1 for T = 10.
    fn table(schedule: impl Fn(Ramp) -> Schedule, convention: StepConvention) -> [f64; 5] {
        let ramp = Ramp {
            length: Span::Steps(10),
            convention,
        };
        [0, 1, 9, 10, 11].map(|step| schedule(ramp).factor(step, 30))
    }

    fn close(found: &[f64], expected: &[f64]) {
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(
            near && found.len() == expected.len(),
            "{found:?}, expected {expected:?}"
        );
    }

    #[test]
    fn every_code_base_counts_in_its_own_way() {
        use StepConvention::{Lsr, Naver, NaverHuggingFace, OpenSearch, SentenceTransformers};
        for convention in [Naver, OpenSearch] {
            close(&table(Schedule::Quadratic, convention), &[0.01, 0.04, 1.0, 1.0, 1.0]);
            close(&table(Schedule::Linear, convention), &[0.1, 0.2, 1.0, 1.0, 1.0]);
        }
        for convention in [Lsr, SentenceTransformers] {
            close(&table(Schedule::Quadratic, convention), &[0.0, 0.01, 0.81, 1.0, 1.0]);
            close(&table(Schedule::Linear, convention), &[0.0, 0.1, 0.9, 1.0, 1.0]);
        }
        let expected = [0.0, 1.0 / 121.0, 81.0 / 121.0, 100.0 / 121.0, 1.0];
        close(&table(Schedule::Quadratic, NaverHuggingFace), &expected);
        let expected = [0.0, 1.0 / 11.0, 9.0 / 11.0, 10.0 / 11.0, 1.0];
        close(&table(Schedule::Linear, NaverHuggingFace), &expected);
        close(&table(|_| Schedule::Constant, Naver), &[1.0; 5]);
    }

    #[test]
    fn ramps_of_no_length_are_over_at_once() {
        use StepConvention::{Lsr, Naver, NaverHuggingFace, SentenceTransformers};
        let of = |convention| {
            let ramp = Ramp {
                length: Span::Steps(0),
                convention,
            };
            [0, 1].map(|step| Schedule::Quadratic(ramp).factor(step, 5))
        };
        assert_eq!(of(Naver), [1.0, 1.0]);
        assert_eq!(of(Lsr), [1.0, 1.0]);
        assert_eq!(of(SentenceTransformers), [0.0, 1.0]);
        assert_eq!(of(NaverHuggingFace), [0.0, 1.0]);
    }

    #[test]
    fn a_third_of_the_run_is_sentence_transformers_default() {
        let ramp = Ramp {
            length: Span::Share(1.0 / 3.0),
            convention: StepConvention::SentenceTransformers,
        };
        // T = 33.
        close(&[Schedule::Linear(ramp).factor(11, 100)], &[1.0 / 3.0]);
        assert_eq!(Schedule::Linear(ramp).factor(33, 100), 1.0);
    }

    #[test]
    fn learning_rates_rise_and_fall() {
        let rate = |decay, warm_up| LearningRate {
            peak: 2.0,
            warm_up,
            decay,
        };
        let at = |rate: LearningRate| [0, 1, 3, 4, 5, 11, 12, 13].map(|step| rate.at(step, 12));
        let rise = [0.0, 0.5, 1.5, 2.0];
        let linear = at(rate(Decay::Linear, Span::Steps(4)));
        close(&linear[..4], &rise);
        close(&linear[4..], &[1.75, 0.25, 0.0, 0.0]);
        let cosine = at(rate(Decay::Cosine, Span::Steps(4)));
        close(&cosine[..4], &rise);
        let eighth = std::f64::consts::FRAC_PI_8;
        close(&cosine[4..], &[1.0 + eighth.cos(), 1.0 - eighth.cos(), 0.0, 0.0]);
        let constant = at(rate(Decay::Constant, Span::Steps(4)));
        close(&constant[..4], &rise);
        close(&constant[4..], &[2.0; 4]);
        // A share is rounded up: a tenth of 12 steps is 2.
        close(&at(rate(Decay::Linear, Span::Share(0.1)))[..2], &[0.0, 1.0]);
        close(&at(rate(Decay::Linear, Span::Steps(0)))[..2], &[2.0, 2.0 * 11.0 / 12.0]);
        // A warm-up that is longer than the run never comes to an end in it.
        close(&[rate(Decay::Linear, Span::Steps(24)).at(11, 12)], &[11.0 / 12.0]);
    }

    #[test]
    fn options_read_as_presets_write_them() {
        let schedule: Schedule =
            serde_json::from_str(r#"{"quadratic": {"length": {"steps": 50000}, "convention": "naver_hugging_face"}}"#)
                .expect("valid");
        let Schedule::Quadratic(ramp) = schedule else {
            panic!("{schedule:?}")
        };
        assert_eq!(
            (ramp.length, ramp.convention),
            (Span::Steps(50_000), StepConvention::NaverHuggingFace)
        );
        assert!(serde_json::from_str::<Schedule>(r#"{"linear": {"length": {"steps": 1}, "T": 2}}"#).is_err());
        assert!(serde_json::from_str::<LearningRate>(r#"{"rate": 1}"#).is_err());
        let bad = LearningRate {
            peak: 0.0,
            ..LearningRate::default()
        };
        let message = bad.validate().expect_err("refused").to_string();
        assert!(
            message.contains("learning_rate.peak is 0") && message.contains("above 0"),
            "{message}"
        );
    }
}
