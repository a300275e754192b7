//! Lifted models: a dense sentence encoder made sparse by one linear map, with queries that are table look-ups.
//!
//! A document has its lexical weights (saturated term frequencies) plus the largest entries of `factor * W (e - mu)`,
//! with `e` its dense vector: one pooled forward pass and one product, and no head over the vocabulary for each token.
//! A query is the bag of its stems, each weighing its inverse document frequency in background texts; then
//! `sum idf_t W_t (e - mu) = (W^T q) (e - mu)`, so that W is a query encoder that is a table. `tamis-train` solves for it.
//!
//! The expansion keeps exact words beside a dense score, as hybrids of the two do (Formal et al., SPLADE, SIGIR 2021,
//! learn both by gradients; here neither needs any).

mod expander;
mod files;
mod gate;
mod table;

pub use expander::Expander;
pub use files::VERSION;
pub use gate::Gate;
pub(crate) use gate::TextGates;
pub use table::{Lift, LiftConfig, LiftMeans, MAX_LIFT_TERMS, QueryExpansion};

use crate::checkpoint::{GateStates, WEIGHTS_NAME, in_eight_bits};
use crate::{
    CheckpointOptions, Compute, DenseEncoder, DenseEncoding, Encoder, Error, InputKind, LongText, NamedFile,
    QueryWeighting, SparseEncoding,
};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tamis_core::Fingerprint;

/// Raised whenever the same files would give other vectors than before.
const REVISION: &str = "tamis lifted 1";

/// The folder of the dense encoder inside a lifted model's directory.
const DENSE_FOLDER: &str = "dense";

/// The folder of the layers that gates have of their own.
const GATE_FOLDER: &str = "gate";

/// A lifted model, opened from its directory.
pub struct LiftedEncoder {
    name: String,
    path: PathBuf,
    dense: DenseEncoder,
    expander: Expander,
    fingerprint: Fingerprint,
}

impl LiftedEncoder {
    /// Whether the directory `dir` is that of a lifted model: it has a `lifted.json`.
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        crate::files::exists(&dir.join(files::CONFIG))
    }

    /// Where the dense encoder of the lifted model in `dir` lies.
    #[must_use]
    pub fn dense_dir(dir: &Path) -> PathBuf {
        dir.join(DENSE_FOLDER)
    }

    /// Where the layers lie that the gates of the lifted model in `dir` have of their own.
    #[must_use]
    pub fn gate_dir(dir: &Path) -> PathBuf {
        dir.join(GATE_FOLDER)
    }

    /// The layers that the gates of the model in `dir` have of their own, in 8 bits: names and contents of the files of
    /// [`LiftedEncoder::gate_dir`].
    ///
    /// # Errors
    /// When a file cannot be read, or holds a value that is not finite.
    pub fn gate_layers_in_eight_bits(dir: &Path) -> Result<Vec<NamedFile>, Error> {
        let folder = Self::gate_dir(dir);
        if let Some(files) = in_eight_bits(&folder)? {
            return Ok(files);
        }
        let path = folder.join(WEIGHTS_NAME);
        let bytes = crate::files::read(&path).map_err(|source| Error::Read { path, source })?;
        Ok(vec![(WEIGHTS_NAME, bytes.into_owned())])
    }

    /// Opens the model in `dir`, computing where and how exactly `compute` says.
    ///
    /// Holds the dense encoder's weights and W (4, 2 or 1 bytes a value, as the precision is), and reads every file once.
    ///
    /// # Errors
    /// When a file is missing, damaged, or does not fit the others; the error names file, field or tensor, what was
    /// expected and what was found.
    pub fn open(dir: &Path, compute: Compute) -> Result<Self, Error> {
        Self::open_reading(dir, None, compute)
    }

    /// As [`LiftedEncoder::open`], with long texts read as `long_text` says in the place of the model's own configuration:
    /// another model, with a fingerprint of its own.
    ///
    /// # Errors
    /// As [`LiftedEncoder::open`], and for windows.
    pub(crate) fn open_reading(dir: &Path, long_text: Option<LongText>, compute: Compute) -> Result<Self, Error> {
        let path = crate::files::canonical(dir).map_err(|source| Error::Read {
            path: dir.to_owned(),
            source,
        })?;
        let mut lift = Lift::read(&path)?;
        if let Some(long_text) = long_text {
            lift = lift.with_long_text(long_text)?;
        }
        let gate_dir = path.join(GATE_FOLDER);
        let gates = match (lift.gate(), lift.config().gate_layers) {
            (None, _) => GateStates::None,
            (Some(_), 0) => GateStates::Last,
            (Some(_), layers) => GateStates::Own { dir: &gate_dir, layers },
        };
        let dense = DenseEncoder::open_for(&Self::dense_dir(&path), lift.config().long_text, compute, gates)?;
        if dense.width() != lift.config().width {
            let config = path.join(files::CONFIG);
            let expected = format!("{}, the width of the dense encoder,", dense.width());
            return Err(Error::field(&config, "width", expected, lift.config().width));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let fingerprint = fingerprint(&lift, dense.fingerprint())?;
        Ok(Self {
            name: name.unwrap_or_else(|| "model".to_owned()),
            path,
            expander: Expander::new(lift, dense.precision()),
            dense,
            fingerprint,
        })
    }

    /// As [`LiftedEncoder::open`], for callers with options of checkpoints: a lifted model has one, how long texts are read.
    ///
    /// # Errors
    /// As [`LiftedEncoder::open`], when another option is given, and for windows.
    pub(crate) fn open_with(dir: &Path, options: &CheckpointOptions, compute: Compute) -> Result<Self, Error> {
        let refused = |option| Error::LiftedOption {
            path: dir.to_owned(),
            option,
        };
        if matches!(options.long_text, Some(LongText::Windows { .. })) {
            return Err(refused("windows for long texts (it reads them in parts, --long parts)"));
        }
        let rest = CheckpointOptions {
            long_text: None,
            ..options.clone()
        };
        if rest != CheckpointOptions::default() {
            return Err(refused("the checkpoint options"));
        }
        Self::open_reading(dir, options.long_text, compute)
    }

    /// As [`LiftedEncoder::open`], reading long texts as the model of that `description` did.
    ///
    /// # Errors
    /// As [`LiftedEncoder::open`], and when the description is not one.
    pub(crate) fn open_described(dir: &Path, description: &Value, compute: Compute) -> Result<Self, Error> {
        let long_text = match &description["config"]["long_text"] {
            Value::Null => LongText::Truncate,
            long_text => LongText::deserialize(long_text).map_err(|error| Error::Description {
                reason: format!("field \"long_text\": {error}"),
            })?,
        };
        Self::open_reading(dir, Some(long_text), compute)
    }

    /// The dense encoder inside.
    #[must_use]
    pub fn dense(&self) -> &DenseEncoder {
        &self.dense
    }

    /// The table.
    #[must_use]
    pub fn lift(&self) -> &Lift {
        self.expander.lift()
    }

    /// Documents of a model with gates.
    fn encode_gated(&self, texts: &[&str], gate: &Gate) -> Result<Vec<SparseEncoding>, Error> {
        let read = self.dense.encode_gated(texts, gate)?;
        let vectors: Vec<&[f32]> = read.iter().map(|(dense, _)| dense.values.as_slice()).collect();
        let gates: Vec<&TextGates> = read.iter().map(|(_, gates)| gates).collect();
        let mut encodings = self.expander.gated_documents(texts, &vectors, &gates);
        for (encoding, (dense, _)) in encodings.iter_mut().zip(&read) {
            note_reading(encoding, dense);
        }
        Ok(encodings)
    }
}

/// What the dense encoder read of a text is what the model read.
fn note_reading(encoding: &mut SparseEncoding, dense: &DenseEncoding) {
    encoding.num_tokens = dense.num_tokens;
    encoding.num_windows = dense.num_windows;
    encoding.truncated = dense.truncated;
}

/// What a lifted model is known by.
fn fingerprint(lift: &Lift, dense: Fingerprint) -> Result<Fingerprint, Error> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(REVISION.as_bytes());
    hasher.update(dense.as_bytes());
    for (_, bytes) in lift.to_files()? {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(Fingerprint::new(*hasher.finalize().as_bytes()))
}

impl Encoder for LiftedEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn encode(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<SparseEncoding>, Error> {
        if let (InputKind::Document, Some(gate)) = (kind, self.lift().gate()) {
            return self.encode_gated(texts, gate);
        }
        let query_expansion = self.lift().config().query_expansion;
        if kind == InputKind::Query && query_expansion.is_none() {
            return Ok(texts.par_iter().map(|text| self.expander.query(text)).collect());
        }
        let dense = self.dense.encode(kind, texts)?;
        let vectors: Vec<&[f32]> = dense.iter().map(|encoding| encoding.values.as_slice()).collect();
        let mut encodings = match (kind, query_expansion) {
            (InputKind::Query, Some(expansion)) => self.expander.expanded_queries(texts, &vectors, expansion),
            _ => self.expander.documents(texts, &vectors),
        };
        for (encoding, dense) in encodings.iter_mut().zip(&dense) {
            note_reading(encoding, dense);
        }
        Ok(encodings)
    }

    fn query_weighting(&self) -> QueryWeighting {
        self.lift().config().query_weighting
    }

    fn max_weight(&self) -> Option<f32> {
        None
    }

    fn description(&self) -> Value {
        let (fingerprint, config) = (self.fingerprint.to_string(), self.lift().config());
        match crate::built_in::is_dir(&self.path) {
            true => serde_json::json!({
                "encoder": "built_in",
                "name": self.name,
                "fingerprint": fingerprint,
                "config": config,
            }),
            false => serde_json::json!({
                "encoder": "lifted",
                "path": self.path,
                "fingerprint": fingerprint,
                "config": config,
            }),
        }
    }
}
