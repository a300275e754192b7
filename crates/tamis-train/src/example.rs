//! Training examples, in memory by number and on disk by text.

use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::training_set::{Passage, TrainingSet};

/// A pair with its hard negatives.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The number of the pair in its [`TrainingSet`].
    pub pair: u32,
    /// What the search scores the pair's own passage for its query; 0 when they share no term.
    pub positive_score: f64,
    /// Passages that rank high for the query and are not known to answer it, best first.
    pub negatives: Vec<Negative>,
}

/// A passage that is not known to answer a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Negative {
    /// Its number in the [`TrainingSet`].
    pub passage: u32,
    /// Its rank once all passages that answer the query are left out, from 1.
    pub rank: u32,
    /// What the search scores it.
    pub score: f64,
}

/// An example as a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExampleRecord<'a> {
    /// Where the pair comes from; left out where not said.
    #[serde(rename = "src", skip_serializing_if = "str::is_empty")]
    pub source: &'a str,
    /// What is asked.
    pub query: &'a str,
    /// The passage that answers it.
    pub positive: PassageRecord<'a>,
    /// Passages that are not known to.
    pub negatives: Vec<PassageRecord<'a>>,
    /// What the search scores them: the positive first, then the negatives in their order.
    pub scores: Vec<f64>,
}

/// A passage within a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PassageRecord<'a> {
    /// Its title, empty where it has none.
    pub title: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl<'a> From<&'a Passage> for PassageRecord<'a> {
    fn from(passage: &'a Passage) -> Self {
        Self {
            title: &passage.title,
            text: &passage.text,
        }
    }
}

impl Example {
    /// The example with its texts, which `set` holds.
    ///
    /// # Panics
    /// When the example is of another set.
    #[must_use]
    pub fn record<'a>(&self, set: &'a TrainingSet) -> ExampleRecord<'a> {
        let pair = &set.pairs()[self.pair as usize];
        ExampleRecord {
            source: &pair.source,
            query: &pair.query,
            positive: set.passage(pair.positive).into(),
            negatives: self
                .negatives
                .iter()
                .map(|negative| set.passage(negative.passage).into())
                .collect(),
            scores: [self.positive_score]
                .into_iter()
                .chain(self.negatives.iter().map(|one| one.score))
                .collect(),
        }
    }

    /// Writes examples as JSON lines ([`ExampleRecord`]), compressed where the name ends in `.gz` or `.zst`.
    ///
    /// # Errors
    /// [`Error::Write`].
    ///
    /// # Panics
    /// When an example is of another set.
    pub fn write_all(examples: &[Self], set: &TrainingSet, path: &Path) -> Result<(), Error> {
        tamis_eval::write_text_file(path, |out| {
            examples.iter().try_for_each(|example| {
                serde_json::to_writer(&mut *out, &example.record(set))?;
                out.write_all(b"\n")
            })
        })
        .map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }
}
