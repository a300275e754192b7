//! `tamis demo`: the built-in collection, from texts to an answering server.

use super::search;
use super::serve::{self, Address};
use crate::collection;
use crate::exit::Exit;
use crate::input::Record;
use crate::judged;
use crate::output;
use anyhow::Context;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tamis_encoder::DEFAULT_MODEL;
use tamis_engine::{Collection, CollectionConfig, Engine, Mode, SearchRequest};
use tamis_eval::{Evaluation, LineReader, Metric, Qrels, Run, ScoredDocument};

const CORPUS: &str = include_str!("../../../tests/data/demo/corpus.jsonl");
const QUERIES: &str = include_str!("../../../tests/data/demo/queries.jsonl");
const QRELS: &str = include_str!("../../../tests/data/demo/qrels/test.tsv");

/// Documents found for each query of the evaluation.
const DEPTH: usize = 100;

/// Queries that are answered in print. The last shares no word with its answer, which BM25 must miss.
const SHOWN: [&str; 4] = ["q-astro-01", "q-earth-06", "q-art-03", "q-food-16"];

/// Arguments of `tamis demo`.
#[derive(clap::Args)]
pub struct Args {
    /// End after the evaluation
    #[arg(long)]
    no_serve: bool,
    #[command(flatten)]
    address: Address,
    /// Print the evaluation as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `tamis demo`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir()?;
    let engine = Arc::new(Engine::open(folder.path())?);
    let queries = records(QUERIES)?;
    let qrels = Qrels::from_lines(LineReader::new(Box::new(QRELS.as_bytes()), "qrels/test.tsv".to_owned()))?;
    let collection = index(&engine, args.json)?;
    if !args.json {
        show_answers(&collection, &queries, &qrels)?;
    }
    evaluate(&collection, &queries, &qrels, args.json)?;
    if args.no_serve {
        return Ok(Exit::Done);
    }
    serve::listen(args.address.options(), engine)
}

fn records(lines: &str) -> anyhow::Result<Vec<Record>> {
    let parse = |line| {
        Record::parse(line)
            .map_err(anyhow::Error::msg)
            .context("the built-in collection is broken")
    };
    lines.lines().map(parse).collect()
}

fn index(engine: &Engine, quiet: bool) -> anyhow::Result<Arc<Collection>> {
    let start = Instant::now();
    let documents = records(CORPUS)?;
    let encoder = tamis_encoder::open(DEFAULT_MODEL)?;
    let mut config = CollectionConfig::new("demo");
    config.model = Some(DEFAULT_MODEL.to_owned());
    config.fields = serde_json::from_value(json!({"topic": "keyword", "year": "integer"}))?;
    let collection = collection::create(engine, &config, encoder, documents)?;
    if !quiet {
        output::line(&format!(
            "Indexed {} passages in {:.0} ms with the model `{DEFAULT_MODEL}`, which is part of this program.\n",
            collection.num_docs(),
            start.elapsed().as_secs_f64() * 1e3
        ));
    }
    Ok(collection)
}

fn kind_of(query: &Record) -> &str {
    query
        .fields
        .get("kind")
        .and_then(|kind| kind.as_str())
        .unwrap_or("other")
}

fn text_of(query: &Record) -> String {
    query.joined_text().unwrap_or_default()
}

fn show_answers(collection: &Collection, queries: &[Record], qrels: &Qrels) -> anyhow::Result<()> {
    for query in SHOWN
        .iter()
        .filter_map(|id| queries.iter().find(|query| query.id == *id))
    {
        let request = SearchRequest {
            limit: 3,
            explain: true,
            highlight: true,
            ..SearchRequest::new(text_of(query))
        };
        let response = collection.searcher().search(&request)?;
        let hint = match kind_of(query) {
            "paraphrase" => "  (shares no word with its answer)",
            _ => "",
        };
        output::line(&format!("? {}{hint}", text_of(query)));
        for hit in &response.hits {
            let mark = qrels
                .grade(&query.id, &hit.id)
                .filter(|&grade| grade > 0)
                .map_or(" ", |_| "*");
            output::line(&format!(" {mark}{}", search::hit_line(hit)));
        }
        output::line("");
    }
    output::line("* judged relevant; behind each hit what its terms add to its score\n");
    Ok(())
}

fn evaluate(collection: &Collection, queries: &[Record], qrels: &Qrels, as_json: bool) -> anyhow::Result<()> {
    let metrics: Vec<Metric> = ["ndcg@10", "mrr@10", "recall@10", "recall@100"]
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    let modes = [
        ("bm25", "bm25", Mode::Bm25),
        ("sparse", "sparse (tamis-small)", Mode::Sparse),
        ("fused", "fused", Mode::Fused),
    ];
    let mut evaluations = BTreeMap::new();
    for (name, _, mode) in modes {
        let mut run = Run::new();
        for query in queries {
            let request = SearchRequest {
                mode,
                limit: DEPTH,
                fields: Some(Vec::new()),
                ..SearchRequest::new(text_of(query))
            };
            let hits = collection.searcher().search(&request)?.hits.into_iter();
            run.insert(
                query.id.as_str(),
                hits.map(|hit| ScoredDocument {
                    id: hit.id,
                    score: hit.score.into(),
                })
                .collect(),
            )?;
        }
        evaluations.insert(name, tamis_eval::evaluate(qrels, &run, &metrics));
    }
    if as_json {
        let figures: BTreeMap<_, _> = evaluations
            .iter()
            .map(|(name, evaluation)| (*name, &evaluation.mean))
            .collect();
        return output::json(
            &json!({"documents": collection.num_docs(), "queries": queries.len(), "metrics": figures}),
        );
    }
    let rows: Vec<(&str, &Evaluation)> = modes
        .iter()
        .map(|(name, label, _)| (*label, &evaluations[name]))
        .collect();
    output::line(&judged::table("search", &rows));
    output::line("");
    output::line(&table_by_kind(queries, &rows));
    output::line("");
    Ok(())
}

/// nDCG@10 by kind of query: paraphrases share no word with their answer, which word matching cannot bridge.
fn table_by_kind(queries: &[Record], rows: &[(&str, &Evaluation)]) -> String {
    let kinds: BTreeMap<&str, &str> = queries
        .iter()
        .map(|query| (query.id.as_str(), kind_of(query)))
        .collect();
    let columns: BTreeSet<&str> = kinds.values().copied().collect();
    let mean = |evaluation: &Evaluation, kind: &str| {
        let of_kind = evaluation
            .per_query
            .iter()
            .filter(|query| kinds.get(query.query.as_str()).is_some_and(|of| *of == kind));
        let values: Vec<f64> = of_kind
            .filter_map(|query| query.scores.iter().next().map(|(_, value)| value))
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a mean of a few hundred")]
        let count = values.len().max(1) as f64;
        values.iter().sum::<f64>() / count
    };
    let body: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, evaluation)| {
            let figures = columns.iter().map(|kind| format!("{:.4}", mean(evaluation, kind)));
            [(*name).to_owned()].into_iter().chain(figures).collect()
        })
        .collect();
    let header: Vec<&str> = ["ndcg@10 by kind"].into_iter().chain(columns.iter().copied()).collect();
    output::table(&header, &body)
}
