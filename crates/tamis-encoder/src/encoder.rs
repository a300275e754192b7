//! The one interface of every model: texts in, sparse vectors over token strings out.

use crate::Error;
use crate::lexical::idf;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tamis_core::{Fingerprint, Vocabulary};

/// Which side of the search a text stands on. Some models treat the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// A passage that is indexed.
    Document,
    /// What somebody asks.
    Query,
}

/// What query weights still need before they meet an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryWeighting {
    /// Nothing: the model gives final weights.
    #[default]
    Model,
    /// Each weight is multiplied by [`crate::lexical::idf`] of its term in the index that is searched.
    TimesIndexIdf,
    /// Each weight is multiplied by the square root of that: the model knows how rare a term is in general, the index
    /// how little it tells here.
    TimesRootIndexIdf,
}

impl QueryWeighting {
    /// What the weight of a term is multiplied by that `df` of `num_docs` documents of the index have; above 0.
    #[must_use]
    pub fn factor(self, num_docs: u64, df: u64) -> f32 {
        match self {
            Self::Model => 1.0,
            Self::TimesIndexIdf => idf(num_docs, df),
            Self::TimesRootIndexIdf => idf(num_docs, df).sqrt(),
        }
    }
}

/// One text as the model sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseEncoding {
    /// Distinct tokens, ascending by bytes, with finite weights above zero.
    pub tokens: Vec<(String, f32)>,
    /// Tokens the model read, special tokens and repetitions included, after truncation.
    pub num_tokens: usize,
    /// Windows in which the model read the text: 1 unless it was long and is not cut; 0 where no model read it.
    pub num_windows: usize,
    /// Whether the text was longer than the model reads and its end was left out.
    pub truncated: bool,
}

/// A model that turns texts into sparse vectors.
///
/// Implementations are immutable after opening and may be used from any number of threads at once.
pub trait Encoder: Send + Sync {
    /// A short name for people: `lexical`, or the folder of the checkpoint.
    fn name(&self) -> &str;

    /// Changes whenever anything changes that shapes vectors: weights, tokenizer, configuration, policy.
    fn fingerprint(&self) -> Fingerprint;

    /// Encodes `texts`, one result each, in the order given.
    ///
    /// A text gets the same vector whatever else is in the batch: to the bit where the CPU computes, up to 1e-5 in each
    /// weight on other devices.
    ///
    /// # Errors
    /// When a text cannot be tokenised or the model yields a weight that is not finite.
    fn encode(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<SparseEncoding>, Error>;

    /// What the weights of queries still need.
    fn query_weighting(&self) -> QueryWeighting;

    /// An upper bound of all document weights, where the model has one.
    fn max_weight(&self) -> Option<f32>;

    /// All tokens of the model, numbered as the model numbers them; `None` where the tokens are open-ended.
    ///
    /// A query side with a tokenizer of its own may give tokens that are not among them.
    fn vocabulary(&self) -> Option<&Vocabulary> {
        None
    }

    /// What is stored beside an index, so that [`crate::open_stored`] opens this very encoder again.
    fn description(&self) -> serde_json::Value;
}

/// The text of a titled document: title, a space, text, as BEIR joins them; an empty part adds no space.
///
/// Source: Thakur et al. (NeurIPS 2021 datasets track), BEIR.
#[must_use]
pub fn joined<'a>(title: Option<&'a str>, text: &'a str) -> Cow<'a, str> {
    match title.map(str::trim).filter(|title| !title.is_empty()) {
        None => Cow::Borrowed(text),
        Some(title) if text.is_empty() => Cow::Borrowed(title),
        Some(title) => Cow::Owned(format!("{title} {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weightings_are_powers_of_the_idf() {
        let of = |weighting: QueryWeighting| weighting.factor(100, 3);
        let whole = of(QueryWeighting::TimesIndexIdf);
        assert!((whole - idf(100, 3)).abs() < 1e-6 && whole > 3.0);
        assert!((of(QueryWeighting::TimesRootIndexIdf).powi(2) - whole).abs() < 1e-5);
        assert!((of(QueryWeighting::Model) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn joins_only_what_is_there() {
        assert_eq!(joined(Some("Sieve"), "a fine mesh"), "Sieve a fine mesh");
        assert_eq!(joined(Some(" "), "a fine mesh"), "a fine mesh");
        assert_eq!(joined(None, "a fine mesh"), "a fine mesh");
        assert_eq!(joined(Some("Sieve"), ""), "Sieve");
        assert_eq!(joined(None, ""), "");
    }
}
