//! Checkpoint directories as encoders.
//!
//! A checkpoint is opened as it was published: configuration, weights and tokenizer are read and checked once, and
//! nothing else is needed to encode. `layout` knows the directory layouts, `load` and `heads` the tensor names,
//! `presets.json` the published families, [`CheckpointOptions`] what is left to decide.

mod ascii_words;
mod batches;
mod columns;
mod config;
mod dense;
mod dense_layout;
mod dense_pooling;
mod heads;
mod inspection;
mod json;
mod layout;
mod load;
mod lsr;
mod model;
mod opening;
mod options_file;
mod pair;
mod policy;
mod preset;
mod quantisation;
mod query_lookup;
mod query_table;
mod settings;
mod side;
mod tokenizer;
mod trainable;
mod weights;
mod wordpiece;
mod words;

pub(crate) use dense::GateStates;
pub use dense::{DenseEncoder, DenseEncoding};
pub use dense_layout::DensePooling;
pub use inspection::Finding;
pub use policy::{
    CheckpointOptions, Cleaning, Expansion, HeadKind, LongText, Scatter, SideOptions, SpecialTokens, StopWords,
    TermUnit,
};
pub use preset::preset_names;
pub use quantisation::{QuantisationHint, Rounding};
pub use settings::{Setting, SettingSource};
pub use trainable::{
    DenseTexts, LiftedTexts, Pass, StartOptions, StepTexts, TableStart, TextStates, TrainableDense, TrainableLift,
    TrainableModel, TrainableOptions,
};
pub(crate) use weights::in_eight_bits;
pub(crate) use weights::{FILE_NAME as WEIGHTS_NAME, INDEX_NAME as WEIGHTS_INDEX_NAME};
pub use weights::{NamedFile, WeightsSummary};

use crate::transformer::Placement;
use crate::{Compute, Encoder, Error, InputKind, QueryWeighting, SparseEncoding};
use candle_core::Device;
use opening::Opening;
use settings::Decisions;
use side::SideEncoder;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tamis_core::{Fingerprint, Vocabulary};

/// A published model, opened from its directory.
pub struct Checkpoint {
    name: String,
    path: PathBuf,
    options: CheckpointOptions,
    /// Of the model as a whole.
    settings: Vec<Setting>,
    document: SideEncoder,
    query: SideEncoder,
    fingerprint: Fingerprint,
    /// Made when it is first asked for.
    vocabulary: OnceLock<Option<Vocabulary>>,
}

impl Checkpoint {
    /// Opens the checkpoint in `dir`.
    ///
    /// Reads weights into memory (single precision: four bytes a parameter), a piece of a file at a time.
    ///
    /// # Errors
    /// When a file is missing, damaged, or of a kind that is not supported, and when preset or options contradict the
    /// files; the error names file, tensor or field, what was expected and what was found.
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
        let decisions = Decisions::read(&path, options)?;
        let sides = layout::sides(&path, decisions.query_model.as_ref().map(|(name, _)| name.as_str()))?;
        let mut opening = Opening::new(&decisions, &sides, &path, placement);
        opening.check_pair()?;
        let document = opening.document()?;
        let query = opening.query(&document)?;
        let fingerprint = opening.fingerprint([&document, &query]);
        Ok(Self {
            name,
            path,
            options: options.clone(),
            settings: decisions.settings(),
            document,
            query,
            fingerprint,
            vocabulary: OnceLock::new(),
        })
    }

    /// Every setting in force, and who decided it: of the model as a whole, of documents, of queries.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let document = self.document.settings.noted("document");
        let query = self.query.settings.noted("query");
        [self.settings.clone(), document, query].concat()
    }

    /// How the model's authors made integers of the weights of one side, where that is known.
    #[must_use]
    pub fn quantisation(&self, kind: InputKind) -> Option<QuantisationHint> {
        self.side(kind).settings.quantisation
    }

    fn side(&self, kind: InputKind) -> &SideEncoder {
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
        self.side(kind).encode(texts)
    }

    fn query_weighting(&self) -> QueryWeighting {
        QueryWeighting::Model
    }

    fn max_weight(&self) -> Option<f32> {
        None
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.get_or_init(|| self.document.vocabulary()).as_ref()
    }

    fn description(&self) -> serde_json::Value {
        serde_json::json!({
            "encoder": "checkpoint",
            "path": self.path,
            "options": self.options,
            "fingerprint": self.fingerprint.to_string(),
            "document": self.document.settings.values(),
            "query": self.query.settings.values(),
            "settings": self.settings(),
        })
    }
}

/// Adds a part with its length, so that parts cannot run into each other.
fn hash(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}
