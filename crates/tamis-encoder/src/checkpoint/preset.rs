//! Published families by name: what their code does and no file of a checkpoint tells.
//!
//! `presets.json` says it in the words of `tamis.json`.

use super::options_file::nearest;
use super::policy::CheckpointOptions;
use crate::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

const PRESETS: &str = include_str!("presets.json");

/// What a preset sets.
#[derive(Deserialize)]
struct Preset {
    /// For people.
    #[serde(rename = "source")]
    _source: String,
    sets: CheckpointOptions,
    /// Why it cannot be served, where it cannot.
    refused: Option<String>,
}

fn presets() -> BTreeMap<String, Preset> {
    serde_json::from_str(PRESETS).expect("compiled in, and tested")
}

/// The names of all presets, sorted.
#[must_use]
pub fn preset_names() -> Vec<String> {
    presets().into_keys().collect()
}

/// What preset `name` sets; `path` is the file that may name one.
pub(super) fn named(name: &str, path: &Path) -> Result<CheckpointOptions, Error> {
    let mut presets = presets();
    let Some(preset) = presets.remove(name) else {
        let expected = match nearest(name, presets.keys().map(String::as_str)) {
            Some(near) => format!("{near:?}"),
            None => format!("one of {}", presets.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        return Err(Error::field(path, "preset", expected, format!("{name:?}")));
    };
    match preset.refused {
        Some(why) => Err(Error::field(path, "preset", why, format!("{name:?}"))),
        None => Ok(preset.sets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_well_formed() {
        for (name, preset) in presets() {
            assert!(!preset._source.is_empty(), "{name}");
            assert_eq!(preset.sets.preset, None, "{name} names another one");
            let result = named(&name, Path::new("tamis.json"));
            assert_eq!(result.is_err(), preset.refused.is_some(), "{name}");
        }
    }

    #[test]
    fn mistyped_names_get_the_nearest() {
        let message = |name| named(name, Path::new("tamis.json")).expect_err("unknown").to_string();
        assert!(
            message("splade_v3").contains("\"splade-v3\" expected"),
            "{}",
            message("splade_v3")
        );
        assert!(message("bm25").contains("one of"), "{}", message("bm25"));
        let refusal = message("coil-tok");
        assert!(refusal.contains("vector") && refusal.contains("coil-tok"), "{refusal}");
    }
}
