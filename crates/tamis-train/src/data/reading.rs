//! Reading files of rows into one set.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tamis_eval::{BeirCollection, Line, LineReader};

use super::collection;
use super::line::{self, DocumentText, Judged};
use super::options::DataOptions;
use super::training_data::{Candidate, DataFile, Row, TrainingData};
use crate::error::Error;
use crate::pair::TrainingPair;
use crate::training_set::SetBuilder;

/// Rows between two calls of `each`.
const REPORT_EVERY: usize = 1000;

/// What has been read so far.
pub(super) struct Reading<'a> {
    options: &'a DataOptions,
    each: &'a mut dyn FnMut(usize),
    unreported: usize,
    builder: SetBuilder,
    rows: Vec<Row>,
    files: Vec<DataFile>,
    /// Pairs of the queries of collections, by the query's id.
    pub(super) pairs_of_query: HashMap<String, Vec<u32>>,
    /// Passages of collections by the document's id.
    pub(super) passage_of_document: HashMap<String, u32>,
}

/// A score as a line of JSON.
#[derive(Deserialize)]
struct ScoreRecord {
    qid: String,
    pid: String,
    score: f32,
}

impl<'a> Reading<'a> {
    pub(super) fn new(options: &'a DataOptions, each: &'a mut dyn FnMut(usize)) -> Self {
        Self {
            options,
            each,
            unreported: 0,
            builder: SetBuilder::default(),
            rows: Vec::new(),
            files: Vec::new(),
            pairs_of_query: HashMap::new(),
            passage_of_document: HashMap::new(),
        }
    }

    /// Reads a file, a folder of files, or a collection.
    pub(super) fn path(&mut self, path: &Path) -> Result<(), Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !path.is_dir() {
            return match is_archive(&name) {
                true => self.collection(path),
                false => self.file(path),
            };
        }
        let mut files = Vec::new();
        let read_error = |source| tamis_eval::Error::Open {
            path: path.to_owned(),
            source,
        };
        for entry in fs::read_dir(path).map_err(read_error)? {
            files.push(entry.map_err(read_error)?.path());
        }
        files.sort();
        let names = |file: &PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if files.iter().any(|file| names(file).starts_with("corpus.jsonl")) {
            return self.collection(path);
        }
        let is_rows = |file: &PathBuf| {
            let name = names(file);
            let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
            plain.ends_with(".jsonl") || plain.ends_with(".tsv")
        };
        files.into_iter().filter(is_rows).try_for_each(|file| self.file(&file))
    }

    fn file(&mut self, path: &Path) -> Result<(), Error> {
        let file = self.start_file(path);
        let plain = self.files[file as usize].name.clone();
        let plain = plain.trim_end_matches(".gz").trim_end_matches(".zst");
        let parse = match plain.ends_with(".tsv") {
            true => line::of_triple,
            false => line::of_json,
        };
        let mut lines = LineReader::open(path)?;
        let mut left = self.options.max_rows.unwrap_or(usize::MAX);
        while left > 0 {
            let Some(line) = lines.next_line()? else { break };
            let judged = parse(&line)?;
            left -= 1;
            self.add(file, judged)?;
        }
        Ok(())
    }

    fn collection(&mut self, path: &Path) -> Result<(), Error> {
        let file = self.start_file(path);
        collection::read(self, file, &BeirCollection::open(path)?, self.options)
    }

    fn start_file(&mut self, path: &Path) -> u32 {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.files.push(DataFile {
            name,
            ..DataFile::default()
        });
        u32::try_from(self.files.len() - 1).expect("fewer files than 2^32")
    }

    /// Adds what a line says; gives the numbers of its pairs.
    pub(super) fn add(&mut self, file: u32, judged: Judged) -> Result<Vec<u32>, Error> {
        self.unreported += 1;
        if self.unreported == REPORT_EVERY {
            self.report();
        }
        let counts = &mut self.files[file as usize];
        if self.options.exclude_sources.contains(&judged.source) {
            counts.num_excluded += 1;
            return Ok(Vec::new());
        }
        counts.num_rows += 1;
        let mut scores = judged.scores.iter().copied();
        let mut pairs = Vec::with_capacity(judged.positives.len());
        for DocumentText { title, text } in judged.positives {
            let pair = self.builder.add(TrainingPair {
                source: judged.source.clone(),
                query: judged.query.clone(),
                title,
                text,
            })?;
            let row = self.row(pair, file);
            row.positive_score = scores.next().or(row.positive_score);
            pairs.push(pair);
        }
        for DocumentText { title, text } in judged.negatives {
            let passage = self.builder.passage(title, text)?;
            let score = scores.next();
            for &pair in &pairs {
                add_candidate(self.row(pair, file), Candidate { passage, score });
            }
        }
        Ok(pairs)
    }

    /// The number of a collection's document.
    pub(super) fn passage(&mut self, title: String, text: String) -> Result<u32, Error> {
        self.builder.passage(title, text)
    }

    fn row(&mut self, pair: u32, file: u32) -> &mut Row {
        let at = pair as usize;
        if at == self.rows.len() {
            self.rows.push(Row { file, ..Row::default() });
        }
        &mut self.rows[at]
    }

    /// Reads scores of documents of the collections.
    pub(super) fn scores(&mut self, path: &Path) -> Result<(), Error> {
        let mut lines = LineReader::open(path)?;
        while let Some(line) = lines.next_line()? {
            let ScoreRecord { qid, pid, score } = score(&line)?;
            let unknown = |what, id: &str| Error::UnknownId {
                place: line.place(),
                what,
                id: id.to_owned(),
            };
            let pairs = self.pairs_of_query.get(&qid).ok_or_else(|| unknown("query", &qid))?;
            let passage = *self
                .passage_of_document
                .get(&pid)
                .ok_or_else(|| unknown("document", &pid))?;
            for &pair in pairs {
                let row = &mut self.rows[pair as usize];
                // Which of them are answers is known once the builder is done; here only the pair's own is told apart.
                match self.builder.positive(pair) == passage {
                    true => row.positive_score = Some(score),
                    false => add_candidate(
                        row,
                        Candidate {
                            passage,
                            score: Some(score),
                        },
                    ),
                }
            }
        }
        Ok(())
    }

    fn report(&mut self) {
        (self.each)(self.unreported);
        self.unreported = 0;
    }

    pub(super) fn finish(mut self) -> TrainingData {
        self.report();
        let mut data = TrainingData {
            set: self.builder.finish(),
            rows: self.rows,
            files: self.files,
        };
        data.drop_answers();
        data
    }
}

/// Adds a negative; of one that is there already the score counts, where it has one.
fn add_candidate(row: &mut Row, candidate: Candidate) {
    match row
        .candidates
        .iter_mut()
        .find(|known| known.passage == candidate.passage)
    {
        Some(known) => known.score = candidate.score.or(known.score),
        None => row.candidates.push(candidate),
    }
}

fn score(line: &Line<'_>) -> Result<ScoreRecord, Error> {
    let expected = "query id, document id and score, separated by tabs or as \"qid\", \"pid\" and \"score\"";
    let bad = |place, problem: String| Error::TrainingLine {
        place,
        expected,
        problem,
    };
    let record = if line.text.trim_start().starts_with('{') {
        serde_json::from_str(line.text)
            .map_err(|error| bad(line.place().at_column(error.column().max(1)), error.to_string()))?
    } else {
        let columns: Vec<&str> = line.text.split('\t').collect();
        let [qid, pid, score] = columns[..] else {
            return Err(bad(line.place(), format!("there are {} columns", columns.len())));
        };
        let score = score
            .trim()
            .parse()
            .map_err(|_| bad(line.place_of(score), format!("{score:?} is not a number")))?;
        ScoreRecord {
            qid: qid.to_owned(),
            pid: pid.to_owned(),
            score,
        }
    };
    match record.score.is_finite() {
        true => Ok(record),
        false => Err(bad(line.place(), format!("the score is {}", record.score))),
    }
}

/// Whether a file's name is that of an archive of a collection.
fn is_archive(name: &str) -> bool {
    [".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip"]
        .iter()
        .any(|end| name.ends_with(end))
}
