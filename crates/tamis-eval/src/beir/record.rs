//! The records of a collection: one JSON object a line.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

use serde::de::{Deserialize, Deserializer, Visitor};

use crate::error::Error;
use crate::lines::{Line, LineReader};

/// A document of the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id, unique within the corpus.
    pub id: String,
    /// Its title, empty where it has none.
    pub title: String,
    /// Its text.
    pub text: String,
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its id, unique among the queries.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// The documents of a corpus, read one by one; see [`BeirCollection::documents`].
///
/// Ends after the first error. Memory is one line and 16 bytes of hash for each id seen, by which
/// repeated ids are found.
///
/// [`BeirCollection::documents`]: crate::BeirCollection::documents
pub struct Documents {
    lines: LineReader,
    ids: IdSet,
    failed: bool,
}

impl Documents {
    pub(super) fn new(lines: LineReader) -> Self {
        Self {
            lines,
            ids: IdSet::default(),
            failed: false,
        }
    }

    fn read_next(&mut self) -> Result<Option<Document>, Error> {
        let Some(line) = self.lines.next_line()? else {
            return Ok(None);
        };
        let DocumentRecord {
            id: Id(id),
            title,
            text,
        } = parse(&line, "an object with \"_id\", \"text\" and perhaps \"title\"")?;
        self.ids.insert(&line, &id)?;
        Ok(Some(Document {
            id,
            title: title.unwrap_or_default(),
            text: text.unwrap_or_default(),
        }))
    }
}

impl Iterator for Documents {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read_next();
        self.failed = next.is_err();
        next.transpose()
    }
}

pub(super) fn read_queries(mut lines: LineReader) -> Result<Vec<Query>, Error> {
    let mut queries = Vec::new();
    let mut ids = IdSet::default();
    while let Some(line) = lines.next_line()? {
        let QueryRecord { id: Id(id), text } = parse(&line, "an object with \"_id\" and \"text\"")?;
        ids.insert(&line, &id)?;
        queries.push(Query {
            id,
            text: text.unwrap_or_default(),
        });
    }
    Ok(queries)
}

/// One line of `corpus.jsonl`; other fields are passed over, and `null` is an empty text.
#[derive(serde::Deserialize)]
struct DocumentRecord {
    #[serde(rename = "_id")]
    id: Id,
    #[serde(default)]
    title: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    text: Option<String>,
}

/// One line of `queries.jsonl`.
#[derive(serde::Deserialize)]
struct QueryRecord {
    #[serde(rename = "_id")]
    id: Id,
    #[serde(deserialize_with = "Option::deserialize")]
    text: Option<String>,
}

/// An id: a string, or an integer taken as its digits.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id (a string or an integer)")
            }

            fn visit_str<E>(self, id: &str) -> Result<Id, E> {
                Ok(Id(id.to_owned()))
            }

            fn visit_string<E>(self, id: String) -> Result<Id, E> {
                Ok(Id(id))
            }

            fn visit_u64<E>(self, id: u64) -> Result<Id, E> {
                Ok(Id(id.to_string()))
            }

            fn visit_i64<E>(self, id: i64) -> Result<Id, E> {
                Ok(Id(id.to_string()))
            }
        }

        deserializer.deserialize_any(IdVisitor)
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &Line<'a>, expected: &'static str) -> Result<T, Error> {
    if !line.text.trim_start().starts_with('{') {
        let problem = "the line does not begin with {".to_owned();
        return Err(Error::Json {
            place: line.place().at_column(1),
            expected,
            problem,
        });
    }
    serde_json::from_str(line.text).map_err(|error| {
        let message = error.to_string();
        // serde_json counts lines within the text it was given, which is one line: the column says it all.
        let problem = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(problem, _)| problem)
            .to_owned();
        Error::Json {
            place: line.place().at_column(error.column().max(1)),
            expected,
            problem,
        }
    })
}

/// The ids seen, as 128-bit hashes under random keys, so that no chosen ids can collide.
#[derive(Default)]
struct IdSet {
    keys: [RandomState; 2],
    hashes: HashSet<[u64; 2]>,
}

impl IdSet {
    fn insert(&mut self, line: &Line<'_>, id: &str) -> Result<(), Error> {
        if id.is_empty() {
            return Err(Error::EmptyId { place: line.place() });
        }
        if self
            .hashes
            .insert([self.keys[0].hash_one(id), self.keys[1].hash_one(id)])
        {
            return Ok(());
        }
        Err(Error::DuplicateId {
            place: line.place(),
            id: id.to_owned(),
        })
    }
}
