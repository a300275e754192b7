//! What a run logs and keeps.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a run logs and keeps: the table `[run]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Log means over every so many steps. Default 10.
    pub log_every: u64,
    /// Keep a state to go on from every so many steps. Default 500.
    pub checkpoint_every: u64,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            log_every: 10,
            checkpoint_every: 500,
        }
    }
}

impl RunOptions {
    /// Checks every range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let counts = [
            ("log_every", self.log_every),
            ("checkpoint_every", self.checkpoint_every),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((option, _)) => Err(Error::RecipeOption {
                option: format!("run.{option}"),
                value: "0".to_owned(),
                allowed: "at least 1",
            }),
            None => Ok(()),
        }
    }
}
