//! The recipes that come with the program: one file a published method, below `presets/`.

use serde::Serialize;

use super::Recipe;
use crate::error::Error;

/// Names and texts, in the order in which they are listed.
const PRESETS: [(&str, &str); 41] = [
    ("splade-v1", include_str!("../../presets/splade-v1.toml")),
    ("splade-max", include_str!("../../presets/splade-max.toml")),
    ("distilsplade-max", include_str!("../../presets/distilsplade-max.toml")),
    ("splade-doc", include_str!("../../presets/splade-doc.toml")),
    (
        "splade-pp-selfdistil",
        include_str!("../../presets/splade-pp-selfdistil.toml"),
    ),
    (
        "splade-pp-ensembledistil",
        include_str!("../../presets/splade-pp-ensembledistil.toml"),
    ),
    ("splade-v3", include_str!("../../presets/splade-v3.toml")),
    (
        "efficient-splade-v-large",
        include_str!("../../presets/efficient-splade-v-large.toml"),
    ),
    (
        "efficient-splade-v-medium",
        include_str!("../../presets/efficient-splade-v-medium.toml"),
    ),
    (
        "efficient-splade-v-small",
        include_str!("../../presets/efficient-splade-v-small.toml"),
    ),
    (
        "efficient-splade-vi-bt-large",
        include_str!("../../presets/efficient-splade-vi-bt-large.toml"),
    ),
    ("deepct", include_str!("../../presets/deepct.toml")),
    ("unicoil", include_str!("../../presets/unicoil.toml")),
    (
        "unicoil-marginmse",
        include_str!("../../presets/unicoil-marginmse.toml"),
    ),
    ("unicoil-expanded", include_str!("../../presets/unicoil-expanded.toml")),
    (
        "unicoil-expanded-marginmse",
        include_str!("../../presets/unicoil-expanded-marginmse.toml"),
    ),
    ("deepimpact", include_str!("../../presets/deepimpact.toml")),
    (
        "deepimpact-marginmse",
        include_str!("../../presets/deepimpact-marginmse.toml"),
    ),
    ("tildev2", include_str!("../../presets/tildev2.toml")),
    (
        "tildev2-marginmse",
        include_str!("../../presets/tildev2-marginmse.toml"),
    ),
    ("sparta", include_str!("../../presets/sparta.toml")),
    ("sparta-marginmse", include_str!("../../presets/sparta-marginmse.toml")),
    ("epic", include_str!("../../presets/epic.toml")),
    ("epic-marginmse", include_str!("../../presets/epic-marginmse.toml")),
    ("lsr-splade-max", include_str!("../../presets/lsr-splade-max.toml")),
    (
        "lsr-distilsplade-max",
        include_str!("../../presets/lsr-distilsplade-max.toml"),
    ),
    (
        "lsr-distilsplade-sep",
        include_str!("../../presets/lsr-distilsplade-sep.toml"),
    ),
    ("lsr-splade-qmlp", include_str!("../../presets/lsr-splade-qmlp.toml")),
    ("lsr-qmlm-dmlp", include_str!("../../presets/lsr-qmlm-dmlp.toml")),
    ("lsr-clsmlm", include_str!("../../presets/lsr-clsmlm.toml")),
    ("l0-doc", include_str!("../../presets/l0-doc.toml")),
    ("l0-mask", include_str!("../../presets/l0-mask.toml")),
    ("l0-activation", include_str!("../../presets/l0-activation.toml")),
    ("l0-baseline", include_str!("../../presets/l0-baseline.toml")),
    ("idf-aware", include_str!("../../presets/idf-aware.toml")),
    (
        "idf-aware-explicit",
        include_str!("../../presets/idf-aware-explicit.toml"),
    ),
    (
        "opensearch-ensemble",
        include_str!("../../presets/opensearch-ensemble.toml"),
    ),
    ("df-flops", include_str!("../../presets/df-flops.toml")),
    ("li-lsr", include_str!("../../presets/li-lsr.toml")),
    (
        "sparse-from-pairs",
        include_str!("../../presets/sparse-from-pairs.toml"),
    ),
    ("gated-lift", include_str!("../../presets/gated-lift.toml")),
];

/// A recipe in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PresetSummary {
    /// Its name.
    pub name: String,
    /// What it trains, in a sentence.
    pub about: String,
    /// Who published it.
    pub source: String,
}

/// The names of all recipes of this program.
pub fn recipe_names() -> impl DoubleEndedIterator<Item = &'static str> {
    PRESETS.into_iter().map(|(name, _)| name)
}

/// All recipes of this program.
///
/// # Panics
/// Never: a test opens each of them.
#[must_use]
pub fn preset_summaries() -> Vec<PresetSummary> {
    let summary = |name| {
        let recipe = Recipe::preset(name).expect("a test opens every preset");
        PresetSummary {
            name: recipe.name,
            about: recipe.about,
            source: recipe.source,
        }
    };
    recipe_names().map(summary).collect()
}

/// The text of a recipe, with its comments.
///
/// # Errors
/// [`Error::UnknownPreset`] when there is none of the name.
pub fn preset_text(name: &str) -> Result<&'static str, Error> {
    let found = PRESETS.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| text).ok_or_else(|| Error::UnknownPreset {
        name: name.to_owned(),
        near: nearest(name),
    })
}

/// A name that shares a part with this one.
fn nearest(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('-').filter(|part| part.len() > 1).collect();
    let shared = |known: &&str| parts.iter().filter(|part| known.contains(**part)).count();
    let best = recipe_names().rev().max_by_key(shared)?;
    (shared(&best) > 0).then(|| best.to_owned())
}
