//! Judged collections that a run is watched on: encoded, indexed and searched as the model that it exports would be.
//!
//! The FLOPS figure is that of Paria et al. (ICLR 2020) and SPLADE (Formal et al., SIGIR 2021): how many products an
//! average query and an average document share, the sum over terms of the share of queries that have it times the
//! share of documents.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tamis_core::SparseVector;
use tamis_encoder::Encoder;
use tamis_eval::{BeirCollection, Metric, Qrels, Query, Run, ScoredDocument, Scores};
use tamis_query::{Scratch, SearchParams, search};

use crate::error::Error;
use crate::passage_index::PassageIndex;
use crate::training_set::Passage;

/// When a run is evaluated, on what, and when it stops: the table `[evaluation]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationOptions {
    /// Judged collections (BEIR folders or archives); the command line adds to them. Whatever is chosen by them,
    /// figures on them are no longer zero-shot.
    pub collections: Vec<PathBuf>,
    /// Which of their judgements. Default `test`.
    pub split: String,
    /// Evaluate every so many steps, and at the end. Default 1000.
    pub every: u64,
    /// Also evaluate before the first step, so that a run that only gets worse keeps its start. Default: not, as many
    /// starts are no retrievers yet.
    pub at_start: bool,
    /// What is computed; the first is what models are compared by, as its mean over the collections.
    pub metrics: Vec<Metric>,
    /// Stop after so many evaluations in a row without a better mean. Default: never.
    pub patience: Option<u64>,
    /// A mean is better when it is higher than the best by more than this. Default 0.
    pub min_gain: f64,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        let metric = |name: &str| name.parse().expect("a metric's name");
        Self {
            collections: Vec::new(),
            split: "test".to_owned(),
            every: 1000,
            at_start: false,
            metrics: ["ndcg@10", "recall@100"].map(metric).to_vec(),
            patience: None,
            min_gain: 0.0,
        }
    }
}

impl EvaluationOptions {
    /// Checks every range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |option: &str, value: String, allowed| {
            Err(Error::RecipeOption {
                option: format!("evaluation.{option}"),
                value,
                allowed,
            })
        };
        if self.every == 0 {
            return bad("every", "0".to_owned(), "at least 1");
        }
        if self.metrics.is_empty() {
            return bad("metrics", "empty".to_owned(), "at least one metric");
        }
        if self.patience == Some(0) {
            return bad("patience", "0".to_owned(), "at least 1");
        }
        if !(self.min_gain.is_finite() && self.min_gain >= 0.0) {
            return bad("min_gain", self.min_gain.to_string(), "a finite number of at least 0");
        }
        Ok(())
    }
}

/// What an encoder is worth on a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DevFigures {
    /// The collection's name.
    pub collection: String,
    /// The mean of each metric over all judged queries.
    pub metrics: Scores,
    /// Weights above zero of an average document, once they are integers.
    pub document_length: f64,
    /// Weights above zero of an average query.
    pub query_length: f64,
    /// Products of an average query with an average document.
    pub flops: f64,
}

/// A judged collection in memory.
#[derive(Debug)]
pub struct DevCollection {
    name: String,
    ids: Vec<String>,
    passages: Vec<Passage>,
    queries: Vec<Query>,
    qrels: Qrels,
}

impl DevCollection {
    /// Reads the collection at `path` with the judgements `split`.
    ///
    /// # Errors
    /// When it cannot be read, or lacks the split, a judged query or any document.
    pub fn open(path: &Path, split: &str) -> Result<Self, Error> {
        let collection = BeirCollection::open(path)?;
        let qrels = collection.qrels(split)?;
        let queries = collection.judged_queries(&qrels)?;
        let (mut ids, mut passages) = (Vec::new(), Vec::new());
        for document in collection.documents()? {
            let document = document?;
            ids.push(document.id);
            passages.push(Passage {
                title: document.title,
                text: document.text,
            });
        }
        Ok(Self {
            name: collection.name(),
            ids,
            passages,
            queries,
            qrels,
        })
    }

    /// The collection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Encodes all documents, indexes them in memory, searches every judged query exactly, and scores the run.
    ///
    /// A hit with the query's own id is left out, as BEIR does. Uses all threads of the current pool; the figures do
    /// not depend on their number. While it is built, the index may spill to files in `spill_dir`.
    ///
    /// # Errors
    /// A failing encoder, a query of too many terms, an index that cannot be built.
    pub fn judge(&self, encoder: &dyn Encoder, metrics: &[Metric], spill_dir: &Path) -> Result<DevFigures, Error> {
        let passages = PassageIndex::build(&self.passages, true, encoder, spill_dir)?;
        let texts: Vec<&str> = self.queries.iter().map(|query| query.text.as_str()).collect();
        let queries = passages.queries(&texts)?;
        let depth = metrics.iter().map(|&metric| depth_of(metric)).max().unwrap_or(1);
        let answer = |scratch: &mut Scratch, (query, (vector, _)): (&Query, &(SparseVector, usize))| {
            self.answer(&passages, (query, vector), depth, scratch)
        };
        let answers: Vec<Vec<ScoredDocument>> = self
            .queries
            .par_iter()
            .zip(&queries)
            .map_init(Scratch::new, answer)
            .collect::<Result<_, _>>()?;
        let mut run = Run::new();
        for (query, results) in self.queries.iter().zip(answers) {
            run.insert(query.id.as_str(), results)?;
        }
        let evaluation = tamis_eval::evaluate(&self.qrels, &run, metrics);
        let (num_documents, num_queries) = (ratio(self.ids.len()), ratio(queries.len()));
        let shared = |vector: &SparseVector| -> f64 {
            let terms = vector.iter().map(|(term, _)| passages.index.term_df(term));
            terms.map(f64::from).sum()
        };
        #[expect(clippy::cast_precision_loss, reason = "postings of a collection in memory")]
        let num_postings = passages.index.num_postings() as f64;
        Ok(DevFigures {
            collection: self.name.clone(),
            metrics: evaluation.mean,
            document_length: num_postings / num_documents,
            query_length: queries.iter().map(|(_, length)| ratio(*length)).sum::<f64>() / num_queries,
            flops: queries.iter().map(|(vector, _)| shared(vector)).sum::<f64>() / (num_queries * num_documents),
        })
    }

    fn answer(
        &self,
        passages: &PassageIndex<'_>,
        (query, vector): (&Query, &SparseVector),
        depth: usize,
        scratch: &mut Scratch,
    ) -> Result<Vec<ScoredDocument>, Error> {
        let params = SearchParams::top(depth + 1);
        let found = search(&passages.index, vector, &params, scratch).map_err(|source| Error::Search {
            query: query.text.clone(),
            source,
        })?;
        let hits = found.hits.iter().map(|hit| ScoredDocument {
            id: self.ids[hit.doc.get() as usize].clone(),
            score: f64::from(hit.score.get()),
        });
        Ok(hits.filter(|hit| hit.id != query.id).take(depth).collect())
    }
}

/// How deep metrics without a cut-off look.
const DEEPEST: usize = 1000;

/// How many results a metric looks at.
fn depth_of(metric: Metric) -> usize {
    match metric {
        Metric::Ndcg(depth)
        | Metric::ReciprocalRank(depth)
        | Metric::Recall(depth)
        | Metric::AveragePrecision(depth) => depth.map_or(DEEPEST, usize::from),
        Metric::Precision(depth) | Metric::Success(depth) => depth.into(),
        _ => DEEPEST,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of what is in memory")]
fn ratio(count: usize) -> f64 {
    count.max(1) as f64
}

/// The mean of a metric over collections; 0 where there is none.
#[must_use]
pub fn mean_over(figures: &[DevFigures], metric: Metric) -> f64 {
    let sum: f64 = figures.iter().filter_map(|one| one.metrics.get(metric)).sum();
    sum / ratio(figures.len())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_collection_is_judged_as_by_hand() {
        let dir = tempfile::tempdir().expect("a folder");
        let mills = dir.path().join("mills");
        fs::create_dir_all(mills.join("qrels")).expect("writable");
        let corpus = [("d0", "stone mill"), ("d1", "silk sieve"), ("q1", "water mill wheel")];
        let corpus: String = corpus
            .iter()
            .map(|(id, text)| format!("{{\"_id\":\"{id}\",\"title\":\"\",\"text\":\"{text}\"}}\n"))
            .collect();
        fs::write(mills.join("corpus.jsonl"), corpus).expect("writable");
        let queries = "{\"_id\":\"q0\",\"text\":\"sieve\"}\n{\"_id\":\"q1\",\"text\":\"water mill\"}\n";
        fs::write(mills.join("queries.jsonl"), queries).expect("writable");
        let qrels = "query-id\tcorpus-id\tscore\nq0\td1\t1\nq1\td0\t1\n";
        fs::write(mills.join("qrels/test.tsv"), qrels).expect("writable");
        let collection = DevCollection::open(&mills, "test").expect("a collection");
        let encoder = tamis_encoder::open("lexical").expect("always there");
        let metrics = EvaluationOptions::default().metrics;
        let figures = collection
            .judge(encoder.as_ref(), &metrics, dir.path())
            .expect("judged");
        // The document with the query's own id would be first for q1.
        assert_eq!(figures.metrics.get(metrics[0]), Some(1.0));
        assert_eq!((figures.document_length, figures.query_length), (7.0 / 3.0, 1.5));
        // sieve: 1 of 2 queries, 1 of 3 documents; water: 1/2 * 1/3; mill: 1/2 * 2/3.
        assert!((figures.flops - (1.0 + 1.0 + 2.0) / 6.0).abs() < 1e-12, "{figures:?}");
        assert_eq!(mean_over(&[figures.clone(), figures], metrics[0]), 1.0);
        assert_eq!(mean_over(&[], metrics[0]), 0.0);
    }
}
