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
    /// `lexical` or a model directory; `lexical` if neither this nor `collection` is given.
    #[serde(default)]
    pub model: Option<String>,
    /// A collection whose model is used. The weights are the model's: what a search adds from the collection's
    /// statistics, such as the IDF of the lexical model, is not in them.
    #[serde(default)]
    pub collection: Option<String>,
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
    /// Unrounded weights by token, ascending by token.
    #[schema(value_type = std::collections::BTreeMap<String, f32>)]
    pub vector: TermWeights,
    /// Tokens the model read.
    pub num_tokens: usize,
    /// Whether the text was longer than the model reads.
    pub truncated: bool,
}
