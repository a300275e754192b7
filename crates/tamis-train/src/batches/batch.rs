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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use super::*;

    /// Data of `lines`, which are JSON.
    fn data(lines: &[String]) -> TrainingData {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("rows.jsonl");
        fs::write(&path, lines.join("\n")).expect("writable");
        let options = DataOptions {
            files: vec![path],
            ..DataOptions::default()
        };
        TrainingData::read(&options, &mut |_| ()).expect("clean lines")
    }

    fn plain(num: usize) -> Vec<String> {
        let line = |at: usize| {
            let source = if at.is_multiple_of(3) { "a" } else { "b" };
            format!(
                "{{\"src\":\"{source}\",\"query\":\"q{at}\",\"title\":\"T{at}\",\"text\":\"{}\"}}",
                "word ".repeat(at % 7 + 1) + &at.to_string()
            )
        };
        (0..num).map(line).collect()
    }

    fn batcher(data: &TrainingData, options: &BatchOptions) -> Batcher {
        Batcher::new(data, &DataOptions::default(), options, false).expect("enough rows")
    }

    fn options(size: usize, negatives: usize) -> BatchOptions {
        BatchOptions {
            size,
            negatives,
            ..BatchOptions::default()
        }
    }

    #[test]
    fn an_epoch_takes_every_row_once_and_any_step_can_be_asked_for() {
        let data = data(&plain(30));
        let options = BatchOptions {
            length_window: 2,
            ..options(5, 2)
        };
        let mut batcher = batcher(&data, &options);
        assert_eq!((batcher.num_batches(), batcher.num_rows()), (6, 30));
        let batches: Vec<Batch> = (0..12).map(|step| batcher.batch(&data, step)).collect();
        for epoch in batches.chunks(6) {
            let taken: HashSet<u32> = epoch.iter().flat_map(|batch| batch.pairs.clone()).collect();
            assert_eq!(taken.len(), 30);
        }
        assert_ne!(batches[0].pairs, batches[6].pairs, "every epoch has its own order");
        let mut again = Batcher::new(&data, &DataOptions::default(), &options, false).expect("enough");
        for step in [7, 0, 11, 3] {
            assert_eq!(
                again.batch(&data, step),
                batches[usize::try_from(step).expect("small")],
                "step {step}"
            );
        }
        for batch in &batches {
            assert_eq!((batch.documents.len(), batch.scores.len()), (15, 15));
            for (own, group) in batch.pairs.iter().zip(batch.documents.chunks(3)) {
                assert_eq!(group[0], data.set().pairs()[*own as usize].positive);
                assert_eq!(group.iter().collect::<HashSet<_>>().len(), 3, "negatives differ");
            }
        }
        let kept = batches
            .iter()
            .flat_map(|batch| &batch.with_titles)
            .filter(|kept| **kept)
            .count();
        assert!((15..45).contains(&kept), "{kept} of 60 keep their titles");
        let other = BatchOptions { seed: 1, ..options };
        assert_ne!(self::batcher(&data, &other).batch(&data, 0), batches[0]);
    }

    #[test]
    fn titles_are_kept_by_row() {
        let data = data(&plain(8));
        for (share, kept) in [(0.0, false), (1.0, true)] {
            let options = BatchOptions {
                title_share: share,
                ..options(4, 1)
            };
            let batch = batcher(&data, &options).batch(&data, 0);
            assert_eq!(batch.texts(&data).iter().all(|text| text.starts_with('T')), kept);
            assert_eq!(batch.texts(&data).iter().any(|text| text.starts_with('T')), kept);
        }
    }

    #[test]
    fn alike_rows_keep_apart_or_are_excluded() {
        // Three questions share a passage, two rows share a question.
        let mut lines: Vec<String> = (0..3)
            .map(|at| format!("{{\"query\":\"s{at}\",\"text\":\"shared\"}}"))
            .collect();
        lines.extend((0..2).map(|at| format!("{{\"query\":\"same\",\"text\":\"answer {at}\"}}")));
        lines.extend(plain(15));
        let data = data(&lines);
        let mut by_four = batcher(&data, &options(4, 0));
        for step in 0..20 {
            let batch = by_four.batch(&data, step);
            // Only the last batch of an epoch may have nothing else to take.
            assert!(batch.excluded.is_empty() || step % 5 == 4, "step {step}: {batch:?}");
        }
        // In a batch of all rows they cannot keep apart.
        let batch = batcher(&data, &options(20, 0)).batch(&data, 0);
        assert_eq!(batch.pairs.iter().collect::<HashSet<_>>().len(), 20);
        let place = |query: &str| {
            let queries = batch.queries(&data);
            (0..20_u32)
                .filter(|&at| queries[at as usize] == query)
                .collect::<Vec<_>>()
        };
        let mut expected = Vec::new();
        let shared = [place("s0")[0], place("s1")[0], place("s2")[0]];
        for alike in [&shared[..], &place("same")] {
            for query in alike {
                expected.extend(alike.iter().filter(|at| *at != query).map(|at| (*query, *at)));
            }
        }
        expected.sort_unstable();
        assert_eq!(batch.excluded, expected);
    }

    #[test]
    fn weights_and_sources_are_kept_to() {
        let data = data(&plain(30));
        let weights = DataOptions {
            source_weights: BTreeMap::from([("a".to_owned(), 2.5), ("b".to_owned(), 0.25)]),
            ..DataOptions::default()
        };
        let one_source = BatchOptions {
            one_source: true,
            ..options(5, 0)
        };
        let mut batcher = Batcher::new(&data, &weights, &one_source, false).expect("enough rows");
        assert_eq!((batcher.num_rows(), batcher.num_batches()), (25 + 5, 6));
        let source = |pair: &u32| data.set().pairs()[*pair as usize].source.clone();
        let mut of_a = vec![0; 30];
        for step in 0..6 {
            let batch = batcher.batch(&data, step);
            let sources: HashSet<String> = batch.pairs.iter().map(source).collect();
            assert_eq!(sources.len(), 1);
            batch.pairs.iter().for_each(|&pair| of_a[pair as usize] += 1);
        }
        assert!((0..30).step_by(3).all(|pair| (2..=3).contains(&of_a[pair])), "{of_a:?}");
        assert_eq!(of_a.iter().sum::<i32>(), 30);
    }

    #[test]
    fn clusters_hold_the_rows_that_candidates_answer() {
        // Row n of the first eight has the passages of the other seven as candidates, the rest have none.
        let line = |at: usize| {
            let others: Vec<String> = (0..8)
                .filter(|other| *other != at)
                .map(|other| format!("\"p{other}\""))
                .collect();
            let negatives = if at < 8 { others.join(",") } else { String::new() };
            format!("{{\"query\":\"q{at}\",\"pos\":\"p{at}\",\"negs\":[{negatives}]}}")
        };
        let data = data(&(0..32).map(line).collect::<Vec<_>>());
        let clustered = BatchOptions {
            cluster: 4,
            ..options(4, 0)
        };
        let alike = |options: &BatchOptions| -> Vec<usize> {
            let mut batcher = batcher(&data, options);
            let taken: Vec<Vec<u32>> = (0..8).map(|step| batcher.batch(&data, step).pairs).collect();
            assert_eq!(
                taken.iter().flatten().collect::<HashSet<_>>().len(),
                32,
                "every row once"
            );
            let counts = taken.iter().map(|pairs| pairs.iter().filter(|pair| **pair < 8).count());
            counts.filter(|count| *count > 0).collect()
        };
        // The rest have no cluster: a batch may begin within one, but none is spread over more than two batches.
        assert!(alike(&clustered).len() <= 4, "{:?}", alike(&clustered));
        assert!(alike(&options(4, 0)).len() > 4, "{:?}", alike(&options(4, 0)));
        let message = |cluster| {
            let options = BatchOptions {
                cluster,
                ..options(4, 0)
            };
            options.validate().expect_err("out of range").to_string()
        };
        assert!(message(0).contains("batch.cluster is 0") && message(5).contains("batch.cluster is 5"));
    }

    #[test]
    fn scored_rows_draw_scored_negatives() {
        let mut lines = plain(4);
        lines.push(r#"{"query":"s","pos":"p","negs":["n0","n1"],"scores":[3,2,1]}"#.to_owned());
        lines.push(r#"{"query":"u","pos":"v","negs":["w"],"scores":[5,4]}"#.to_owned());
        let data = data(&lines);
        let mut scored = Batcher::new(&data, &DataOptions::default(), &options(2, 3), true).expect("two rows");
        assert_eq!(scored.num_rows(), 2);
        let batch = scored.batch(&data, 0);
        let mut groups: Vec<Vec<f32>> = batch
            .scores
            .chunks(4)
            .map(|group| group.iter().flatten().copied().collect())
            .collect();
        groups.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(groups, [vec![3.0, 2.0, 1.0, 2.0], vec![5.0, 4.0, 4.0, 4.0]]);
        let message = |size, negatives, scored| {
            let options = options(size, negatives);
            Batcher::new(&data, &DataOptions::default(), &options, scored)
                .expect_err("too few")
                .to_string()
        };
        assert!(message(3, 1, true).contains("2 rows"), "{}", message(3, 1, true));
        assert!(message(7, 0, false).contains("6 rows"));
        assert!(message(2, 900, false).contains("passages"));
        assert!(message(0, 0, false).contains("batch.size"));
    }
}
