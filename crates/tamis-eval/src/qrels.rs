//! Relevance judgements, and the two file formats they come in.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::error::Error;
use crate::lines::{Line, LineReader};
use crate::run::writable;
use crate::text_file;

/// Judgements: which document has which grade for which query.
///
/// Grades are integers, 0 for judged not relevant; a negative grade (some collections mark spam or
/// doubt so) is not relevant either and gains nothing. A document that is not judged counts as 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qrels {
    queries: BTreeMap<String, BTreeMap<String, i32>>,
}

impl Qrels {
    /// No judgements.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges a document for a query; gives the grade it had before, if any.
    pub fn insert(&mut self, query: impl Into<String>, document: impl Into<String>, grade: i32) -> Option<i32> {
        self.queries
            .entry(query.into())
            .or_default()
            .insert(document.into(), grade)
    }

    /// Queries with at least one judgement.
    #[must_use]
    pub fn num_queries(&self) -> usize {
        self.queries.len()
    }

    /// Judgements of all queries, whatever their grade.
    #[must_use]
    pub fn num_judgements(&self) -> usize {
        self.queries.values().map(BTreeMap::len).sum()
    }

    /// The ids of the judged queries, ascending.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.queries.keys().map(String::as_str)
    }

    /// Whether the query has a judgement.
    #[must_use]
    pub fn contains_query(&self, query: &str) -> bool {
        self.queries.contains_key(query)
    }

    /// The judgements of one query as (document, grade), by document id; none for an unknown query.
    pub fn judgements(&self, query: &str) -> impl Iterator<Item = (&str, i32)> {
        self.queries
            .get(query)
            .into_iter()
            .flatten()
            .map(|(document, &grade)| (document.as_str(), grade))
    }

    /// The grade of a document for a query, `None` if it was not judged.
    #[must_use]
    pub fn grade(&self, query: &str, document: &str) -> Option<i32> {
        self.queries.get(query)?.get(document).copied()
    }

    /// Reads a qrels file, plain, gzip or zstd, in either format, told by the first line:
    ///
    /// - BEIR: three columns separated by tabs, `query-id corpus-id score`, after a header line (a first
    ///   line whose last column is a number is taken as a judgement, not as a header);
    /// - TREC: four columns separated by white space, `query 0 document grade`.
    ///
    /// A judgement that is repeated with the same grade is read once.
    ///
    /// # Errors
    /// Any failure to read, a line of another shape, a grade that is no integer, an empty id, a
    /// document with two grades for one query; each names file, line and column.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_lines(LineReader::open(path)?)
    }

    /// Reads qrels lines as [`read`](Self::read) does.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_lines(mut lines: LineReader) -> Result<Self, Error> {
        let mut qrels = Self::new();
        let mut format = None;
        while let Some(line) = lines.next_line()? {
            let first = format.is_none();
            let format = match format {
                Some(format) => format,
                None => *format.insert(Format::of_first_line(&line)?),
            };
            let [query, document, grade] = format.columns(&line)?;
            if first && format == Format::Beir && grade.parse::<i32>().is_err() {
                continue; // the header
            }
            let grade = grade.parse().map_err(|_| Error::Number {
                place: line.place_of(grade),
                expected: "a grade (an integer)",
                found: grade.to_owned(),
            })?;
            qrels.add(&line, query, document, grade)?;
        }
        Ok(qrels)
    }

    fn add(&mut self, line: &Line<'_>, query: &str, document: &str, grade: i32) -> Result<(), Error> {
        if let Some(empty) = [query, document].into_iter().find(|id| id.is_empty()) {
            return Err(Error::EmptyId {
                place: line.place_of(empty),
            });
        }
        match self.insert(query, document, grade) {
            Some(first) if first != grade => Err(Error::ConflictingJudgement {
                place: line.place_of(document),
                query: query.to_owned(),
                document: document.to_owned(),
                first,
                second: grade,
            }),
            _ => Ok(()),
        }
    }

    /// Writes a TREC qrels file, by query and document id, compressed where the name ends in `.gz` or `.zst`.
    ///
    /// # Errors
    /// [`Error::UnwritableId`] for ids that are empty or hold white space (nothing is written then),
    /// [`Error::Write`] for a failure to write.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        for (query, judgements) in &self.queries {
            writable(query)?;
            judgements.keys().try_for_each(|document| writable(document))?;
        }
        text_file::write(path, |out| self.write_lines(out)).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    fn write_lines(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for (query, judgements) in &self.queries {
            for (document, grade) in judgements {
                writeln!(out, "{query} 0 {document} {grade}")?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Beir,
    Trec,
}

impl Format {
    fn of_first_line(line: &Line<'_>) -> Result<Self, Error> {
        if line.text.split('\t').count() == 3 {
            return Ok(Self::Beir);
        }
        match line.text.split_ascii_whitespace().count() {
            4 => Ok(Self::Trec),
            found => Err(Error::Columns {
                place: line.place(),
                expected: "`query-id corpus-id score` separated by tabs (BEIR), or `query 0 document grade` (TREC)",
                found,
            }),
        }
    }

    /// Query, document and grade.
    fn columns<'a>(self, line: &Line<'a>) -> Result<[&'a str; 3], Error> {
        let columns: Vec<&str> = match self {
            Self::Beir => line.text.split('\t').map(str::trim).collect(),
            Self::Trec => line.text.split_ascii_whitespace().collect(),
        };
        let expected = match (self, columns.as_slice()) {
            (Self::Beir, &[query, document, grade]) | (Self::Trec, &[query, _, document, grade]) => {
                return Ok([query, document, grade]);
            }
            (Self::Beir, _) => "`query-id corpus-id score` separated by tabs",
            (Self::Trec, _) => "`query 0 document grade`",
        };
        Err(Error::Columns {
            place: line.place(),
            expected,
            found: columns.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &'static str) -> Result<Qrels, Error> {
        Qrels::from_lines(LineReader::new(Box::new(Cursor::new(text)), "qrels".to_owned()))
    }

    #[test]
    fn both_formats_give_the_same_judgements() {
        let beir = read("query-id\tcorpus-id\tscore\nq 1\td\t2\r\nq2\té\t-1\n").expect("BEIR");
        assert_eq!(beir.grade("q 1", "d"), Some(2));
        assert_eq!(beir.grade("q2", "é"), Some(-1));
        assert_eq!((beir.num_queries(), beir.num_judgements()), (2, 2));
        assert_eq!(read("1\td\t2\n").expect("no header"), read("1 0 d 2").expect("TREC"));
        assert_eq!(
            read("1\t0\td\t2\n").expect("TREC with tabs"),
            read("1 Q0 d 2").expect("TREC")
        );
        assert_eq!(read("").expect("nothing is no error").num_queries(), 0);
    }

    #[test]
    fn broken_lines_are_named_with_line_and_column() {
        let message = |text| read(text).expect_err("the text is broken").to_string();
        assert_eq!(
            message("query-id\tcorpus-id\tscore\n1\td\ttwo\n"),
            "qrels, line 2, column 5: expected a grade (an integer), found \"two\""
        );
        assert_eq!(
            message("query-id\tcorpus-id\tscore\n1\td\n"),
            "qrels, line 2: expected `query-id corpus-id score` separated by tabs, found 2 columns"
        );
        assert!(message("1 2\n").starts_with("qrels, line 1: expected `query-id corpus-id score`"));
        assert_eq!(message("h\th\th\n\td\t1\n"), "qrels, line 2, column 1: the id is empty");
        assert_eq!(
            message("1 0 d 1.5"),
            "qrels, line 1, column 7: expected a grade (an integer), found \"1.5\""
        );
        assert_eq!(
            message("1 0 d 1\n1 0 d 1\n1 0 d 2"),
            "qrels, line 3, column 5: document \"d\" of query \"1\" was judged 1 before and 2 here"
        );
    }
}
