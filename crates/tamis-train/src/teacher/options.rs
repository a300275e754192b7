//! Which teachers there are and how their scores become one.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Teachers: the table `[teacher]` of a recipe. None by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TeacherOptions {
    /// Each of them.
    pub members: Vec<TeacherMember>,
    /// How their scores become one.
    pub combine: Combination,
    /// Score every document of the batch for every query, not only its own. Not for stored or cached scores.
    pub in_batch: bool,
    /// Score every row with its candidates before the run starts, and keep the scores in this file: another run with
    /// the same data and teachers takes them from there. Default: score the documents of each batch when it is its turn.
    pub cache: Option<PathBuf>,
    /// Whether teachers read titles, whatever the model gets to read. Default true.
    pub with_titles: bool,
}

impl Default for TeacherOptions {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            combine: Combination::default(),
            in_batch: false,
            cache: None,
            with_titles: true,
        }
    }
}

/// How scores of several teachers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// The sum, each times its weight: BM25 + 30 times the cosine, say.
    #[default]
    Sum,
    /// Each scaled to 0..1 over a query's documents, the weighted mean of that, times 30: OpenSearch's ensemble.
    MinMax,
    /// As `min_max`, then moved and stretched to the mean and deviation of the first teacher: SPLADE-v3's.
    Rescored,
}

/// Where scores come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeacherKind {
    /// The data: scores beside the documents of a line, or score files of a collection.
    Stored,
    /// The cosine of a dense sentence encoder's vectors.
    Dense,
    /// The inner product of a sparse encoder's vectors.
    Sparse,
    /// BM25 over stems, with the document frequencies of the training passages.
    Bm25,
}

/// One teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherMember {
    /// Where its scores come from.
    pub kind: TeacherKind,
    /// The directory of a dense or sparse encoder; the command line may give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// What its scores count. Default 1.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

impl TeacherOptions {
    /// Whether scores of every row are there before the first step.
    #[must_use]
    pub fn is_by_row(&self) -> bool {
        self.is_stored() || self.cache.is_some()
    }

    /// Whether scores are taken from the data as they stand.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.members.iter().any(|member| member.kind == TeacherKind::Stored)
    }

    /// Checks what fits together.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |option: String, value: &str, allowed| {
            Err(Error::RecipeOption {
                option: format!("teacher.{option}"),
                value: value.to_owned(),
                allowed,
            })
        };
        for (at, member) in self.members.iter().enumerate() {
            let takes_model = matches!(member.kind, TeacherKind::Dense | TeacherKind::Sparse);
            match &member.model {
                None if takes_model => {
                    return bad(
                        format!("members.{at}.model"),
                        "missing",
                        "the directory of an encoder (--teacher DIR)",
                    );
                }
                Some(_) if !takes_model => {
                    return bad(format!("members.{at}.model"), "given", "left out for this kind");
                }
                _ => (),
            }
            if !(member.weight.is_finite() && member.weight > 0.0) {
                let weight = member.weight.to_string();
                return bad(format!("members.{at}.weight"), &weight, "a finite number above 0");
            }
        }
        if self.cache.is_some() && (self.members.is_empty() || self.is_stored()) {
            return bad("cache".to_owned(), "given", "left out where nothing is computed");
        }
        if self.is_stored() && self.members.len() > 1 {
            return bad(
                "members".to_owned(),
                "stored and others",
                "stored scores alone, or teachers that compute",
            );
        }
        if self.in_batch && self.is_by_row() {
            return bad(
                "in_batch".to_owned(),
                "true",
                "false where scores are stored or cached by row",
            );
        }
        Ok(())
    }
}
