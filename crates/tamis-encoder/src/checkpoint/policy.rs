//! What a checkpoint leaves open, side by side: heads, pooling, special tokens, pruning, lengths.
//!
//! The general form of METHODS: backbone, head, mask, activation and norm, pooling or scattering, and what is done
//! with the weights at the end. Every field is optional; [`super::settings`] finds what is in force.

use super::quantisation::QuantisationHint;
use crate::transformer::{Norm, Pooling, SpladeActivation};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// What becomes of special tokens (`[CLS]`, `[SEP]`, ...); code bases differ, and so do vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecialTokens {
    /// They are pooled and weighted as any other token: SPLADE's own code and sentence-transformers. (A per-token
    /// head still drops the first token, as uniCOIL's code does.)
    Keep,
    /// They are pooled, but no special token of the vocabulary gets a weight: OpenSearch's models.
    ZeroColumns,
    /// They are pooled, but the tokens put around and behind texts (`[CLS]`, `[SEP]`, `[PAD]`) get no weight; `[UNK]`
    /// and `[MASK]` may: the queries of SPLADE-doc.
    ZeroAdded,
    /// The positions that the tokenizer added are left out of pooling: the LSR framework, where masked positions do
    /// not matter.
    ExcludePositions,
    /// The logits of positions that the tokenizer added are set to 0 before the activation, as the LSR framework does
    /// to the letter: with softplus every vocabulary entry then weighs at least log(1 + log 2).
    ZeroLogits,
}

/// What turns hidden states into weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// A masked-language-model head: a logit for each token and vocabulary entry.
    Mlm,
    /// One number for each token, given to that token.
    Token,
    /// Hidden states against the input embeddings: SPARTA.
    Embeddings,
    /// 1 for each token, without any model.
    Binary,
    /// A stored weight for each vocabulary entry, without any model.
    Table,
    /// A table computed once from the static word embeddings: Li-LSR before its table is frozen.
    Static,
}

/// How the weights of equal tokens of one text become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scatter {
    /// The largest.
    Max,
    /// The sum.
    Sum,
    /// That of the first: DeepImpact.
    First,
}

/// What a term is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermUnit {
    /// A token of the vocabulary.
    Pieces,
    /// A whole word, with the weight of its first piece: DeepCT and DeepImpact.
    Words,
}

/// What is done to a text before it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleaning {
    /// Nothing.
    None,
    /// What DeepImpact does to documents, or to queries.
    DeepImpact,
}

/// Terms that get no weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopWords {
    /// None.
    None,
    /// DeepImpact's list.
    DeepImpact,
    /// TILDE's: function words but not question words, `##s`, and pieces with other than letters, digits, - and _.
    Tilde,
}

/// How an expansion, which follows the text and a separator token (`text [SEP] expansion`), is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expansion {
    /// The most pieces of the text.
    pub text_pieces: usize,
    /// The most pieces of the expansion.
    pub pieces: usize,
    /// Whether pieces of the expansion are left out that came before (uniCOIL).
    pub new_only: bool,
}

/// What becomes of texts that are longer than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongText {
    /// The end is left out, as in the published evaluations; the encoding says so.
    #[default]
    Truncate,
    /// The text is read in windows, each sharing `overlap` tokens with the one before; a token's weight is its largest
    /// of all windows. A prompt stands in the first window alone.
    Windows {
        /// Tokens shared by neighbours.
        overlap: usize,
    },
    /// The text is read in parts as long as the model reads: a token's weight is its largest of all parts, a dense vector
    /// is made of the states of all of them. What `most` parts cannot hold is left out at the end.
    Parts {
        /// The most parts, 1 or more: what a long text may cost.
        most: NonZeroUsize,
    },
}

impl LongText {
    /// Parts, as many as suffice for all but books: 4.
    pub const PARTS: Self = Self::Parts {
        most: NonZeroUsize::new(4).unwrap(),
    };
}

/// What is decided for one side of a model; `None` leaves it open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SideOptions {
    /// Default: what the tensors call for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadKind>,
    /// Default: max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Default: relu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<SpladeActivation>,
    /// Default: log1p over the vocabulary, identity for heads of one number a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Default: what the library does that wrote the layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special_tokens: Option<SpecialTokens>,
    /// The most tokens a text may have, special ones included; never more than the model has positions for.
    /// Default: what the tokenizer says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Default: max for documents and tables, sum for queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scatter: Option<Scatter>,
    /// Default: pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<TermUnit>,
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleaning: Option<Cleaning>,
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_words: Option<StopWords>,
    /// Default: none; `text [SEP] expansion` is read as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expansion: Option<Expansion>,
    /// Whether only tokens of the text itself keep their weight (SPLADE-lexical). Default: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lexical: Option<bool>,
    /// A factor of all weights. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// Weights not above it are dropped. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_weight: Option<f32>,
    /// Weights not above this share of the largest are dropped (OpenSearch). Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune_ratio: Option<f32>,
    /// Only so many of the largest weights are kept. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// How the authors made integers of the weights; a hint for whoever exports them. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantisation: Option<QuantisationHint>,
}

/// What the caller of [`crate::Checkpoint::open`] decides instead of the checkpoint; `None` leaves it to the
/// checkpoint.
///
/// The same fields may stand in a file `tamis.json` in the checkpoint directory; the caller's win, and those of one
/// side win over those of both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointOptions {
    /// A published family by its name (`models/README.md` lists them), for what no file of the directory tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The directory of the query encoder, where it is another one: relative to the checkpoint's, and inside the
    /// folder that holds that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_model: Option<String>,
    /// Default: what the pooling module says, else max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Default: what the pooling module says, else relu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<SpladeActivation>,
    /// Default: log1p over the vocabulary, identity for heads of one number a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Default: what the library does that wrote the layout: `zero_columns` for a plain directory with an
    /// `idf.json` (OpenSearch), else `keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special_tokens: Option<SpecialTokens>,
    /// The most tokens a text may have, special ones included; never more than the model has positions for.
    /// Default: what the tokenizer says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Default: truncate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_text: Option<LongText>,
    /// For documents alone.
    #[serde(skip_serializing_if = "is_silent")]
    pub document: SideOptions,
    /// For queries alone.
    #[serde(skip_serializing_if = "is_silent")]
    pub query: SideOptions,
}

fn is_silent(side: &SideOptions) -> bool {
    *side == SideOptions::default()
}

impl CheckpointOptions {
    /// What is said of both sides.
    pub(super) fn both(&self) -> SideOptions {
        SideOptions {
            pooling: self.pooling,
            activation: self.activation,
            norm: self.norm,
            special_tokens: self.special_tokens,
            max_length: self.max_length,
            ..SideOptions::default()
        }
    }
}
