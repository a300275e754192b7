//! Shapes of explanations: where a score comes from.

use serde::Serialize;
use tamis_engine::{Explanation, FusedPart, TermContribution};
use utoipa::ToSchema;

use crate::wire::search::SearchMode;

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
