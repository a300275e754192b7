//! Two encoders in two directories: Efficient SPLADE and its kin (Lassance and Clinchant, SIGIR 2022).
//!
//! - `{"query_model": "../other"}` in the `tamis.json` of the document encoder, as naver publishes pairs;
//! - the output of naver's trainer: the document encoder with a `query/` inside, or `model/` beside `model_q/`.

use super::layout::{Side, Sides, one_directory};
use crate::Error;
use std::path::{Component, Path, PathBuf};

/// The document encoder in `dir` with the query encoder `name` beside it.
///
/// # Errors
/// When `name` leads out of the folder that holds `dir`, and as those of either directory.
pub(super) fn beside(dir: &Path, name: &str) -> Result<Sides, Error> {
    let wrong = |found: String| {
        let expected = "a directory inside the one, or beside the one, of this checkpoint";
        Error::field(&dir.join("tamis.json"), "query_model", expected, found)
    };
    let mut parts = Path::new(name).components().peekable();
    parts.next_if(|part| *part == Component::ParentDir);
    if !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(wrong(format!("{name:?}")));
    }
    let query = dir
        .join(name)
        .canonicalize()
        .map_err(|error| wrong(format!("{name:?} ({error})")))?;
    // A link may lead elsewhere.
    if !query.is_dir() || !query.starts_with(dir.parent().unwrap_or(dir)) {
        return Err(wrong(format!("{name:?}, which is {}", query.display())));
    }
    joined(one_directory(dir)?, &query)
}

/// The pair inside `dir`, where there is one.
pub(super) fn inside(dir: &Path) -> Result<Option<Sides>, Error> {
    let is_model = |dir: &PathBuf| dir.join("config.json").is_file();
    let [query, model, model_q] = ["query", "model", "model_q"].map(|name| dir.join(name));
    let has_own = ["config.json", "modules.json"]
        .iter()
        .any(|name| dir.join(name).exists());
    if !has_own && is_model(&model) && is_model(&model_q) {
        return joined(one_directory(&model)?, &model_q).map(Some);
    }
    let listed = dir.join("modules.json").exists();
    if has_own && !listed && is_model(&query) {
        return joined(one_directory(dir)?, &query).map(Some);
    }
    Ok(None)
}

/// The document side of `document`, the query side of the model in `query`.
fn joined(document: Sides, query: &Path) -> Result<Sides, Error> {
    let query = one_directory(query)?;
    if let Side::Table(_) = query.query {
        // The special tokens of inference-free models have no column on either side.
        return Ok(Sides {
            special_tokens: query.special_tokens,
            query: query.query,
            query_prompt: query.query_prompt,
            ..document
        });
    }
    Ok(Sides {
        query: query.query,
        query_prompt: query.query_prompt,
        ..document
    })
}
