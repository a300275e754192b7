//! Shapes of the search and explain routes.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tamis_engine::{Algorithm, Fusion, FusionMethod, Mode, SearchRequest};
use utoipa::{IntoParams, ToSchema};

/// Hits of a search unless told otherwise.
const DEFAULT_LIMIT: usize = 10;

/// Weights by term, as the JSON object `{"lobster": 2.1, "crab": 0.6}`, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TermWeights(pub Vec<(String, f32)>);

impl Serialize for TermWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (term, weight) in &self.0 {
            map.serialize_entry(term, weight)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for TermWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Weights;
        impl<'de> Visitor<'de> for Weights {
            type Value = TermWeights;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of weights by term, such as {\"lobster\": 2.1}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TermWeights, A::Error> {
                let mut weights = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    weights.push(entry);
                }
                Ok(TermWeights(weights))
            }
        }
        deserializer.deserialize_map(Weights)
    }
}

/// Which ranking answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchMode {
    /// The impacts of the model's terms.
    #[default]
    Sparse,
    /// BM25 over the words.
    Bm25,
    /// Both rankings fused.
    Fused,
}

impl SearchMode {
    /// The name in requests, answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sparse => "sparse",
            Self::Bm25 => "bm25",
            Self::Fused => "fused",
        }
    }
}

/// How the sparse ranking is computed; every choice gives the same hits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchAlgorithm {
    /// Whatever is estimated to be fastest for the query.
    #[default]
    Auto,
    /// The naive scorer over the forward index: slow, for checking the others.
    Oracle,
    /// Every posting of every query term.
    Exhaustive,
    /// Block-max pruning.
    BlockMax,
}

/// A search. Either `q` or `vector` is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchBody {
    /// The query as text; `query` is accepted too.
    #[serde(default, alias = "query")]
    pub q: Option<String>,
    /// The query as weights by term, instead of text.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, f32>>)]
    pub vector: Option<TermWeights>,
    /// Which ranking answers.
    #[serde(default)]
    pub mode: SearchMode,
    /// How many hits; `k` is accepted too.
    #[serde(default = "default_limit", alias = "k")]
    pub limit: usize,
    /// How many of the best hits to leave out, for paging.
    #[serde(default)]
    pub offset: usize,
    /// Only documents that satisfy this expression, such as `lang = "en" AND year >= 2020`.
    #[serde(default)]
    pub filter: Option<String>,
    /// Stored fields to return; all if left out.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// Whether hits carry a snippet of the text with the matches marked.
    #[serde(default = "default_true")]
    pub highlight: bool,
    /// How the sparse ranking is computed.
    #[serde(default)]
    pub algorithm: SearchAlgorithm,
    /// Whether hits carry what each term contributed.
    #[serde(default)]
    pub explain: bool,
    /// How the two rankings of mode fused become one.
    #[serde(default)]
    pub fusion: FusionBody,
}

/// How two rankings become one. What is left out has the engine's default: reciprocal ranks.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FusionBody {
    /// How a document's standing in one ranking becomes a number.
    #[serde(default)]
    pub method: Option<FusionChoice>,
    /// Factor of the sparse ranking, 0 or more.
    #[serde(default)]
    pub sparse_weight: Option<f32>,
    /// Factor of the BM25 ranking, 0 or more.
    #[serde(default)]
    pub bm25_weight: Option<f32>,
    /// The constant of reciprocal rank fusion.
    #[serde(default)]
    pub rrf_k: Option<u32>,
    /// How many of each ranking's best documents take part.
    #[serde(default)]
    pub depth: Option<usize>,
}

/// How a document's standing in one ranking becomes a number.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FusionChoice {
    /// `1 / (rrf_k + rank)`.
    Rrf,
    /// `(score - lowest) / (highest - lowest)`.
    MinMax,
}

/// A document and the query its score is to be explained for. Either `q` or `vector` is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The document's id.
    pub id: String,
    /// The query as text; `query` is accepted too.
    #[serde(default, alias = "query")]
    pub q: Option<String>,
    /// The query as weights by term, instead of text.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, f32>>)]
    pub vector: Option<TermWeights>,
    /// Which ranking is explained.
    #[serde(default)]
    pub mode: SearchMode,
    /// A filter the document is checked against.
    #[serde(default)]
    pub filter: Option<String>,
    /// How the two rankings of mode fused become one.
    #[serde(default)]
    pub fusion: FusionBody,
}

/// A search in a query string, for browsers and curl.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// The query as text; `query` is accepted too.
    #[serde(default, alias = "query")]
    pub q: Option<String>,
    /// Which ranking answers: sparse, bm25 or fused.
    #[serde(default)]
    #[param(inline)]
    pub mode: SearchMode,
    /// How many hits; `k` is accepted too.
    #[serde(default = "default_limit", alias = "k")]
    pub limit: usize,
    /// How many of the best hits to leave out.
    #[serde(default)]
    pub offset: usize,
    /// Only documents that satisfy this expression.
    #[serde(default)]
    pub filter: Option<String>,
    /// Stored fields to return, separated by commas; all if left out.
    #[serde(default)]
    pub fields: Option<String>,
    /// Whether hits carry a snippet.
    #[serde(default = "default_true")]
    pub highlight: bool,
    /// How the sparse ranking is computed: auto, oracle, exhaustive or block_max.
    #[serde(default)]
    #[param(inline)]
    pub algorithm: SearchAlgorithm,
    /// Whether hits carry what each term contributed.
    #[serde(default)]
    pub explain: bool,
}

impl From<SearchQuery> for SearchBody {
    fn from(query: SearchQuery) -> Self {
        let fields = query.fields.map(|names| {
            names
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        });
        Self {
            q: query.q,
            vector: None,
            mode: query.mode,
            limit: query.limit,
            offset: query.offset,
            filter: query.filter,
            fields,
            highlight: query.highlight,
            algorithm: query.algorithm,
            explain: query.explain,
            fusion: FusionBody::default(),
        }
    }
}

impl From<SearchBody> for SearchRequest {
    fn from(body: SearchBody) -> Self {
        Self {
            query: body.q,
            vector: body.vector.map(|weights| weights.0),
            mode: body.mode.into(),
            limit: body.limit,
            offset: body.offset,
            filter: body.filter,
            fields: body.fields,
            highlight: body.highlight,
            algorithm: body.algorithm.into(),
            explain: body.explain,
            fusion: body.fusion.into(),
        }
    }
}

impl ExplainRequest {
    /// The search that is explained, and the document's id.
    pub fn into_parts(self) -> (SearchRequest, String) {
        let request = SearchRequest {
            query: self.q,
            vector: self.vector.map(|weights| weights.0),
            mode: self.mode.into(),
            filter: self.filter,
            fusion: self.fusion.into(),
            explain: true,
            ..SearchRequest::default()
        };
        (request, self.id)
    }
}

impl From<FusionBody> for Fusion {
    fn from(body: FusionBody) -> Self {
        let default = Self::default();
        Self {
            method: match body.method {
                None => default.method,
                Some(FusionChoice::Rrf) => FusionMethod::Rrf,
                Some(FusionChoice::MinMax) => FusionMethod::MinMax,
            },
            sparse_weight: body.sparse_weight.unwrap_or(default.sparse_weight),
            bm25_weight: body.bm25_weight.unwrap_or(default.bm25_weight),
            rrf_k: body.rrf_k.unwrap_or(default.rrf_k),
            depth: body.depth.unwrap_or(default.depth),
        }
    }
}

impl From<SearchMode> for Mode {
    fn from(mode: SearchMode) -> Self {
        match mode {
            SearchMode::Sparse => Self::Sparse,
            SearchMode::Bm25 => Self::Bm25,
            SearchMode::Fused => Self::Fused,
        }
    }
}

impl From<SearchAlgorithm> for Algorithm {
    fn from(algorithm: SearchAlgorithm) -> Self {
        match algorithm {
            SearchAlgorithm::Auto => Self::Auto,
            SearchAlgorithm::Oracle => Self::Oracle,
            SearchAlgorithm::Exhaustive => Self::Exhaustive,
            SearchAlgorithm::BlockMax => Self::BlockMax,
        }
    }
}

fn default_limit() -> usize {
    DEFAULT_LIMIT
}

fn default_true() -> bool {
    true
}
