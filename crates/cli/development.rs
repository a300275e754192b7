//! Judged collections on which constants are chosen: encoded once, searched for every choice.

use crate::encoding::{BATCH, EncodeReport, Indexing};
use crate::input::{self, Broken, Record};
use crate::judged;
use crate::progress::Progress;
use crate::search::{self, AlgorithmName, Setting, Workload};
use crate::standalone::{self, QueryEncoder};
use anyhow::Context;
use std::num::NonZeroUsize;
use std::path::Path;
use tamis_encoder::{DenseEncoder, Expander, InputKind};
use tamis_eval::{BeirCollection, Metric, Qrels, Query};
use tamis_index::IndexOptions;

/// What choices are compared by.
pub const METRIC: Metric = Metric::Ndcg(NonZeroUsize::new(10));

/// Documents found for a query: one more than counts, as a hit that is the query itself is taken out.
const DEPTH: usize = 11;

/// A judged collection, with the dense vectors of its documents: `4 * width` bytes each.
pub struct DevelopmentSet {
    /// Its name.
    pub name: String,
    ids: Vec<String>,
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    queries: Vec<Query>,
    qrels: Qrels,
}

impl DevelopmentSet {
    /// Reads the collection at `path` with the judgements `split` and encodes its documents.
    pub fn encode(path: &Path, split: &str, dense: &DenseEncoder) -> anyhow::Result<Self> {
        let collection = BeirCollection::open(path)?;
        let qrels = collection.qrels(split)?;
        let queries = collection.judged_queries(&qrels)?;
        let mut set = Self {
            name: collection.name(),
            ids: Vec::new(),
            texts: Vec::new(),
            vectors: Vec::new(),
            queries,
            qrels,
        };
        let mut report = EncodeReport::default();
        let progress = Progress::new("encoded", "documents", input::corpus_extent(&collection)?, false);
        input::in_batches(input::corpus(&collection)?, &mut Broken::never(), BATCH, |batch| {
            progress.add(batch.len());
            let texts: Vec<String> = batch.iter().filter_map(Record::joined_text).collect();
            let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
            set.vectors
                .extend(report.encode_dense(dense, InputKind::Document, &refs)?);
            set.texts.extend(texts);
            set.ids.extend(batch.into_iter().map(|record| record.id));
            Ok(())
        })?;
        progress.finish();
        Ok(set)
    }

    /// The mean of [`METRIC`] with the documents as `expander` expands them, indexed and searched as `tamis eval` does.
    pub fn judge(&self, expander: &Expander) -> anyhow::Result<f64> {
        let scratch = tempfile::tempdir()?;
        let mut indexing = Indexing::new(IndexOptions::default(), scratch.path())?;
        let batches = self.texts.chunks(BATCH).zip(self.vectors.chunks(BATCH));
        for ((texts, vectors), ids) in batches.zip(self.ids.chunks(BATCH)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            for (id, encoding) in ids.iter().zip(expander.documents(&texts, &vectors)) {
                indexing.add_tokens(id.clone(), encoding.tokens)?;
            }
        }
        let path = scratch.path().join(standalone::FILE_NAME);
        indexing.finish(&path, true)?;
        let index = standalone::open(&path)?;
        let encoder = QueryEncoder::for_vectors(&index);
        let vectors = self.queries.iter().map(|query| {
            let weighting = expander.lift().config().query_weighting;
            let vector = encoder.vector(expander.query(&query.text).tokens, weighting)?;
            Ok((query.id.clone(), vector))
        });
        let workload = Workload::new(vectors.collect::<anyhow::Result<_>>()?);
        let answers = search::answer(&index, &workload, AlgorithmName::Auto, Setting::once(DEPTH))?;
        let run = judged::run_of(&self.queries, answers.hits, DEPTH - 1, false)?;
        let evaluation = tamis_eval::evaluate(&self.qrels, &run, &[METRIC]);
        evaluation.mean.get(METRIC).context("the metric asked for is computed")
    }
}
