//! Shapes of the answers of the search and explain routes.

use serde::Serialize;
use serde_json::{Map, Value};
use tamis_engine::{
    Explanation, FusedPart, Mode, QueryTerm, SearchHit, SearchResponse, SearchWork, Snippet, TermContribution, Took,
};
use utoipa::ToSchema;

use crate::wire::search::SearchMode;

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

/// An extract of a document as pieces of plain text; joined they are the extract. Nothing is escaped: insert it as text.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SnippetBody {
    /// Where it is from: text or title.
    pub field: String,
    /// Matched and unmatched pieces in turn.
    pub pieces: Vec<PieceBody>,
    /// Whether something was left out before it.
    pub cut_before: bool,
    /// Whether something was left out after it.
    pub cut_after: bool,
}

/// A piece of a snippet.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PieceBody {
    /// The text.
    pub text: String,
    /// `typed` for a word of the query, `added` for a word of the model's expansion; left out where nothing matched.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<MatchKind>,
}

/// Why a piece of a snippet is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// It stands in the query.
    Typed,
    /// The model added it.
    Added,
}

/// How a document's score comes about.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainBody {
    /// The document's id.
    pub id: String,
    /// The ranking that is explained.
    pub mode: SearchMode,
    /// Its score: the very number a hit has.
    pub score: f32,
    /// Whether the filter lets it through; true without a filter.
    pub matches_filter: bool,
    /// What each term adds, the largest first; the products sum up to the score. Empty for fused.
    pub terms: Vec<ContributionBody>,
    /// For fused: the two rankings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartBody>,
}

/// What one term adds to a score.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContributionBody {
    /// The token or stem.
    pub term: String,
    /// Its weight in the query; for BM25 its IDF times its count in the query.
    pub query_weight: f32,
    /// Its weight in the document; for BM25 the saturated, length-normalised frequency.
    pub document_weight: f32,
    /// The product of both.
    pub product: f32,
    /// The product's share of the score, 0 to 1.
    pub share: f32,
    /// Whether it stands in the query's text.
    pub typed: bool,
}

/// One of the two rankings behind a fused score.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartBody {
    /// Which one.
    pub mode: SearchMode,
    /// The document's rank in it; left out when it does not take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Its score in it.
    pub score: f32,
    /// What it adds to the fused score.
    pub contribution: f32,
    /// What each term adds to the ranking's own score.
    pub terms: Vec<ContributionBody>,
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
    /// Milliseconds the search waited for its turn.
    pub queue_ms: f64,
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
            took_ms: TookBody::new(took, circumstances.queue_ms),
            work: work.into(),
            generation,
            request_id: circumstances.request_id,
        }
    }
}

impl TookBody {
    fn new(took: Took, queue: f64) -> Self {
        let ms = |us: u64| std::time::Duration::from_micros(us).as_secs_f64() * 1e3;
        Self {
            total: ms(took.total_us) + queue,
            queue,
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

impl From<&Snippet> for SnippetBody {
    fn from(snippet: &Snippet) -> Self {
        let mut pieces = Vec::new();
        let mut at = 0;
        let mut push = |range: std::ops::Range<usize>, matched| match snippet.text.get(range) {
            None | Some("") => {}
            Some(text) => pieces.push(PieceBody {
                text: text.to_owned(),
                matched,
            }),
        };
        for highlight in &snippet.highlights {
            push(at..highlight.start, None);
            let kind = if highlight.typed {
                MatchKind::Typed
            } else {
                MatchKind::Added
            };
            push(highlight.start..highlight.end, Some(kind));
            at = highlight.end;
        }
        push(at..snippet.text.len(), None);
        Self {
            field: snippet.field.clone(),
            pieces,
            cut_before: snippet.cut_before,
            cut_after: snippet.cut_after,
        }
    }
}

impl From<Explanation> for ExplainBody {
    fn from(explanation: Explanation) -> Self {
        Self {
            id: explanation.id,
            mode: explanation.mode.into(),
            score: explanation.score,
            matches_filter: explanation.matches_filter,
            terms: explanation.terms.into_iter().map(ContributionBody::from).collect(),
            parts: explanation.parts.into_iter().map(PartBody::from).collect(),
        }
    }
}

impl From<TermContribution> for ContributionBody {
    fn from(contribution: TermContribution) -> Self {
        let TermContribution {
            term,
            query_weight,
            document_weight,
            product,
            share,
            typed,
        } = contribution;
        Self {
            term,
            query_weight,
            document_weight,
            product,
            share,
            typed,
        }
    }
}

impl From<FusedPart> for PartBody {
    fn from(part: FusedPart) -> Self {
        Self {
            mode: part.mode.into(),
            rank: part.rank,
            score: part.score,
            contribution: part.contribution,
            terms: part.terms.into_iter().map(ContributionBody::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tamis_engine::Highlight;

    #[test]
    fn a_snippet_is_cut_at_its_highlights() {
        let text = "Größe of <b>bees</b>";
        let highlights = vec![
            Highlight {
                start: 0,
                end: 7,
                typed: true,
            },
            Highlight {
                start: 14,
                end: 18,
                typed: false,
            },
        ];
        let snippet = Snippet {
            field: "text".to_owned(),
            text: text.to_owned(),
            cut_before: true,
            cut_after: false,
            highlights,
        };
        let body = SnippetBody::from(&snippet);
        let piece = |text: &str, matched| PieceBody {
            text: text.to_owned(),
            matched,
        };
        assert_eq!(
            body.pieces,
            vec![
                piece("Größe", Some(MatchKind::Typed)),
                piece(" of <b>", None),
                piece("bees", Some(MatchKind::Added)),
                piece("</b>", None)
            ]
        );
        assert_eq!(
            body.pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(),
            text
        );
    }
}
