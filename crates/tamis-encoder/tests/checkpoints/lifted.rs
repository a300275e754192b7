//! Lifted models: dense vectors as sentence-transformers gives them, and directories that open whole or not at all.

use super::{copy_tree, fixture, replace};
use serde::Deserialize;
use std::fs;
use std::path::Path;
use tamis_encoder::lexical::LexicalOptions;
use tamis_encoder::{
    CheckpointOptions, Compute, DenseEncoder, Encoder, Error, InputKind, Lift, LiftConfig, LiftMeans, LiftedEncoder,
    LongText, Precision, QueryExpansion, QueryWeighting, open, open_stored, open_with,
};

const STEMS: [&str; 5] = ["flour", "mill", "miller", "siev", "wheat"];

const TEXTS: [&str; 4] = [
    "The miller sifts flour.",
    "",
    "wheat",
    "A sieve with a mesh, and a mill by the river.",
];

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    vector: Vec<f32>,
}

/// A table whose rows are the dense vectors of its stems.
fn table(dense: &DenseEncoder) -> Lift {
    let rows = dense.encode(InputKind::Query, &STEMS).expect("encodes");
    let weights: Vec<f32> = rows.into_iter().flat_map(|row| row.values).collect();
    let config = LiftConfig {
        lexical: LexicalOptions::default(),
        terms: STEMS.len(),
        width: dense.width(),
        default_idf: 7.5,
        factor: 1.5,
        top: 3,
        min_weight: 0.0,
        own_entries: false,
        gate_layers: 0,
        long_text: LongText::Truncate,
        query_weighting: QueryWeighting::Model,
        query_expansion: None,
    };
    let idf = vec![2.0, 3.0, 4.0, 5.0, 6.0];
    let means = LiftMeans {
        documents: vec![0.01; dense.width()],
        queries: vec![0.02; dense.width()],
    };
    Lift::new(config, STEMS.map(str::to_owned).to_vec(), idf, &weights, means).expect("valid")
}

pub(super) fn lifted() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("room for a temporary folder");
    let dense = DenseEncoder::open(&fixture("dense-lift"), LongText::Truncate, Compute::default()).expect("opens");
    fs::create_dir(LiftedEncoder::dense_dir(dir.path())).expect("new");
    copy_tree(&fixture("dense-lift"), &LiftedEncoder::dense_dir(dir.path()));
    for (name, bytes) in table(&dense).to_files().expect("serialises") {
        fs::write(dir.path().join(name), bytes).expect("writable");
    }
    dir
}

pub(super) fn opened(dir: &Path) -> Result<LiftedEncoder, Error> {
    LiftedEncoder::open(dir, Compute::default())
}

#[test]
fn dense_vectors_are_those_of_sentence_transformers() {
    let path = fixture("dense-lift");
    let expected = fs::read(path.join("expected.json")).expect("committed");
    let expected: Expected = serde_json::from_slice(&expected).expect("as the script writes it");
    let encoder = DenseEncoder::open(&path, LongText::Truncate, Compute::default()).expect("opens");
    let texts: Vec<&str> = expected.cases.iter().map(|case| case.text.as_str()).collect();
    let found = encoder.encode(InputKind::Document, &texts).expect("encodes");
    for (found, case) in found.iter().zip(&expected.cases) {
        let distance = found.values.iter().zip(&case.vector).map(|(a, b)| (a - b).abs());
        assert!(distance.fold(0.0, f32::max) < 1e-5, "{:?}", case.text);
    }
    assert!(texts.len() >= 10);
}

#[test]
fn documents_are_lexical_weights_and_the_strongest_of_the_product() {
    let dir = lifted();
    let encoder = opened(dir.path()).expect("opens");
    let dense = DenseEncoder::open(&fixture("dense-lift"), LongText::Truncate, Compute::default()).expect("opens");
    let rows = dense.encode(InputKind::Query, &STEMS).expect("encodes");
    let vectors = dense.encode(InputKind::Document, &TEXTS).expect("encodes");
    let lexical = open("lexical").expect("built in");
    let lexical = lexical.encode(InputKind::Document, &TEXTS).expect("any text");
    let found = encoder.encode(InputKind::Document, &TEXTS).expect("encodes");
    for ((found, lexical), vector) in found.iter().zip(&lexical).zip(&vectors) {
        let product = rows.iter().map(|row| {
            let terms = row.values.iter().zip(&vector.values);
            terms.map(|(w, x)| w * (x - 0.01)).sum::<f32>() * 1.5
        });
        let mut product: Vec<(f32, &str)> = product.zip(STEMS).filter(|(weight, _)| *weight > 0.0).collect();
        product.sort_by(|a, b| b.0.total_cmp(&a.0));
        product.truncate(if lexical.tokens.is_empty() { 0 } else { 3 });
        for (token, weight) in &found.tokens {
            let of = |stem: &str| stem == token;
            let own = lexical
                .tokens
                .iter()
                .find(|(stem, _)| of(stem))
                .map_or(0.0, |own| own.1);
            let expansion = product.iter().find(|(_, stem)| of(stem)).map_or(0.0, |found| found.0);
            // Rows in 8 bits are off by half a step of 1/127 at most, over 16 values of a unit vector.
            assert!(
                (weight - own - expansion).abs() < 0.03,
                "{token}: {weight}, {own} + {expansion}"
            );
        }
        let new = product
            .iter()
            .filter(|(_, stem)| lexical.tokens.iter().all(|(own, _)| own != stem));
        assert_eq!(found.tokens.len(), lexical.tokens.len() + new.count());
    }
    assert!(found[1].tokens.is_empty(), "an empty text has no expansion");
    assert!(found.iter().any(|found| found.tokens.len() > 4));
}

#[test]
fn a_text_is_the_same_alone_and_in_a_batch_in_every_precision() {
    let dir = lifted();
    for precision in [Precision::F32, Precision::Int16, Precision::Int8] {
        let compute = Compute {
            precision: Some(precision),
            ..Compute::default()
        };
        let encoder = LiftedEncoder::open(dir.path(), compute).expect("opens");
        let together = encoder.encode(InputKind::Document, &TEXTS).expect("encodes");
        for (text, expected) in TEXTS.iter().zip(&together) {
            assert_eq!(
                &encoder.encode(InputKind::Document, &[text]).expect("encodes")[0],
                expected
            );
        }
        let queries = encoder
            .encode(InputKind::Query, &["sieves of rye, sieve"])
            .expect("encodes");
        assert_eq!(queries[0].tokens, [("rye".to_owned(), 7.5), ("siev".to_owned(), 10.0)]);
    }
}

#[test]
fn queries_are_expanded_where_the_model_says_so() {
    let dir = lifted();
    let plain = opened(dir.path()).expect("opens");
    let lift = plain
        .lift()
        .clone()
        .with_query_expansion(Some(QueryExpansion::default()));
    for (name, bytes) in lift.expect("valid").to_files().expect("serialises") {
        fs::write(dir.path().join(name), bytes).expect("writable");
    }
    let expanding = opened(dir.path()).expect("opens");
    assert_ne!(expanding.fingerprint(), plain.fingerprint());
    let of = |encoder: &LiftedEncoder, kind| encoder.encode(kind, &TEXTS).expect("encodes");
    let (before, after) = (of(&plain, InputKind::Query), of(&expanding, InputKind::Query));
    assert_eq!(of(&plain, InputKind::Document), of(&expanding, InputKind::Document));
    for (before, after) in before.iter().zip(&after) {
        for (stem, weight) in &before.tokens {
            let found = after
                .tokens
                .iter()
                .find(|(other, _)| other == stem)
                .expect("own stems stay");
            assert!(found.1 >= weight * 0.5 - 1e-6, "{stem}");
        }
    }
    assert!(after[0].tokens.len() > before[0].tokens.len() && after[1].tokens.is_empty());
}

#[test]
fn the_directory_opens_by_path_and_by_description() {
    let dir = lifted();
    let path = dir.path().to_str().expect("UTF-8");
    let encoder = open(path).expect("recognised");
    assert_eq!(encoder.description()["encoder"], "lifted");
    let again = open_stored(&encoder.description()).expect("own description");
    assert_eq!(again.fingerprint(), encoder.fingerprint());
    let options = |options: CheckpointOptions| open_with(path, &options, Compute::default());
    let cut = CheckpointOptions {
        long_text: Some(LongText::Truncate),
        ..Default::default()
    };
    assert!(options(cut).is_ok());
    let windows = CheckpointOptions {
        long_text: Some(LongText::Windows { overlap: 2 }),
        ..Default::default()
    };
    let shorter = CheckpointOptions {
        max_length: Some(8),
        ..Default::default()
    };
    for refused in [windows, shorter] {
        assert!(matches!(options(refused), Err(Error::LiftedOption { .. })));
    }
    let mut moved = encoder.description();
    moved["path"] = "nowhere".into();
    assert!(matches!(open_stored(&moved), Err(Error::UnknownModel { .. })));
}

#[test]
fn every_file_is_in_the_fingerprint() {
    let base = lifted();
    let expected = opened(base.path()).expect("opens").fingerprint();
    assert_eq!(opened(lifted().path()).expect("opens").fingerprint(), expected);
    let changes: [fn(&Path); 5] = [
        |dir| replace(dir, "lifted.json", "\"factor\": 1.5", "\"factor\": 1.25"),
        |dir| replace(dir, "stems.txt", "wheat", "rye"),
        |dir| {
            let path = dir.join("lift.safetensors");
            let mut bytes = fs::read(&path).expect("written");
            *bytes.last_mut().expect("not empty") ^= 1;
            fs::write(path, bytes).expect("writable");
        },
        |dir| replace(dir, "dense/1_Pooling/config.json", "mean", "max"),
        |dir| {
            replace(
                dir,
                "dense/config.json",
                "\"hidden_act\": \"gelu\"",
                "\"hidden_act\": \"relu\"",
            )
        },
    ];
    for (at, change) in changes.iter().enumerate() {
        let dir = lifted();
        change(dir.path());
        let found = opened(dir.path()).expect("still valid").fingerprint();
        assert_ne!(found, expected, "change {at}");
    }
}

/// What is done to a directory.
type Damage = fn(&Path);

#[test]
fn damaged_directories_are_refused_by_name() {
    let cases: [(Damage, &str); 14] = [
        (|dir| remove(dir, "stems.txt"), "stems.txt: no such file"),
        (|dir| remove(dir, "lift.safetensors"), "lift.safetensors: no such file"),
        (
            |dir| remove(dir, "dense/model.safetensors"),
            "model.safetensors: no such file",
        ),
        (
            |dir| replace(dir, "lifted.json", "\"version\": 1", "\"version\": 3"),
            "field \"version\": 1 or 2 expected, 3 found",
        ),
        (
            |dir| replace(dir, "lifted.json", "\"version\": 1", "\"version\": 2"),
            "tensor \"gate\" is missing",
        ),
        (|dir| replace(dir, "lifted.json", "english", "french"), "\"analyzer\""),
        (|dir| replace(dir, "lifted.json", "\"top\"", "\"tops\""), "tops"),
        (
            |dir| replace(dir, "lifted.json", "\"factor\": 1.5", "\"factor\": -1.5"),
            "\"factor\"",
        ),
        (
            |dir| replace(dir, "lifted.json", "\"terms\": 5", "\"terms\": 6"),
            "\"weights\" has shape [5, 16], [6, 16]",
        ),
        (|dir| replace(dir, "stems.txt", "wheat\n", "whea"), "stems.txt, line 5"),
        (|dir| replace(dir, "stems.txt", "mill\n", "flour\n"), "first in line 1"),
        (
            |dir| replace(dir, "stems.txt", "wheat\n", ""),
            "5 stems expected by field \"terms\"",
        ),
        (
            |dir| replace(dir, "lifted.json", "\"width\": 16", "\"width\": 8"),
            "\"weights\" has shape [5, 16], [5, 8]",
        ),
        (
            |dir| fs::write(dir.join("lifted.json"), "{").expect("writable"),
            "lifted.json",
        ),
    ];
    for (damage, needle) in cases {
        let dir = lifted();
        damage(dir.path());
        let message = opened(dir.path()).err().expect("refused").to_string();
        assert!(message.contains(needle), "{needle}: {message}");
    }
}

#[test]
fn a_cut_or_flipped_tensor_file_never_panics() {
    let dir = lifted();
    let path = dir.path().join("lift.safetensors");
    let whole = fs::read(&path).expect("written");
    for len in [0, 7, 8, 40, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).expect("writable");
        let error = opened(dir.path()).err().expect("cut files are refused");
        assert!(error.to_string().contains("lift.safetensors"), "{len} bytes: {error}");
    }
    let mut refused = 0;
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x80;
        fs::write(&path, bytes).expect("writable");
        refused += usize::from(Lift::read(dir.path()).is_err());
    }
    assert!(refused > 50, "damage of the header and of signs is seen: {refused}");
}

fn remove(dir: &Path, file: &str) {
    fs::remove_file(dir.join(file)).expect("there");
}
