//! The texts that a lift is made from: queries and background texts, sampled while they are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tamis_encoder::joined;
use tamis_eval::{Line, LineReader};

use super::LiftOptions;
use crate::error::Error;
use crate::text_key::TextKey;

/// What was read from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileCounts {
    /// The file's name, without its folders.
    pub name: String,
    /// Texts in it.
    pub num_texts: u64,
}

/// Queries and background texts.
///
/// Where there are more distinct ones than the options allow, those whose [`TextKey`]s are smallest are kept: a sample
/// that does not depend on the order of lines and files. They are in the order of their keys. Memory: the texts kept.
#[derive(Debug, Default)]
pub struct LiftTexts {
    /// The queries.
    pub queries: Vec<String>,
    /// Where each is from: the field `src` of its line, without it the file's name.
    pub query_sources: Vec<String>,
    /// The background texts, titles before them.
    pub background: Vec<String>,
    /// The files of queries, in the order given.
    pub query_files: Vec<FileCounts>,
    /// The files of background texts, in the order given.
    pub background_files: Vec<FileCounts>,
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
    #[serde(default)]
    text: Option<String>,
}

impl Record {
    /// What is asked: the query, without one the title, without that the text.
    fn query(self) -> Option<String> {
        [self.query, self.title, self.text]
            .into_iter()
            .flatten()
            .find(|text| !text.trim().is_empty())
    }

    /// The document: title and text.
    fn background(self) -> Option<String> {
        let text = self.text.filter(|text| !text.trim().is_empty())?;
        Some(joined(self.title.as_deref(), &text).into_owned())
    }
}

impl LiftTexts {
    /// Reads files of JSON lines, plain, gzip or zstd: of queries the field `query`, else `title`, else `text`; of
    /// background texts `title` and `text`. Other fields are passed over. `each` is called with the number of lines
    /// read since it was last called.
    ///
    /// # Errors
    /// When a file cannot be read, a line is no JSON object or lacks what is needed, or there is no text at all.
    pub fn read(
        queries: &[PathBuf],
        background: &[PathBuf],
        options: &LiftOptions,
        each: &mut dyn FnMut(usize),
    ) -> Result<Self, Error> {
        options.validate()?;
        let side = Side::Query {
            excluded: &options.excluded_sources,
        };
        let (query_files, queries) = sample(queries, options.max_queries, side, each)?;
        let (background_files, background) = sample(background, options.max_background, Side::Background, each)?;
        let (queries, query_sources) = queries.into_iter().map(|one| (one.text, one.source)).unzip();
        Ok(Self {
            queries,
            query_sources,
            background: background.into_iter().map(|one| one.text).collect(),
            query_files,
            background_files,
        })
    }

    /// The queries of each source, sources by their names.
    #[must_use]
    pub fn queries_by_source(&self) -> Vec<Vec<&str>> {
        let mut sources: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (query, source) in self.queries.iter().zip(&self.query_sources) {
            sources.entry(source).or_default().push(query);
        }
        sources.into_values().collect()
    }
}

/// A text and where it is from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sampled {
    text: String,
    source: String,
}

#[derive(Clone, Copy)]
enum Side<'a> {
    Query { excluded: &'a [String] },
    Background,
}

impl Side<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Query { .. } => "queries",
            Self::Background => "background texts",
        }
    }

    /// The text of a line of `file`; `None` where its source is left out.
    fn text(self, line: &Line<'_>, file: &str) -> Result<Option<Sampled>, Error> {
        let expected = match self {
            Self::Query { .. } => "an object with \"query\", \"title\" or \"text\" that is not empty",
            Self::Background => "an object with a \"text\" that is not empty",
        };
        let bad = |column: usize, problem: String| Error::LiftLine {
            place: line.place().at_column(column),
            expected,
            problem,
        };
        let record: Record = serde_json::from_str(line.text).map_err(|error| {
            let message = error.to_string();
            let problem = message
                .rsplit_once(" at line ")
                .map_or(message.as_str(), |(problem, _)| problem);
            bad(error.column().max(1), problem.to_owned())
        })?;
        if let (Self::Query { excluded }, Some(source)) = (self, &record.src)
            && excluded.contains(source)
        {
            return Ok(None);
        }
        let source = record.src.clone().unwrap_or_else(|| file.to_owned());
        let text = match self {
            Self::Query { .. } => record.query(),
            Self::Background => record.background(),
        };
        let sampled = text.map(|text| Some(Sampled { text, source }));
        sampled.ok_or_else(|| bad(1, "there is none".to_owned()))
    }
}

/// The lines between two calls of `each`.
const REPORT_EVERY: usize = 1000;

/// The `limit` texts of `files` with the smallest keys.
fn sample(
    files: &[PathBuf],
    limit: usize,
    side: Side<'_>,
    each: &mut dyn FnMut(usize),
) -> Result<(Vec<FileCounts>, Vec<Sampled>), Error> {
    let (mut counts, mut kept) = (Vec::with_capacity(files.len()), BTreeMap::new());
    for path in files {
        let (mut lines, name) = (LineReader::open(path)?, name_of(path));
        let (mut num_lines, mut num_texts) = (0u64, 0u64);
        while let Some(line) = lines.next_line()? {
            num_lines += 1;
            if let Some(text) = side.text(&line, &name)? {
                keep(&mut kept, limit, text);
                num_texts += 1;
            }
            if num_lines.is_multiple_of(REPORT_EVERY as u64) {
                each(REPORT_EVERY);
            }
        }
        each(usize::try_from(num_lines).unwrap_or(usize::MAX) % REPORT_EVERY);
        counts.push(FileCounts { name, num_texts });
    }
    if kept.is_empty() {
        return Err(Error::NoTexts { of: side.name() });
    }
    Ok((counts, kept.into_values().collect()))
}

/// Adds a text unless its key is there or above the largest of `limit` kept ones; of equal texts the one that is first
/// by bytes, then by its source, stays, whatever the order of the files.
fn keep(kept: &mut BTreeMap<TextKey, Sampled>, limit: usize, text: Sampled) {
    let key = TextKey::of(&text.text);
    if kept.len() == limit && kept.last_key_value().is_some_and(|(last, _)| key > *last) {
        return;
    }
    let best = kept.entry(key).or_insert_with(|| text.clone());
    if text < *best {
        *best = text;
    }
    if kept.len() > limit {
        kept.pop_last();
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(queries: &[&str], limit: usize) -> Result<LiftTexts, Error> {
        let dir = tempfile::tempdir().expect("a folder");
        let paths: Vec<PathBuf> = (0..queries.len())
            .map(|at| dir.path().join(format!("{at}.jsonl")))
            .collect();
        for (path, text) in paths.iter().zip(queries) {
            fs::write(path, text).expect("writable");
        }
        let background = dir.path().join("background.jsonl");
        fs::write(
            &background,
            "{\"title\": \"Mill\", \"text\": \"It turns.\"}\n{\"text\": \"x\", \"n\": 1}\n",
        )
        .expect("writable");
        let options = LiftOptions {
            max_queries: limit,
            ..Default::default()
        };
        LiftTexts::read(&paths, &[background], &options, &mut |_| {})
    }

    #[test]
    fn every_kind_of_line_is_read() {
        let queries = "{\"query\":\"q\",\"title\":\"t\",\"text\":\"x\"}\n{\"title\":\"On sieves\",\"text\":\"x\"}\n\
                       {\"_id\":\"7\",\"query\":null,\"text\":\"what is it\"}\n{\"query\":\"Q!\"}\n";
        let texts = read(&[queries], 10).expect("clean");
        let mut found = texts.queries.clone();
        found.sort();
        assert_eq!(found, ["On sieves", "Q!", "what is it"]);
        assert_eq!(
            (texts.query_files[0].name.as_str(), texts.query_files[0].num_texts),
            ("0.jsonl", 4)
        );
        let mut background = texts.background;
        background.sort();
        assert_eq!(background, ["Mill It turns.", "x"]);
    }

    #[test]
    fn a_sample_does_not_depend_on_the_order() {
        let line = |at: usize| format!("{{\"query\":\"query {at}\"}}\n");
        let forward: String = (0..100).map(line).collect();
        let backward: String = (0..100).rev().map(line).collect();
        let one = read(&[&forward], 20).expect("clean").queries;
        assert_eq!(one.len(), 20);
        assert_eq!(one, read(&[&backward], 20).expect("clean").queries);
        assert_eq!(one, read(&[&backward, &forward], 20).expect("clean").queries);
        assert_eq!(read(&[&forward], 1000).expect("clean").queries.len(), 100);
    }

    #[test]
    fn queries_of_excluded_sources_are_left_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("queries.jsonl");
        let lines =
            "{\"src\":\"faq\",\"query\":\"one\",\"text\":\"x\"}\n{\"src\":\"news\",\"query\":\"two\",\"text\":\"y\"}\n";
        fs::write(&path, lines).expect("writable");
        let read = |excluded: &[&str]| {
            let options = LiftOptions {
                excluded_sources: excluded.iter().map(|&source| source.to_owned()).collect(),
                ..Default::default()
            };
            // The file is read for background texts too, of which none is left out.
            let files = std::slice::from_ref(&path);
            LiftTexts::read(files, files, &options, &mut |_| {})
        };
        let texts = read(&["faq"]).expect("clean");
        assert_eq!(
            (texts.queries.as_slice(), texts.background.len()),
            (["two".to_owned()].as_slice(), 2)
        );
        assert_eq!(texts.query_files[0].num_texts, 1);
        assert!(matches!(read(&["faq", "news"]), Err(Error::NoTexts { .. })));
    }

    #[test]
    fn broken_lines_are_named() {
        let message = |text: &str| read(&[text], 10).expect_err("broken").to_string();
        let found = message("{\"query\":\"q\"}\n{\"query\": 3}\n");
        assert!(
            found.contains("0.jsonl, line 2, column 11") && found.contains("integer `3`"),
            "{found}"
        );
        let found = message("{\"query\":\" \"}\n");
        assert!(found.contains("line 1") && found.contains("there is none"), "{found}");
        assert_eq!(message("\n"), "there are no queries to lift with");
    }
}
