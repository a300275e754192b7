//! Pairs of a query and a passage that answers it, read from JSON lines.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tamis_eval::{Line, LineReader};

use crate::error::Error;

/// A query and a passage that answers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingPair {
    /// Where the pair comes from (the field `src`), empty where not said.
    #[serde(rename = "src", default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What is asked.
    pub query: String,
    /// The passage's title, empty where it has none.
    #[serde(default)]
    pub title: String,
    /// The passage.
    pub text: String,
}

/// Reads pairs one by one from a file of JSON lines, plain, gzip or zstd.
///
/// Each line is an object with `query` and `text`, and perhaps `title` and `src`; other fields are passed over,
/// and `null` is an empty string. A line without `query` but with a `title` is a pair of the title as query
/// and the text *without* title, or the query would stand word for word in its own passage.
///
/// Ends after the first error. Memory is one line.
pub struct TrainingPairs {
    lines: LineReader,
    failed: bool,
}

/// A line as it is written.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    src: Option<String>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    text: Option<String>,
}

impl TrainingPairs {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::new(LineReader::open(path)?))
    }

    /// Reads pairs from lines.
    #[must_use]
    pub fn new(lines: LineReader) -> Self {
        Self { lines, failed: false }
    }

    fn read_next(&mut self) -> Result<Option<TrainingPair>, Error> {
        self.lines.next_line()?.map(|line| parse(&line)).transpose()
    }
}

impl Iterator for TrainingPairs {
    type Item = Result<TrainingPair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read_next();
        self.failed = next.is_err();
        next.transpose()
    }
}

fn parse(line: &Line<'_>) -> Result<TrainingPair, Error> {
    if !line.text.trim_start().starts_with('{') {
        let problem = "the line does not begin with {".to_owned();
        return Err(Error::Json {
            place: line.place().at_column(1),
            problem,
        });
    }
    let record: Record = serde_json::from_str(line.text).map_err(|error| {
        let message = error.to_string();
        // serde_json counts lines within the text it was given, which is one line: the column says it all.
        let problem = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(problem, _)| problem)
            .to_owned();
        Error::Json {
            place: line.place().at_column(error.column().max(1)),
            problem,
        }
    })?;
    let title = record.title.unwrap_or_default();
    let (query, title) = match record.query {
        Some(query) => (query, title),
        None => (title, String::new()),
    };
    let text = record.text.unwrap_or_default();
    for (field, value) in [("query", &query), ("text", &text)] {
        if value.trim().is_empty() {
            return Err(Error::EmptyField {
                place: line.place(),
                field,
            });
        }
    }
    Ok(TrainingPair {
        source: record.src.unwrap_or_default(),
        query,
        title,
        text,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &'static str) -> Result<Vec<TrainingPair>, Error> {
        TrainingPairs::new(LineReader::new(Box::new(Cursor::new(text)), "pairs".to_owned())).collect()
    }

    fn pair(source: &str, query: &str, title: &str, text: &str) -> TrainingPair {
        let [source, query, title, text] = [source, query, title, text].map(str::to_owned);
        TrainingPair {
            source,
            query,
            title,
            text,
        }
    }

    #[test]
    fn pairs_of_every_file_are_read() {
        let pairs = read(
            "{\"src\":\"faq\",\"query\":\"q\",\"title\":\"\",\"text\":\"t\"}\n\n\
             {\"query\":\"q\",\"title\":null,\"text\":\"t\",\"more\":[1]}\n\
             {\"_id\":\"7\",\"title\":\"On sieves\",\"text\":\"t\"}\n",
        );
        let expected = [
            pair("faq", "q", "", "t"),
            pair("", "q", "", "t"),
            pair("", "On sieves", "", "t"),
        ];
        assert_eq!(pairs.expect("clean lines"), expected);
    }

    #[test]
    fn broken_lines_are_named_with_line_and_column() {
        let message = |text| read(text).expect_err("the text is broken").to_string();
        let expected = "expected an object with \"text\" and \"query\" or \"title\"";
        assert_eq!(
            message("{\"query\":\"q\",\"text\":\"t\"}\n{\"query\":\"q\"}\n"),
            format!("pairs, line 2, column 13: {expected}, but missing field `text`")
        );
        assert_eq!(
            message("[1]"),
            format!("pairs, line 1, column 1: {expected}, but the line does not begin with {{")
        );
        assert_eq!(
            message("{\"query\":3,\"text\":\"t\"}"),
            format!("pairs, line 1, column 10: {expected}, but invalid type: integer `3`, expected a string")
        );
        let empty = |field| format!("pairs, line 1: the field {field:?} is empty; a pair needs a query and a text");
        assert_eq!(message("{\"text\":\"t\"}"), empty("query"));
        assert_eq!(message("{\"query\":\"q\",\"text\":\" \"}"), empty("text"));
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let lines = LineReader::new(
            Box::new(Cursor::new("x\n{\"query\":\"q\",\"text\":\"t\"}")),
            "pairs".to_owned(),
        );
        let mut pairs = TrainingPairs::new(lines);
        assert!(pairs.next().is_some_and(|pair| pair.is_err()));
        assert!(pairs.next().is_none());
    }
}
