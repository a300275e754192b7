//! Shapes of the encode route.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::wire::search::TermWeights;

/// Texts to encode, with the model of a collection or a model by name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EncodeBody {
    /// The texts, at most 256.
    pub texts: Vec<String>,
    /// Whether they are documents or queries; many models treat the two differently.
    #[serde(default)]
    pub kind: EncodeKind,
    /// `lexical` or a model directory; the service's own model if neither this nor `collection` is given.
    #[serde(default)]
    pub model: Option<String>,
    /// A collection whose model is used. The weights are the model's: what a search adds from the collection's
    /// statistics, such as the IDF of the lexical model, is not in them.
    #[serde(default)]
    pub collection: Option<String>,
    /// Whether weights come by token, or by the token's number in the model's vocabulary.
    #[serde(default)]
    pub format: EncodeFormat,
}

/// How terms are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodeFormat {
    /// By token.
    #[default]
    Tokens,
    /// By the token's number; only models with a fixed vocabulary can.
    Ids,
}

/// What a text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodeKind {
    /// A document.
    Document,
    /// A query.
    #[default]
    Query,
}

/// The vectors of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub struct EncodeAnswer {
    /// The model's name.
    pub model: String,
    /// The model's fingerprint.
    pub fingerprint: String,
    /// What the texts were taken for.
    pub kind: EncodeKind,
    /// One vector a text, in the order of the texts.
    pub vectors: Vec<EncodedText>,
    /// Milliseconds.
    pub took_ms: f64,
}

/// The vector of one text.
#[derive(Debug, Serialize, ToSchema)]
pub struct EncodedText {
    /// Unrounded weights: by token, ascending by token, or by number, ascending by number.
    pub vector: EncodedVector,
    /// Tokens the model read.
    pub num_tokens: usize,
    /// Whether the text was longer than the model reads.
    pub truncated: bool,
}

/// A vector in the form that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EncodedVector {
    /// Weights by token.
    #[schema(value_type = std::collections::BTreeMap<String, f32>)]
    Tokens(TermWeights),
    /// Weights by number.
    Ids {
        /// Numbers in the model's vocabulary, ascending.
        indices: Vec<u32>,
        /// The weight of each.
        values: Vec<f32>,
    },
}

/// Texts to embed, in the form that clients of text-embeddings-inference send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbedSparseBody {
    /// A text or several, at most 256.
    pub inputs: Inputs,
    /// Whether texts that are longer than the model reads may be cut; without it they are an error.
    #[serde(default)]
    pub truncate: Option<bool>,
    /// Texts are cut at their end; there is no other way here.
    #[serde(default)]
    pub truncation_direction: Option<TruncationDirection>,
    /// `query` encodes queries; `document`, `passage`, `corpus` or nothing encodes documents.
    #[serde(default)]
    pub prompt_name: Option<String>,
    /// `lexical` is not enough here: a model directory; the service's own model unless given.
    #[serde(default)]
    pub model: Option<String>,
}

/// One text or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of texts expected")]
pub enum Inputs {
    /// One text.
    One(String),
    /// Several texts.
    Many(Vec<String>),
}

/// Where long texts are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TruncationDirection {
    /// At their end.
    #[default]
    #[serde(alias = "Right")]
    Right,
}

/// One weight of a sparse vector.
#[derive(Debug, Serialize, ToSchema)]
pub struct SparseValue {
    /// The token's number in the model's vocabulary.
    pub index: u32,
    /// Its weight, above zero.
    pub value: f32,
}
