//! `log.jsonl`: what a run did, an object a line.
//!
//! Nothing in it depends on the clock, so the same run writes the same bytes, also when it was stopped in between.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tamis_eval::LineReader;

use crate::error::Error;
use crate::evaluation::DevFigures;

/// A line of the log; `kind` says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LogRecord {
    /// The first line, but for negatives that are found before the first step.
    Start(StartRecord),
    /// Some steps.
    Step(StepRecord),
    /// An evaluation on the development collections.
    Evaluation(EvaluationRecord),
    /// Negatives that were found anew.
    Negatives(NegativesRecord),
    /// The last line.
    End(EndRecord),
}

/// What is trained on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartRecord {
    /// The form of the log: 1.
    pub version: u32,
    /// The recipe's name.
    pub recipe: String,
    /// The fingerprint of the data as it was read.
    pub data: String,
    /// Rows that an epoch takes.
    pub rows: u64,
    /// Steps of an epoch.
    pub epoch_steps: u64,
    /// Steps that were asked for.
    pub steps: u64,
}

/// Steps since the last record, as means, and the last step itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, from 1.
    pub step: u64,
    /// What was minimised: a mean over the steps, as are all figures but the last two.
    pub loss: f64,
    /// Its terms by name, before they are weighted: losses and penalties.
    pub terms: BTreeMap<String, f64>,
    /// Weights above zero of a query.
    pub query_length: f64,
    /// Weights above zero of a document.
    pub document_length: f64,
    /// Products of a query with a document.
    pub flops: f64,
    /// The length of the whole gradient before it was clipped.
    pub gradient_norm: f64,
    /// Tokens read, a step.
    pub tokens: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// What penalties were multiplied by in the last step, by name.
    pub lambdas: BTreeMap<String, f64>,
}

/// Figures on the development collections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Steps done.
    pub step: u64,
    /// By collection.
    pub figures: Vec<DevFigures>,
    /// What models are compared by: the name of the first metric.
    pub metric: String,
    /// Its mean over the collections.
    pub mean: f64,
    /// Whether no earlier one was better.
    pub best: bool,
}

/// Hard negatives mined during the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NegativesRecord {
    /// Steps done.
    pub step: u64,
    /// Negatives over all rows.
    pub negatives: u64,
    /// Left out because the teacher scores them like answers.
    pub filtered: u64,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndRecord {
    /// Steps done.
    pub step: u64,
    /// `steps`: all that were asked for; `patience`: nothing got better for long.
    pub reason: EndReason,
    /// The step whose model was kept.
    pub model_step: u64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// All steps were done.
    Steps,
    /// The development collections got no better for long.
    Patience,
}

/// Reads a log. A last line without its end, left by a kill, is passed over.
///
/// # Errors
/// When the file cannot be read, or a line is no record; the error names the place.
pub fn read_log(path: &Path) -> Result<Vec<LogRecord>, Error> {
    let mut lines = LineReader::open(path)?;
    let mut records = Vec::new();
    let mut broken: Option<Error> = None;
    while let Some(line) = lines.next_line()? {
        if let Some(error) = broken {
            return Err(error);
        }
        match serde_json::from_str(line.text) {
            Ok(record) => records.push(record),
            Err(error) => {
                broken = Some(Error::TrainingLine {
                    place: line.place().at_column(error.column().max(1)),
                    expected: "a record of a training log",
                    problem: error.to_string(),
                });
            }
        }
    }
    match broken {
        Some(error) if records.is_empty() => Err(error),
        _ => Ok(records),
    }
}

/// Appends to a log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl LogWriter {
    /// Opens the log at `path` and cuts it after `bytes`: what a stopped run wrote behind its last checkpoint is
    /// written again.
    pub(crate) fn open(path: &Path, bytes: u64) -> Result<Self, Error> {
        let open = || {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            if file.metadata()?.len() < bytes {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "shorter than when the checkpoint was written",
                ));
            }
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes,
        })
    }

    /// Appends a record.
    pub(crate) fn write(&mut self, record: &LogRecord) -> Result<(), Error> {
        let mut line = serde_json::to_vec(record).expect("records are plain values");
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| self.error(source))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Bytes so far, once they are on the device.
    pub(crate) fn sync(&mut self) -> Result<u64, Error> {
        self.file.sync_all().map_err(|source| self.error(source))?;
        Ok(self.bytes)
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn step(step: u64) -> LogRecord {
        LogRecord::Step(StepRecord {
            step,
            loss: 0.5,
            terms: BTreeMap::from([("kl".to_owned(), 0.25)]),
            ..StepRecord::default()
        })
    }

    #[test]
    fn a_log_is_cut_where_a_checkpoint_knows_it_and_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log.jsonl");
        let mut log = LogWriter::open(&path, 0).expect("new");
        log.write(&step(1)).expect("writable");
        let known = log.sync().expect("writable");
        log.write(&step(2)).expect("writable");
        drop(log);
        let whole = fs::read(&path).expect("there");
        let mut log = LogWriter::open(&path, known).expect("there");
        assert_eq!(read_log(&path).expect("clean"), [step(1)]);
        log.write(&step(2)).expect("writable");
        assert_eq!(log.sync().expect("writable"), whole.len() as u64);
        assert_eq!(fs::read(&path).expect("there"), whole);
        assert!(LogWriter::open(&path, 1 << 20).is_err(), "it was longer once");
    }

    #[test]
    fn a_torn_last_line_is_passed_over_and_any_other_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log.jsonl");
        let line = serde_json::to_string(&step(3)).expect("plain values");
        fs::write(&path, format!("{line}\n{{\"kind\":\"st")).expect("writable");
        assert_eq!(read_log(&path).expect("one record"), [step(3)]);
        fs::write(&path, format!("{{\"kind\":\"st\n{line}\n")).expect("writable");
        let message = read_log(&path).expect_err("broken").to_string();
        assert!(
            message.contains("log.jsonl, line 1") && message.contains("a record of a training log"),
            "{message}"
        );
    }
}
