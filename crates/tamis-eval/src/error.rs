//! What can go wrong while a collection, qrels or a run is read, written or scored.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::metric::UnknownMetric;

/// A place in a text file: which file, which line and, where known, which column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it; for a member of an archive `ARCHIVE:MEMBER`.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// The column in bytes, counted from 1.
    pub column: Option<usize>,
}

impl Place {
    /// The same line at a column, in bytes counted from 1.
    #[must_use]
    pub fn at_column(mut self, column: usize) -> Self {
        self.column = Some(column);
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)?;
        match self.column {
            Some(column) => write!(f, ", column {column}"),
            None => Ok(()),
        }
    }
}

/// Any failure of this crate. Every message names the place and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened or listed.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed half-way: a device error, or damaged compressed bytes.
    #[error("cannot read {file} after line {lines_read}: {source}")]
    Read {
        /// The file, or `ARCHIVE:MEMBER`.
        file: String,
        /// Lines read in full before the failure.
        lines_read: u64,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of the archives that are understood.
    #[error(
        "{} is neither a BEIR folder nor an archive (.tar, .tar.zst, .tar.gz or .zip, told by content, not by name)",
        path.display()
    )]
    UnknownArchive {
        /// The file.
        path: PathBuf,
    },
    /// The archive's directory is damaged.
    #[error("the archive {} is damaged: {source}", path.display())]
    DamagedArchive {
        /// The archive.
        path: PathBuf,
        /// What the archive reader said.
        source: io::Error,
    },
    /// The archive holds a member in a form that is not read.
    #[error("{}: member {member} is {form}; store it plainly or with deflate", path.display())]
    UnreadableMember {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// Its form, as "encrypted" or "compressed by a method other than deflate".
        form: &'static str,
    },
    /// A member name climbs out of the archive. (Nothing is ever unpacked; such an archive is hostile or broken.)
    #[error("{}: refused, member {member:?} has an unsafe name", path.display())]
    UnsafeMember {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// The same part of a collection is there more than once.
    #[error("{} holds {part} twice: {first} and {second}; keep one", path.display())]
    DuplicatePart {
        /// The folder or archive.
        path: PathBuf,
        /// `corpus`, `queries` or the split.
        part: String,
        /// The first file found.
        first: String,
        /// The second.
        second: String,
    },
    /// No `corpus.jsonl` in the folder or archive.
    #[error("{} is not a BEIR collection: it holds no corpus.jsonl (plain, .gz or .zst)", path.display())]
    NoCorpus {
        /// The folder or archive.
        path: PathBuf,
    },
    /// Several folders of the archive hold a `corpus.jsonl`.
    #[error("{} holds several collections ({}); unpack it and name one folder", path.display(), folders.join(", "))]
    SeveralCollections {
        /// The archive.
        path: PathBuf,
        /// The folders inside it.
        folders: Vec<String>,
    },
    /// No `queries.jsonl` in the collection.
    #[error("{} holds no queries.jsonl (plain, .gz or .zst)", path.display())]
    NoQueries {
        /// The folder or archive.
        path: PathBuf,
    },
    /// The collection has no such split.
    #[error("{} has no split {split:?}: there {}", path.display(), splits_there_are(available))]
    MissingSplit {
        /// The folder or archive.
        path: PathBuf,
        /// The split asked for.
        split: String,
        /// The splits there are.
        available: Vec<String>,
    },
    /// A line is longer than this crate reads.
    #[error("{place}: the line is longer than {limit} bytes; is this a text file with one record a line?")]
    LineTooLong {
        /// Where.
        place: Place,
        /// The limit in bytes.
        limit: usize,
    },
    /// A line is not UTF-8.
    #[error("{place}: the bytes are not UTF-8 text")]
    NotUtf8 {
        /// Where, to the byte.
        place: Place,
    },
    /// A line is not the JSON object it should be.
    #[error("{place}: expected {expected}, but {problem}")]
    Json {
        /// Where.
        place: Place,
        /// The object expected.
        expected: &'static str,
        /// What the JSON reader found.
        problem: String,
    },
    /// A line has another number of columns than its format.
    #[error("{place}: expected {expected}, found {found} columns")]
    Columns {
        /// Where.
        place: Place,
        /// The columns of the format.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A column is not the number it should be.
    #[error("{place}: expected {expected}, found {found:?}")]
    Number {
        /// Where.
        place: Place,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// An id is empty.
    #[error("{place}: the id is empty")]
    EmptyId {
        /// Where.
        place: Place,
    },
    /// An id occurs twice in a file in which ids are unique.
    #[error("{place}: the id {id:?} was used by an earlier line")]
    DuplicateId {
        /// Where it occurs again.
        place: Place,
        /// The id.
        id: String,
    },
    /// A document is judged twice for one query, with different grades.
    #[error("{place}: document {document:?} of query {query:?} was judged {first} before and {second} here")]
    ConflictingJudgement {
        /// Where the second judgement is.
        place: Place,
        /// The query.
        query: String,
        /// The document.
        document: String,
        /// The earlier grade.
        first: i32,
        /// The later grade.
        second: i32,
    },
    /// A document occurs twice among the results of one query.
    #[error("document {document:?} is listed twice for query {query:?}{}", at(place.as_ref()))]
    DuplicateResult {
        /// Where, when the run came from a file.
        place: Option<Place>,
        /// The query.
        query: String,
        /// The document.
        document: String,
    },
    /// A score is infinite or not a number.
    #[error("document {document:?} of query {query:?} has the score {score}, which has no place in a ranking{}", at(place.as_ref()))]
    ScoreNotFinite {
        /// Where, when the run came from a file.
        place: Option<Place>,
        /// The query.
        query: String,
        /// The document.
        document: String,
        /// The score.
        score: f64,
    },
    /// An id or tag cannot be written to a TREC file, whose columns are separated by white space.
    #[error("{id:?} cannot stand in a TREC file: it is empty or holds white space; rename it, or evaluate in memory")]
    UnwritableId {
        /// The id or tag.
        id: String,
    },
    /// A query of the qrels has no text in `queries.jsonl`.
    #[error("{} judges query {query:?}, but its queries.jsonl has no such query", path.display())]
    QueryWithoutText {
        /// The folder or archive.
        path: PathBuf,
        /// The query.
        query: String,
    },
    /// The name of a metric is not known.
    #[error(transparent)]
    UnknownMetric(#[from] UnknownMetric),
}

fn splits_there_are(available: &[String]) -> String {
    match available {
        [] => "are none (qrels/*.tsv)".to_owned(),
        [only] => format!("is only {only}"),
        several => format!("are {}", several.join(", ")),
    }
}

fn at(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(" ({place})"))
}
