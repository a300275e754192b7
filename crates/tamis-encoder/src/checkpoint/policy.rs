//! What a checkpoint leaves open: pooling, activation, special tokens, length.

use super::json::JsonFile;
use crate::Error;
use crate::transformer::{Pooling, SpladeActivation};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What becomes of special tokens (`[CLS]`, `[SEP]`, ...); code bases differ, and so do vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecialTokens {
    /// They are pooled and weighted as any other token: SPLADE's own code and sentence-transformers. (uniCOIL's head
    /// still drops the first token, as its code does.)
    Keep,
    /// They are pooled, but get no weight themselves: OpenSearch's models.
    ZeroColumns,
    /// Their positions are left out of pooling, and they get no weight: the LSR framework.
    ExcludePositions,
}

/// What the caller of [`crate::Checkpoint::open`] decides instead of the checkpoint; `None` leaves it to the
/// checkpoint.
///
/// The same fields may stand in a file `tamis.json` in the checkpoint directory; the caller's win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointOptions {
    /// Default: what the pooling module says, else max.
    pub pooling: Option<Pooling>,
    /// Default: what the pooling module says, else relu.
    pub activation: Option<SpladeActivation>,
    /// Default: what the library does that wrote the layout: `zero_columns` for a plain directory with an
    /// `idf.json` (OpenSearch), else `keep`.
    pub special_tokens: Option<SpecialTokens>,
    /// The most tokens a text may have, special ones included; never more than the model has positions for.
    /// Default: what the tokenizer says.
    pub max_length: Option<usize>,
}

impl CheckpointOptions {
    /// These, and where they are silent those of `tamis.json` in `dir`.
    pub(super) fn or_from_file(&self, dir: &Path) -> Result<Self, Error> {
        let Some(file) = JsonFile::read_if_present(&dir.join("tamis.json"))? else {
            return Ok(self.clone());
        };
        let stored = Self::deserialize(&file.value).map_err(|source| Error::Json {
            path: file.path.clone(),
            source,
        })?;
        Ok(Self {
            pooling: self.pooling.or(stored.pooling),
            activation: self.activation.or(stored.activation),
            special_tokens: self.special_tokens.or(stored.special_tokens),
            max_length: self.max_length.or(stored.max_length),
        })
    }
}

/// The decisions in force for a transformer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) pooling: Pooling,
    pub(super) activation: SpladeActivation,
    pub(super) special_tokens: SpecialTokens,
}
