//! A stand-alone index on disk: one folder, one index file, and the model that made it.

use crate::exit::{Exit, failure};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tamis_core::{SparseVector, TermId};
use tamis_encoder::{CheckpointOptions, Compute, Encoder, InputKind, QueryWeighting};
use tamis_index::Index;

/// The file inside the folder.
pub const FILE_NAME: &str = "index.tamis";

/// The owner's section that names the model.
pub const MODEL_SECTION: &str = "x-model";

/// What [`MODEL_SECTION`] holds, as JSON.
#[derive(Serialize, Deserialize)]
pub struct StoredModel {
    /// What the encoder says about itself; opens it again.
    pub description: Value,
    /// Its fingerprint, 64 hexadecimal digits.
    pub fingerprint: String,
}

impl StoredModel {
    /// Describes `encoder`.
    pub fn of(encoder: &dyn Encoder) -> Self {
        Self {
            description: encoder.description(),
            fingerprint: encoder.fingerprint().to_string(),
        }
    }
}

/// The index file of `path`, which is the folder or the file itself.
pub fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(FILE_NAME)
    } else {
        path.to_owned()
    }
}

/// Opens the index in folder `path`.
pub fn open(path: &Path) -> anyhow::Result<Index> {
    let file = file_of(path);
    if !file.is_file() {
        let message = format!(
            "no index at {} (expected {}); `tamis index` makes one",
            path.display(),
            file.display()
        );
        return Err(failure(Exit::NotFound, message));
    }
    Ok(Index::open(&file)?)
}

/// The model that `index` was made with, or `None` for ready vectors.
pub fn stored_model(index: &Index) -> anyhow::Result<Option<StoredModel>> {
    let section = index.extra_section(MODEL_SECTION);
    section
        .map(|bytes| serde_json::from_slice(bytes).context("the index's model section is not valid"))
        .transpose()
}

/// Turns queries into vectors over the terms of one index.
pub struct QueryEncoder<'a> {
    index: &'a Index,
    encoder: Option<Arc<dyn Encoder>>,
}

impl<'a> QueryEncoder<'a> {
    /// Opens the model that `index` names, or `model` in its place, and checks that it is the same one.
    pub fn open(index: &'a Index, model: Option<&str>, compute: Compute) -> anyhow::Result<Self> {
        let stored = stored_model(index)?;
        let encoder = match (&stored, model) {
            // Which average length it normalises by, the index alone knows.
            (Some(stored), Some("lexical")) if stored.description["encoder"] == "lexical" => {
                Some(tamis_encoder::open_stored_with(&stored.description, compute)?)
            }
            (_, Some(spec)) => Some(tamis_encoder::open_with(spec, &CheckpointOptions::default(), compute)?),
            (Some(stored), None) => Some(tamis_encoder::open_stored_with(&stored.description, compute)?),
            (None, None) => None,
        };
        if let (Some(stored), Some(encoder)) = (&stored, &encoder) {
            let given = encoder.fingerprint().to_string();
            if given != stored.fingerprint {
                let message = format!(
                    "the index was made by model {}, this is {given} ({}): use the same model or index again",
                    stored.fingerprint,
                    encoder.name()
                );
                return Err(failure(Exit::Mismatch, message));
            }
        }
        Ok(Self { index, encoder })
    }

    /// For queries that are ready vectors.
    pub fn for_vectors(index: &'a Index) -> Self {
        Self { index, encoder: None }
    }

    /// Uses `encoder`, which made `index` just now.
    pub fn with(index: &'a Index, encoder: Arc<dyn Encoder>) -> Self {
        Self {
            index,
            encoder: Some(encoder),
        }
    }

    /// The vectors of `texts`.
    pub fn texts(&self, texts: &[&str]) -> anyhow::Result<Vec<SparseVector>> {
        let Some(encoder) = &self.encoder else {
            let message = "the index was made of ready vectors and names no model: give vectors as queries, or --model";
            return Err(failure(Exit::Usage, message));
        };
        let encodings = encoder.encode(InputKind::Query, texts)?;
        encodings
            .into_iter()
            .map(|encoding| self.vector(encoding.tokens, encoder.query_weighting()))
            .collect()
    }

    /// The vector of ready token weights. Tokens that the index does not know match nothing and are dropped.
    pub fn tokens(&self, tokens: Vec<(String, f32)>) -> anyhow::Result<SparseVector> {
        self.vector(tokens, QueryWeighting::Model)
    }

    /// The vector of token weights that still need what `weighting` says.
    pub fn vector(&self, tokens: Vec<(String, f32)>, weighting: QueryWeighting) -> anyhow::Result<SparseVector> {
        let num_docs = u64::from(self.index.num_docs());
        let known = tokens
            .into_iter()
            .filter_map(|(token, weight)| Some((self.term(&token)?, weight)));
        let weighted = known.map(|(term, weight)| {
            let df = u64::from(self.index.term_df(term));
            (term, weight * weighting.factor(num_docs, df))
        });
        Ok(SparseVector::from_pairs(weighted.collect())?)
    }

    /// Terms of an index without a vocabulary (made of CSR) are written as their numbers.
    fn term(&self, token: &str) -> Option<TermId> {
        match self.index.vocabulary() {
            Some(vocabulary) => vocabulary.id(token),
            None => token.parse().ok().map(TermId::new),
        }
    }
}
