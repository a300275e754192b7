//! Dense sentence encoders: the vectors of sentence-transformers, or a refusal.

use crate::malformed::{assert_names, remove, write};
use crate::{copy_of, fixture, replace};
use serde_json::Value;
use std::path::Path;
use tamis_encoder::{Compute, DenseEncoder, DenseEncoding, DensePooling, InputKind, LongText};

/// Largest absolute difference of any value from the reference.
const TOLERANCE: f32 = 1e-4;

fn opened(dir: &Path) -> DenseEncoder {
    assert!(DenseEncoder::is_in(dir).expect("readable"));
    DenseEncoder::open(dir, LongText::Truncate, Compute::default()).expect("a whole encoder")
}

fn encode(encoder: &DenseEncoder, kind: InputKind, texts: &[&str]) -> Vec<DenseEncoding> {
    let encodings = encoder.encode(kind, texts).expect("any text");
    assert_eq!(encodings.len(), texts.len());
    encodings
}

/// Checks every case alone, and that all cases of a kind in one batch give the same bits.
fn check(name: &str) {
    let encoder = opened(&fixture(name));
    let text = std::fs::read_to_string(fixture(name).join("expected.json")).expect("written by make_fixtures.py");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let cases = expected["cases"].as_array().expect("a list");
    for (kind, name_of_kind) in [(InputKind::Document, "document"), (InputKind::Query, "query")] {
        let of_kind: Vec<&Value> = cases.iter().filter(|case| case["kind"] == name_of_kind).collect();
        let texts: Vec<&str> = of_kind
            .iter()
            .map(|case| case["text"].as_str().expect("a text"))
            .collect();
        assert!(texts.len() > 3 && texts.iter().any(|text| text.len() > 5), "{name}");
        let together = encode(&encoder, kind, &texts);
        for ((case, text), batched) in of_kind.iter().zip(texts).zip(together) {
            let alone = encode(&encoder, kind, &[text]).swap_remove(0);
            assert_eq!(alone, batched, "{name}, {kind:?} {text:?}: alone and batched");
            let values: Vec<f32> = case["values"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|value| value.to_string().parse().expect("a number"))
                .collect();
            assert_eq!(values.len(), encoder.width());
            let error = values.iter().zip(&alone.values).map(|(a, b)| (a - b).abs());
            let error = error.fold(0.0, f32::max);
            assert!(
                error <= TOLERANCE,
                "{name}, {kind:?} {text:?}: a value is off by {error}"
            );
            assert_eq!(case["num_tokens"], alone.num_tokens, "{name}, {kind:?} {text:?}");
            assert_eq!(case["truncated"], alone.truncated, "{name}, {kind:?} {text:?}");
        }
    }
}

#[test]
fn mean_of_all_tokens_normalised_and_with_a_prompt() {
    check("dense-mean");
    assert_eq!(opened(&fixture("dense-mean")).pooling(), (DensePooling::Mean, true));
}

#[test]
fn first_token() {
    check("dense-cls");
    assert_eq!(opened(&fixture("dense-cls")).pooling(), (DensePooling::Cls, false));
}

#[test]
fn largest_of_each_dimension() {
    check("dense-max");
    assert_eq!(opened(&fixture("dense-max")).pooling(), (DensePooling::Max, true));
}

const POOLING: &str = "1_Pooling/config.json";

#[test]
fn both_forms_of_the_configuration_say_the_same() {
    for (name, mode) in [("dense-mean", "mean"), ("dense-max", "max")] {
        let dir = copy_of(name);
        write(dir.path(), POOLING, format!(r#"{{"pooling_mode": "{mode}"}}"#));
        let (old, new) = (opened(&fixture(name)), opened(dir.path()));
        assert_eq!(old.fingerprint(), new.fingerprint(), "{name}");
    }
    let dir = copy_of("dense-cls");
    write(dir.path(), POOLING, r#"{"pooling_mode_cls_token": true}"#);
    let (old, new) = (opened(dir.path()), opened(&fixture("dense-cls")));
    assert_eq!(old.fingerprint(), new.fingerprint());
}

#[test]
fn what_shapes_vectors_shapes_the_fingerprint() {
    let whole = opened(&fixture("dense-mean")).fingerprint();
    let changed = |change: &dyn Fn(&Path)| {
        let dir = copy_of("dense-mean");
        change(dir.path());
        opened(dir.path()).fingerprint()
    };
    assert_eq!(changed(&|_| ()), whole, "the place does not count");
    let prompt = |dir: &Path| replace(dir, "config_sentence_transformers.json", "what is ", "who is ");
    assert_ne!(changed(&prompt), whole);
    assert_ne!(changed(&|dir| write(dir, POOLING, r#"{"pooling_mode": "max"}"#)), whole);
    let weights = |dir: &Path| {
        let path = dir.join("model.safetensors");
        let mut bytes = std::fs::read(&path).expect("there");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(path, bytes).expect("writable");
    };
    assert_ne!(changed(&weights), whole);
}

fn refused_after(change: impl FnOnce(&Path), needles: &[&str]) {
    let dir = copy_of("dense-mean");
    change(dir.path());
    let error = DenseEncoder::open(dir.path(), LongText::Truncate, Compute::default());
    assert_names(&error.err().expect("a refusal").to_string(), needles);
}

#[test]
fn malformed_configurations_are_refused() {
    let pooling = |text: &'static str| move |dir: &Path| write(dir, POOLING, text);
    refused_after(|dir| remove(dir, POOLING), &["1_Pooling", "config.json"]);
    refused_after(pooling("{"), &["1_Pooling"]);
    refused_after(pooling("{}"), &["pooling_mode_*", "exactly one", "0"]);
    let two = r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#;
    refused_after(pooling(two), &["pooling_mode_*", "exactly one", "2"]);
    refused_after(
        pooling(r#"{"pooling_mode_weightedmean_tokens": true}"#),
        &["pooling_mode_*"],
    );
    refused_after(
        pooling(r#"{"pooling_mode": "weightedmean"}"#),
        &["pooling_mode", "weightedmean", "lasttoken"],
    );
    refused_after(pooling(r#"{"pooling_mode": ["mean", "max"]}"#), &["pooling_mode"]);
    refused_after(
        pooling(r#"{"pooling_mode": "mean", "include_prompt": false}"#),
        &["include_prompt", "false"],
    );
    refused_after(
        |dir| replace(dir, "modules.json", "Normalize\"", "Dense\""),
        &["modules.json", "Transformer + Pooling + Dense"],
    );
    refused_after(
        |dir| replace(dir, "modules.json", "\"1_Pooling\"", "\"../1_Pooling\""),
        &["modules.json", "path"],
    );
    refused_after(|dir| remove(dir, "model.safetensors"), &["model.safetensors"]);
    refused_after(
        |dir| replace(dir, "config.json", "\"hidden_size\": 16", "\"hidden_size\": 20"),
        &["model.safetensors", "20"],
    );
}

#[test]
fn a_prompt_that_is_left_out_of_the_mean_does_no_harm_where_there_is_none() {
    let dir = copy_of("dense-cls");
    write(
        dir.path(),
        POOLING,
        r#"{"pooling_mode": "cls", "include_prompt": false}"#,
    );
    assert_eq!(
        opened(dir.path()).fingerprint(),
        opened(&fixture("dense-cls")).fingerprint()
    );
}
