//! Holds every algorithm to the plain answer on generated collections, on all cores.
//!
//! Question: does any algorithm ever return another list of (document, score) than scoring every
//! document does? A case is one query on one collection with one filter, one `k` and one algorithm.
//!
//! ```text
//! cargo run --release -p tamis-query --example oracle -- [CASES [SEED]]
//! ```
//!
//! The seed is printed; the same seed gives the same cases on any number of cores. Exits with status 1
//! when anything differs.

#![expect(clippy::print_stdout, reason = "a program that reports")]

mod cases;

use cases::{Random, Shape};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tamis_query::{Algorithm, QuantisedQuery, Scratch, SearchParams, Strategy, search};

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Auto,
    Algorithm::Oracle,
    Algorithm::Exhaustive,
    Algorithm::BlockMax,
];
const K: [usize; 9] = [1, 2, 3, 10, 37, 60, 100, 1000, usize::MAX];
const QUERIES_PER_COLLECTION: usize = 30;
const MAX_DOCS: u32 = 5000;

/// Cases run so far, differences found, and how often each strategy was used.
#[derive(Default)]
struct Tally {
    cases: u64,
    differences: u64,
    strategies: [u64; 6],
}

/// Runs all cases of the collection number `round`.
fn run_collection(seed: u64, round: u64, scratch: &mut Scratch) -> Tally {
    let mut random = Random::new(seed ^ round.wrapping_mul(0xd134_2543_de82_ef95));
    let shape = Shape::random(&mut random, MAX_DOCS);
    let documents = cases::documents(&shape, &mut random);
    let index = cases::index(&shape, &documents);
    let mut tally = Tally::default();
    for number in 0..QUERIES_PER_COLLECTION {
        let query = cases::query(&shape, &mut random);
        let filter = cases::filter(&shape, &mut random);
        let quantised = QuantisedQuery::new(&query).expect("few terms");
        let hits = cases::answer(&documents, &quantised, filter.as_ref());
        for (k, algorithm) in K.into_iter().flat_map(|k| ALGORITHMS.map(|algorithm| (k, algorithm))) {
            let params = SearchParams {
                k,
                algorithm,
                filter: filter.as_ref(),
            };
            let result = search(&index, &query, &params, scratch).expect("few terms");
            tally.cases += 1;
            tally.strategies[place(result.stats.strategy)] += 1;
            if result.hits != &hits[..k.min(hits.len())] {
                tally.differences += 1;
                println!("DIFFERENCE collection {round} query {number} k {k} {algorithm:?}: {shape:?}");
            }
        }
    }
    tally
}

fn place(strategy: Strategy) -> usize {
    match strategy {
        Strategy::Nothing => 0,
        Strategy::Oracle => 1,
        Strategy::Forward => 2,
        Strategy::Exhaustive => 3,
        Strategy::BlockMax => 4,
        Strategy::Mixed => 5,
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Ok(wanted), Ok(seed)) = (
        arguments.next().unwrap_or(Ok(1_000_000)),
        arguments.next().unwrap_or_else(|| Ok(clock_seed())),
    ) else {
        println!("usage: oracle [CASES [SEED]], both whole numbers");
        return ExitCode::from(2);
    };
    let cases_per_collection = (QUERIES_PER_COLLECTION * K.len() * ALGORITHMS.len()) as u64;
    let rounds = wanted.div_ceil(cases_per_collection);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("seed {seed}, {threads} threads, kernels {}", tamis_kernels::active());
    let (start, next) = (Instant::now(), AtomicU64::new(0));
    let work = || {
        let mut scratch = Scratch::new();
        let mut sum = Tally::default();
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= rounds {
                return sum;
            }
            let tally = run_collection(seed, round, &mut scratch);
            sum.cases += tally.cases;
            sum.differences += tally.differences;
            for (all, new) in sum.strategies.iter_mut().zip(tally.strategies) {
                *all += new;
            }
        }
    };
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no case panics"))
            .collect()
    });
    let total = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let (cases, differences) = (total(|tally| tally.cases), total(|tally| tally.differences));
    println!(
        "{rounds} collections, {cases} cases, {differences} differences, {:.1} s",
        start.elapsed().as_secs_f64()
    );
    println!(
        "answered by: nothing to do {}, oracle {}, forward {}, exhaustive {}, block maxima {}, mixed {}",
        total(|tally| tally.strategies[0]),
        total(|tally| tally.strategies[1]),
        total(|tally| tally.strategies[2]),
        total(|tally| tally.strategies[3]),
        total(|tally| tally.strategies[4]),
        total(|tally| tally.strategies[5]),
    );
    if differences == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A seed nobody chose.
fn clock_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |elapsed| elapsed.as_secs())
}
