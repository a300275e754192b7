//! Which texts are trained on, and how often.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Which texts are trained on, and how often: the table `[data]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// Files and folders; the command line adds to them. A folder or archive with a `corpus.jsonl` is a judged
    /// collection; of any other folder the JSON lines and TSV files count, by name.
    pub files: Vec<PathBuf>,
    /// Teacher scores of a collection's documents: `query id <tab> document id <tab> score`, or JSON lines with
    /// `qid`, `pid` and `score`. A document that is scored and does not answer the query is a negative.
    pub scores: Vec<PathBuf>,
    /// Which judgements of a collection are trained on. Default `train`.
    pub split: String,
    /// Rows of these sources (the field `src`) are passed over. Whole sources that are held out make a development
    /// set of another domain.
    pub exclude_sources: Vec<String>,
    /// How often rows of a source are taken in an epoch, from 0; 1 where nothing is said.
    pub source_weights: BTreeMap<String, f64>,
    /// How often rows of a file are taken in an epoch, by the file's name without folders; times the source's weight.
    pub file_weights: BTreeMap<String, f64>,
    /// Of each file only so many rows are read. Default: all.
    pub max_rows: Option<usize>,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            scores: Vec::new(),
            split: "train".to_owned(),
            exclude_sources: Vec::new(),
            source_weights: BTreeMap::new(),
            file_weights: BTreeMap::new(),
            max_rows: None,
        }
    }
}

impl DataOptions {
    /// Checks every range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let weights = self.source_weights.iter().chain(&self.file_weights);
        for (name, weight) in weights {
            if !(weight.is_finite() && (0.0..=1000.0).contains(weight)) {
                return Err(Error::RecipeOption {
                    option: format!("data weight of {name:?}"),
                    value: weight.to_string(),
                    allowed: "from 0 to 1000",
                });
            }
        }
        Ok(())
    }

    /// How often a row is taken in an epoch.
    pub(crate) fn weight(&self, file: &str, source: &str) -> f64 {
        let of = |weights: &BTreeMap<String, f64>, name| weights.get(name).copied().unwrap_or(1.0);
        of(&self.file_weights, file) * of(&self.source_weights, source)
    }
}
