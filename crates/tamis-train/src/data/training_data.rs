//! The rows of all files as one set: which passages answer which query, and which are known not to.

use std::path::PathBuf;

use serde::Serialize;
use tamis_core::Fingerprint;

use super::options::DataOptions;
use super::reading::Reading;
use crate::error::Error;
use crate::training_set::TrainingSet;

/// A passage that does not answer a row's query, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its number in the [`TrainingSet`].
    pub passage: u32,
    /// What a teacher scores it for the query.
    pub score: Option<f32>,
}

/// What is known of a pair beside its query and its passage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The number of its file.
    pub file: u32,
    /// What a teacher scores the pair's own passage.
    pub positive_score: Option<f32>,
    /// Negatives, the hardest first where their order is known.
    pub candidates: Vec<Candidate>,
}

/// What was read from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DataFile {
    /// Its name, without its folders.
    pub name: String,
    /// Rows in it that were taken.
    pub num_rows: u64,
    /// Rows passed over because of their source.
    pub num_excluded: u64,
}

/// All rows, with what is the same among them found.
///
/// A pair that comes again is one row with the negatives of all its lines, in their order; of several scores the last
/// counts. No candidate of a row is a passage that any row gives as an answer to the same query. The texts and their
/// numbers depend on the files and their order alone. Memory: the distinct texts, and about 200 bytes a row.
#[derive(Debug, Default)]
pub struct TrainingData {
    pub(super) set: TrainingSet,
    /// By pair.
    pub(super) rows: Vec<Row>,
    pub(super) files: Vec<DataFile>,
}

impl TrainingData {
    /// Reads everything that the options name. `each` is called with the number of rows read since it was last called.
    ///
    /// # Errors
    /// When a file cannot be read, a line is none of the known forms (the error names the place), a score belongs to
    /// no known id, or there is no row at all.
    pub fn read(options: &DataOptions, each: &mut dyn FnMut(usize)) -> Result<Self, Error> {
        options.validate()?;
        let mut reading = Reading::new(options, each);
        for path in &options.files {
            reading.path(path)?;
        }
        for path in &options.scores {
            reading.scores(path)?;
        }
        let data = reading.finish();
        match data.rows.is_empty() {
            true => Err(Error::NoRows {
                files: options.files.clone(),
            }),
            false => Ok(data),
        }
    }

    /// Pairs and passages.
    #[must_use]
    pub fn set(&self) -> &TrainingSet {
        &self.set
    }

    /// What is known of each pair, by its number.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The files, in the order in which they were read.
    #[must_use]
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// All passages that are known to answer the pair's query, ascending.
    ///
    /// # Panics
    /// When there is no such pair.
    #[must_use]
    pub fn positives(&self, pair: u32) -> &[u32] {
        self.set.positives(&self.set.pairs()[pair as usize])
    }

    /// Replaces the candidates of a pair; those that answer its query are left out.
    ///
    /// # Panics
    /// When there is no such pair.
    pub fn set_candidates(&mut self, pair: u32, mut candidates: Vec<Candidate>) {
        let positives = self.set.positives(&self.set.pairs()[pair as usize]);
        candidates.retain(|candidate| positives.binary_search(&candidate.passage).is_err());
        self.rows[pair as usize].candidates = candidates;
    }

    /// Sets what a teacher scores the pair's own passage.
    ///
    /// # Panics
    /// When there is no such pair.
    pub fn set_positive_score(&mut self, pair: u32, score: f32) {
        self.rows[pair as usize].positive_score = Some(score);
    }

    /// Stands for the texts, who answers whom, and the candidates as they are now.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for passage in self.set.passages() {
            text(&passage.title);
            text(&passage.text);
        }
        for pair in self.set.pairs() {
            text(&pair.source);
            text(&pair.query);
        }
        for (pair, row) in self.set.pairs().iter().zip(&self.rows) {
            hasher.update(&pair.positive.to_le_bytes());
            hasher.update(&(row.candidates.len() as u64).to_le_bytes());
            let scores = [(pair.positive, row.positive_score)].into_iter().chain(
                row.candidates
                    .iter()
                    .map(|candidate| (candidate.passage, candidate.score)),
            );
            for (passage, score) in scores {
                hasher.update(&passage.to_le_bytes());
                hasher.update(&score.map_or(u32::MAX, f32::to_bits).to_le_bytes());
            }
        }
        Fingerprint::new(*hasher.finalize().as_bytes())
    }

    /// Leaves out candidates that answer the row's query after all: a later row may have said so.
    pub(super) fn drop_answers(&mut self) {
        for (pair, row) in self.set.pairs().iter().zip(&mut self.rows) {
            let positives = self.set.positives(pair);
            row.candidates
                .retain(|candidate| positives.binary_search(&candidate.passage).is_err());
        }
    }
}

/// For errors: files as a list.
pub(crate) fn listed(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    if names.is_empty() {
        "no file".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn options(dir: &Path, names: &[&str]) -> DataOptions {
        DataOptions {
            files: names.iter().map(|name| dir.join(name)).collect(),
            ..DataOptions::default()
        }
    }

    fn read(options: &DataOptions) -> Result<TrainingData, Error> {
        TrainingData::read(options, &mut |_| ())
    }

    fn texts(data: &TrainingData, pair: u32) -> Vec<&str> {
        let row = &data.rows()[pair as usize];
        row.candidates
            .iter()
            .map(|one| data.set().passage(one.passage).text.as_str())
            .collect()
    }

    #[test]
    fn rows_of_all_files_become_one_set() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("writable");
        write(
            "a.jsonl",
            "{\"src\":\"faq\",\"query\":\"What?\",\"text\":\"A sieve.\"}\n{\"src\":\"out\",\"query\":\"q\",\"text\":\"t\"}\n",
        );
        write(
            "b.tsv",
            "what\ta SIEVE\tA mill.\t3\t1\nwhat\ta sieve\tA mesh.\t3\t2\nWhat\tA mesh.\tA mill.\n",
        );
        let mut options = options(dir.path(), &["a.jsonl", "b.tsv"]);
        options.exclude_sources = vec!["out".to_owned()];
        let data = read(&options).expect("clean files");
        assert_eq!(data.set().pairs().len(), 2);
        // A mesh answers the question by the last row, so it is no negative of the first.
        assert_eq!(texts(&data, 0), ["A mill."]);
        assert_eq!(data.rows()[0].positive_score, Some(3.0));
        assert_eq!(data.rows()[0].candidates[0].score, Some(1.0));
        assert_eq!(
            (texts(&data, 1), data.rows()[1].positive_score),
            (vec!["A mill."], None)
        );
        let counts: Vec<_> = data
            .files()
            .iter()
            .map(|file| (file.num_rows, file.num_excluded))
            .collect();
        assert_eq!(counts, [(1, 1), (3, 0)]);
        let again = read(&options).expect("clean files");
        assert_eq!(data.fingerprint(), again.fingerprint());
        options.files.truncate(1);
        assert_ne!(data.fingerprint(), read(&options).expect("clean").fingerprint());
    }

    #[test]
    fn a_folder_is_its_files_and_a_collection_its_judgements() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("rows");
        fs::create_dir(&folder).expect("writable");
        for (name, text) in [
            ("b.jsonl", "{\"query\":\"second\",\"text\":\"t\"}\n"),
            ("a.jsonl", "{\"query\":\"first\",\"text\":\"t\"}\n"),
            ("notes.md", "not read"),
        ] {
            fs::write(folder.join(name), text).expect("writable");
        }
        let data = read(&options(dir.path(), &["rows"])).expect("clean files");
        let queries: Vec<&str> = data.set().pairs().iter().map(|pair| pair.query.as_str()).collect();
        assert_eq!(queries, ["first", "second"]);

        let mills = dir.path().join("mills");
        fs::create_dir_all(mills.join("qrels")).expect("writable");
        let corpus = "{\"_id\":\"d0\",\"title\":\"Mill\",\"text\":\"stone\"}\n{\"_id\":\"d1\",\"title\":\"\",\"text\":\"sieve\"}\n{\"_id\":\"d2\",\"title\":\"\",\"text\":\"bran\"}\n";
        fs::write(mills.join("corpus.jsonl"), corpus).expect("writable");
        fs::write(
            mills.join("queries.jsonl"),
            "{\"_id\":\"q0\",\"text\":\"what grinds\"}\n",
        )
        .expect("writable");
        let qrels = "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td1\t0\n";
        fs::write(mills.join("qrels/train.tsv"), qrels).expect("writable");
        fs::write(dir.path().join("scores.tsv"), "q0\td0\t9\nq0\td2\t4.5\n").expect("writable");
        let mut options = options(dir.path(), &["mills"]);
        options.scores = vec![dir.path().join("scores.tsv")];
        let data = read(&options).expect("clean files");
        assert_eq!(data.set().passage(data.set().pairs()[0].positive).title, "Mill");
        assert_eq!(
            (texts(&data, 0), data.rows()[0].positive_score),
            (vec!["sieve", "bran"], Some(9.0))
        );
        assert_eq!(data.rows()[0].candidates[1].score, Some(4.5));

        let scores = "{\"qid\":\"q0\",\"pid\":\"d1\",\"score\":2}\n{\"qid\":\"q0\",\"pid\":\"d9\",\"score\":2}\n";
        fs::write(dir.path().join("scores.jsonl"), scores).expect("writable");
        options.scores = vec![dir.path().join("scores.jsonl")];
        let message = read(&options).expect_err("no such document").to_string();
        assert!(
            message.contains("scores.jsonl, line 2") && message.contains("\"d9\""),
            "{message}"
        );
        options.split = "dev".to_owned();
        let message = read(&options).expect_err("no such split").to_string();
        assert!(message.contains("dev") && message.contains("train"), "{message}");
    }

    #[test]
    fn nothing_to_train_on_is_said() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("empty.jsonl"), "\n").expect("writable");
        let message = read(&options(dir.path(), &["empty.jsonl"]))
            .expect_err("no row")
            .to_string();
        assert!(message.contains("empty.jsonl"), "{message}");
        assert!(read(&options(dir.path(), &["nowhere.jsonl"])).is_err());
        let mut weighted = options(dir.path(), &["empty.jsonl"]);
        weighted.source_weights.insert("faq".to_owned(), -1.0);
        assert!(
            read(&weighted)
                .expect_err("a negative weight")
                .to_string()
                .contains("\"faq\"")
        );
    }
}
