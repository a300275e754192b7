//! How a collection is made: its model, its fields, its constants. Fixed at creation and stored with it.

use crate::Error;
use crate::bm25_params::Bm25Params;
use crate::schema::FieldSchema;
use serde::{Deserialize, Serialize};

/// The largest weight that does not saturate when neither the configuration nor the model names one.
pub const DEFAULT_MAX_WEIGHT: f32 = 5.0;

/// How a collection is made. Stored in its manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionConfig {
    /// The collection's name: `^[a-z0-9][a-z0-9_-]{0,63}$`.
    pub name: String,
    /// The name of a model (`"tamis-small"`, `"lexical"`), its directory, or nothing for ready vectors and BM25 only.
    #[serde(default)]
    pub model: Option<String>,
    /// Typed fields of the documents, for filters and results.
    #[serde(default)]
    pub fields: FieldSchema,
    /// The document weight that becomes impact 255; heavier ones saturate and are counted. By default
    /// what the model states, else [`DEFAULT_MAX_WEIGHT`]. With 255 integer weights are kept exactly.
    #[serde(default)]
    pub max_weight: Option<f32>,
    /// Whether each segment's documents are reordered by recursive graph bisection: smaller and faster
    /// to search, slower to write.
    #[serde(default)]
    pub reorder: bool,
    /// Constants of BM25.
    #[serde(default)]
    pub bm25: Bm25Params,
    /// Memory for documents that are indexed but not yet written, in bytes (15 MB to 4 GB). When it is
    /// full a segment is written; more memory means fewer, larger segments.
    #[serde(default = "default_writer_memory_bytes")]
    pub writer_memory_bytes: usize,
}

fn default_writer_memory_bytes() -> usize {
    256 << 20
}

impl CollectionConfig {
    /// A collection without a model and without fields.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            model: None,
            fields: FieldSchema::default(),
            max_weight: None,
            reorder: false,
            bm25: Bm25Params::default(),
            writer_memory_bytes: default_writer_memory_bytes(),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first option that is out of range, and what is allowed.
    pub fn validate(&self) -> Result<(), Error> {
        validate_name(&self.name)?;
        self.fields.validate()?;
        let bad = |option: &str, reason: String| {
            Err(Error::BadConfig {
                option: option.to_owned(),
                reason,
            })
        };
        if let Some(max) = self.max_weight
            && tamis_core::Quantiser::with_max_weight(max).is_err()
        {
            return bad("max_weight", format!("{max} is not a finite positive number"));
        }
        let Bm25Params { k1, b } = self.bm25;
        if !(k1.is_finite() && (0.0..=100.0).contains(&k1)) {
            return bad("bm25.k1", format!("{k1} is not within 0 to 100"));
        }
        if !(0.0..=1.0).contains(&b) {
            return bad("bm25.b", format!("{b} is not within 0 to 1"));
        }
        if !(15_000_000..=4_000_000_000).contains(&self.writer_memory_bytes) {
            return bad(
                "writer_memory_bytes",
                format!("{} is not within 15000000 to 4000000000", self.writer_memory_bytes),
            );
        }
        Ok(())
    }
}

/// Checks a collection's name against `^[a-z0-9][a-z0-9_-]{0,63}$`.
///
/// # Errors
/// [`Error::BadName`].
pub fn validate_name(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = matches!(name.len(), 1..=64)
        && name.bytes().next().is_some_and(allowed)
        && name.bytes().all(|byte| allowed(byte) || byte == b'_' || byte == b'-');
    if good {
        Ok(())
    } else {
        Err(Error::BadName {
            name: name.chars().take(80).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_paths() {
        for good in ["a", "0", "movies-2024_x", &"x".repeat(64)] {
            assert!(validate_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "_a",
            "A",
            "a/b",
            "a\\b",
            "a.b",
            "a\0",
            "é",
            "a b",
            &"x".repeat(65),
        ] {
            assert!(validate_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unknown_options_and_bad_values_are_refused() {
        assert!(serde_json::from_str::<CollectionConfig>(r#"{"name":"a","modle":"x"}"#).is_err());
        let config: CollectionConfig = serde_json::from_str(r#"{"name":"a"}"#).expect("defaults");
        assert_eq!(config, CollectionConfig::new("a"));
        assert!(config.validate().is_ok());
        let mut bad = config.clone();
        bad.max_weight = Some(0.0);
        assert!(bad.validate().is_err());
        bad = config.clone();
        bad.bm25.b = 1.5;
        assert!(bad.validate().is_err());
        bad = config;
        bad.writer_memory_bytes = 1;
        assert!(bad.validate().is_err());
    }
}
