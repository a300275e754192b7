//! One JSON line: an id with a text, or with a vector.

use super::Extent;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// A document or query as it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The user's id: 1 to 512 bytes.
    pub id: String,
    /// What is to be encoded or is encoded already.
    pub body: Body,
    /// All other keys.
    pub fields: Map<String, Value>,
}

/// The content of a [`Record`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Text to encode.
    Text {
        /// Empty when there is none.
        title: String,
        /// May be empty.
        text: String,
    },
    /// Tokens with positive finite weights, sorted by token, distinct.
    Vector(Vec<(String, f32)>),
}

/// A line that is no record; reading can go on after it.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Of a file of JSON lines.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Of a BEIR collection.
    #[error(transparent)]
    Beir(#[from] tamis_eval::Error),
}

impl From<tamis_eval::Document> for Record {
    fn from(document: tamis_eval::Document) -> Self {
        let body = Body::Text {
            title: document.title,
            text: document.text,
        };
        Self {
            id: document.id,
            body,
            fields: Map::new(),
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    #[serde(alias = "_id")]
    id: Option<Value>,
    title: Option<String>,
    text: Option<String>,
    vector: Option<Map<String, Value>>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

const MAX_ID_BYTES: usize = 512;

impl Record {
    /// Reads one JSON object.
    pub fn parse(line: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_str(line).map_err(|error| format!("not a JSON record: {error}"))?;
        let id = match raw.id {
            Some(Value::String(id)) => id,
            Some(Value::Number(id)) => id.to_string(),
            Some(other) => return Err(format!("\"id\" is {other}, a string or number is needed")),
            None => return Err("no \"id\" (or \"_id\")".to_owned()),
        };
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(format!(
                "\"id\" has {} bytes, 1 to {MAX_ID_BYTES} are allowed",
                id.len()
            ));
        }
        let body = match (raw.vector, raw.text) {
            (Some(vector), _) => Body::Vector(weights(vector)?),
            (None, Some(text)) => Body::Text {
                title: raw.title.unwrap_or_default(),
                text,
            },
            (None, None) => return Err("neither \"text\" nor \"vector\"".to_owned()),
        };
        Ok(Self {
            id,
            body,
            fields: raw.fields,
        })
    }

    /// Whether it is a text that a model has to encode.
    pub fn is_text(&self) -> bool {
        matches!(self.body, Body::Text { .. })
    }

    /// What is predicted to be asked about the text, where it says so.
    pub fn expansion(&self) -> Option<&str> {
        self.fields.get("expansion").and_then(Value::as_str)
    }

    /// Title and text as encoders read them, with the text's own "expansion" behind a separator where it has one (for
    /// uniCOIL and TILDEv2); `None` for a vector.
    pub fn joined_text(&self) -> Option<String> {
        let Body::Text { title, text } = &self.body else {
            return None;
        };
        let joined = tamis_encoder::joined(Some(title), text);
        match self.expansion() {
            Some(expansion) => Some(format!("{joined} [SEP] {expansion}")),
            None => Some(joined.into()),
        }
    }
}

/// Validates a token-to-weight object; zeros are left out, they mean nothing.
fn weights(vector: Map<String, Value>) -> Result<Vec<(String, f32)>, String> {
    let mut weights = Vec::with_capacity(vector.len());
    for (token, weight) in vector {
        #[expect(clippy::cast_possible_truncation, reason = "weights are single precision everywhere")]
        let number = weight.as_f64().map(|weight| weight as f32);
        match number {
            Some(number) if number.is_finite() && number >= 0.0 => {
                if number > 0.0 {
                    weights.push((token, number));
                }
            }
            _ => {
                return Err(format!(
                    "\"vector\": weight {weight} of {token:?} is not a finite number from 0 up"
                ));
            }
        }
    }
    weights.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(weights)
}

/// Reads the records of a file one by one, skipping blank lines.
pub struct Records {
    path: PathBuf,
    input: Box<dyn BufRead>,
    line: u64,
    buffer: Vec<u8>,
}

impl Records {
    /// Opens `path` (`-` is stdin), and says how much there is.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Extent)> {
        let (input, extent) = super::open(path)?;
        let records = Self {
            path: path.to_owned(),
            input,
            line: 0,
            buffer: Vec::new(),
        };
        Ok((records, extent))
    }

    fn fail(&self, reason: String) -> RecordError {
        RecordError::Line {
            path: self.path.clone(),
            line: self.line,
            reason,
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.buffer.clear();
            self.line += 1;
            match self.input.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(self.fail(error.to_string()))),
            }
            let Ok(text) = std::str::from_utf8(&self.buffer) else {
                return Some(Err(self.fail("not UTF-8".to_owned())));
            };
            let text = text.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return Some(Record::parse(text).map_err(|reason| self.fail(reason)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_texts_and_vectors() {
        let text = Record::parse(r#"{"_id": 7, "title": "T", "text": "x", "year": 1990}"#).expect("valid");
        assert_eq!(text.id, "7");
        assert_eq!(
            text.body,
            Body::Text {
                title: "T".to_owned(),
                text: "x".to_owned()
            }
        );
        assert_eq!(text.fields["year"], 1990);
        let vector = Record::parse(r#"{"id": "a", "vector": {"b": 2, "a": 0.5, "c": 0}}"#).expect("valid");
        assert_eq!(
            vector.body,
            Body::Vector(vec![("a".to_owned(), 0.5), ("b".to_owned(), 2.0)])
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = [
            (r#"{"id": "a""#, "not a JSON record"),
            (r#"{"text": "x"}"#, "no \"id\""),
            (r#"{"id": "a"}"#, "neither"),
            (r#"{"id": "", "text": "x"}"#, "0 bytes"),
            (r#"{"id": [], "text": "x"}"#, "a string or number"),
            (r#"{"id": "a", "vector": {"b": -1}}"#, "weight -1 of \"b\""),
            (r#"{"id": "a", "vector": {"b": 1e300}}"#, "finite"),
        ];
        for (line, reason) in wrong {
            let error = Record::parse(line).expect_err(line);
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[test]
    fn goes_on_after_a_broken_line() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("in.jsonl");
        std::fs::write(&path, "{\"id\":1,\"text\":\"x\"}\n\n{broken\n{\"id\":2,\"text\":\"y\"}").expect("writable");
        let records: Vec<_> = Records::open(&path).expect("there").0.collect();
        assert_eq!(records.len(), 3);
        let error = records[1].as_ref().expect_err("broken").to_string();
        assert!(error.contains("in.jsonl:3: not a JSON record"), "{error}");
        assert_eq!(records[2].as_ref().expect("valid").id, "2");
    }
}
