//! Ranked results of many queries, and TREC run files.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use crate::error::{Error, Place};
use crate::lines::{Line, LineReader};
use crate::text_file;

/// A document and the score that one query gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredDocument {
    /// The document's id.
    pub id: String,
    /// Its score, finite; higher is better.
    pub score: f64,
}

impl ScoredDocument {
    /// The order in which `trec_eval` ranks results: score descending, then id descending by bytes.
    ///
    /// It reads scores as single-precision numbers, so scores that are the same `f32` are a tie;
    /// integers above 2^24 begin to meet.
    #[must_use]
    pub fn trec_order(&self, other: &Self) -> Ordering {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "trec_eval keeps scores as f32, and its ties are ours"
        )]
        let (own, others) = (self.score as f32, other.score as f32);
        others
            .partial_cmp(&own)
            .unwrap_or(Ordering::Equal)
            .then_with(|| other.id.cmp(&self.id))
    }
}

/// The ranked results of many queries: what a system answered, whatever the system.
///
/// The order in which results were given does not matter: ranking is by score
/// ([`ScoredDocument::trec_order`]), as `trec_eval` does it, and ranks in run files are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    queries: BTreeMap<String, Vec<ScoredDocument>>,
}

impl Run {
    /// A run without queries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the results of one query (perhaps none), replacing those it had.
    ///
    /// # Errors
    /// [`Error::DuplicateResult`] and [`Error::ScoreNotFinite`]; the run is unchanged then.
    pub fn insert(&mut self, query: impl Into<String>, results: Vec<ScoredDocument>) -> Result<(), Error> {
        let query = query.into();
        let mut seen = HashSet::with_capacity(results.len());
        for result in &results {
            if !result.score.is_finite() {
                return Err(not_finite(None, &query, &result.id, result.score));
            }
            if !seen.insert(result.id.as_str()) {
                return Err(duplicate(None, &query, &result.id));
            }
        }
        self.queries.insert(query, results);
        Ok(())
    }

    /// Queries in this run, those without results included.
    #[must_use]
    pub fn num_queries(&self) -> usize {
        self.queries.len()
    }

    /// The results of a query in the order given, `None` if the run does not name the query.
    #[must_use]
    pub fn results(&self, query: &str) -> Option<&[ScoredDocument]> {
        self.queries.get(query).map(Vec::as_slice)
    }

    /// Queries with their results, by query id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[ScoredDocument])> {
        self.queries
            .iter()
            .map(|(query, results)| (query.as_str(), results.as_slice()))
    }

    /// Reads a TREC run file, `query Q0 document rank score tag` separated by white space; plain, gzip or zstd.
    ///
    /// A missing tag is accepted; ranks and the second column are not looked at. Lines of one query
    /// need not be together.
    ///
    /// # Errors
    /// Any failure to read, a line of another shape, a score that is no finite number, a document
    /// listed twice for a query; each names file, line and column.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_lines(LineReader::open(path)?)
    }

    /// Reads TREC run lines as [`read`](Self::read) does.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_lines(mut lines: LineReader) -> Result<Self, Error> {
        let mut queries: BTreeMap<String, Vec<ScoredDocument>> = BTreeMap::new();
        let mut seen: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        while let Some(line) = lines.next_line()? {
            let (query, document, score) = parse_line(&line)?;
            if !queries.contains_key(query) {
                queries.insert(query.to_owned(), Vec::new());
                seen.insert(query.to_owned(), HashSet::new());
            }
            if !seen.get_mut(query).is_some_and(|seen| seen.insert(document.to_owned())) {
                return Err(duplicate(Some(line.place_of(document)), query, document));
            }
            if let Some(results) = queries.get_mut(query) {
                results.push(ScoredDocument {
                    id: document.to_owned(),
                    score,
                });
            }
        }
        Ok(Self { queries })
    }

    /// Writes a TREC run file, compressed where the name ends in `.gz` or `.zst`; `tag` names the system.
    ///
    /// Queries come by id, results in `trec_eval`'s order with ranks from 1, and scores with as many
    /// digits as it takes to read back the same number. Queries without results leave no line: the
    /// format cannot say them.
    ///
    /// # Errors
    /// [`Error::UnwritableId`] for ids or a tag that are empty or hold white space (nothing is
    /// written then), [`Error::Write`] for a failure to write.
    pub fn write(&self, path: &Path, tag: &str) -> Result<(), Error> {
        writable(tag)?;
        for (query, results) in &self.queries {
            writable(query)?;
            results.iter().try_for_each(|result| writable(&result.id))?;
        }
        text_file::write(path, |out| self.write_lines(out, tag)).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    fn write_lines(&self, out: &mut dyn io::Write, tag: &str) -> io::Result<()> {
        for (query, results) in &self.queries {
            for (rank, result) in (1..).zip(ranked(results)) {
                writeln!(out, "{query} Q0 {} {rank} {:?} {tag}", result.id, result.score)?;
            }
        }
        Ok(())
    }
}

/// The results in `trec_eval`'s order.
pub(crate) fn ranked(results: &[ScoredDocument]) -> Vec<&ScoredDocument> {
    let mut order: Vec<&ScoredDocument> = results.iter().collect();
    order.sort_unstable_by(|a, b| a.trec_order(b));
    order
}

/// Refuses what cannot be one column of a TREC file.
pub(crate) fn writable(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.contains(|character: char| character.is_whitespace()) {
        return Err(Error::UnwritableId { id: id.to_owned() });
    }
    Ok(())
}

fn parse_line<'a>(line: &Line<'a>) -> Result<(&'a str, &'a str, f64), Error> {
    let expected = "`query Q0 document rank score tag`";
    let columns: Vec<&str> = line.text.split_ascii_whitespace().collect();
    let &[query, _, document, _, score, ..] = columns.as_slice() else {
        return Err(Error::Columns {
            place: line.place(),
            expected,
            found: columns.len(),
        });
    };
    if columns.len() > 6 {
        return Err(Error::Columns {
            place: line.place_of(columns[6]),
            expected,
            found: columns.len(),
        });
    }
    let number: f64 = score.parse().map_err(|_| Error::Number {
        place: line.place_of(score),
        expected: "a score",
        found: score.to_owned(),
    })?;
    if !number.is_finite() {
        return Err(not_finite(Some(line.place_of(score)), query, document, number));
    }
    Ok((query, document, number))
}

fn not_finite(place: Option<Place>, query: &str, document: &str, score: f64) -> Error {
    Error::ScoreNotFinite {
        place,
        query: query.to_owned(),
        document: document.to_owned(),
        score,
    }
}

fn duplicate(place: Option<Place>, query: &str, document: &str) -> Error {
    Error::DuplicateResult {
        place,
        query: query.to_owned(),
        document: document.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &'static str) -> Result<Run, Error> {
        Run::from_lines(LineReader::new(Box::new(Cursor::new(text)), "run".to_owned()))
    }

    fn scored(id: &str, score: f64) -> ScoredDocument {
        ScoredDocument {
            id: id.to_owned(),
            score,
        }
    }

    #[test]
    fn ranks_and_line_order_are_ignored() {
        let run = read("1 Q0 a 1 0.5 x\n2\tQ0\tz\t1\t1\n1 0 b 9 1.5 x\n").expect("a clean run");
        assert_eq!(run.results("1"), Some(&[scored("a", 0.5), scored("b", 1.5)][..]));
        assert_eq!(run.results("2"), Some(&[scored("z", 1.0)][..]));
        assert_eq!((run.results("3"), run.num_queries()), (None, 2));
        let best: Vec<&str> = ranked(run.results("1").expect("there"))
            .iter()
            .map(|result| result.id.as_str())
            .collect();
        assert_eq!(best, ["b", "a"]);
    }

    #[test]
    fn scores_that_single_precision_cannot_tell_apart_are_ties() {
        let results = [
            scored("a", 16_777_217.0),
            scored("b", 16_777_216.0),
            scored("é", -0.0),
            scored("z", 0.0),
        ];
        let order: Vec<&str> = ranked(&results).iter().map(|result| result.id.as_str()).collect();
        assert_eq!(order, ["b", "a", "é", "z"]);
    }

    #[test]
    fn broken_lines_are_named_with_line_and_column() {
        let message = |text| read(text).expect_err("the text is broken").to_string();
        let shape = "expected `query Q0 document rank score tag`";
        assert_eq!(
            message("1 Q0 a 1 0.5 x\n1 Q0 b 2\n"),
            format!("run, line 2: {shape}, found 4 columns")
        );
        assert_eq!(
            message("1 Q0 a 1 0.5 my tag\n"),
            format!("run, line 1, column 17: {shape}, found 7 columns")
        );
        assert_eq!(
            message("1 Q0 a 1 high x\n"),
            "run, line 1, column 10: expected a score, found \"high\""
        );
        assert_eq!(
            message("1 Q0 a 1 1e999 x\n"),
            "document \"a\" of query \"1\" has the score inf, which has no place in a ranking (run, line 1, column 10)"
        );
        assert_eq!(
            message("1 Q0 a 1 2 x\n2 Q0 a 1 2 x\n1 Q0 a 2 1 x\n"),
            "document \"a\" is listed twice for query \"1\" (run, line 3, column 6)"
        );
    }

    #[test]
    fn results_that_cannot_be_ranked_are_refused_and_change_nothing() {
        let mut run = Run::new();
        run.insert("1", vec![scored("a", 1.0)]).expect("clean");
        assert!(matches!(
            run.insert("1", vec![scored("b", f64::NAN)]),
            Err(Error::ScoreNotFinite { .. })
        ));
        assert!(matches!(
            run.insert("1", vec![scored("b", 1.0), scored("b", 2.0)]),
            Err(Error::DuplicateResult { .. })
        ));
        assert_eq!(run.results("1"), Some(&[scored("a", 1.0)][..]));
    }

    #[test]
    fn files_are_written_in_ranked_order_and_ids_with_spaces_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.run");
        let mut run = Run::new();
        run.insert("q", vec![scored("a", 1.0), scored("c", 0.1 + 0.2), scored("b", 1.0)])
            .expect("clean");
        run.write(&path, "tamis").expect("writable");
        let text = std::fs::read_to_string(&path).expect("it was written");
        assert_eq!(
            text,
            "q Q0 b 1 1.0 tamis\nq Q0 a 2 1.0 tamis\nq Q0 c 3 0.30000000000000004 tamis\n"
        );
        assert!(matches!(run.write(&path, "two words"), Err(Error::UnwritableId { .. })));
        run.insert("q", vec![scored("a b", 1.0)]).expect("fine in memory");
        assert!(matches!(run.write(&path, "tamis"), Err(Error::UnwritableId { id }) if id == "a b"));
        assert_eq!(std::fs::read_to_string(&path).expect("untouched"), text);
    }
}
