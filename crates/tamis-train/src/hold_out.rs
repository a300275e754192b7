//! Judged collections made of training pairs whose source is held out of training.
//!
//! A loss on pairs like those that were trained on says little of other domains; a collection made of a source that no
//! training step saw does. All passages of the source are the corpus, its distinct queries the queries, and what
//! answers a query is relevant to it.

use crate::error::Error;
use crate::text_key::TextKey;
use crate::{TrainingPair, TrainingSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// How pairs become a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldOutOptions {
    /// The most queries, 1 or more; of more, a sample. Passages are all kept. Default 500.
    pub max_queries: usize,
    /// Which queries are sampled. Default 0.
    pub seed: u64,
}

impl Default for HoldOutOptions {
    fn default() -> Self {
        Self {
            max_queries: 500,
            seed: 0,
        }
    }
}

/// A judged collection in memory.
#[derive(Debug)]
pub struct HeldOut {
    set: TrainingSet,
    /// Of each query kept a pair that has it, in the order of the pairs.
    queries: Vec<usize>,
}

/// What is in a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HeldOutCounts {
    /// Passages.
    pub num_passages: usize,
    /// Queries.
    pub num_queries: usize,
    /// Relevant pairs of the two.
    pub num_judgements: usize,
}

impl HeldOut {
    /// Makes a collection of the pairs of `source`. Texts are the same when their [`TextKey`]s are.
    ///
    /// Which queries are sampled depends on their texts and the seed, not on the order of the pairs.
    ///
    /// # Errors
    /// The first error of the pairs, and [`Error::NoPairs`] where none is of the source.
    pub fn collect(
        pairs: impl IntoIterator<Item = Result<TrainingPair, Error>>,
        source: &str,
        options: &HoldOutOptions,
    ) -> Result<Self, Error> {
        let of_source = |pair: &Result<TrainingPair, Error>| pair.as_ref().map_or(true, |pair| pair.source == source);
        let set = TrainingSet::collect(pairs.into_iter().filter(of_source))?;
        let mut first_of: BTreeMap<TextKey, usize> = BTreeMap::new();
        for (at, pair) in set.pairs().iter().enumerate() {
            first_of.entry(TextKey::of(&pair.query)).or_insert(at);
        }
        if first_of.is_empty() {
            return Err(Error::NoPairs {
                source_name: source.to_owned(),
            });
        }
        let mut drawn: Vec<(TextKey, usize)> = first_of
            .into_iter()
            .map(|(key, at)| (TextKey::of(&format!("{} {key}", options.seed)), at))
            .collect();
        drawn.sort_unstable();
        drawn.truncate(options.max_queries);
        let mut queries: Vec<usize> = drawn.into_iter().map(|(_, at)| at).collect();
        queries.sort_unstable();
        Ok(Self { set, queries })
    }

    /// What is in it.
    #[must_use]
    pub fn counts(&self) -> HeldOutCounts {
        let pairs = self.set.pairs();
        HeldOutCounts {
            num_passages: self.set.passages().len(),
            num_queries: self.queries.len(),
            num_judgements: self
                .queries
                .iter()
                .map(|&at| self.set.positives(&pairs[at]).len())
                .sum(),
        }
    }

    /// Writes a BEIR folder: `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv` below `dir`, which must not be there
    /// yet or be empty. Passages are named `d` and their number, queries `q` and theirs. The same pairs in the same
    /// order always give the same bytes.
    ///
    /// # Errors
    /// When something is at `dir`, or a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let is_free = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(Error::CollectionExists { path: dir.to_owned() });
        }
        let qrels = dir.join("qrels");
        fs::create_dir_all(&qrels).map_err(|source| Error::Write {
            path: qrels.clone(),
            source,
        })?;
        write(&dir.join("corpus.jsonl"), |out| {
            for (number, passage) in self.set.passages().iter().enumerate() {
                let line =
                    serde_json::json!({"_id": format!("d{number}"), "title": passage.title, "text": passage.text});
                writeln!(out, "{line}")?;
            }
            Ok(())
        })?;
        let pairs = self.set.pairs();
        write(&dir.join("queries.jsonl"), |out| {
            for (number, &at) in self.queries.iter().enumerate() {
                let line = serde_json::json!({"_id": format!("q{number}"), "text": pairs[at].query});
                writeln!(out, "{line}")?;
            }
            Ok(())
        })?;
        write(&qrels.join("test.tsv"), |out| {
            writeln!(out, "query-id\tcorpus-id\tscore")?;
            for (number, &at) in self.queries.iter().enumerate() {
                for passage in self.set.positives(&pairs[at]) {
                    writeln!(out, "q{number}\td{passage}\t1")?;
                }
            }
            Ok(())
        })
    }
}

fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Error> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    written.map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(source: &str, query: &str, text: &str) -> TrainingPair {
        let [source, query, text] = [source, query, text].map(str::to_owned);
        TrainingPair {
            source,
            query,
            text,
            ..Default::default()
        }
    }

    fn pairs() -> Vec<TrainingPair> {
        vec![
            pair("faq", "What is a sieve?", "A mesh."),
            pair("news", "Mill burns", "It burnt."),
            pair("faq", "what is a sieve", "A drum."),
            pair("faq", "And a mill?", "It grinds."),
            pair("faq", "What grinds?", "It grinds!"),
        ]
    }

    fn held_out(pairs: Vec<TrainingPair>, options: &HoldOutOptions) -> HeldOut {
        HeldOut::collect(pairs.into_iter().map(Ok), "faq", options).expect("pairs of the source")
    }

    #[test]
    fn a_source_becomes_a_collection() {
        let made = held_out(pairs(), &HoldOutOptions::default());
        let counts = made.counts();
        assert_eq!(
            (counts.num_passages, counts.num_queries, counts.num_judgements),
            (3, 3, 4)
        );
        let dir = tempfile::tempdir().expect("a folder");
        made.write(dir.path()).expect("an empty folder");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("written");
        assert_eq!(
            read("qrels/test.tsv"),
            "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td1\t1\nq1\td2\t1\nq2\td2\t1\n"
        );
        assert_eq!(
            read("queries.jsonl").lines().next(),
            Some("{\"_id\":\"q0\",\"text\":\"What is a sieve?\"}")
        );
        assert_eq!(read("corpus.jsonl").lines().count(), 3);
        assert!(matches!(made.write(dir.path()), Err(Error::CollectionExists { .. })));
    }

    #[test]
    fn a_sample_depends_on_texts_and_seed_alone() {
        let many: Vec<TrainingPair> = (0..50)
            .map(|at| pair("faq", &format!("question {at}"), &format!("answer {at}")))
            .collect();
        let queries = |pairs: &[TrainingPair], seed| {
            let options = HoldOutOptions { max_queries: 10, seed };
            let made = held_out(pairs.to_vec(), &options);
            let mut queries: Vec<String> = made
                .queries
                .iter()
                .map(|&at| made.set.pairs()[at].query.clone())
                .collect();
            queries.sort();
            assert_eq!(made.counts().num_passages, 50, "passages are all kept");
            queries
        };
        let sampled = queries(&many, 0);
        assert_eq!(sampled.len(), 10);
        let reversed: Vec<TrainingPair> = many.iter().rev().cloned().collect();
        assert_eq!(sampled, queries(&reversed, 0));
        assert_ne!(sampled, queries(&many, 1));
    }

    #[test]
    fn a_source_without_pairs_is_named() {
        let error = HeldOut::collect(pairs().into_iter().map(Ok), "forum", &HoldOutOptions::default());
        assert!(error.expect_err("no pairs").to_string().contains("\"forum\""));
    }
}
