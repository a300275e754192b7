//! How rows become batches.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How rows become batches: the table `[batch]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchOptions {
    /// Queries a step. Default 16. (Regularisers average over a batch: a published lambda belongs to a batch size.)
    pub size: usize,
    /// Negatives drawn for each query, from its candidates; where it has too few, passages of the data at random.
    /// Default 0: only the other queries' documents.
    pub negatives: usize,
    /// In which share of the rows documents keep their titles, from 0 to 1; all documents of a row or none. Titles that
    /// are asked for teach to match titles. Default .5.
    pub title_share: f64,
    /// Whether all rows of a batch are of one source: harder negatives within the batch, no mixing of domains.
    /// Default false.
    pub one_source: bool,
    /// Rows come into batches in clusters of at most so many: a row, then rows whose own passages are among its candidates,
    /// in their order. The other documents of a batch are then hard negatives of a query, at no cost. Takes candidates,
    /// which the data gives or `[negatives]` mines. Default 1: as they are drawn.
    pub cluster: usize,
    /// Rows of so many neighbouring batches are sorted by length before they are cut into batches, so that texts of a
    /// batch are of a length. Pays on devices that pad; the CPU does not pad. Default 1: not sorted.
    pub length_window: usize,
    /// What is drawn depends on this number and the data alone. Default 0.
    pub seed: u64,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            size: 16,
            negatives: 0,
            title_share: 0.5,
            one_source: false,
            cluster: 1,
            length_window: 1,
            seed: 0,
        }
    }
}

impl BatchOptions {
    /// Documents of a query: its own and its negatives.
    #[must_use]
    pub fn group(&self) -> usize {
        self.negatives + 1
    }

    /// Checks every range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |option: &str, value: String, allowed| {
            Err(Error::RecipeOption {
                option: format!("batch.{option}"),
                value,
                allowed,
            })
        };
        if !(1..=65_536).contains(&self.size) {
            return bad("size", self.size.to_string(), "from 1 to 65536");
        }
        if self.negatives > 1000 {
            return bad("negatives", self.negatives.to_string(), "at most 1000");
        }
        if !(0.0..=1.0).contains(&self.title_share) {
            return bad("title_share", self.title_share.to_string(), "from 0 to 1");
        }
        if !(1..=self.size).contains(&self.cluster) {
            return bad("cluster", self.cluster.to_string(), "from 1 to batch.size");
        }
        if !(1..=1000).contains(&self.length_window) {
            return bad("length_window", self.length_window.to_string(), "from 1 to 1000");
        }
        Ok(())
    }
}
