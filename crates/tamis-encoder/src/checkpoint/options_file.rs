//! `tamis.json`: what a directory says of itself beyond its own files.

use super::json::JsonFile;
use super::policy::CheckpointOptions;
use crate::Error;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// Fields of both sides together, then those that either side may have for itself.
const WHOLE: [&str; 10] = [
    "preset",
    "query_model",
    "pooling",
    "activation",
    "norm",
    "special_tokens",
    "max_length",
    "long_text",
    "document",
    "query",
];
const SIDE: [&str; 17] = [
    "head",
    "pooling",
    "activation",
    "norm",
    "special_tokens",
    "max_length",
    "scatter",
    "terms",
    "cleaning",
    "stop_words",
    "expansion",
    "lexical",
    "scale",
    "min_weight",
    "prune_ratio",
    "top_k",
    "quantisation",
];

/// Reads `tamis.json` of `dir`; silent options where there is none.
pub(super) fn read(dir: &Path) -> Result<CheckpointOptions, Error> {
    let Some(file) = JsonFile::read_if_present(&dir.join("tamis.json"))? else {
        return Ok(CheckpointOptions::default());
    };
    check_names(&file.path, "", &file.value, &WHOLE)?;
    for side in ["document", "query"] {
        if let Some(options) = file.get(side) {
            check_names(&file.path, &format!("{side}."), options, &SIDE)?;
        }
    }
    CheckpointOptions::deserialize(&file.value).map_err(|source| Error::Json {
        path: file.path.clone(),
        source,
    })
}

/// Refuses unknown fields, each with the known name nearest to it.
fn check_names(path: &Path, prefix: &str, value: &Value, known: &[&str]) -> Result<(), Error> {
    let fields = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    for name in fields {
        if known.contains(&name) {
            continue;
        }
        let expected = match nearest(name, known.iter().copied()) {
            Some(near) => format!("{:?}", format!("{prefix}{near}")),
            None => format!("one of {}", known.join(", ")),
        };
        return Err(Error::field(
            path,
            &format!("{prefix}{name}"),
            expected,
            "an unknown field",
        ));
    }
    Ok(())
}

/// The known name that a mistyped one most likely means: at most a third of its letters differ.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (distance(name, known), known));
    let (steps, best) = scored.min()?;
    (steps * 3 <= name.chars().count().max(best.len())).then_some(best)
}

/// Letters to add, take away or replace (Levenshtein, 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (to, &right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(diagonal + 1).min(row[to] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::policy::SideOptions;
    use super::*;

    #[test]
    fn all_names_of_the_options_are_known() {
        // Serde lists the names that it accepts.
        let unknown = serde_json::json!({"?": 0});
        let whole = CheckpointOptions::deserialize(&unknown)
            .expect_err("unknown")
            .to_string();
        let side = SideOptions::deserialize(&unknown).expect_err("unknown").to_string();
        for (message, names) in [(whole, WHOLE.as_slice()), (side, SIDE.as_slice())] {
            assert_eq!(message.matches('`').count() / 2 - 1, names.len(), "{message}");
            for name in names {
                assert!(message.contains(&format!("`{name}`")), "{name}: {message}");
            }
        }
    }

    #[test]
    fn the_nearest_name_is_close() {
        let near = |name| nearest(name, SIDE.into_iter());
        assert_eq!(near("poling"), Some("pooling"));
        assert_eq!(near("topk"), Some("top_k"));
        assert_eq!(near("special-tokens"), Some("special_tokens"));
        assert_eq!(near("temperature"), None);
    }
}
