//! Hard negatives: passages that our own search ranks high for a query they do not answer.
//!
//! Mining by the ranks of a search goes back to ANCE (Xiong et al., ICLR 2021) and, with BM25 as the search,
//! to DPR (Karpukhin et al., EMNLP 2020). Ours leaves out every passage that any pair gives as an answer to the
//! same query, by normalised text, and draws from a range of ranks.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use tamis_core::{Hit, SparseVector};
use tamis_encoder::Encoder;
use tamis_query::{Scratch, SearchParams, search};

use crate::error::Error;
use crate::example::{Example, Negative};
use crate::options::MiningOptions;
use crate::passage_index::{BATCH_TEXTS, PassageIndex};
use crate::sampler::Sampler;
use crate::training_set::{SetCounts, TrainingSet};

/// What [`mine`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// One example for each pair, in their order; some may be without negatives.
    pub examples: Vec<Example>,
    /// What was done.
    pub report: MiningReport,
}

/// What was mined. As JSON an object with these fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MiningReport {
    /// The encoder's name.
    pub encoder: String,
    /// What was read.
    pub set: SetCounts,
    /// Bytes of the index over the passages.
    pub index_bytes: u64,
    /// Its postings.
    pub num_postings: u64,
    /// Negatives over all examples.
    pub num_negatives: u64,
    /// Examples that have none.
    pub num_without_negatives: u64,
    /// Pairs whose own passage scores at least as much as every negative candidate of the rank range.
    pub num_positive_first: u64,
}

/// Finds hard negatives for every pair of the set.
///
/// All distinct passages are encoded and indexed in memory, every query is searched, and up to
/// [`MiningOptions::num_negatives`] passages of its rank range are drawn. No negative is a passage that a
/// pair of the set gives for the same query, or has the text of one. Uses all threads of the current pool;
/// the result does not depend on their number. While it is built, the index may spill to files in
/// `spill_dir`, which disappear.
///
/// # Errors
/// An option out of range, a failing encoder, a query of more than 4,096 terms, an index that cannot be built.
pub fn mine(
    set: &TrainingSet,
    encoder: &dyn Encoder,
    options: &MiningOptions,
    spill_dir: &Path,
) -> Result<Mined, Error> {
    options.validate()?;
    let passages = PassageIndex::build(set.passages(), options.with_titles, encoder, spill_dir)?;
    let miner = Miner { set, passages, options };
    let batches: Vec<Vec<(Example, bool)>> = (0..set.pairs().len())
        .into_par_iter()
        .step_by(BATCH_TEXTS)
        .map_init(Scratch::new, |scratch, first| miner.mine_batch(first, scratch))
        .collect::<Result<_, _>>()?;
    let (examples, is_first): (Vec<Example>, Vec<bool>) = batches.into_iter().flatten().unzip();
    let report = MiningReport {
        encoder: encoder.name().to_owned(),
        set: set.counts(),
        index_bytes: miner.passages.index.size_bytes(),
        num_postings: miner.passages.index.num_postings(),
        num_negatives: examples.iter().map(|example| example.negatives.len() as u64).sum(),
        num_without_negatives: examples.iter().filter(|example| example.negatives.is_empty()).count() as u64,
        num_positive_first: is_first.into_iter().filter(|&is_first| is_first).count() as u64,
    };
    Ok(Mined { examples, report })
}

struct Miner<'a> {
    set: &'a TrainingSet,
    passages: PassageIndex<'a>,
    options: &'a MiningOptions,
}

impl Miner<'_> {
    /// The examples of one batch of pairs, and whether the positive of each leads its candidates.
    fn mine_batch(&self, first: usize, scratch: &mut Scratch) -> Result<Vec<(Example, bool)>, Error> {
        let pairs = &self.set.pairs()[first..self.set.pairs().len().min(first + BATCH_TEXTS)];
        let queries: Vec<&str> = pairs.iter().map(|pair| pair.query.as_str()).collect();
        let vectors = self.passages.query_vectors(&queries)?;
        (first..)
            .zip(&vectors)
            .map(|(number, vector)| self.mine_pair(number, vector, scratch))
            .collect()
    }

    fn mine_pair(&self, number: usize, query: &SparseVector, scratch: &mut Scratch) -> Result<(Example, bool), Error> {
        let pair = &self.set.pairs()[number];
        let positives = self.set.positives(pair);
        let params = SearchParams::top(self.options.last_rank + positives.len());
        let found = search(&self.passages.index, query, &params, scratch).map_err(|source| Error::Search {
            query: pair.query.clone(),
            source,
        })?;
        let positive_score = self.passages.score_of(found.query, pair.positive);
        let mut candidates = self.candidates(found.hits, positives);
        let is_first = candidates
            .first()
            .is_none_or(|(_, hit)| hit.score.get() <= positive_score);
        if let Some(share) = self.options.max_share_of_positive {
            let limit = share * f64::from(positive_score);
            candidates.retain(|(_, hit)| f64::from(hit.score.get()) <= limit);
        }
        Sampler::new(self.options.seed, number as u64).keep(&mut candidates, self.options.num_negatives);
        let unit = f64::from(found.score_unit);
        let negatives = candidates.into_iter().map(|(rank, hit)| Negative {
            passage: hit.doc.get(),
            rank,
            score: f64::from(hit.score.get()) * unit,
        });
        let example = Example {
            pair: u32::try_from(number).expect("a set counts its pairs in 32 bits"),
            positive_score: f64::from(positive_score) * unit,
            negatives: negatives.collect(),
        };
        Ok((example, is_first))
    }

    /// The hits of the rank range with their ranks, positives left out before counting.
    fn candidates(&self, hits: &[Hit], positives: &[u32]) -> Vec<(u32, Hit)> {
        let others = hits
            .iter()
            .filter(|hit| positives.binary_search(&hit.doc.get()).is_err());
        let ranked = (1..).zip(others.copied()).take(self.options.last_rank);
        ranked.skip(self.options.first_rank - 1).collect()
    }
}
