//! `tamis inspect`: what is in an index, a collection or a model.

use crate::exit::{Exit, failure};
use crate::output;
use crate::standalone;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tamis_core::{DocId, TermId};
use tamis_engine::Engine;
use tamis_index::Index;

/// Arguments of `tamis inspect`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of an index, of collections (--data of `serve`) or of a model; or the name of a model
    path: PathBuf,
    /// Show the postings of this term (stand-alone index)
    #[arg(long)]
    term: Option<String>,
    /// Show the vector of the document with this id (stand-alone index)
    #[arg(long)]
    document: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `tamis inspect`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let path = &args.path;
    let described = if standalone::file_of(path).is_file() && !path.join("config.json").is_file() {
        index(args)?
    } else if path.is_dir() && !is_model(path) {
        collections(path)?
    } else if path.is_dir() || tamis_encoder::model_names().any(|name| path == Path::new(name)) {
        let encoder = tamis_encoder::open(&path.to_string_lossy())?;
        json!({"model": encoder.name(), "fingerprint": encoder.fingerprint().to_string(),
            "description": encoder.description()})
    } else {
        let message = format!("{}: no index, collections or checkpoint here", path.display());
        return Err(failure(Exit::NotFound, message));
    };
    if args.json {
        output::json(&described)?;
    } else {
        print(&described, "");
    }
    Ok(Exit::Done)
}

fn is_model(path: &Path) -> bool {
    ["config.json", "modules.json", "lifted.json"]
        .iter()
        .any(|name| path.join(name).is_file())
}

/// Prints nested objects as indented `key: value` lines.
fn print(value: &Value, indent: &str) {
    let Value::Object(map) = value else { return };
    for (key, value) in map {
        match value {
            Value::Object(_) => {
                output::line(&format!("{indent}{key}:"));
                print(value, &format!("{indent}  "));
            }
            Value::Number(number) if number.is_u64() => {
                output::line(&format!(
                    "{indent}{key}: {}",
                    output::grouped(number.as_u64().unwrap_or_default())
                ));
            }
            // Single-precision options read back as doubles: show the digits that were written.
            #[expect(clippy::cast_possible_truncation, reason = "only where nothing is lost")]
            Value::Number(number) if number.as_f64().is_some_and(|number| f64::from(number as f32) == number) => {
                output::line(&format!(
                    "{indent}{key}: {}",
                    number.as_f64().unwrap_or_default() as f32
                ));
            }
            Value::String(text) => output::line(&format!("{indent}{key}: {text}")),
            other => output::line(&format!("{indent}{key}: {other}")),
        }
    }
}

fn collections(path: &Path) -> anyhow::Result<Value> {
    let engine = Engine::open(path)?;
    let mut described = Map::new();
    for entry in engine.list() {
        let collection = engine.collection(&entry.name);
        let value = match collection {
            Ok(collection) => json!({"config": collection.config(), "stats": collection.stats()}),
            Err(error) => json!({"error": error.to_string()}),
        };
        described.insert(entry.name, value);
    }
    if described.is_empty() {
        let message = format!("{}: no index, collections or checkpoint here", path.display());
        return Err(failure(Exit::NotFound, message));
    }
    Ok(Value::Object(described))
}

fn index(args: &Args) -> anyhow::Result<Value> {
    let index = standalone::open(&args.path)?;
    if let Some(term) = &args.term {
        return describe_term(&index, term);
    }
    if let Some(id) = &args.document {
        return describe_document(&index, id);
    }
    let sections: Map<String, Value> = index
        .sections()
        .map(|(name, bytes)| (name.to_owned(), json!(bytes.len())))
        .collect();
    let model = standalone::stored_model(&index)?;
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let bytes_per_posting = index.size_bytes() as f64 / index.num_postings().max(1) as f64;
    Ok(json!({
        "index": standalone::file_of(&args.path),
        "documents": index.num_docs(),
        "terms": index.num_terms(),
        "postings": index.num_postings(),
        "bytes": index.size_bytes(),
        "bytes_per_posting": (bytes_per_posting * 1000.0).round() / 1000.0,
        "windows": index.num_windows(),
        "window_documents": 1u64 << index.window_bits(),
        "weight_of_impact_1": index.quantiser().step(),
        "largest_weight": index.quantiser().max_weight(),
        "model": model.as_ref().map(|model| &model.description),
        "fingerprint": model.as_ref().map(|model| &model.fingerprint),
        "section_bytes": sections,
    }))
}

fn describe_term(index: &Index, term: &str) -> anyhow::Result<Value> {
    let id = match index.vocabulary() {
        Some(vocabulary) => vocabulary.id(term),
        None => term.parse().ok().map(TermId::new),
    };
    let postings = id.and_then(|id| Some((id, index.term(id)?)));
    let Some((id, postings)) = postings else {
        return Err(failure(
            Exit::NotFound,
            format!("no document has the term {term:?} (terms are as the model writes them)"),
        ));
    };
    let largest = postings.max_impact();
    Ok(json!({
        "term": term,
        "term_id": id.get(),
        "documents": postings.num_docs(),
        "largest_impact": largest.get(),
        "largest_weight": index.quantiser().weight(largest),
        "impact_of_rank_10": postings.kth_impact(10),
        "impact_of_rank_100": postings.kth_impact(100),
        "impact_of_rank_1000": postings.kth_impact(1000),
    }))
}

fn describe_document(index: &Index, id: &str) -> anyhow::Result<Value> {
    let doc = (0..index.num_docs())
        .map(DocId::new)
        .find(|&doc| index.external_id(doc) == Some(id));
    let Some(doc) = doc else {
        return Err(failure(Exit::NotFound, format!("no document {id:?} in the index")));
    };
    let mut terms: Vec<_> = index.forward(doc).collect();
    terms.sort_by_key(|&(term, impact)| (std::cmp::Reverse(impact), term));
    let vector: Map<String, Value> = terms
        .into_iter()
        .map(|(term, impact)| {
            let text = index.vocabulary().and_then(|vocabulary| vocabulary.term(term));
            let text = text.map_or_else(|| term.to_string(), str::to_owned);
            (text, json!(index.quantiser().weight(impact)))
        })
        .collect();
    Ok(json!({"id": id, "terms": vector.len(), "vector": vector}))
}
