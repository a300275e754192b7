//! What is written opens again, in every layout, with equal vectors.

use super::{KINDS, TEXTS, assert_near, fixture, named};
use crate::checkpoint::trainable::{Pass, StartOptions, TableStart, TrainableDense, TrainableModel, TrainableOptions};
use crate::training::TextModel;
use crate::{Checkpoint, CheckpointOptions, Compute, DenseEncoder, Encoder, InputKind, LongText};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// Moves every variable, as training would.
fn disturb(model: &impl TextModel) {
    for (at, variable) in model.variables().iter().enumerate() {
        let values = variable
            .var
            .flatten_all()
            .and_then(|flat| flat.to_vec1::<f32>())
            .expect("numbers");
        let moved = values
            .iter()
            .enumerate()
            .map(|(place, value)| value * 1.02 + 0.005 * ((at + place) as f32).sin());
        let moved = Tensor::from_vec(moved.collect(), variable.var.shape(), variable.var.device()).expect("as many");
        variable.var.set(&moved).expect("one shape");
    }
}

fn all_learned() -> TrainableOptions {
    TrainableOptions {
        train_query_table: true,
        train_scale: true,
        ..TrainableOptions::default()
    }
}

/// Compares the encoder in `dir` with the model as it stands.
fn check_encoder(model: &TrainableModel, dir: &Path, place: &str) {
    let encoder =
        Checkpoint::open(dir, &CheckpointOptions::default()).unwrap_or_else(|error| panic!("{place}: {error}"));
    let texts = model.read(&TEXTS, &TEXTS).expect("any text");
    let mut seen = 0;
    for kind in KINDS {
        let rows = model
            .represent_part(&texts, kind, 0..TEXTS.len(), Pass::default())
            .expect("fits");
        let encoded = encoder.encode(kind, &TEXTS).expect("any text");
        for (found, encoding) in named(model, kind, &texts, &rows).iter().zip(&encoded) {
            let expected: BTreeMap<String, f32> = encoding.tokens.iter().cloned().collect();
            assert_near(found, &expected, &format!("{place}, {kind:?}"));
            seen += expected.len();
        }
    }
    assert!(seen > 0, "{place} has no weights to compare");
}

fn bits(model: &impl TextModel) -> Vec<(String, Vec<u32>)> {
    let of = |tensor: &Tensor| {
        tensor
            .flatten_all()
            .and_then(|flat| flat.to_vec1::<f32>())
            .expect("numbers")
    };
    let variable = |variable: crate::training::NamedVariable| {
        let values = of(variable.var.as_tensor()).into_iter().map(f32::to_bits).collect();
        (variable.name, values)
    };
    model.variables().into_iter().map(variable).collect()
}

fn check_writes(model: &TrainableModel, name: &str) {
    disturb(model);
    let scratch = tempfile::tempdir().expect("room for a temporary folder");
    let saved = scratch.path().join("saved");
    model.save(&saved).expect("writable");
    check_encoder(model, &saved, &format!("{name}, saved"));
    let again = TrainableModel::open(&saved, &CheckpointOptions::default(), &all_learned()).expect("own directory");
    assert_eq!(bits(&again), bits(model), "{name}: variables come back to the bit");
    let exported = scratch.path().join("exported");
    model.export(&exported).expect("writable");
    check_encoder(model, &exported, &format!("{name}, exported"));
    // In the place of what is there.
    model.export(&exported).expect("writable");
    check_encoder(model, &exported, &format!("{name}, exported again"));
    let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("there").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn every_fixture_is_written_and_opens_again() {
    for name in [
        "bert-plain",
        "distilbert-untied-bf16",
        "roberta",
        "modernbert",
        "gte-new",
        "st-bert-sum",
        "st-bert-max",
        "st-router",
        "st-lexical",
        "bert-idf",
        "opensearch-v3",
        "splade-v1",
        "splade-doc",
        "splade-lexical",
        "splade-topk",
        "efficient-splade-doc",
        "unicoil",
        "unicoil-prefixed",
        "tildev2",
        "deepimpact",
        "deepct",
        "sparta",
        "li-lsr",
        "lsr-epic",
        "lsr-binary",
        "lsr-mlm",
        "lsr-clsmlm",
    ] {
        let model = TrainableModel::open(&fixture(name), &CheckpointOptions::default(), &all_learned());
        check_writes(&model.unwrap_or_else(|error| panic!("{name}: {error}")), name);
    }
}

#[test]
fn models_that_were_started_are_written_whole() {
    let preset = |name: &str| CheckpointOptions {
        preset: Some(name.to_owned()),
        max_length: Some(24),
        ..CheckpointOptions::default()
    };
    for (name, of_family) in [
        ("dense-mean", "splade-v3"),
        ("dense-mean", "opensearch-doc-v2"),
        ("bert-plain", "unicoil"),
        ("bert-plain", "epic"),
        ("bert-plain", "li-lsr"),
        ("bert-plain", "deepimpact"),
        ("modernbert", "opensearch-doc-v3"),
        ("distilbert-vocab", "efficient-splade"),
    ] {
        let options = TrainableOptions {
            start: StartOptions {
                query_table: Some(TableStart::Ones),
                separate: of_family == "efficient-splade",
                ..StartOptions::default()
            },
            ..all_learned()
        };
        let model = TrainableModel::open(&fixture(name), &preset(of_family), &options);
        check_writes(
            &model.unwrap_or_else(|error| panic!("{name}, {of_family}: {error}")),
            of_family,
        );
    }
}

#[test]
fn exports_have_the_layout_of_sentence_transformers_where_there_is_one() {
    let scratch = tempfile::tempdir().expect("room for a temporary folder");
    for (name, modules) in [
        ("bert-plain", Some("MLMTransformer")),
        ("bert-idf", Some("Router")),
        ("splade-doc", Some("Router")),
        ("li-lsr", Some("Router")),
        ("st-router", Some("Router")),
        ("unicoil", None),
        ("lsr-mlm", None),
    ] {
        let model = TrainableModel::open(
            &fixture(name),
            &CheckpointOptions::default(),
            &TrainableOptions::default(),
        );
        let dir = scratch.path().join(name);
        model.expect("a whole checkpoint").export(&dir).expect("writable");
        let found = std::fs::read_to_string(dir.join("modules.json")).ok();
        match (found, modules) {
            (Some(found), Some(class)) => assert!(found.contains(class), "{name}: {found}"),
            (found, expected) => assert_eq!(found.as_deref(), expected, "{name}"),
        }
    }
}

#[test]
fn dense_encoders_are_written_as_they_came() {
    for name in ["dense-mean", "dense-cls", "dense-max"] {
        let model = TrainableDense::open(&fixture(name), &TrainableOptions::default()).expect("a dense encoder");
        disturb(&model);
        let scratch = tempfile::tempdir().expect("room for a temporary folder");
        let dir = scratch.path().join("dense");
        model.export(&dir).expect("writable");
        let encoder = DenseEncoder::open(&dir, LongText::Truncate, Compute::default()).expect("own directory");
        let texts = model.read(&TEXTS, &TEXTS).expect("any text");
        for kind in KINDS {
            let rows = model
                .represent(&texts, kind, 0..TEXTS.len(), Pass::default())
                .expect("fits");
            let encoded = encoder.encode(kind, &TEXTS).expect("any text");
            for (found, expected) in rows.to_vec2::<f32>().expect("a matrix").iter().zip(&encoded) {
                let near = found.iter().zip(&expected.values).all(|(a, b)| (a - b).abs() < 1e-4);
                assert!(near, "{name}, {kind:?}");
            }
        }
        let again = TrainableDense::open(&dir, &TrainableOptions::default()).expect("own directory");
        assert_eq!(bits(&again), bits(&model), "{name}");
        assert_eq!(
            texts.ids(InputKind::Query, 0).len(),
            encoder.encode(InputKind::Query, &TEXTS[..1]).expect("any")[0].num_tokens
        );
    }
}
