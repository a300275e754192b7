//! What comes back from a collection.

use crate::request::Mode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The answer to one search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchResponse {
    /// Best first: by descending score, equal scores by ascending id (bytes).
    pub hits: Vec<SearchHit>,
    /// How many documents match, where the algorithm counted them.
    pub total: Option<u64>,
    /// Whether the hits are those of scoring every document. Always so today.
    pub exact: bool,
    /// The query as it was searched, heaviest term first.
    pub query_terms: Vec<QueryTerm>,
    /// Whether the query was longer than the model reads.
    pub truncated: bool,
    /// What was done.
    pub work: SearchWork,
    /// Where time went.
    pub took: Took,
    /// The commit that was searched.
    pub generation: u64,
}

/// One document found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchHit {
    /// The document's id.
    pub id: String,
    /// 1 for the best, counted from the start of the whole list.
    pub rank: usize,
    /// Its score; comparable within one response.
    pub score: f32,
    /// Its title, where it has one and it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
    /// Its text, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Its fields, as they were given.
    pub fields: Map<String, Value>,
    /// An extract, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snippet: Option<Snippet>,
    /// Contributions by term, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub explain: Option<Explanation>,
}

/// One term of the query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryTerm {
    /// The token or stem.
    pub term: String,
    /// Its weight as searched (after quantisation); of a term that no document has, as given.
    pub weight: f32,
    /// Whether it stands in the query's text, rather than being the model's expansion.
    pub typed: bool,
    /// How many live documents have it; 0 means that it is unknown to the collection.
    pub df: u64,
    /// Its largest document weight; 0 for BM25.
    pub max: f32,
    /// The ranking it belongs to: sparse or bm25.
    pub source: Mode,
}

/// Counts of what one search did, summed over segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchWork {
    /// Segments searched.
    pub segments: u64,
    /// Postings read.
    pub postings: u64,
    /// Blocks scored by pruning searches.
    pub blocks_scored: u64,
    /// Blocks skipped by pruning searches.
    pub blocks_skipped: u64,
    /// The algorithms used on the segments, without repetition.
    pub algorithms: Vec<String>,
}

/// Microseconds spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Turning the query into vectors.
    pub encode_us: u64,
    /// Evaluating the filter.
    pub filter_us: u64,
    /// Searching.
    pub retrieve_us: u64,
    /// Reading stored documents, snippets, explanations.
    pub fetch_us: u64,
    /// All of it.
    pub total_us: u64,
}

/// An extract of a document with the places of matched words. Not escaped for any markup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// Where it is from: `text` or `title`.
    pub field: String,
    /// The extract.
    pub text: String,
    /// Whether something was left out before it.
    pub cut_before: bool,
    /// Whether something was left out after it.
    pub cut_after: bool,
    /// Matched words, ascending and disjoint.
    pub highlights: Vec<Highlight>,
}

/// One matched word of a snippet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Highlight {
    /// Its first byte in the snippet's text.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// Whether it was typed, rather than being the model's expansion.
    pub typed: bool,
}

/// How one document's score comes about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The document.
    pub id: String,
    /// The ranking that is explained.
    pub mode: Mode,
    /// Its score: the very number a hit has. It depends on the query and the document, not on rank.
    pub score: f32,
    /// Whether the request's filter lets it through (`true` without a filter).
    pub matches_filter: bool,
    /// Contributions, largest first; their products sum up to the score. Empty for [`Mode::Fused`].
    pub terms: Vec<TermContribution>,
    /// For [`Mode::Fused`]: the two rankings, whose contributions sum up to the score.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<FusedPart>,
}

/// What one term adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TermContribution {
    /// The token or stem.
    pub term: String,
    /// Its weight in the query. For BM25: its IDF, times its count in the query.
    pub query_weight: f32,
    /// Its weight in the document. For BM25: the saturated, length-normalised frequency.
    pub document_weight: f32,
    /// The product of both.
    pub product: f32,
    /// The product's share of the score, 0 to 1.
    pub share: f32,
    /// Whether it stands in the query's text, rather than being the model's expansion.
    pub typed: bool,
}

/// One of the two rankings behind a fused score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FusedPart {
    /// Which one.
    pub mode: Mode,
    /// The document's rank in it, from 1; `None` when it is not among those that take part.
    pub rank: Option<usize>,
    /// The document's score in it.
    pub score: f32,
    /// What it adds to the fused score.
    pub contribution: f32,
    /// Contributions to the ranking's own score.
    pub terms: Vec<TermContribution>,
}
