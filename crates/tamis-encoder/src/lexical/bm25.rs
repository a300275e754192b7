//! BM25's two factors as document and query weights (Robertson et al., TREC-3, 1994).

use super::Analyzer;
use crate::{Encoder, Error, InputKind, QueryWeighting, SparseEncoding};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use tamis_core::Fingerprint;

/// Raised whenever the analyser or the formula changes, so that older indexes are refused instead of misread.
const REVISION: &str = "tamis lexical 1";

/// The constants of the document weight `tf (k1 + 1) / (tf + k1 (1 - b + b length / average_length))`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LexicalOptions {
    /// How late repetitions saturate; 0 or more.
    pub k1: f32,
    /// How much length counts, from 0 to 1.
    pub b: f32,
    /// Index terms of a document of ordinary length, above 0. See [`AverageLength`].
    pub average_length: f32,
}

impl Default for LexicalOptions {
    fn default() -> Self {
        Self {
            k1: 0.9,
            b: 0.4,
            average_length: 80.0,
        }
    }
}

impl LexicalOptions {
    fn check(&self) -> Result<(), Error> {
        let option = |name, value: f32, valid: bool, expected| {
            if value.is_finite() && valid {
                return Ok(());
            }
            Err(Error::LexicalOption { name, value, expected })
        };
        option(
            "k1",
            self.k1,
            (0.0..=1000.0).contains(&self.k1),
            "a number from 0 to 1000",
        )?;
        option("b", self.b, (0.0..=1.0).contains(&self.b), "a number from 0 to 1")?;
        let average = self.average_length;
        option("average_length", average, average >= 1.0, "a number of at least 1")
    }

    /// The weight of a term that occurs `frequency` times in a document of `length` terms.
    pub(crate) fn document_weight(&self, frequency: u32, length: f32) -> f32 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the weight saturates long before 2^24 occurrences"
        )]
        let tf = frequency as f32;
        tf * (self.k1 + 1.0) / (tf + self.k1 * (1.0 - self.b + self.b * length / self.average_length))
    }
}

/// The inverse document frequency of a term that `df` of `num_docs` documents have: `ln(1 + (N - df + .5) / (df + .5))`.
///
/// Always above 0; a `df` above `num_docs` counts as `num_docs`. This is Lucene's variant of Robertson and
/// Sparck Jones (JASIS 1976).
#[must_use]
pub fn idf(num_docs: u64, df: u64) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "document counts stay far below 2^53")]
    let (all, with) = (num_docs as f64, df.min(num_docs) as f64);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a logarithm below 45, rounded to single precision"
    )]
    let idf = (1.0 + (all - with + 0.5) / (with + 0.5)).ln() as f32;
    idf
}

/// The mean number of index terms over a stream of texts: the `average_length` of [`LexicalOptions`].
///
/// ```
/// use tamis_encoder::lexical::{AverageLength, LexicalOptions};
/// let mut length = AverageLength::default();
/// length.add("a fine mesh");
/// length.add("flour falls through the sieve");
/// let options = LexicalOptions { average_length: length.mean().unwrap_or(80.0), ..Default::default() };
/// assert_eq!(options.average_length, 3.0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AverageLength {
    terms: u64,
    texts: u64,
}

impl AverageLength {
    /// Counts one more text.
    pub fn add(&mut self, text: &str) {
        self.terms += Analyzer.tokens(text).count() as u64;
        self.texts += 1;
    }

    /// The mean so far, at least 1; `None` before the first text.
    #[must_use]
    pub fn mean(&self) -> Option<f32> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a mean, rounded"
        )]
        let mean = (self.terms as f64 / self.texts as f64) as f32;
        (self.texts > 0).then_some(mean.max(1.0))
    }
}

/// BM25 as an encoder, without any model.
#[derive(Clone, Debug)]
pub struct Lexical {
    options: LexicalOptions,
    fingerprint: Fingerprint,
}

impl Lexical {
    /// Makes the encoder.
    ///
    /// # Errors
    /// When an option is out of its range; the error names it.
    pub fn new(options: LexicalOptions) -> Result<Self, Error> {
        options.check()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(REVISION.as_bytes());
        for constant in [options.k1, options.b, options.average_length] {
            hasher.update(&constant.to_le_bytes());
        }
        let fingerprint = Fingerprint::new(*hasher.finalize().as_bytes());
        Ok(Self { options, fingerprint })
    }

    /// The constants in use.
    #[must_use]
    pub fn options(&self) -> LexicalOptions {
        self.options
    }

    pub(crate) fn encode_one(&self, kind: InputKind, text: &str) -> SparseEncoding {
        let mut frequencies: HashMap<Cow<'_, str>, u32> = HashMap::new();
        let mut num_tokens = 0;
        for token in Analyzer.tokens(text) {
            *frequencies.entry(token.text).or_default() += 1;
            num_tokens += 1;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "lengths and frequencies only shape a smooth weight"
        )]
        let weight = |frequency: u32| match kind {
            InputKind::Document => self.options.document_weight(frequency, num_tokens as f32),
            InputKind::Query => frequency as f32,
        };
        let mut tokens: Vec<_> = frequencies
            .into_iter()
            .map(|(term, frequency)| (term.into_owned(), weight(frequency)))
            .collect();
        tokens.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        SparseEncoding {
            tokens,
            num_tokens,
            num_windows: 1,
            truncated: false,
        }
    }
}

impl Encoder for Lexical {
    fn name(&self) -> &str {
        "lexical"
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn encode(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<SparseEncoding>, Error> {
        Ok(texts.par_iter().map(|text| self.encode_one(kind, text)).collect())
    }

    fn query_weighting(&self) -> QueryWeighting {
        QueryWeighting::TimesIndexIdf
    }

    fn max_weight(&self) -> Option<f32> {
        Some(self.options.k1 + 1.0)
    }

    fn description(&self) -> serde_json::Value {
        serde_json::json!({
            "encoder": "lexical",
            "about": "model-free: BM25 written as impacts over lower-cased, stemmed English words; no trained model",
            "fingerprint": self.fingerprint.to_string(),
            "options": self.options,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lexical() -> Lexical {
        Lexical::new(LexicalOptions::default()).expect("defaults are in range")
    }

    #[test]
    fn weights_are_those_of_the_formula() {
        let text = "flour flour sieve";
        let encoded = lexical().encode(InputKind::Document, &[text, ""]).expect("any text");
        let norm = 0.9 * (1.0 - 0.4 + 0.4 * 3.0 / 80.0);
        let expected = [("flour", 2.0 * 1.9 / (2.0 + norm)), ("siev", 1.9 / (1.0 + norm))];
        assert_eq!(encoded[0].tokens.len(), 2);
        for ((token, weight), (term, value)) in encoded[0].tokens.iter().zip(expected) {
            assert_eq!(token, term);
            assert!((weight - value).abs() < 1e-6, "{token}: {weight}, {value} expected");
        }
        assert_eq!(encoded[0].num_tokens, 3);
        assert_eq!(
            encoded[1],
            SparseEncoding {
                num_windows: 1,
                ..Default::default()
            }
        );
    }

    #[test]
    fn queries_count_terms() {
        let encoded = lexical()
            .encode(InputKind::Query, &["sieves for the sieve of flour"])
            .expect("any text");
        assert_eq!(encoded[0].tokens, [("flour".to_owned(), 1.0), ("siev".to_owned(), 2.0)]);
    }

    #[test]
    fn idf_is_lucenes() {
        assert!((idf(8_841_823, 1) - 15.589_54).abs() < 1e-4);
        assert!((idf(10, 10) - (1.0f32 + 0.5 / 10.5).ln()).abs() < 1e-6);
        assert!(idf(0, 0) > 0.0 && idf(3, 9) > 0.0);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let refused = |options: LexicalOptions| Lexical::new(options).expect_err("out of range").to_string();
        assert!(
            refused(LexicalOptions {
                b: 1.5,
                ..Default::default()
            })
            .contains("b is 1.5")
        );
        assert!(
            refused(LexicalOptions {
                k1: f32::NAN,
                ..Default::default()
            })
            .contains("k1")
        );
        assert!(
            refused(LexicalOptions {
                average_length: 0.0,
                ..Default::default()
            })
            .contains("average_length")
        );
    }

    #[test]
    fn every_constant_is_in_the_fingerprint() {
        let of = |options| Lexical::new(options).expect("in range").fingerprint();
        let base = LexicalOptions::default();
        let all = [
            of(base),
            of(LexicalOptions { k1: 1.2, ..base }),
            of(LexicalOptions { b: 0.75, ..base }),
            of(LexicalOptions {
                average_length: 120.0,
                ..base
            }),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().filter(|other| *other == one).count(), 1, "options {at}");
        }
        assert_eq!(of(base), of(base));
    }

    proptest! {
        #[test]
        fn weights_stay_below_the_bound(text in "([a-e]{1,2} ){0,80}") {
            let lexical = lexical();
            let encoded = lexical.encode(InputKind::Document, &[&text]).expect("any text");
            let bound = lexical.max_weight().expect("known");
            prop_assert!(encoded[0].tokens.iter().all(|&(_, weight)| weight > 0.0 && weight < bound));
            prop_assert!(encoded[0].tokens.is_sorted_by(|a, b| a.0 < b.0));
        }
    }
}
