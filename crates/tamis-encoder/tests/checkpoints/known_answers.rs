//! Scores that the libraries' own tests publish for real checkpoints.
//!
//! They run when `TAMIS_CHECKPOINTS` names a folder of checkpoints, each under its published name with `--` or `/` for
//! the owner's slash, or without the owner: `naver--splade-v3`, `naver/splade-v3` or `splade-v3`. What is not there is
//! skipped, and said so on stderr.

use std::path::PathBuf;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind, SparseEncoding};

/// The folder of a published model, where there is one.
#[expect(clippy::print_stderr, reason = "a skipped check must not pass for one that was made")]
fn published(name: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("TAMIS_CHECKPOINTS").map(PathBuf::from) else {
        eprintln!("skipped: {name}: TAMIS_CHECKPOINTS names no folder of checkpoints");
        return None;
    };
    let short = name.rsplit('/').next().unwrap_or(name);
    let places = [name.replace('/', "--"), name.to_owned(), short.to_owned()];
    let found = places.iter().map(|place| root.join(place)).find(|place| place.is_dir());
    if found.is_none() {
        eprintln!("skipped: {name}: not in {}", root.display());
    }
    found
}

fn open(path: &std::path::Path, preset: Option<&str>) -> Checkpoint {
    let options = CheckpointOptions {
        preset: preset.map(str::to_owned),
        ..CheckpointOptions::default()
    };
    Checkpoint::open(path, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn encode(encoder: &Checkpoint, kind: InputKind, text: &str) -> SparseEncoding {
    encoder.encode(kind, &[text]).expect("any text").remove(0)
}

fn product(query: &SparseEncoding, document: &SparseEncoding) -> f32 {
    let weight = |token: &str| crate::weight(document, token);
    query.tokens.iter().map(|(token, value)| value * weight(token)).sum()
}

/// A query token with its weight in query and document, where published.
type Part = (&'static str, f32, f32);

/// OpenSearch's models on one query and document: the score, and weights of tokens in both.
const OPENSEARCH: [(&str, f32, &[Part]); 2] = [
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-distill",
        17.5307,
        &[
            ("ny", 5.7729, 1.4109),
            ("weather", 4.5684, 1.4673),
            ("now", 3.5895, 0.7473),
        ],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill",
        11.1105,
        &[
            ("ny", 5.7729, 0.8049),
            ("weather", 4.5684, 0.9710),
            ("now", 3.5895, 0.4720),
            ("?", 3.3313, 0.0286),
            ("what", 2.7699, 0.0787),
            ("in", 0.4989, 0.0417),
        ],
    ),
];

#[test]
fn opensearch_scores_are_the_published_ones() {
    for (name, score, parts) in OPENSEARCH {
        let Some(path) = published(name) else { continue };
        let preset = if name.contains("v3") {
            "opensearch-doc-v3"
        } else {
            "opensearch-doc-v2"
        };
        // A directory with router files says all of it by itself.
        let routed = path.join("modules.json").exists();
        let encoder = open(&path, (!routed).then_some(preset));
        let query = encode(&encoder, InputKind::Query, "What's the weather in ny now?");
        let document = encode(&encoder, InputKind::Document, "Currently New York is rainy.");
        let found = product(&query, &document);
        assert!((found - score).abs() < 2e-3, "{name}: {found}, {score} expected");
        for &(token, of_query, of_document) in parts {
            let (in_query, in_document) = (crate::weight(&query, token), crate::weight(&document, token));
            assert!(
                (in_query - of_query).abs() < 1e-3,
                "{name}: {token} in the query is {in_query}"
            );
            assert!(
                (in_document - of_document).abs() < 1e-3,
                "{name}: {token} in the document is {in_document}"
            );
        }
    }
}

const PLANET: &str = "Which planet is known as the Red Planet?";
const PLANETS: [&str; 4] = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
];

/// Scores of the query on the four documents, computed by their publishers in bfloat16: good to one in a hundred.
const GOLDEN: [(&str, [f32; 4]); 9] = [
    ("naver/splade-v3", [12.217, 26.237, 22.122, 23.500]),
    (
        "naver/splade-cocondenser-ensembledistil",
        [8.419, 22.558, 17.546, 17.443],
    ),
    ("naver/efficient-splade-V-large-doc", [4.899, 13.957, 11.879, 12.679]),
    ("naver/splade-v3-doc", [2.586, 5.202, 3.976, 4.793]),
    (
        "ibm-granite/granite-embedding-30m-sparse",
        [6.005, 16.717, 10.867, 10.550],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-distill",
        [8.872, 21.104, 16.594, 18.515],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill",
        [5.413, 11.600, 9.666, 10.575],
    ),
    (
        "sparse-encoder-testing/splade-modernbert-base-miriad",
        [1.035, 5.895, 5.920, 5.496],
    ),
    ("prithivida/Splade_PP_en_v1", [7.513, 21.089, 15.384, 16.889]),
];

#[test]
fn golden_similarities_of_public_models_hold() {
    for (name, expected) in GOLDEN {
        let Some(path) = published(name) else { continue };
        let encoder = open(&path, None);
        let query = encode(&encoder, InputKind::Query, PLANET);
        for (text, expected) in PLANETS.iter().zip(expected) {
            let found = product(&query, &encode(&encoder, InputKind::Document, text));
            let error = (found - expected).abs() / expected;
            assert!(error < 0.01, "{name}, {text:?}: {found}, {expected} expected");
        }
    }
}
