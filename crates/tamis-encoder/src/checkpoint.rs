//! Checkpoint directories as encoders.
//!
//! A checkpoint is opened as it was published: configuration, weights and tokenizer are read and checked once, and
//! nothing else is needed to encode. `layout` knows the directory layouts, `load` the tensor names, [`CheckpointOptions`]
//! what is left to decide.

mod config;
mod json;
mod layout;
mod load;
mod model;
mod policy;
mod query_table;
mod tokenizer;
mod weights;
mod wordpiece;

pub use policy::{CheckpointOptions, SpecialTokens};

use crate::transformer::Placement;
use crate::{Compute, Encoder, Error, InputKind, QueryWeighting, SparseEncoding};
use candle_core::Device;
use layout::Side;
use model::TransformerModel;
use policy::Policy;
use query_table::QueryTable;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tamis_core::Fingerprint;
use tokenizer::{TextTokenizer, Tokens};

/// Raised whenever the same files would give other vectors than before.
const REVISION: &str = "tamis checkpoint 1";

/// A published model, opened from its directory.
pub struct Checkpoint {
    name: String,
    path: PathBuf,
    options: CheckpointOptions,
    document: Encoding,
    query: Encoding,
    fingerprint: Fingerprint,
}

/// How texts of one kind are encoded.
struct Encoding {
    prompt: String,
    /// One for both kinds in symmetric models.
    model: Model,
}

#[derive(Clone)]
enum Model {
    Transformer(Arc<TransformerModel>),
    Table(Arc<QueryTable>),
}

impl Checkpoint {
    /// Opens the checkpoint in `dir`.
    ///
    /// Reads weights whole into memory (single precision: four bytes a parameter, and as much again as the file while
    /// opening).
    ///
    /// # Errors
    /// When a file is missing, damaged, or of a kind that is not supported; the error names file, tensor or field,
    /// what was expected and what was found.
    pub fn open(dir: &Path, options: &CheckpointOptions) -> Result<Self, Error> {
        Self::open_with(dir, options, Compute::default())
    }

    /// As [`Checkpoint::open`], computing where and how exactly `compute` says.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and when the device cannot be used or does not have the precision.
    pub fn open_with(dir: &Path, options: &CheckpointOptions, compute: Compute) -> Result<Self, Error> {
        Self::open_at(dir, options, &Placement::of(compute)?)
    }

    /// As [`Checkpoint::open`], computing on the CPU by the tensor operations that serve GPUs: far slower, and the
    /// second opinion on every model for tests.
    #[doc(hidden)]
    pub fn open_by_tensors(dir: &Path, options: &CheckpointOptions) -> Result<Self, Error> {
        Self::open_at(dir, options, &Placement::Tensors(Device::Cpu))
    }

    fn open_at(dir: &Path, options: &CheckpointOptions, placement: &Placement) -> Result<Self, Error> {
        let path = dir.canonicalize().map_err(|source| Error::Read {
            path: dir.to_owned(),
            source,
        })?;
        let name = path
            .file_name()
            .map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
        let in_force = options.or_from_file(&path)?;
        let sides = layout::sides(&path)?;
        let mut hasher = blake3::Hasher::new();
        hash(&mut hasher, REVISION.as_bytes());
        let special_tokens = in_force.special_tokens.unwrap_or(sides.special_tokens);
        let mut open_model = |side: &Side| Model::open(side, &in_force, special_tokens, placement, &mut hasher);
        let model = open_model(&sides.document)?;
        let query_model = if sides.query == sides.document {
            model.clone()
        } else {
            open_model(&sides.query)?
        };
        let document = Encoding {
            prompt: sides.document_prompt,
            model,
        };
        let query = Encoding {
            prompt: sides.query_prompt,
            model: query_model,
        };
        for encoding in [&document, &query] {
            hash(&mut hasher, encoding.description().to_string().as_bytes());
        }
        let fingerprint = Fingerprint::new(*hasher.finalize().as_bytes());
        Ok(Self {
            name,
            path,
            options: options.clone(),
            document,
            query,
            fingerprint,
        })
    }

    fn encoding(&self, kind: InputKind) -> &Encoding {
        match kind {
            InputKind::Document => &self.document,
            InputKind::Query => &self.query,
        }
    }
}

impl Encoder for Checkpoint {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn encode(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<SparseEncoding>, Error> {
        self.encoding(kind).encode(kind, texts)
    }

    fn query_weighting(&self) -> QueryWeighting {
        QueryWeighting::Model
    }

    fn max_weight(&self) -> Option<f32> {
        None
    }

    fn description(&self) -> serde_json::Value {
        serde_json::json!({
            "encoder": "checkpoint",
            "path": self.path,
            "options": self.options,
            "fingerprint": self.fingerprint.to_string(),
            "document": self.document.description(),
            "query": self.query.description(),
        })
    }
}

impl Model {
    /// Opens one side and adds its files to `hasher`.
    fn open(
        side: &Side,
        options: &CheckpointOptions,
        special_tokens: SpecialTokens,
        placement: &Placement,
        hasher: &mut blake3::Hasher,
    ) -> Result<Self, Error> {
        let model = match side {
            Side::Transformer(files) => {
                let policy = Policy {
                    pooling: options.pooling.unwrap_or(files.pooling),
                    activation: options.activation.unwrap_or(files.activation),
                    special_tokens,
                };
                let (model, read) = TransformerModel::read(files, policy, options.max_length, placement)?;
                hash(hasher, &read.config);
                hash(hasher, &read.weights);
                Self::Transformer(Arc::new(model))
            }
            Side::Table(files) => {
                let (table, bytes) = QueryTable::read(files, special_tokens, options.max_length)?;
                hash(hasher, &bytes);
                Self::Table(Arc::new(table))
            }
        };
        model.tokenizer().bytes.iter().for_each(|bytes| hash(hasher, bytes));
        Ok(model)
    }

    fn tokenizer(&self) -> &TextTokenizer {
        match self {
            Self::Transformer(model) => &model.tokenizer,
            Self::Table(table) => &table.tokenizer,
        }
    }
}

impl Encoding {
    fn encode(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<SparseEncoding>, Error> {
        let split = |(text, content): (usize, &&str)| {
            self.model
                .tokenizer()
                .split(&self.prompt, content)
                .map_err(|reason| Error::Tokenise { text, reason })
        };
        let texts = texts
            .par_iter()
            .enumerate()
            .map(split)
            .collect::<Result<Vec<Tokens>, Error>>()?;
        match &self.model {
            Model::Transformer(model) => model.encode(kind, &texts),
            Model::Table(table) => Ok(texts.iter().map(|tokens| table.look_up(tokens)).collect()),
        }
    }

    /// All settings in force.
    fn description(&self) -> serde_json::Value {
        let mut description = match &self.model {
            Model::Transformer(model) => serde_json::json!({
                "head": model.head_name(),
                "pooling": model.policy.pooling,
                "activation": model.policy.activation,
                "special_tokens": model.policy.special_tokens,
            }),
            Model::Table(table) => serde_json::json!({
                "head": "table",
                "special_tokens": table.special_tokens,
            }),
        };
        description["prompt"] = self.prompt.as_str().into();
        description["max_length"] = self.model.tokenizer().max_length.into();
        description
    }
}

/// Adds a part with its length, so that parts cannot run into each other.
fn hash(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}
