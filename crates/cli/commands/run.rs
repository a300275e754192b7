//! `tamis run`: a file of queries, a TREC run, and what the search cost.

use crate::compute::ComputeArgs;
use crate::exit::{Exit, failure};
use crate::input::{Body, CsrFile, Record, Records};
use crate::output::{self, Sink};
use crate::search::{self, AlgorithmName, Answers, Setting, Workload};
use crate::standalone::{self, QueryEncoder};
use anyhow::Context;
use std::path::PathBuf;
use tamis_index::Index;

/// Arguments of `tamis run`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a stand-alone index
    #[arg(long)]
    index: PathBuf,
    /// JSON lines of vectors or (where the index names a model) texts, or a CSR file; .gz and .zst are fine
    #[arg(long)]
    queries: PathBuf,
    /// How many documents to find for each query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Write the TREC run here (default: stdout, or nowhere with --json)
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Queries searched at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Search all queries this many times and report each query's fastest
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How to search; every way gives the same result
    #[arg(long, value_enum, default_value_t)]
    algorithm: AlgorithmName,
    /// The model of text queries, where it has moved
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// The last column of the run
    #[arg(long, default_value = "tamis")]
    tag: String,
    /// Print what was measured as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `tamis run`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.tag.is_empty() || args.tag.contains(char::is_whitespace) {
        return Err(failure(
            Exit::Usage,
            "--tag is one word: the run's columns are separated by spaces",
        ));
    }
    let index = standalone::open(&args.index)?;
    let workload = read_queries(args, &index)?;
    let setting = Setting {
        k: args.k,
        threads: args.threads.into(),
        rounds: args.rounds,
    };
    let answers = search::answer(&index, &workload, args.algorithm, setting)?;
    if args.output.is_some() || !args.json {
        let sink = Sink::create(args.output.as_deref())?;
        write_run(sink, &workload, &answers, &args.tag)?;
    }
    if args.json {
        output::json(&answers.report)?;
    } else {
        output::note(&answers.report.to_string());
    }
    Ok(Exit::Done)
}

fn read_queries(args: &Args, index: &Index) -> anyhow::Result<Workload> {
    if let Some(matrix) = CsrFile::open(&args.queries)? {
        if index.vocabulary().is_some() {
            let message = "the index has terms by name, a CSR file has them by number: give the queries as JSON lines";
            return Err(failure(Exit::Usage, message));
        }
        let rows = (0..matrix.num_rows()).map(|row| Ok((row.to_string(), matrix.row(row)?)));
        return rows.collect::<anyhow::Result<Vec<_>>>().map(Workload::new);
    }
    let records: Vec<Record> = Records::open(&args.queries)?.0.collect::<Result<_, _>>()?;
    let has_text = records.iter().any(Record::is_text);
    let encoder = if has_text || args.model.is_some() {
        QueryEncoder::open(index, args.model.as_deref(), args.compute.checked()?)?
    } else {
        QueryEncoder::for_vectors(index)
    };
    let texts: Vec<String> = records.iter().filter_map(Record::joined_text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut encoded = if texts.is_empty() {
        Vec::new()
    } else {
        encoder.texts(&texts)?
    }
    .into_iter();
    let vectors = records.into_iter().map(|record| {
        let vector = match record.body {
            Body::Text { .. } => encoded.next().expect("one vector a text"),
            Body::Vector(tokens) => encoder
                .tokens(tokens)
                .with_context(|| format!("query {:?}", record.id))?,
        };
        Ok((record.id, vector))
    });
    vectors.collect::<anyhow::Result<Vec<_>>>().map(Workload::new)
}

fn write_run(mut sink: Sink, workload: &Workload, answers: &Answers, tag: &str) -> anyhow::Result<()> {
    use std::io::Write;
    for (query, hits) in workload.ids().zip(&answers.hits) {
        for (rank, (id, score)) in hits.iter().enumerate() {
            writeln!(sink, "{query} Q0 {id} {} {score} {tag}", rank + 1)?;
        }
    }
    sink.finish()
}
