//! One batch: its rows, their documents, and which of them must not count as negatives.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tamis_encoder::joined;

use super::epoch::{self, Stratum};
use super::options::BatchOptions;
use crate::data::{DataOptions, Row, TrainingData};
use crate::error::Error;
use crate::sampler::Sampler;

/// Draws of one step are of a stream of their own: `step * STREAMS` and what is drawn.
const STREAMS: u64 = 4;
/// Separates the draws of steps from those of epochs.
const STEP_SALT: u64 = 0x7465_7073;

/// The rows of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Pairs by number.
    pub pairs: Vec<u32>,
    /// Documents of a pair.
    pub group: usize,
    /// Passages by number, `group` for each pair, its own first.
    pub documents: Vec<u32>,
    /// What is stored as the teacher's score of each document, where something is.
    pub scores: Vec<Option<f32>>,
    /// By pair: whether its documents keep their titles.
    pub with_titles: Vec<bool>,
    /// (query, document) by their places in the batch, ascending: documents that answer the query and are not its
    /// own positive.
    pub excluded: Vec<(u32, u32)>,
}

impl Batch {
    /// The queries.
    ///
    /// # Panics
    /// When the batch is of other data.
    #[must_use]
    pub fn queries<'a>(&self, data: &'a TrainingData) -> Vec<&'a str> {
        let pairs = data.set().pairs();
        self.pairs
            .iter()
            .map(|&pair| pairs[pair as usize].query.as_str())
            .collect()
    }

    /// The documents, with or without titles as was drawn.
    ///
    /// # Panics
    /// When the batch is of other data.
    #[must_use]
    pub fn texts<'a>(&self, data: &'a TrainingData) -> Vec<Cow<'a, str>> {
        let text = |(at, &number): (usize, &u32)| {
            let passage = data.set().passage(number);
            let title = self.with_titles[at / self.group].then_some(passage.title.as_str());
            joined(title, &passage.text)
        };
        self.documents.iter().enumerate().map(text).collect()
    }
}

/// Gives the batch of any step.
///
/// An epoch takes every row as often as its weights say, in an order that the seed and the epoch's number decide; no
/// query and no answer to another query of the batch comes twice in a batch while other rows are left. Nothing else
/// is kept: after a restart the batch of a step is the same.
#[derive(Debug)]
pub struct Batcher {
    options: BatchOptions,
    strata: Vec<Stratum>,
    num_batches: u64,
    /// Only candidates with a stored score are drawn.
    scored_only: bool,
    /// The epoch that was last asked for.
    epoch: Option<(u64, Vec<Vec<u32>>)>,
}

impl Batcher {
    /// Plans batches of `data`. With `scored_only` only rows with stored teacher scores take part.
    ///
    /// # Errors
    /// An option out of range, fewer rows than a batch has, fewer passages than negatives need.
    pub fn new(
        data: &TrainingData,
        weights: &DataOptions,
        options: &BatchOptions,
        scored_only: bool,
    ) -> Result<Self, Error> {
        options.validate()?;
        let strata = strata(data, weights, |pair| {
            let row = &data.rows()[pair];
            let scored = row.candidates.iter().filter(|one| one.score.is_some()).count();
            !scored_only || scored > 0 || (row.positive_score.is_some() && options.negatives == 0)
        });
        let num_batches = epoch::num_batches(&strata, options);
        if num_batches == 0 {
            return Err(Error::TooFewRows {
                num_rows: strata.iter().map(|stratum| stratum.count as u64).sum(),
                batch_size: options.size,
                scored_only,
            });
        }
        let most = (0..data.rows().len()).map(|pair| data.set().positives(&data.set().pairs()[pair]).len());
        let needed = most.max().unwrap_or(0) + options.negatives;
        if !scored_only && options.negatives > 0 && data.set().passages().len() < needed {
            return Err(Error::TooFewPassages {
                num_passages: data.set().passages().len(),
                needed,
            });
        }
        Ok(Self {
            options: options.clone(),
            strata,
            num_batches,
            scored_only,
            epoch: None,
        })
    }

    /// Steps of an epoch.
    #[must_use]
    pub fn num_batches(&self) -> u64 {
        self.num_batches
    }

    /// Rows that an epoch takes, repetitions counted.
    #[must_use]
    pub fn num_rows(&self) -> u64 {
        self.strata.iter().map(|stratum| stratum.count as u64).sum()
    }

    /// The batch of a step, which count from 0.
    ///
    /// # Panics
    /// When `data` is other data than the batches were planned for (its candidates may have changed).
    pub fn batch(&mut self, data: &TrainingData, step: u64) -> Batch {
        let pairs = self.pairs(data, step).to_vec();
        self.complete(data, pairs, step)
    }

    /// The pairs of the batch of a step.
    pub(crate) fn pairs(&mut self, data: &TrainingData, step: u64) -> &[u32] {
        let (epoch, at) = (step / self.num_batches, step % self.num_batches);
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let batches = epoch::batches(data, &self.strata, &self.options, epoch);
            self.epoch = Some((epoch, batches));
        }
        let (_, batches) = self.epoch.as_ref().expect("it was planned above");
        &batches[usize::try_from(at).expect("a batch of the epoch in memory")]
    }

    /// Draws negatives and titles for the pairs of a step.
    fn complete(&self, data: &TrainingData, pairs: Vec<u32>, step: u64) -> Batch {
        let group = self.options.group();
        let (mut documents, mut scores) = (Vec::new(), Vec::new());
        let mut negatives = Sampler::new(self.options.seed ^ STEP_SALT, step * STREAMS);
        let mut titles = Sampler::new(self.options.seed ^ STEP_SALT, step * STREAMS + 1);
        for &pair in &pairs {
            let row = &data.rows()[pair as usize];
            documents.push(data.set().pairs()[pair as usize].positive);
            scores.push(row.positive_score.or_else(|| best_score(row)));
            for (passage, score) in self.negatives(data, pair, &mut negatives) {
                documents.push(passage);
                scores.push(score);
            }
        }
        let with_titles = pairs.iter().map(|_| titles.unit() < self.options.title_share).collect();
        let excluded = excluded(data, &pairs, &documents, group);
        Batch {
            pairs,
            group,
            documents,
            scores,
            with_titles,
            excluded,
        }
    }

    fn negatives(&self, data: &TrainingData, pair: u32, sampler: &mut Sampler) -> Vec<(u32, Option<f32>)> {
        let wanted = self.options.negatives;
        let candidates = data.rows()[pair as usize].candidates.iter();
        let mut drawn: Vec<(u32, Option<f32>)> = candidates
            .filter(|one| one.score.is_some() || !self.scored_only)
            .map(|one| (one.passage, one.score))
            .collect();
        let num = drawn.len();
        sampler.keep(&mut drawn, wanted);
        if self.scored_only {
            // The same document twice is a smaller list for a teacher, and no wrong one.
            (num..wanted).for_each(|at| drawn.push(drawn[at % num]));
            return drawn;
        }
        let (positives, passages) = (data.positives(pair), data.set().passages().len());
        while drawn.len() < wanted {
            let passage = u32::try_from(sampler.below(passages)).expect("passages are counted in 32 bits");
            let is_new = drawn.iter().all(|(known, _)| *known != passage);
            if is_new && positives.binary_search(&passage).is_err() {
                drawn.push((passage, None));
            }
        }
        drawn
    }
}

/// What stands for the score of a positive that nobody scored: the best of the others, as naver's trainer has it.
fn best_score(row: &Row) -> Option<f32> {
    row.candidates.iter().filter_map(|one| one.score).reduce(f32::max)
}

/// Rows by file and source, with how many of each an epoch takes; without those that take no part.
fn strata(data: &TrainingData, weights: &DataOptions, takes_part: impl Fn(usize) -> bool) -> Vec<Stratum> {
    let mut by_name: BTreeMap<(u32, &str), Vec<u32>> = BTreeMap::new();
    for (at, (pair, row)) in data.set().pairs().iter().zip(data.rows()).enumerate() {
        if takes_part(at) {
            let number = u32::try_from(at).expect("pairs are counted in 32 bits");
            by_name
                .entry((row.file, pair.source.as_str()))
                .or_default()
                .push(number);
        }
    }
    let mut strata = Vec::with_capacity(by_name.len());
    for (number, ((file, source), pairs)) in (0..).zip(by_name) {
        let weight = weights.weight(&data.files()[file as usize].name, source);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of at most 2^32 rows, at least 0"
        )]
        let count = (pairs.len() as f64 * weight).round() as usize;
        if count > 0 {
            strata.push(Stratum {
                source: number,
                pairs,
                count,
            });
        }
    }
    strata
}

/// Documents that answer a query of the batch and are not its own positive.
fn excluded(data: &TrainingData, pairs: &[u32], documents: &[u32], group: usize) -> Vec<(u32, u32)> {
    let mut excluded = Vec::new();
    for (query, &pair) in (0..).zip(pairs) {
        let answers = data.positives(pair);
        for (at, document) in (0..).zip(documents) {
            if at as usize != query as usize * group && answers.binary_search(document).is_ok() {
                excluded.push((query, at));
            }
        }
    }
    excluded
}
