//! Many queries over one stand-alone index: answers, timings, work done.

use rayon::prelude::*;
use serde::Serialize;
use std::fmt;
use std::time::Instant;
use tamis_core::{DocId, Hit, SparseVector};
use tamis_index::Index;
use tamis_query::{Algorithm, Scratch, SearchParams};

/// [`Algorithm`] as it is written on the command line.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum AlgorithmName {
    /// The cheapest by estimate
    #[default]
    Auto,
    /// Every posting of every query term
    Exhaustive,
    /// Only blocks whose bound can enter the result
    BlockMax,
    /// The naive reference over the forward index
    Oracle,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Auto => Self::Auto,
            AlgorithmName::Exhaustive => Self::Exhaustive,
            AlgorithmName::BlockMax => Self::BlockMax,
            AlgorithmName::Oracle => Self::Oracle,
        }
    }
}

/// Queries with their ids.
pub struct Workload(Vec<(String, SparseVector)>);

impl Workload {
    /// Takes queries in their order.
    pub fn new(queries: Vec<(String, SparseVector)>) -> Self {
        Self(queries)
    }

    /// The ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }
}

/// What was found and what it cost.
pub struct Answers {
    /// For each query its (external id, score), best first.
    pub hits: Vec<Vec<(String, f64)>>,
    /// What it cost.
    pub report: SearchReport,
}

/// What a workload cost.
#[derive(Clone, Debug, Serialize)]
pub struct SearchReport {
    /// Number of queries.
    pub queries: usize,
    /// Documents asked for.
    pub k: usize,
    /// How the search was done.
    pub algorithm: String,
    /// The kernels that were active.
    pub kernels: String,
    /// Queries searched at the same time.
    pub threads: usize,
    /// Rounds, of which each query's fastest counts.
    pub rounds: u16,
    /// Microseconds of one search: mean.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 95th percentile.
    pub p95_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// Queries a second over all threads, in the fastest round.
    pub queries_per_second: f64,
    /// Hits found in all.
    pub hits: usize,
    /// Work done in one round.
    pub work: Work,
}

/// Work summed over queries.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Work {
    /// Impacts that were multiplied.
    pub postings: u64,
    /// Blocks that were scored by themselves.
    pub blocks_scored: u64,
    /// Blocks that were passed over.
    pub blocks_skipped: u64,
}

/// How a workload is run.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Documents asked for.
    pub k: usize,
    /// Queries searched at the same time.
    pub threads: usize,
    /// How often everything is searched; each query's fastest time counts.
    pub rounds: u16,
}

impl Setting {
    /// Once, on one thread.
    pub fn once(k: usize) -> Self {
        Self {
            k,
            threads: 1,
            rounds: 1,
        }
    }
}

/// Each search's time and work.
#[derive(Default)]
pub struct Timings {
    us: Vec<f64>,
    hits: usize,
    work: Work,
}

impl Timings {
    /// Counts a search of `us` microseconds.
    pub fn add(&mut self, us: f64, hits: usize, work: Work) {
        self.us.push(us);
        self.hits += hits;
        self.work.postings += work.postings;
        self.work.blocks_scored += work.blocks_scored;
        self.work.blocks_skipped += work.blocks_skipped;
    }

    /// Keeps the faster time of each search.
    fn min(&mut self, other: &Self) {
        self.us
            .iter_mut()
            .zip(&other.us)
            .for_each(|(us, &other)| *us = us.min(other));
    }

    /// Sums it up; `seconds` is how long all searches took together.
    pub fn report(mut self, algorithm: &str, setting: Setting, seconds: f64) -> SearchReport {
        let Setting { k, threads, rounds } = setting;
        self.us.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let count = self.us.len() as f64;
        SearchReport {
            queries: self.us.len(),
            k,
            algorithm: algorithm.to_owned(),
            kernels: tamis_kernels::active().to_string(),
            threads,
            rounds,
            mean_us: nanosecond(self.us.iter().sum::<f64>() / count.max(1.0)),
            p50_us: percentile(&self.us, 0.50),
            p95_us: percentile(&self.us, 0.95),
            p99_us: percentile(&self.us, 0.99),
            queries_per_second: (count / seconds.max(1e-9)).round(),
            hits: self.hits,
            work: self.work,
        }
    }
}

impl fmt::Display for SearchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "searched {} queries, k = {}: mean {:.1} us, p50 {:.1}, p95 {:.1}, p99 {:.1}; {:.0} queries/s on {} threads",
            self.queries,
            self.k,
            self.mean_us,
            self.p50_us,
            self.p95_us,
            self.p99_us,
            self.queries_per_second,
            self.threads
        )
    }
}

/// `us` to the nanosecond: what is finer is noise.
fn nanosecond(us: f64) -> f64 {
    (us * 1e3).round() / 1e3
}

/// The value below which `share` of the ascending `sorted` lie (nearest rank).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    nanosecond(sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0))
}

/// Answers `workload`.
///
/// Each search is timed by itself, without reading the queries or writing the results; each thread has searched
/// once before the clock starts.
pub fn answer(index: &Index, workload: &Workload, name: AlgorithmName, setting: Setting) -> anyhow::Result<Answers> {
    let Setting { k, threads, rounds } = setting;
    let queries = &workload.0;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let params = SearchParams {
        k,
        algorithm: name.into(),
        filter: None,
    };
    let chunk = queries.len().div_ceil(threads).max(1);
    let (mut best, mut shortest, mut hits) = (None::<Timings>, f64::INFINITY, Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let found: Vec<Found> = pool
            .install(|| {
                let chunks = queries
                    .par_chunks(chunk)
                    .map(|chunk| answer_chunk(index, chunk, &params));
                chunks.collect::<anyhow::Result<Vec<_>>>()
            })?
            .into_iter()
            .flatten()
            .collect();
        shortest = f64::min(shortest, start.elapsed().as_secs_f64());
        let mut timings = Timings::default();
        found
            .iter()
            .for_each(|found| timings.add(found.us, found.hits.len(), found.work));
        if let Some(best) = &best {
            timings.min(best);
        }
        best = Some(timings);
        hits = found.into_iter().map(|found| found.hits).collect();
    }
    let name = clap::ValueEnum::to_possible_value(&name).map_or_else(String::new, |value| value.get_name().to_owned());
    let report = best.unwrap_or_default().report(&name, setting, shortest);
    Ok(Answers { hits, report })
}

struct Found {
    hits: Vec<(String, f64)>,
    us: f64,
    work: Work,
}

fn answer_chunk(
    index: &Index,
    queries: &[(String, SparseVector)],
    params: &SearchParams<'_>,
) -> anyhow::Result<Vec<Found>> {
    let mut scratch = Scratch::new();
    if let Some((_, first)) = queries.first() {
        tamis_query::search(index, first, params, &mut scratch)?;
    }
    let mut all = Vec::with_capacity(queries.len());
    for (id, query) in queries {
        let start = Instant::now();
        let result = tamis_query::search(index, query, params, &mut scratch);
        let us = start.elapsed().as_secs_f64() * 1e6;
        let result = result.map_err(|error| anyhow::Error::new(error).context(format!("query {id:?}")))?;
        let score = |hit: &Hit| f64::from(hit.score.get()) * f64::from(result.score_unit);
        let hits = result
            .hits
            .iter()
            .map(|hit| (external_id(index, hit.doc), score(hit)))
            .collect();
        let work = Work {
            postings: result.stats.postings,
            blocks_scored: result.stats.blocks_scored.into(),
            blocks_skipped: result.stats.blocks_skipped.into(),
        };
        all.push(Found { hits, us, work });
    }
    Ok(all)
}

/// The user's id of `doc`, or its number where the index stores none.
fn external_id(index: &Index, doc: DocId) -> String {
    index.external_id(doc).map_or_else(|| doc.to_string(), str::to_owned)
}
