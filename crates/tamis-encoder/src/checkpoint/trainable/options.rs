//! What is decided of a model before it is trained: what stays as it is, what is learned beside the transformer, and how
//! parts begin that its base lacks.

use crate::DeviceChoice;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a checkpoint becomes a model that can be trained. Pooling, activation, special tokens and pruning are decided as
/// for encoding, by [`crate::CheckpointOptions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainableOptions {
    /// Word, position and type embeddings stay as they are; so does a decoder that is tied to the words. Default: no.
    pub frozen_embeddings: bool,
    /// So many layers, counted from the input, stay as they are, and the embeddings with them. What they give for a text
    /// is kept, so a text that comes again starts above them. They have no dropout. Default: 0.
    pub frozen_layers: usize,
    /// The most bytes that are kept of what frozen layers gave, of all texts together; the oldest make room.
    /// Default: 256 MiB.
    pub activation_cache_bytes: usize,
    /// The last so many layers of a lifted model's dense encoder are copied for its gates and learned there; the encoder,
    /// and the vectors that W was solved for, stay as they are. Takes a model whose factor is 0. Default: none, so that
    /// gates and vectors share all layers.
    pub gate_layers: usize,
    /// Documents of a lifted model, or texts of a dense encoder, are read to at most so many tokens in training, special
    /// ones included; what is exported reads as far as it did before. Of a checkpoint it is one of
    /// [`crate::CheckpointOptions`], and refused here. Default: as far as the model reads.
    pub max_length: Option<usize>,
    /// The rate at which values are dropped behind the embeddings, the attention and the feed-forward blocks, from 0 to
    /// below 1. Default: what `config.json` says, 0.1 where it is silent (0 for ModernBERT).
    pub dropout: Option<f64>,
    /// Whether the weights of a query table are learned. Default: no.
    pub train_query_table: bool,
    /// Whether the factor of all weights of a binary side is learned (Nguyen et al., ECIR 2023). Default: no.
    pub train_scale: bool,
    /// Where to compute. Default: on the CPU.
    pub device: DeviceChoice,
    /// How parts begin that the base lacks.
    pub start: StartOptions,
}

impl Default for TrainableOptions {
    fn default() -> Self {
        Self {
            frozen_embeddings: false,
            frozen_layers: 0,
            activation_cache_bytes: 256 << 20,
            gate_layers: 0,
            max_length: None,
            dropout: None,
            train_query_table: false,
            train_scale: false,
            device: DeviceChoice::Cpu,
            start: StartOptions::default(),
        }
    }
}

/// How the parts of a model begin that its base checkpoint lacks. What the base has is never started anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StartOptions {
    /// Whether a missing head is made; otherwise it is an error. Default: yes.
    pub heads: bool,
    /// Of the numbers that look random. Default: 0.
    pub seed: u64,
    /// Standard deviation of new weights, as BERT has it. Biases begin at 0, norms at 1. Default: 0.02.
    pub deviation: f32,
    /// Whether a new head of one number a token has a layer in between, as DeepImpact's. Default: for that preset alone.
    pub two_layers: Option<bool>,
    /// Whether documents get EPIC's importance of tokens and quality of texts. Default: for that preset alone.
    pub epic: Option<bool>,
    /// Whether queries get a transformer of their own, which begins as a copy. Default: no.
    pub separate: bool,
    /// What a query table begins as, where the head of queries is to be one and the base has none. Default: none, which
    /// is an error there.
    pub query_table: Option<TableStart>,
    /// What the learned factor of a binary side begins as, where nobody says. Default: 0.3 (Nguyen et al., ECIR 2023).
    pub scale: f32,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            heads: true,
            seed: 0,
            deviation: 0.02,
            two_layers: None,
            epic: None,
            separate: false,
            query_table: None,
            scale: 0.3,
        }
    }
}

/// What a query table begins as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableStart {
    /// Every token weighs 1.
    Ones,
    /// The weights of an `idf.json`, token to weight; tokens that it leaves out weigh 1.
    File(PathBuf),
}
