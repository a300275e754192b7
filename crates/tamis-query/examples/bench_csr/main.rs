//! Times every algorithm on a collection of sparse vectors.
//!
//! Question: how long does one exact search take, single-threaded, and is its result right?
//! Corpus: `DIR/docs.csr` and `DIR/queries.csr` (layout: `csr.rs`; `benches/peers/generate.py` makes
//! some). Excluded from times: parsing of queries. Included: quantising them, sorting the hits.
//! Every full result list is compared with the oracle before anything is timed. A time is the minimum
//! over interleaved rounds of one search of one query; mean, median and 99th percentile are over queries.
//!
//! ```text
//! cargo run --release -p tamis-query --example bench_csr -- DIR [INDEX] [key=value ...]
//!   INDEX         where the index is kept between runs (built when absent); default DIR/docs.tamisidx
//!   k=10,1000     result sizes            rounds=7   passes over all queries
//!   verify=500    queries to verify       json=FILE  write the figures too
//!   terms=6       keep only the heaviest terms of each query: the workload of short queries
//!   serve=1       instead of rounds of its own: for each line `ALGORITHM K` on standard input run one
//!                 pass and answer with one line, a JSON list of microseconds
//! ```

#![expect(clippy::print_stdout, reason = "a program that reports")]

mod csr;
mod recall;

use csr::Csr;
use recall::{FloatScores, recall};
use serde_json::{Value, json};
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tamis_core::{Hit, SparseVector};
use tamis_index::{Extras, Index, IndexBuilder, IndexOptions, ReorderOptions};
use tamis_query::{Algorithm, Scratch, SearchParams, SearchStats, search};

const TIMED: [(&str, Algorithm); 3] = [
    ("exhaustive", Algorithm::Exhaustive),
    ("block_max", Algorithm::BlockMax),
    ("auto", Algorithm::Auto),
];

/// What was asked for on the command line.
struct Options {
    folder: PathBuf,
    index: PathBuf,
    ks: Vec<usize>,
    rounds: usize,
    verify: usize,
    terms: usize,
    json: Option<PathBuf>,
    serve: bool,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut places = Vec::new();
        let mut options = Self {
            folder: PathBuf::new(),
            index: PathBuf::new(),
            ks: vec![10, 1000],
            rounds: 7,
            verify: usize::MAX,
            terms: usize::MAX,
            json: None,
            serve: false,
        };
        for argument in std::env::args().skip(1) {
            match argument.split_once('=') {
                None => places.push(PathBuf::from(argument)),
                Some(("k", list)) => options.ks = list.split(',').map(str::parse).collect::<Result<_, _>>()?,
                Some(("rounds", count)) => options.rounds = count.parse()?,
                Some(("verify", count)) => options.verify = count.parse()?,
                Some(("terms", count)) => options.terms = count.parse()?,
                Some(("json", path)) => options.json = Some(path.into()),
                Some(("serve", flag)) => options.serve = flag == "1",
                Some((key, _)) => return Err(format!("unknown option {key}").into()),
            }
        }
        options.folder = places
            .first()
            .cloned()
            .ok_or("usage: bench_csr DIR [INDEX] [key=value ...]")?;
        options.index = places
            .get(1)
            .cloned()
            .unwrap_or_else(|| options.folder.join("docs.tamisidx"));
        Ok(options)
    }
}

/// The `len` heaviest terms of `query`.
fn heaviest(query: &SparseVector, len: usize) -> SparseVector {
    let mut pairs: Vec<_> = query.iter().collect();
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1));
    pairs.truncate(len);
    SparseVector::from_pairs(pairs).expect("terms of a vector are distinct")
}

/// Opens the index at `path`; builds it first when it is not there. Also gives documents per second.
fn open_or_build(path: &Path, docs: &Csr) -> Result<(Index, Option<f64>), Box<dyn Error>> {
    let mut rate = None;
    if !path.exists() {
        let start = Instant::now();
        let options = IndexOptions {
            reorder: Some(ReorderOptions::default()),
            ..IndexOptions::default()
        };
        let mut builder = IndexBuilder::new(options, path.parent().unwrap_or(Path::new(".")))?;
        for row in 0..docs.num_rows() {
            builder.add(&docs.vector(row))?;
        }
        builder.finish(&Extras::default(), path)?;
        rate = Some(docs.num_rows() as f64 / start.elapsed().as_secs_f64());
    }
    Ok((Index::open(path)?, rate))
}

fn hits(index: &Index, query: &SparseVector, algorithm: Algorithm, k: usize, scratch: &mut Scratch) -> Vec<Hit> {
    let params = SearchParams {
        algorithm,
        ..SearchParams::top(k)
    };
    search(index, query, &params, scratch).expect("few terms").hits.to_vec()
}

/// Compares all lists with the oracle's on all cores; gives the number of comparisons.
fn verify(index: &Index, queries: &[SparseVector], ks: &[usize]) -> Result<usize, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = queries.len().div_ceil(threads).max(1);
    let check = |queries: &[SparseVector]| {
        let mut scratch = Scratch::new();
        let most = ks.iter().copied().max().unwrap_or(0);
        for query in queries {
            let right = hits(index, query, Algorithm::Oracle, most, &mut scratch);
            for (&k, (name, algorithm)) in ks.iter().flat_map(|k| TIMED.map(|timed| (k, timed))) {
                if hits(index, query, algorithm, k, &mut scratch) != right[..k.min(right.len())] {
                    return Err(format!("{name}, k {k}: differs from the oracle for {query:?}"));
                }
            }
        }
        Ok(queries.len() * ks.len() * TIMED.len())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = queries
            .chunks(share)
            .map(|share| scope.spawn(|| check(share)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no search panics"))
            .sum()
    })
}

/// The times of a pass, in microseconds, and what was done; query by query.
type Timed = (Vec<f64>, Vec<SearchStats>);

/// One pass over all queries.
fn pass(index: &Index, queries: &[SparseVector], params: &SearchParams<'_>, scratch: &mut Scratch) -> Timed {
    let timed = queries.iter().map(|query| {
        let start = Instant::now();
        let result = search(index, query, params, scratch).expect("few terms");
        (start.elapsed().as_nanos() as f64 / 1000.0, result.stats)
    });
    timed.unzip()
}

/// The value that `percent` of the values are at or below.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len().saturating_sub(1) * percent + 50) / 100;
    sorted.get(at).copied().unwrap_or(0.0)
}

/// A field of `/proc/self/status` in MiB, where there is one.
fn memory_mib(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = values.len().max(1) as f64;
    values.sum::<f64>() / len
}

/// Times everything in interleaved rounds and gives a row of figures for each (algorithm, k).
fn time_all(index: &Index, queries: &[SparseVector], options: &Options) -> Vec<Value> {
    let mut scratch = Scratch::new();
    let runs: Vec<_> = options.ks.iter().flat_map(|&k| TIMED.map(|timed| (k, timed))).collect();
    let mut best: Vec<Timed> = vec![(vec![f64::INFINITY; queries.len()], Vec::new()); runs.len()];
    for _ in 0..options.rounds {
        for (&(k, (_, algorithm)), best) in runs.iter().zip(&mut best) {
            let params = SearchParams {
                algorithm,
                ..SearchParams::top(k)
            };
            let (times, stats) = pass(index, queries, &params, &mut scratch);
            best.0
                .iter_mut()
                .zip(times)
                .for_each(|(best, time)| *best = best.min(time));
            best.1 = stats;
        }
    }
    let named = runs.into_iter().map(|(k, (name, _))| (name, k));
    named.zip(best).map(|((name, k), timed)| row(name, k, timed)).collect()
}

fn row(name: &str, k: usize, (mut times, stats): Timed) -> Value {
    times.sort_by(f64::total_cmp);
    let of = |count: fn(&SearchStats) -> u64| mean(stats.iter().map(|stats| count(stats) as f64));
    json!({
        "algorithm": name, "k": k,
        "mean_us": mean(times.iter().copied()), "p50_us": percentile(&times, 50),
        "p95_us": percentile(&times, 95), "p99_us": percentile(&times, 99),
        "postings": of(|stats| stats.postings),
        "blocks_scored": of(|stats| stats.blocks_scored.into()),
        "windows_exhaustive": of(|stats| stats.windows_exhaustive.into()),
        "windows_pruned": of(|stats| stats.windows_pruned.into()),
    })
}

/// Mean recall of the integer result against the float one, for each k.
fn recalls(index: &Index, queries: &[SparseVector], docs: &Csr, ks: &[usize]) -> Vec<(usize, f64)> {
    let float = FloatScores::new(docs);
    let mut scratch = Scratch::new();
    let mut sums: Vec<_> = ks.iter().map(|&k| (k, 0.0)).collect();
    for query in queries {
        let scores = float.of(query);
        for (k, sum) in &mut sums {
            *sum += recall(&scores, &hits(index, query, Algorithm::Auto, *k, &mut scratch), *k) / queries.len() as f64;
        }
    }
    sums
}

fn serve(index: &Index, queries: &[SparseVector]) -> Result<(), Box<dyn Error>> {
    let mut scratch = Scratch::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, k) = line.split_once(' ').ok_or("each line is: ALGORITHM K")?;
        let (_, algorithm) = TIMED
            .into_iter()
            .find(|timed| timed.0 == name)
            .ok_or("unknown algorithm")?;
        let params = SearchParams {
            algorithm,
            ..SearchParams::top(k.parse()?)
        };
        let (times, _) = pass(index, queries, &params, &mut scratch);
        println!("{}", json!(times));
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let queries = Csr::read(&options.folder.join("queries.csr"))?;
    let queries: Vec<SparseVector> = (0..queries.num_rows())
        .map(|row| heaviest(&queries.vector(row), options.terms))
        .collect();
    let docs = Csr::read(&options.folder.join("docs.csr"))?;
    let (index, docs_per_second) = open_or_build(&options.index, &docs)?;
    let recalls = recalls(&index, &queries, &docs, &options.ks);
    drop(docs);
    let compared = verify(&index, &queries[..options.verify.min(queries.len())], &options.ks)?;
    let bytes_per_posting = index.size_bytes() as f64 / index.num_postings() as f64;
    let facts = json!({
        "documents": index.num_docs(), "postings": index.num_postings(), "queries": queries.len(),
        "terms_per_query": mean(queries.iter().map(|query| query.len() as f64)),
        "kernels": tamis_kernels::active().to_string(),
        "index_bytes": index.size_bytes(), "bytes_per_posting": bytes_per_posting,
        "build_docs_per_second": docs_per_second,
        "lists_compared_with_oracle": compared, "differences": 0,
        "recall": recalls.iter().map(|(k, recall)| (k.to_string(), json!(recall))).collect::<serde_json::Map<_, _>>(),
    });
    println!("{facts}");
    if options.serve {
        return serve(&index, &queries);
    }
    let rows = time_all(&index, &queries, &options);
    println!(
        "{:<12}{:>6}{:>10}{:>10}{:>10}{:>12}{:>9}{:>8}",
        "algorithm", "k", "mean us", "p50", "p99", "postings", "blocks", "windows"
    );
    for row in &rows {
        let number = |key: &str| row[key].as_f64().unwrap_or(0.0);
        let windows = number("windows_exhaustive");
        let name = row["algorithm"].as_str().unwrap_or("");
        println!(
            "{name:<12}{:>6}{:>10.1}{:>10.1}{:>10.1}{:>12.0}{:>9.1}{windows:>8.2}",
            row["k"],
            number("mean_us"),
            number("p50_us"),
            number("p99_us"),
            number("postings"),
            number("blocks_scored"),
        );
    }
    let peak_mib = memory_mib("VmHWM:");
    println!("peak memory {peak_mib:.1?} MiB (the collection in memory included)");
    if let Some(path) = &options.json {
        let report = json!({ "collection": facts, "rounds": options.rounds, "peak_mib": peak_mib, "rows": rows });
        std::fs::write(path, format!("{report:#}\n"))?;
    }
    Ok(())
}
