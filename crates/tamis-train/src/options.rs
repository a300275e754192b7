//! How hard negatives are chosen: one place for every default.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How hard negatives are chosen.
///
/// Ranks are those of the search for the query once all passages that answer it are left out, from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiningOptions {
    /// Negatives a pair at most; where the range holds more, some are drawn. Default 8, the number that
    /// SPLADE-v3 (Lassance et al., 2024) takes a step.
    pub num_negatives: usize,
    /// The first rank that is taken, at least 1. Default 1: take what the search confuses most. Raise it where
    /// the first ranks hold answers that nobody marked.
    pub first_rank: usize,
    /// The last rank that is taken, at most 10,000. Default 100.
    pub last_rank: usize,
    /// Leave out passages that score more than this share of what the pair's own passage scores, above 0.
    /// Unmarked answers are among them (Moreira et al., 2024, take 0.95 of a strong teacher's score). Default
    /// `None`: a lexical search scores a good answer in other words too low to judge by.
    pub max_share_of_positive: Option<f64>,
    /// Whether a passage is searched by its title too. Default true.
    pub with_titles: bool,
    /// What is drawn depends on this number and the data alone. Default 0.
    pub seed: u64,
}

impl Default for MiningOptions {
    fn default() -> Self {
        Self {
            num_negatives: 8,
            first_rank: 1,
            last_rank: 100,
            max_share_of_positive: None,
            with_titles: true,
            seed: 0,
        }
    }
}

const DEEPEST_RANK: usize = 10_000;

impl MiningOptions {
    /// Checks every range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |option, value: String, allowed| Err(Error::BadOption { option, value, allowed });
        if self.first_rank == 0 {
            return bad("first_rank", self.first_rank.to_string(), "at least 1");
        }
        if !(self.first_rank..=DEEPEST_RANK).contains(&self.last_rank) {
            return bad(
                "last_rank",
                self.last_rank.to_string(),
                "at least first_rank and at most 10,000",
            );
        }
        if let Some(share) = self.max_share_of_positive
            && !(share.is_finite() && share > 0.0)
        {
            return bad("max_share_of_positive", share.to_string(), "a finite number above 0");
        }
        Ok(())
    }
}
