//! The order of an epoch: every row as often as its weight says, no two alike in a batch.

use std::collections::{HashMap, HashSet, VecDeque};

use super::options::BatchOptions;
use crate::data::TrainingData;
use crate::sampler::Sampler;

/// Rows that are taken equally often.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stratum {
    /// Which rows a batch of one source may mix.
    pub(super) source: u32,
    pub(super) pairs: Vec<u32>,
    /// How many of them an epoch takes.
    pub(super) count: usize,
}

/// Of the rows that did not fit, so many are tried for each place: bounds the work where few queries have many rows.
const TRIED: usize = 256;

/// Batches of one epoch, each of `options.size` pairs. What is left over at the end waits for the next epoch.
pub(super) fn batches(data: &TrainingData, strata: &[Stratum], options: &BatchOptions, epoch: u64) -> Vec<Vec<u32>> {
    let mut sampler = Sampler::new(options.seed, epoch);
    let mut pools: Vec<(u32, Vec<u32>)> = Vec::new();
    for stratum in strata {
        let source = if options.one_source { stratum.source } else { 0 };
        let rows = taken(stratum, &mut sampler);
        match pools.iter_mut().find(|(known, _)| *known == source) {
            Some((_, pool)) => pool.extend(rows),
            None => pools.push((source, rows)),
        }
    }
    let mut all = Vec::new();
    for (_, mut pool) in pools {
        sampler.shuffle(&mut pool);
        sort_windows(data, &mut pool, options, &mut sampler);
        let pool = clustered(data, pool, options.cluster);
        all.extend(fill(data, pool, options.size));
    }
    if options.one_source {
        sampler.shuffle(&mut all);
    }
    all
}

/// Batches that an epoch has, whatever its order.
pub(super) fn num_batches(strata: &[Stratum], options: &BatchOptions) -> u64 {
    let mut pools: Vec<(u32, usize)> = Vec::new();
    for stratum in strata {
        let source = if options.one_source { stratum.source } else { 0 };
        match pools.iter_mut().find(|(known, _)| *known == source) {
            Some((_, count)) => *count += stratum.count,
            None => pools.push((source, stratum.count)),
        }
    }
    pools.iter().map(|(_, count)| (count / options.size) as u64).sum()
}

/// The rows of a stratum for one epoch: all of them as often as they go in, and a random part of them once more.
fn taken(stratum: &Stratum, sampler: &mut Sampler) -> Vec<u32> {
    let num = stratum.pairs.len();
    let mut rows = stratum.pairs.repeat(stratum.count / num);
    let mut rest = stratum.pairs.clone();
    sampler.keep(&mut rest, stratum.count % num);
    rows.extend(rest);
    rows
}

/// Sorts windows of some batches by length; the batches of a window are then put into a random order.
fn sort_windows(data: &TrainingData, pool: &mut Vec<u32>, options: &BatchOptions, sampler: &mut Sampler) {
    if options.length_window == 1 {
        return;
    }
    let set = data.set();
    let length = |pair: u32| set.passage(set.pairs()[pair as usize].positive).text.len();
    let mut ordered = Vec::with_capacity(pool.len());
    for window in pool.chunks_mut(options.length_window * options.size) {
        window.sort_by_key(|&pair| length(pair));
        let mut batches: Vec<&[u32]> = window.chunks(options.size).collect();
        sampler.shuffle(&mut batches);
        ordered.extend(batches.into_iter().flatten().copied());
    }
    *pool = ordered;
}

/// The rows of `pool` in clusters of at most `size`: a row, then for each of its candidates one row that the candidate
/// answers, as far as any is left.
fn clustered(data: &TrainingData, pool: Vec<u32>, size: usize) -> Vec<u32> {
    if size == 1 {
        return pool;
    }
    let mut left = vec![0_u32; data.rows().len()];
    let mut by_passage: HashMap<u32, Vec<u32>> = HashMap::new();
    for &pair in &pool {
        left[pair as usize] += 1;
        let answered = by_passage
            .entry(data.set().pairs()[pair as usize].positive)
            .or_default();
        answered.push(pair);
    }
    let mut ordered = Vec::with_capacity(pool.len());
    for &pair in &pool {
        if left[pair as usize] == 0 {
            continue;
        }
        let of_candidates = data.rows()[pair as usize].candidates.iter().map(|one| one.passage);
        let mut cluster = vec![pair];
        for passage in of_candidates {
            if cluster.len() == size {
                break;
            }
            let answered = by_passage.get(&passage).map_or(&[][..], Vec::as_slice);
            cluster.extend(
                answered
                    .iter()
                    .find(|other| left[**other as usize] > 0 && !cluster.contains(other)),
            );
        }
        cluster.iter().for_each(|&taken| left[taken as usize] -= 1);
        ordered.extend(cluster);
    }
    ordered
}

/// Fills batches in order. A row that is too like one of the batch waits for the next; only at the end of the epoch,
/// when there is nothing else, alike rows come together.
fn fill(data: &TrainingData, order: Vec<u32>, size: usize) -> Vec<Vec<u32>> {
    let num_batches = order.len() / size;
    let mut batches = Vec::with_capacity(num_batches);
    let (mut waiting, mut stream) = (VecDeque::new(), order.into_iter());
    while batches.len() < num_batches {
        let mut open = OpenBatch::default();
        for _ in 0..waiting.len().min(TRIED) {
            let Some(pair) = waiting.pop_front() else { break };
            if open.pairs.len() == size || !open.take(data, pair) {
                waiting.push_back(pair);
            }
        }
        while open.pairs.len() < size {
            match stream.next() {
                Some(pair) if open.take(data, pair) => (),
                Some(pair) => waiting.push_back(pair),
                None => match waiting.pop_front() {
                    Some(pair) => open.pairs.push(pair),
                    None => break,
                },
            }
        }
        batches.push(open.pairs);
    }
    batches
}

/// A batch that is being filled.
#[derive(Default)]
struct OpenBatch {
    pairs: Vec<u32>,
    queries: HashSet<u32>,
    positives: HashSet<u32>,
    /// Passages that answer any of its queries.
    answers: HashSet<u32>,
}

impl OpenBatch {
    /// Takes a pair unless its question is there already, or an answer of one would be a negative of the other.
    fn take(&mut self, data: &TrainingData, pair: u32) -> bool {
        let set = data.set();
        let query = set.query_number(pair);
        let positive = set.pairs()[pair as usize].positive;
        let answers = data.positives(pair);
        let is_alike = self.queries.contains(&query)
            || self.answers.contains(&positive)
            || answers.iter().any(|answer| self.positives.contains(answer));
        if !is_alike {
            self.pairs.push(pair);
            self.queries.insert(query);
            self.positives.insert(positive);
            self.answers.extend(answers);
        }
        !is_alike
    }
}
