//! `tamis eval`: score a model on a judged collection, or runs of any system.

use crate::collection;
use crate::compute::ComputeArgs;
use crate::dense;
use crate::encoding::{self, BATCH, EncodeReport, Indexing, Long};
use crate::exit::{Exit, failure};
use crate::input::{self, Broken};
use crate::judged::{self, Threshold};
use crate::output;
use crate::progress::Progress;
use crate::search::{self, AlgorithmName, SearchReport, Setting, Timings, Work, Workload};
use crate::standalone::{self, QueryEncoder};
use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tamis_encoder::{DEFAULT_MODEL, DenseEncoder, Encoder, InputKind};
use tamis_engine::{CollectionConfig, Engine, Mode, SearchRequest};
use tamis_eval::{BeirCollection, Comparison, Evaluation, Metric, Qrels, Query, QueryEvaluation, Run, Scores};
use tamis_index::IndexOptions;

/// Arguments of `tamis eval`.
#[derive(clap::Args)]
pub struct Args {
    /// A BEIR folder or its archive (.tar.zst, .tar.gz, .zip); with --qrels: TREC run files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// bm25, tamis-small, lexical, or the folder of a model; a dense sentence encoder is scored by the cosine, without an index
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    /// Texts longer than the model reads: truncate, windows or windows:OVERLAP (tokens shared by neighbours; 32 unless
    /// told), parts or parts:MOST (4 unless told); unless told, as the model says
    #[arg(long, value_name = "HOW")]
    long: Option<Long>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Which judgements of the collection
    #[arg(long, default_value = "test")]
    split: String,
    /// What to compute: ndcg@K, mrr@K, recall@K, map, p@K, success@K
    #[arg(long, value_delimiter = ',', default_value = "ndcg@10,mrr@10,recall@100,map")]
    metrics: Vec<Metric>,
    /// How many documents to find for each query
    #[arg(short, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// Keep hits whose id is the query's own id (BEIR takes them out)
    #[arg(long)]
    keep_identical: bool,
    /// Also write the TREC run to this file
    #[arg(long)]
    run: Option<PathBuf>,
    /// Score the run files given against these judgements (TREC qrels, or BEIR's .tsv)
    #[arg(long, conflicts_with_all = ["run", "split", "model"])]
    qrels: Option<PathBuf>,
    /// Compare with this TREC run, by a paired randomisation test over the queries
    #[arg(long, value_name = "RUN")]
    against: Option<PathBuf>,
    /// End with code 9 when a figure is lower: METRIC=VALUE
    #[arg(long, value_name = "METRIC=VALUE")]
    fail_under: Vec<Threshold>,
    /// Also print every query's figures (in JSON: "per_query")
    #[arg(long)]
    per_query: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    collection: String,
    model: String,
    documents: u64,
    queries: usize,
    metrics: Scores,
    encode: EncodeReport,
    index: IndexSize,
    search: SearchReport,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    against: Vec<Comparison>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_query: Option<Vec<QueryEvaluation>>,
}

#[derive(Serialize)]
struct IndexSize {
    bytes: u64,
    postings: u64,
}

/// What answering the judged queries gave.
struct Answered {
    documents: u64,
    hits: Vec<Vec<(String, f64)>>,
    encode: EncodeReport,
    index: IndexSize,
    search: SearchReport,
}

/// Runs `tamis eval`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut metrics = args.metrics.clone();
    for threshold in &args.fail_under {
        if !metrics.contains(&threshold.metric) {
            metrics.push(threshold.metric);
        }
    }
    match (&args.qrels, args.paths.as_slice()) {
        (Some(qrels), runs) => score_runs(args, qrels, runs, &metrics),
        (None, [collection]) => evaluate_collection(args, collection, &metrics),
        (None, _) => Err(failure(Exit::Usage, "one collection at a time; run files need --qrels")),
    }
}

fn score_runs(args: &Args, qrels: &Path, runs: &[PathBuf], metrics: &[Metric]) -> anyhow::Result<Exit> {
    let qrels = Qrels::read(qrels)?;
    let mut reports = Vec::new();
    let mut exit = Exit::Done;
    for path in runs {
        let evaluation = tamis_eval::evaluate(&qrels, &Run::read(path)?, metrics);
        exit = judged::check(&args.fail_under, &evaluation, exit);
        let comparisons = compare(args, &qrels, &evaluation)?;
        reports.push((path.display().to_string(), evaluation, comparisons));
    }
    if args.json {
        let reports = reports.iter().map(|(run, evaluation, comparisons)| {
            let per_query = args.per_query.then_some(&evaluation.per_query);
            serde_json::json!({"run": run, "queries": evaluation.num_queries, "missing": evaluation.num_missing,
                "metrics": evaluation.mean, "against": comparisons, "per_query": per_query})
        });
        output::json(&reports.collect::<Vec<_>>())?;
    } else {
        let rows: Vec<(&str, &Evaluation)> = reports
            .iter()
            .map(|(run, evaluation, _)| (run.as_str(), evaluation))
            .collect();
        output::line(&judged::table("run", &rows));
        for (run, _, comparisons) in &reports {
            print_comparisons(args, run, comparisons);
        }
        if args.per_query {
            rows.iter()
                .for_each(|(_, evaluation)| output::line(&judged::query_table(evaluation)));
        }
    }
    Ok(exit)
}

fn evaluate_collection(args: &Args, path: &Path, metrics: &[Metric]) -> anyhow::Result<Exit> {
    let collection = BeirCollection::open(path)?;
    let qrels = collection.qrels(&args.split)?;
    let queries = collection.judged_queries(&qrels)?;
    let scratch = tempfile::tempdir()?;
    // One more than asked for: a hit that is the query itself is taken out.
    let depth = args.k as usize + 1;
    let answered = match args.model.as_str() {
        "bm25" => answer_bm25(&collection, &queries, depth, scratch.path())?,
        model if DenseEncoder::is_in(Path::new(model))? => answer_dense(args, &collection, &queries, depth)?,
        _ => {
            let encoder = open_model(args, &collection)?;
            answer_sparse(encoder, &collection, &queries, depth, scratch.path())?
        }
    };
    let run = judged::run_of(&queries, answered.hits, args.k as usize, args.keep_identical)?;
    if let Some(path) = &args.run {
        run.write(path, &tag(&args.model))?;
    }
    let evaluation = tamis_eval::evaluate(&qrels, &run, metrics);
    let report = Report {
        collection: collection.name(),
        model: args.model.clone(),
        documents: answered.documents,
        queries: evaluation.num_queries,
        metrics: evaluation.mean.clone(),
        encode: answered.encode,
        index: answered.index,
        search: answered.search,
        against: compare(args, &qrels, &evaluation)?,
        per_query: args.per_query.then(|| evaluation.per_query.clone()),
    };
    if args.json {
        output::json(&report)?;
    } else {
        output::line(&judged::table(&report.collection, &[(&args.model, &evaluation)]));
        print_comparisons(args, &args.model, &report.against);
        if args.per_query {
            output::line(&judged::query_table(&evaluation));
        }
        output::note(&report.search.to_string());
    }
    Ok(judged::check(&args.fail_under, &evaluation, Exit::Done))
}

/// How `evaluation` compares with the run of `--against`, by each of its metrics.
fn compare(args: &Args, qrels: &Qrels, evaluation: &Evaluation) -> anyhow::Result<Vec<Comparison>> {
    let Some(path) = &args.against else {
        return Ok(Vec::new());
    };
    let metrics: Vec<Metric> = evaluation.mean.iter().map(|(metric, _)| metric).collect();
    let other = tamis_eval::evaluate(qrels, &Run::read(path)?, &metrics);
    let compared = metrics
        .iter()
        .filter_map(|&metric| Comparison::of(evaluation, &other, metric));
    Ok(compared.collect())
}

fn print_comparisons(args: &Args, name: &str, comparisons: &[Comparison]) {
    let Some(against) = args.against.as_ref().filter(|_| !comparisons.is_empty()) else {
        return;
    };
    let row = |compared: &Comparison| {
        vec![
            compared.metric.to_string(),
            format!("{:+.4}", compared.mean - compared.other_mean),
            compared.num_better.to_string(),
            compared.num_worse.to_string(),
            format!("{:.4}", compared.p_value),
        ]
    };
    let what = format!("{name} against {}", against.display());
    let header = [what.as_str(), "difference", "better", "worse", "p"];
    output::line(&output::table(
        &header,
        &comparisons.iter().map(row).collect::<Vec<_>>(),
    ));
}

/// Opens the model to encode `collection`.
fn open_model(args: &Args, collection: &BeirCollection) -> anyhow::Result<Arc<dyn Encoder>> {
    match args.model.as_str() {
        "lexical" => encoding::lexical_for_records(input::corpus(collection)?),
        spec => {
            let options = args.long.unwrap_or_default().options();
            Ok(tamis_encoder::open_with(spec, &options, args.compute.checked()?)?)
        }
    }
}

/// Encodes the documents, indexes them, searches.
fn answer_sparse(
    encoder: Arc<dyn Encoder>,
    collection: &BeirCollection,
    queries: &[Query],
    depth: usize,
    scratch: &Path,
) -> anyhow::Result<Answered> {
    let mut indexing = Indexing::new(IndexOptions::default(), scratch)?;
    let mut encode = EncodeReport::default();
    let progress = Progress::new("encoded", "documents", input::corpus_extent(collection)?, false);
    input::in_batches(input::corpus(collection)?, &mut Broken::never(), BATCH, |batch| {
        progress.add(batch.len());
        for (id, tokens) in encode.encode_records(Some(encoder.as_ref()), InputKind::Document, batch)? {
            indexing.add_tokens(id, tokens)?;
        }
        Ok(())
    })?;
    progress.finish();
    encode.warn_long();
    let path = scratch.join(standalone::FILE_NAME);
    let build = indexing.finish(&path, false)?;
    let index = standalone::open(&path)?;
    let query_encoder = QueryEncoder::with(&index, encoder);
    let mut vectors = Vec::with_capacity(queries.len());
    for batch in queries.chunks(BATCH) {
        let texts: Vec<&str> = batch.iter().map(|query| query.text.as_str()).collect();
        let ids = batch.iter().map(|query| query.id.clone());
        vectors.extend(ids.zip(query_encoder.texts(&texts)?));
    }
    let answers = search::answer(
        &index,
        &Workload::new(vectors),
        AlgorithmName::Auto,
        Setting::once(depth),
    )?;
    Ok(Answered {
        documents: build.num_docs.into(),
        hits: answers.hits,
        encode,
        index: IndexSize {
            bytes: build.bytes,
            postings: build.num_postings,
        },
        search: answers.report,
    })
}

/// Encodes the documents with a dense encoder and scores each of them for each query.
fn answer_dense(args: &Args, collection: &BeirCollection, queries: &[Query], depth: usize) -> anyhow::Result<Answered> {
    let long_text = args.long.unwrap_or_default().for_dense()?;
    let encoder = DenseEncoder::open(Path::new(&args.model), long_text, args.compute.checked()?)?;
    let mut encode = EncodeReport::default();
    let vectors = dense::Vectors::encode(&encoder, collection, &mut encode)?;
    encode.warn_long();
    let start = Instant::now();
    let (hits, timings) = vectors.answer(&encoder, queries, depth)?;
    Ok(Answered {
        documents: vectors.len() as u64,
        hits,
        encode,
        index: IndexSize {
            bytes: vectors.bytes(),
            postings: 0,
        },
        search: timings.report("cosine", Setting::once(depth), start.elapsed().as_secs_f64()),
    })
}

/// Indexes the documents in a collection without a model and searches it by BM25.
fn answer_bm25(
    collection: &BeirCollection,
    queries: &[Query],
    depth: usize,
    scratch: &Path,
) -> anyhow::Result<Answered> {
    let engine = Engine::open(scratch)?;
    let indexed = engine.create_collection(&CollectionConfig::new("bm25"))?;
    let progress = Progress::new("indexed", "documents", input::corpus_extent(collection)?, false);
    input::in_batches(input::corpus(collection)?, &mut Broken::never(), BATCH, |batch| {
        progress.add(batch.len());
        collection::add_records(&indexed, batch, &mut BTreeSet::new())
    })?;
    indexed.commit()?;
    progress.finish();
    let searcher = indexed.searcher();
    let (mut hits, mut timings) = (Vec::with_capacity(queries.len()), Timings::default());
    let start = Instant::now();
    for query in queries {
        let request = SearchRequest {
            mode: Mode::Bm25,
            limit: depth,
            fields: Some(Vec::new()),
            ..SearchRequest::new(query.text.as_str())
        };
        let response = searcher
            .search(&request)
            .with_context(|| format!("query {:?}", query.id))?;
        let work = Work {
            postings: response.work.postings,
            ..Work::default()
        };
        #[expect(clippy::cast_precision_loss, reason = "microseconds of one search")]
        timings.add(response.took.retrieve_us as f64, response.hits.len(), work);
        hits.push(
            response
                .hits
                .into_iter()
                .map(|hit| (hit.id, hit.score.into()))
                .collect(),
        );
    }
    let stats = indexed.stats();
    Ok(Answered {
        documents: indexed.num_docs(),
        hits,
        encode: EncodeReport::default(),
        index: IndexSize {
            bytes: stats.bytes,
            postings: searcher.num_word_postings()?,
        },
        search: timings.report("bm25", Setting::once(depth), start.elapsed().as_secs_f64()),
    })
}

/// The last column of a run: one word.
fn tag(model: &str) -> String {
    let name = Path::new(model)
        .file_name()
        .map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    format!("tamis-{}", name.replace(char::is_whitespace, "_"))
}
