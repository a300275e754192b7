//! Steers the weight of penalties to a target length or cost.
//!
//! The law, at every step with measure m and target m*: the logarithm of m is smoothed by an exponential mean without
//! bias, e is that mean minus the logarithm of m*, and the logarithm of the factor changes by
//! `gain * e + damping * (e - previous e)`, at most by `max_change` either way; the factor stays between two bounds.
//! It is a proportional-integral controller in its velocity form (Åström and Hägglund, 1995) on logarithms, so a factor
//! of two too long counts as much as a factor of two too short.

use super::{Sparsity, positive, refused};
use crate::Error;
use serde::{Deserialize, Serialize};

/// What is steered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controlled {
    /// The mean number of weights of a document.
    #[default]
    DocumentLength,
    /// The mean number of weights of a query.
    QueryLength,
    /// The expected products of a query with a document.
    Flops,
}

/// How a controller steers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerOptions {
    /// What is steered. Default: the length of documents.
    #[serde(default)]
    pub measure: Controlled,
    /// Where to, above 0.
    pub target: f64,
    /// How much of the error (in logarithms) the factor takes on a step, above 0 and at most 1. Default 0.02: an error
    /// of a factor of two doubles the weight in about 50 steps.
    #[serde(default = "default_gain")]
    pub gain: f64,
    /// How much of a change of the error the factor takes on, from 0 to 10; damps oscillation. Default 0.5.
    #[serde(default = "default_damping")]
    pub damping: f64,
    /// How much of the smoothed measure stays at a step, 0 or more and below 1. Default 0.9.
    #[serde(default = "default_smoothing")]
    pub smoothing: f64,
    /// The most that the logarithm of the factor changes at a step, above 0. Default 0.1.
    #[serde(default = "default_max_change")]
    pub max_change: f64,
    /// The smallest factor, above 0. Default 0.001.
    #[serde(default = "default_min_factor")]
    pub min_factor: f64,
    /// The largest factor, at least the smallest. Default 1,000.
    #[serde(default = "default_max_factor")]
    pub max_factor: f64,
}

fn default_gain() -> f64 {
    0.02
}

fn default_damping() -> f64 {
    0.5
}

fn default_smoothing() -> f64 {
    0.9
}

fn default_max_change() -> f64 {
    0.1
}

fn default_min_factor() -> f64 {
    1e-3
}

fn default_max_factor() -> f64 {
    1e3
}

impl ControllerOptions {
    /// The defaults with a target.
    pub fn new(measure: Controlled, target: f64) -> Self {
        Self {
            measure,
            target,
            gain: default_gain(),
            damping: default_damping(),
            smoothing: default_smoothing(),
            max_change: default_max_change(),
            min_factor: default_min_factor(),
            max_factor: default_max_factor(),
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        positive("controller.target", self.target)?;
        if !(self.gain > 0.0 && self.gain <= 1.0) {
            return Err(refused("controller.gain", self.gain, "a number above 0 and at most 1"));
        }
        if !(0.0..=10.0).contains(&self.damping) {
            return Err(refused("controller.damping", self.damping, "a number from 0 to 10"));
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return Err(refused(
                "controller.smoothing",
                self.smoothing,
                "a number of 0 or more and below 1",
            ));
        }
        positive("controller.max_change", self.max_change)?;
        positive("controller.min_factor", self.min_factor)?;
        if !(self.max_factor.is_finite() && self.max_factor >= self.min_factor) {
            let allowed = "a finite number of at least controller.min_factor";
            return Err(refused("controller.max_factor", self.max_factor, allowed));
        }
        Ok(())
    }
}

/// What a controller carries from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerState {
    /// What penalties are multiplied by.
    pub factor: f64,
    /// The exponential mean of the logarithm of the measure, times `weight`.
    pub smoothed: f64,
    /// How much of a full mean `smoothed` is.
    pub weight: f64,
    /// The error at the step before; none at the first.
    pub error: Option<f64>,
}

/// Steers a factor of penalties; the module says how.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    options: ControllerOptions,
    state: ControllerState,
}

impl Controller {
    /// Starts with the factor 1.
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn new(options: ControllerOptions) -> Result<Self, Error> {
        options.validate()?;
        let state = ControllerState {
            factor: 1.0f64.clamp(options.min_factor, options.max_factor),
            smoothed: 0.0,
            weight: 0.0,
            error: None,
        };
        Ok(Self { options, state })
    }

    /// What penalties are multiplied by at the next step.
    pub fn factor(&self) -> f64 {
        self.state.factor
    }

    /// What it steers.
    pub fn measure(&self) -> Controlled {
        self.options.measure
    }

    /// Takes note of a step and gives the new factor.
    pub fn observe(&mut self, sparsity: &Sparsity) -> f64 {
        self.observe_value(match self.options.measure {
            Controlled::DocumentLength => sparsity.document_length,
            Controlled::QueryLength => sparsity.query_length,
            Controlled::Flops => sparsity.flops,
        })
    }

    /// Takes note of a measured value, 0 or more, and gives the new factor.
    pub fn observe_value(&mut self, measured: f64) -> f64 {
        let ControllerOptions {
            target,
            smoothing,
            max_change,
            ..
        } = self.options;
        let state = &mut self.state;
        // Representations without any weight count as a millionth of the target.
        let value = measured.max(target * 1e-6).ln();
        state.smoothed = smoothing * state.smoothed + (1.0 - smoothing) * value;
        state.weight = smoothing * state.weight + (1.0 - smoothing);
        let error = state.smoothed / state.weight - target.ln();
        let turn = error - state.error.unwrap_or(error);
        let change = self.options.gain * error + self.options.damping * turn;
        let factor = state.factor * change.clamp(-max_change, max_change).exp();
        state.factor = factor.clamp(self.options.min_factor, self.options.max_factor);
        state.error = Some(error);
        state.factor
    }

    /// What has to be saved.
    pub fn state(&self) -> ControllerState {
        self.state
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is not one that a controller can be in.
    pub fn restore(&mut self, state: ControllerState) -> Result<(), Error> {
        let numbers = [state.smoothed, state.error.unwrap_or(0.0)];
        if !(numbers.iter().all(|number| number.is_finite()) && (0.0..=1.0).contains(&state.weight)) {
            return Err(refused(
                "controller state",
                format!("{state:?}"),
                "finite numbers and a weight from 0 to 1",
            ));
        }
        if !(self.options.min_factor..=self.options.max_factor).contains(&state.factor) {
            return Err(refused(
                "controller state factor",
                state.factor,
                "a factor between the bounds of the options",
            ));
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model whose documents slowly come to a length of `1000 / factor^0.7`, with some noise.
    struct Toy {
        log_length: f64,
        state: u32,
    }

    impl Toy {
        fn step(&mut self, factor: f64) -> f64 {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(self.state >> 8) / f64::from(1u32 << 24) - 0.5;
            self.log_length += 0.05 * (1000.0f64.ln() - 0.7 * factor.ln() - self.log_length);
            (self.log_length + 0.2 * noise).exp()
        }
    }

    fn run(controller: &mut Controller, toy: &mut Toy, steps: usize) -> Vec<f64> {
        (0..steps)
            .map(|_| {
                let length = toy.step(controller.factor());
                controller.observe_value(length);
                toy.log_length.exp()
            })
            .collect()
    }

    #[test]
    fn the_length_comes_to_the_target_from_either_side() {
        for (start, target) in [(20_000.0f64, 200.0), (3.0, 200.0), (1000.0, 1000.0), (1000.0, 50.0)] {
            let mut controller =
                Controller::new(ControllerOptions::new(Controlled::DocumentLength, target)).expect("valid");
            let mut toy = Toy {
                log_length: start.ln(),
                state: 7,
            };
            let lengths = run(&mut controller, &mut toy, 1200);
            for length in &lengths[800..] {
                assert!(
                    (length / target).ln().abs() < 0.15,
                    "{length} for {target} from {start}"
                );
            }
        }
    }

    #[test]
    fn a_restored_controller_goes_on_as_the_saved_one() {
        let options = ControllerOptions::new(Controlled::Flops, 2.5);
        let mut whole = Controller::new(options).expect("valid");
        let values = [9.0, 8.0, 0.0, 3.0, 2.0, 2.6, 1.0];
        for value in values {
            whole.observe_value(value);
        }
        let mut first = Controller::new(options).expect("valid");
        for &value in &values[..3] {
            first.observe_value(value);
        }
        let saved = serde_json::to_string(&first.state()).expect("JSON");
        let mut second = Controller::new(options).expect("valid");
        second
            .restore(serde_json::from_str(&saved).expect("own text"))
            .expect("a state");
        for &value in &values[3..] {
            second.observe_value(value);
        }
        assert_eq!(second, whole);
    }

    #[test]
    fn the_factor_is_bounded_and_so_is_its_change() {
        let mut options = ControllerOptions::new(Controlled::QueryLength, 10.0);
        options.max_factor = 2.0;
        let mut controller = Controller::new(options).expect("valid");
        let mut before = 1.0;
        for _ in 0..100 {
            let after = controller.observe_value(1e9);
            assert!(after / before <= 0.1f64.exp() + 1e-12);
            before = after;
        }
        assert_eq!(before, 2.0);
        // The bounds that no option names.
        for (measured, bound) in [(1e9, 1000.0), (0.0, 0.001)] {
            let options = ControllerOptions::new(Controlled::QueryLength, 10.0);
            let mut controller = Controller::new(options).expect("valid");
            let factors: Vec<f64> = (0..100).map(|_| controller.observe_value(measured)).collect();
            assert_eq!(factors.last(), Some(&bound));
        }
        // One step by hand: smoothed log error ln(20 / 10), gain .02, no change of the error yet.
        let mut one = Controller::new(ControllerOptions::new(Controlled::QueryLength, 10.0)).expect("valid");
        assert!((one.observe_value(20.0) - (0.02 * 2.0f64.ln()).exp()).abs() < 1e-12);
        // The second: mean of logs (.09 * ln 2 + .1 * 0) / .19, and the damped change.
        let error = 0.09 / 0.19 * 2.0f64.ln();
        let change = 0.02 * (2.0f64.ln() + error) + 0.5 * (error - 2.0f64.ln());
        let floor = change.max(0.02 * 2.0f64.ln() - 0.1);
        assert!((one.observe_value(10.0).ln() - floor).abs() < 1e-12);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let good = ControllerOptions::new(Controlled::DocumentLength, 100.0);
        let cases = [
            ("controller.target", ControllerOptions { target: 0.0, ..good }),
            ("controller.gain", ControllerOptions { gain: 1.5, ..good }),
            ("controller.damping", ControllerOptions { damping: -1.0, ..good }),
            ("controller.smoothing", ControllerOptions { smoothing: 1.0, ..good }),
            (
                "controller.max_change",
                ControllerOptions {
                    max_change: f64::NAN,
                    ..good
                },
            ),
            (
                "controller.max_factor",
                ControllerOptions {
                    max_factor: 1e-9,
                    ..good
                },
            ),
        ];
        for (name, options) in cases {
            let message = Controller::new(options).expect_err("refused").to_string();
            assert!(message.contains(name), "{message}");
        }
        assert!(serde_json::from_str::<ControllerOptions>(r#"{"target": 1, "aim": 2}"#).is_err());
        let parsed: ControllerOptions = serde_json::from_str(r#"{"target": 100}"#).expect("defaults");
        assert_eq!(parsed, good);
    }
}
