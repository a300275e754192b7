//! What is asked of a collection.

use crate::Error;
use crate::fusion::Fusion;
use serde::{Deserialize, Serialize};

/// `offset + limit` may not exceed this.
pub const MAX_RESULT_WINDOW: usize = 10_000;

/// The longest query text, in bytes.
pub const MAX_QUERY_BYTES: usize = 1 << 20;

/// How documents are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By the inner product of query vector and document vector.
    #[default]
    Sparse,
    /// By BM25 over the words of title and text.
    Bm25,
    /// Both rankings, fused ([`Fusion`]).
    Fused,
}

/// How the impact index is searched. Every choice gives the same hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Whichever is estimated to be cheaper.
    #[default]
    Auto,
    /// Scores every posting of the query's terms.
    Exhaustive,
    /// Skips blocks that cannot enter the result.
    BlockMax,
    /// Scores every document by its forward vector: slow, for checking the others.
    Oracle,
}

impl From<Algorithm> for tamis_query::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Auto => Self::Auto,
            Algorithm::Exhaustive => Self::Exhaustive,
            Algorithm::BlockMax => Self::BlockMax,
            Algorithm::Oracle => Self::Oracle,
        }
    }
}

/// One search. In JSON every field may be left out; unknown ones are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchRequest {
    /// What somebody asks: encoded by the model, matched by BM25, marked in snippets. At most
    /// [`MAX_QUERY_BYTES`].
    pub query: Option<String>,
    /// A ready query vector, token to weight, in place of the encoded query.
    #[serde(with = "crate::token_map")]
    pub vector: Option<Vec<(String, f32)>>,
    /// How documents are ranked.
    pub mode: Mode,
    /// How many hits are wanted; `offset + limit` is at most [`MAX_RESULT_WINDOW`].
    pub limit: usize,
    /// How many of the best hits are left out.
    pub offset: usize,
    /// Only documents for which this expression holds ([`crate::Filter`]).
    pub filter: Option<String>,
    /// What of each document is returned: names of fields, `title`, `text`. By default the title and
    /// all fields; with an empty list ids and scores alone, which is fastest.
    pub fields: Option<Vec<String>>,
    /// Whether hits come with a snippet and the places of matched words in it.
    pub highlight: bool,
    /// Whether hits come with their contributions by term.
    pub explain: bool,
    /// How the impact index is searched.
    pub algorithm: Algorithm,
    /// How the two rankings of [`Mode::Fused`] become one.
    pub fusion: Fusion,
}

impl Default for SearchRequest {
    fn default() -> Self {
        Self {
            query: None,
            vector: None,
            mode: Mode::default(),
            limit: 10,
            offset: 0,
            filter: None,
            fields: None,
            highlight: false,
            explain: false,
            algorithm: Algorithm::default(),
            fusion: Fusion::default(),
        }
    }
}

impl SearchRequest {
    /// The ten best documents for `query`.
    #[must_use]
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            query: Some(query.into()),
            ..Self::default()
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let window = self.offset.checked_add(self.limit);
        if window.is_none_or(|window| window > MAX_RESULT_WINDOW) {
            return Err(Error::request(
                "limit",
                format!(
                    "offset {} + limit {} is above {MAX_RESULT_WINDOW}",
                    self.offset, self.limit
                ),
            ));
        }
        if let Some(query) = &self.query
            && query.len() > MAX_QUERY_BYTES
        {
            return Err(Error::request(
                "query",
                format!("{} bytes, at most {MAX_QUERY_BYTES} are allowed", query.len()),
            ));
        }
        if self.query.is_none() && self.vector.is_none() {
            return Err(Error::request("query", "give a query or a vector"));
        }
        if self.query.is_none() && self.mode != Mode::Sparse {
            return Err(Error::request("query", "modes bm25 and fused need a query text"));
        }
        self.fusion.validate()
    }
}
