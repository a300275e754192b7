//! What a run must know to go on, beside the trainer's own state.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::log::EndReason;
use super::window::StepWindow;
use crate::error::Error;

/// The form of the file; another one is refused.
const VERSION: u32 = 1;
const FILE_NAME: &str = "run.json";

/// The best evaluation so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Best {
    /// Steps done then.
    pub(super) step: u64,
    /// The mean of the first metric, as bits.
    mean: u64,
}

impl Best {
    pub(super) fn new(step: u64, mean: f64) -> Self {
        Self {
            step,
            mean: mean.to_bits(),
        }
    }

    pub(super) fn mean(self) -> f64 {
        f64::from_bits(self.mean)
    }
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunState {
    version: u32,
    /// Steps done.
    pub(super) step: u64,
    /// The fingerprint of the data as it was read.
    pub(super) data: String,
    /// Bytes of the log that belong to these steps.
    pub(super) log_bytes: u64,
    /// Steps since the last record of the log.
    pub(super) window: StepWindow,
    pub(super) best: Option<Best>,
    /// Evaluations since the best one.
    pub(super) stale: u64,
    /// The step of the last search for negatives.
    pub(super) negatives: Option<u64>,
    /// Set once no step is left to do.
    pub(super) ended: Option<EndReason>,
}

impl RunState {
    pub(super) fn new(data: String) -> Self {
        Self {
            version: VERSION,
            step: 0,
            data,
            log_bytes: 0,
            window: StepWindow::default(),
            best: None,
            stale: 0,
            negatives: None,
            ended: None,
        }
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE_NAME);
        let text = serde_json::to_string_pretty(self).expect("plain values");
        super::folder::write_file(&path, text.as_bytes())
    }

    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let bad = |problem: String| Error::Checkpoint {
            path: path.clone(),
            problem,
        };
        let text = fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?;
        let state: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        match state.version {
            VERSION => Ok(state),
            other => Err(bad(format!("version {other}, and this program reads {VERSION}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_damage_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut state = RunState::new("data".to_owned());
        state.best = Some(Best::new(3, 0.1 + 0.2));
        state.ended = Some(EndReason::Patience);
        state.write(dir.path()).expect("writable");
        let again = RunState::read(dir.path()).expect("as it was written");
        assert_eq!(again, state);
        assert_eq!(again.best.map(Best::mean), Some(0.1 + 0.2));
        let path = dir.path().join(FILE_NAME);
        let text = fs::read_to_string(&path).expect("there");
        for (from, to, needle) in [
            ("\"version\": 1", "\"version\": 9", "version 9"),
            ("\"step\"", "\"stop\"", "stop"),
        ] {
            fs::write(&path, text.replacen(from, to, 1)).expect("writable");
            let message = RunState::read(dir.path()).expect_err("damaged").to_string();
            assert!(message.contains("run.json") && message.contains(needle), "{message}");
        }
    }
}
