//! JSON lines: our own, and Anserini's.

use super::{Encoded, VectorWriter};
use crate::output::Sink;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::io::Write;
use std::path::Path;
use tamis_core::IntegerRule;

/// Writes a line for each vector.
pub struct Lines {
    sink: Sink,
    rule: Option<IntegerRule>,
    with_content: bool,
}

impl Lines {
    /// Opens `path`, or stdout; `rule` makes whole numbers of weights.
    pub fn create(path: Option<&Path>, rule: Option<IntegerRule>, with_content: bool) -> anyhow::Result<Self> {
        Ok(Self {
            sink: Sink::create(path)?,
            rule,
            with_content,
        })
    }
}

impl VectorWriter for Lines {
    fn add(&mut self, encoded: &Encoded) -> anyhow::Result<()> {
        let line = Line {
            id: &encoded.id,
            content: self
                .with_content
                .then(|| encoded.content.as_deref().unwrap_or_default()),
            vector: Weights(&encoded.tokens, self.rule),
        };
        serde_json::to_writer(&mut self.sink, &line)?;
        self.sink.write_all(b"\n")?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        self.sink.finish()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    vector: Weights<'a>,
}

/// Tokens as a JSON object, in the order given.
struct Weights<'a>(&'a [(String, f32)], Option<IntegerRule>);

impl Serialize for Weights<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(tokens, rule) = self;
        let mut map = serializer.serialize_map(None)?;
        for (token, weight) in *tokens {
            match rule.map(|rule| rule.integer(*weight)) {
                None => map.serialize_entry(token, weight)?,
                Some(0) => {}
                Some(integer) => map.serialize_entry(token, &integer)?,
            }
        }
        map.end()
    }
}
