//! A number of steps, given outright or as a share of the run.

use super::refused;
use crate::Error;
use serde::{Deserialize, Serialize};

/// A number of steps: `{ steps = 6000 }` or `{ share = 0.1 }` of all steps of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// So many steps.
    Steps(u64),
    /// This share of the run, from 0 to 1.
    Share(f64),
}

impl Span {
    /// The steps of a run of `total_steps`, with a share rounded down.
    pub fn rounded_down(self, total_steps: u64) -> u64 {
        self.resolve(total_steps, f64::floor)
    }

    /// The steps of a run of `total_steps`, with a share rounded up.
    pub fn rounded_up(self, total_steps: u64) -> u64 {
        self.resolve(total_steps, f64::ceil)
    }

    fn resolve(self, total_steps: u64, round: fn(f64) -> f64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Share(share) => steps_of(round(count(total_steps) * share)),
        }
    }

    /// Refuses shares outside 0 to 1; `option` is the name in messages.
    pub(super) fn validate(self, option: &str) -> Result<(), Error> {
        match self {
            Self::Share(share) if !(0.0..=1.0).contains(&share) => {
                Err(refused(format!("{option}.share"), share, "a number from 0 to 1"))
            }
            Self::Share(_) | Self::Steps(_) => Ok(()),
        }
    }
}

/// A count as a number to compute with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "steps stay far below 2^53")]
pub(super) fn count(steps: u64) -> f64 {
    steps as f64
}

/// A rounded number of steps, at least 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded already; the cast saturates"
)]
fn steps_of(rounded: f64) -> u64 {
    rounded as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_asked() {
        assert_eq!(Span::Share(1.0 / 3.0).rounded_down(100), 33);
        assert_eq!(Span::Share(1.0 / 3.0).rounded_up(100), 34);
        assert_eq!(Span::Steps(7).rounded_up(3), 7);
        assert_eq!(Span::Share(0.0).rounded_up(1000), 0);
        assert_eq!(Span::Share(1.0).rounded_down(1000), 1000);
    }

    #[test]
    fn shares_beyond_the_run_are_refused() {
        for share in [-0.1, 1.1, f64::NAN] {
            let message = Span::Share(share)
                .validate("schedule.length")
                .expect_err("refused")
                .to_string();
            assert!(
                message.contains("schedule.length.share") && message.contains("from 0 to 1"),
                "{message}"
            );
        }
    }
}
