//! `tamis search`: one query.

use crate::compute::ComputeArgs;
use crate::exit::{Exit, failure};
use crate::output;
use crate::search::{self, AlgorithmName, Setting, Workload};
use crate::standalone::{self, QueryEncoder};
use std::path::PathBuf;
use tamis_core::SparseVector;
use tamis_engine::{Engine, Mode, SearchHit, SearchRequest, SearchResponse};

/// Terms shown behind a hit.
const SHOWN_TERMS: usize = 4;

/// Arguments of `tamis search`.
#[derive(clap::Args)]
pub struct Args {
    /// The question
    query: String,
    /// Folder of a stand-alone index
    #[arg(long, conflicts_with_all = ["data", "collection", "mode", "filter", "explain"])]
    index: Option<PathBuf>,
    /// Folder with collections
    #[arg(long, default_value = "tamis-data")]
    data: PathBuf,
    /// The collection in --data to search
    #[arg(long, required_unless_present = "index")]
    collection: Option<String>,
    /// How many documents to find
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// What scores documents
    #[arg(long, value_enum, default_value_t)]
    mode: ModeName,
    /// Only documents that match, for example 'year >= 1990 AND topic = "music"'
    #[arg(long)]
    filter: Option<String>,
    /// Show what every term adds to every hit
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// [`Mode`] as it is written on the command line.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
pub enum ModeName {
    /// The model's vectors
    #[default]
    Sparse,
    /// BM25 over the text
    Bm25,
    /// Both, fused
    Fused,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Sparse => Self::Sparse,
            ModeName::Bm25 => Self::Bm25,
            ModeName::Fused => Self::Fused,
        }
    }
}

/// Runs `tamis search`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match (&args.index, &args.collection) {
        (Some(folder), _) => search_index(args, folder)?,
        (None, Some(name)) => search_collection(args, name)?,
        (None, None) => return Err(failure(Exit::Usage, "--index or --collection is needed")),
    }
    Ok(Exit::Done)
}

fn search_index(args: &Args, folder: &std::path::Path) -> anyhow::Result<()> {
    let index = standalone::open(folder)?;
    let vectors: Vec<SparseVector> =
        QueryEncoder::open(&index, None, args.compute.checked()?)?.texts(&[&args.query])?;
    let workload = Workload::new(vectors.into_iter().map(|vector| (args.query.clone(), vector)).collect());
    let answers = search::answer(&index, &workload, AlgorithmName::Auto, Setting::once(args.k))?;
    let hits = answers.hits.into_iter().next().unwrap_or_default();
    if args.json {
        let hits: Vec<_> = hits
            .iter()
            .map(|(id, score)| serde_json::json!({"id": id, "score": score}))
            .collect();
        return output::json(&serde_json::json!({"hits": hits, "exact": true, "search": answers.report}));
    }
    if hits.is_empty() {
        output::note("no document shares a term with the query");
    }
    hits.iter()
        .enumerate()
        .for_each(|(rank, (id, score))| output::line(&format!("{:>3}  {score:>9.4}  {id}", rank + 1)));
    Ok(())
}

fn search_collection(args: &Args, name: &str) -> anyhow::Result<()> {
    if !args.data.is_dir() {
        let message = format!(
            "no collections at {}; `tamis index --collection` or `tamis serve` makes one",
            args.data.display()
        );
        return Err(failure(Exit::NotFound, message));
    }
    let engine = Engine::open_with(&args.data, args.compute.checked()?)?;
    let request = SearchRequest {
        query: Some(args.query.clone()),
        mode: args.mode.into(),
        limit: args.k,
        filter: args.filter.clone(),
        explain: args.explain,
        highlight: true,
        ..SearchRequest::default()
    };
    let response = engine.collection(name)?.searcher().search(&request)?;
    if args.json {
        return output::json(&response);
    }
    print(&response);
    Ok(())
}

/// Prints hits for people.
fn print(response: &SearchResponse) {
    if response.hits.is_empty() {
        output::note("no document matches");
    }
    for hit in &response.hits {
        output::line(&format!("{:>3}  {}  ({})", hit.rank, hit_line(hit), hit.id));
        if let Some(snippet) = &hit.snippet {
            let (before, after) = (
                if snippet.cut_before { "... " } else { "" },
                if snippet.cut_after { " ..." } else { "" },
            );
            output::line(&format!("     {before}{}{after}", snippet.text.replace('\n', " ")));
        }
    }
}

/// Score, title and, where it was asked for, what the best terms add.
pub fn hit_line(hit: &SearchHit) -> String {
    let title = hit.title.as_deref().unwrap_or(&hit.id);
    let terms = hit.explain.iter().flat_map(|explain| &explain.terms).take(SHOWN_TERMS);
    let terms: Vec<String> = terms.map(|term| format!("{} {:.2}", term.term, term.product)).collect();
    format!("{:>7.3}  {title:<32}  {}", hit.score, terms.join(", "))
        .trim_end()
        .to_owned()
}
