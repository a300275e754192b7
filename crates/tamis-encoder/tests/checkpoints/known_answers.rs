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

/// Scores of the query on the four documents in single precision, as sentence-transformers' tests have them, and the
/// preset of a directory without `modules.json`.
const GOLDEN: [(&str, &str, [f32; 4]); 18] = [
    ("naver/splade-v3", "splade-v3", [12.14491, 26.104, 22.00245, 23.3877]),
    (
        "naver/splade-v3-distilbert",
        "splade-v3",
        [14.09051, 26.74469, 20.17685, 21.46064],
    ),
    (
        "naver/splade-v3-doc",
        "splade-doc",
        [2.59649, 5.20825, 3.98631, 4.80111],
    ),
    (
        "naver/splade-v3-lexical",
        "splade-lexical",
        [2.72184, 5.90968, 5.28795, 5.69247],
    ),
    (
        "naver/splade-cocondenser-ensembledistil",
        "splade-pp",
        [8.3984, 22.53437, 17.49611, 17.43306],
    ),
    (
        "naver/splade-cocondenser-selfdistil",
        "splade-pp",
        [7.46435, 19.78329, 17.04635, 18.57447],
    ),
    (
        "naver/splade_v2_distil",
        "splade-max",
        [10.31571, 27.80097, 21.33898, 24.31745],
    ),
    (
        "naver/splade_v2_max",
        "splade-max",
        [9.8665, 21.85902, 15.46679, 19.21293],
    ),
    (
        "naver/efficient-splade-V-large-doc",
        "efficient-splade",
        [4.91852, 13.95462, 11.87605, 12.65839],
    ),
    (
        "naver/efficient-splade-VI-BT-large-doc",
        "efficient-splade",
        [4.89399, 13.49699, 11.25572, 12.38231],
    ),
    (
        "ibm-granite/granite-embedding-30m-sparse",
        "splade-max",
        [6.04771, 16.77029, 10.85245, 10.59154],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v1",
        "opensearch-doc-v1",
        [5.60338, 15.5549, 11.63231, 14.3729],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-distill",
        "opensearch-doc-v2",
        [8.87648, 21.10651, 16.59742, 18.52468],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini",
        "opensearch-doc-v2",
        [5.63165, 14.10177, 12.41127, 13.27736],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill",
        "opensearch-doc-v3",
        [5.40216, 11.59338, 9.66898, 10.57229],
    ),
    (
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-gte",
        "opensearch-doc-v3",
        [6.5672, 14.57547, 10.91119, 12.51505],
    ),
    (
        "prithivida/Splade_PP_en_v1",
        "splade-pp",
        [7.53973, 21.1464, 15.389, 16.90205],
    ),
    (
        "tomaarsen/splade-modernbert-base-miriad",
        "splade-max",
        [1.09753, 5.8977, 6.20096, 5.68861],
    ),
];

/// Largest difference of a score, where the tests of the libraries allow half of it between machines.
const TOLERANCE: f32 = 0.02;

#[test]
fn golden_similarities_of_public_models_hold() {
    for (name, preset, expected) in GOLDEN {
        let Some(path) = published(name) else { continue };
        let listed = path.join("modules.json").exists();
        let encoder = open(&path, (!listed).then_some(preset));
        let query = encode(&encoder, InputKind::Query, PLANET);
        for (text, expected) in PLANETS.iter().zip(expected) {
            let found = product(&query, &encode(&encoder, InputKind::Document, text));
            let error = (found - expected).abs();
            assert!(error < TOLERANCE, "{name}, {text:?}: {found}, {expected} expected");
        }
    }
}
