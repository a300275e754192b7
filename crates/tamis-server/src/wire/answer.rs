//! Shapes of the answer of the search route.

use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;
use tamis_engine::{Mode, QueryTerm, SearchHit, SearchResponse, SearchWork, Took};
use utoipa::ToSchema;

use crate::clock::milliseconds;
use crate::wire::explain::ExplainBody;
use crate::wire::search::SearchMode;
use crate::wire::snippet::SnippetBody;

/// The answer to a search.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchAnswer {
    /// Best first: by descending score, equal scores by ascending id.
    pub hits: Vec<HitBody>,
    /// How many documents match, where the algorithm counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Whether the hits are those of scoring every document.
    pub exact: bool,
    /// Which ranking answered.
    pub mode: SearchMode,
    /// The query as it was searched.
    pub query: QueryBody,
    /// Where time went, in milliseconds.
    pub took_ms: TookBody,
    /// What was done.
    pub work: WorkBody,
    /// The commit that was searched; it grows with every commit.
    pub generation: u64,
    /// The id of the request, also in the `x-request-id` header.
    pub request_id: String,
}

/// The query as it was searched.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueryBody {
    /// Its terms, the heaviest first.
    pub terms: Vec<TermBody>,
    /// Whether the text was longer than the model reads.
    pub truncated: bool,
}

/// One term of the query.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermBody {
    /// The token or stem.
    pub term: String,
    /// Its weight.
    pub weight: f32,
    /// Whether it stands in the query's text, rather than being the model's expansion.
    pub typed: bool,
    /// How many documents have it; 0 if it is unknown to the collection.
    pub df: u64,
    /// Its largest document weight; 0 for BM25.
    pub max: f32,
    /// The ranking it belongs to: sparse or bm25.
    pub source: SearchMode,
}

/// One hit.
#[derive(Debug, Serialize, ToSchema)]
pub struct HitBody {
    /// The document's id.
    pub id: String,
    /// 1 for the best.
    pub rank: usize,
    /// Its score; comparable within one answer.
    pub score: f32,
    /// Its title, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its text, where `fields` names `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its typed fields.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub fields: Map<String, Value>,
    /// An extract, unless `highlight` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<SnippetBody>,
    /// What each term contributed, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<ExplainBody>,
}

/// Milliseconds by stage.
#[derive(Debug, Serialize, ToSchema)]
pub struct TookBody {
    /// Everything, from the admission to the answer.
    pub total: f64,
    /// Waiting for a turn.
    pub queue: f64,
    /// Turning the query into vectors.
    pub encode: f64,
    /// Evaluating the filter.
    pub filter: f64,
    /// Searching.
    pub retrieve: f64,
    /// Reading documents, snippets, explanations.
    pub fetch: f64,
}

/// What a search did, summed over segments.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkBody {
    /// Segments searched.
    pub segments: u64,
    /// Postings read.
    pub postings: u64,
    /// Blocks scored by pruning searches.
    pub blocks_scored: u64,
    /// Blocks skipped by pruning searches.
    pub blocks_skipped: u64,
    /// The algorithms used.
    pub algorithms: Vec<String>,
}

impl From<Mode> for SearchMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Sparse => Self::Sparse,
            Mode::Bm25 => Self::Bm25,
            Mode::Fused => Self::Fused,
        }
    }
}

/// What the server knows of a search beside the engine's response.
#[derive(Debug)]
pub struct Circumstances {
    /// Which ranking was asked for.
    pub mode: SearchMode,
    /// How long the search waited for its turn.
    pub queued: Duration,
    /// The id of the request.
    pub request_id: String,
}

impl SearchAnswer {
    /// The answer made of the engine's response.
    pub fn new(response: SearchResponse, circumstances: Circumstances) -> Self {
        let SearchResponse {
            hits,
            total,
            exact,
            query_terms,
            truncated,
            work,
            took,
            generation,
        } = response;
        Self {
            hits: hits.into_iter().map(HitBody::from).collect(),
            total,
            exact,
            mode: circumstances.mode,
            query: QueryBody {
                terms: query_terms.into_iter().map(TermBody::from).collect(),
                truncated,
            },
            took_ms: TookBody::new(took, circumstances.queued),
            work: work.into(),
            generation,
            request_id: circumstances.request_id,
        }
    }
}

impl TookBody {
    fn new(took: Took, queued: Duration) -> Self {
        let ms = |us: u64| milliseconds(Duration::from_micros(us));
        Self {
            total: milliseconds(Duration::from_micros(took.total_us) + queued),
            queue: milliseconds(queued),
            encode: ms(took.encode_us),
            filter: ms(took.filter_us),
            retrieve: ms(took.retrieve_us),
            fetch: ms(took.fetch_us),
        }
    }
}

impl From<SearchWork> for WorkBody {
    fn from(work: SearchWork) -> Self {
        let SearchWork {
            segments,
            postings,
            blocks_scored,
            blocks_skipped,
            algorithms,
        } = work;
        Self {
            segments,
            postings,
            blocks_scored,
            blocks_skipped,
            algorithms,
        }
    }
}

impl From<QueryTerm> for TermBody {
    fn from(term: QueryTerm) -> Self {
        let QueryTerm {
            term,
            weight,
            typed,
            df,
            max,
            source,
        } = term;
        Self {
            term,
            weight,
            typed,
            df,
            max,
            source: source.into(),
        }
    }
}

impl From<SearchHit> for HitBody {
    fn from(hit: SearchHit) -> Self {
        Self {
            id: hit.id,
            rank: hit.rank,
            score: hit.score,
            title: hit.title,
            text: hit.text,
            fields: hit.fields,
            snippet: hit.snippet.map(|snippet| SnippetBody::from(&snippet)),
            explain: hit.explain.map(ExplainBody::from),
        }
    }
}
