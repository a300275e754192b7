//! Lifted models in training: what the encoder gives, and gradients against finite differences.

use super::*;
use crate::lexical::LexicalOptions;
use crate::training::{
    AdamWOptions, Candidates, Contrastive, Kl, LearningRate, Loss, Randomness, TextBatch, Trainer, TrainerConfig,
    Weighted,
};
use crate::{Compute, DenseEncoder, Encoder, LiftConfig, LiftMeans, LongText, QueryWeighting};
use candle_core::Device;
use std::fs;
use tempfile::TempDir;

const QUERIES: [&str; 2] = ["how fine is a sieve for flour", "the miller's mill, and rye"];
const DOCUMENTS: [&str; 4] = [
    "The miller sifts the flour through a fine silk mesh.",
    "",
    "A sieve, a mill, a sieve.",
    "nothing in common",
];
const STEMS: [&str; 5] = ["flour", "mill", "miller", "siev", "wheat"];

/// A lifted model over a tiny dense encoder, with a gate that looks random.
fn model(factor: f32) -> TempDir {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dense-lift");
    let dir = tempfile::tempdir().expect("room for a temporary folder");
    copy_tree(&source, &LiftedEncoder::dense_dir(dir.path()));
    let dense = DenseEncoder::open(&source, LongText::Truncate, Compute::default()).expect("opens");
    let rows = dense.encode(InputKind::Query, &STEMS).expect("encodes");
    let weights: Vec<f32> = rows.into_iter().flat_map(|row| row.values).collect();
    let width = dense.width();
    let config = LiftConfig {
        lexical: LexicalOptions::default(),
        terms: STEMS.len(),
        width,
        default_idf: 7.5,
        factor,
        top: 3,
        min_weight: 0.0,
        own_entries: false,
        gate_layers: 0,
        long_text: LongText::Truncate,
        query_weighting: QueryWeighting::Model,
        query_expansion: None,
    };
    let means = LiftMeans {
        documents: vec![0.01; width],
        queries: vec![0.0; width],
    };
    let gate = Gate {
        weights: (0u8..).take(width).map(|at| f32::from(at).cos() * 0.5).collect(),
        bias: 0.25,
    };
    let stems = STEMS.map(str::to_owned).to_vec();
    let lift = Lift::new(config, stems, vec![2.0, 3.0, 4.0, 5.0, 6.0], &weights, means);
    let lift = lift.and_then(|lift| lift.with_gate(Some(gate))).expect("valid");
    for (name, bytes) in lift.to_files().expect("serialises") {
        fs::write(dir.path().join(name), bytes).expect("writable");
    }
    dir
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("new");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("named"));
        match path.is_dir() {
            true => copy_tree(&path, &target),
            false => drop(fs::copy(&path, target).expect("readable")),
        }
    }
}

fn no_dropout() -> TrainableOptions {
    TrainableOptions {
        dropout: Some(0.0),
        ..TrainableOptions::default()
    }
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    let tensor = tensor.to_dtype(DType::F32).and_then(|tensor| tensor.to_vec2());
    tensor.expect("a matrix")
}

#[test]
fn representations_are_what_the_encoder_gives() {
    let dir = model(0.0);
    let encoder = LiftedEncoder::open(dir.path(), Compute::default()).expect("opens");
    let dense = DenseEncoder::open(
        &LiftedEncoder::dense_dir(dir.path()),
        LongText::Truncate,
        Compute::default(),
    )
    .expect("opens");
    let dense = dense.encode(InputKind::Document, &DOCUMENTS).expect("encodes");
    let documents = encoder.encode(InputKind::Document, &DOCUMENTS).expect("encodes");
    let queries = encoder.encode(InputKind::Query, &QUERIES).expect("encodes");
    let dir = model(1.5);
    let model = TrainableLift::open(dir.path(), &no_dropout()).expect("opens");
    let texts = model.read(&QUERIES, &DOCUMENTS).expect("splits");
    let of = |kind, len| {
        rows(
            &model
                .represent_part(&texts, kind, 0..len, Pass::default())
                .expect("computes"),
        )
    };
    let mut stems: Vec<&str> = queries
        .iter()
        .flat_map(|query| query.tokens.iter().map(|(stem, _)| stem.as_str()))
        .collect();
    stems.sort_unstable();
    stems.dedup();
    assert_eq!(stems.len(), texts.stems());
    let found = of(InputKind::Document, DOCUMENTS.len());
    for ((found, expected), dense) in found.iter().zip(&documents).zip(&dense) {
        for (stem, weight) in stems.iter().zip(found) {
            let expected = expected
                .tokens
                .iter()
                .find(|(token, _)| token == stem)
                .map_or(0.0, |found| found.1);
            assert!((weight - expected).abs() < 1e-4, "{stem}: {weight}, {expected}");
        }
        for (value, dense) in found[stems.len()..].iter().zip(&dense.values) {
            assert!((value - 1.5 * (dense - 0.01)).abs() < 1e-4, "{value}, {dense}");
        }
    }
    assert!(found[0][..stems.len()].iter().any(|&weight| weight > 0.0));
    let found = of(InputKind::Query, QUERIES.len());
    let table = encoder.lift().weights();
    for (found, expected) in found.iter().zip(&queries) {
        let mut vector = vec![0.0; model.lift.config().width];
        for (stem, weight) in &expected.tokens {
            let at = stems.iter().position(|other| other == stem).expect("a column");
            assert!((found[at] - weight).abs() < 1e-6, "{stem}");
            let Some(row) = STEMS.iter().position(|other| other == stem) else {
                continue;
            };
            let row = table.chunks_exact(vector.len()).nth(row).expect("a row");
            vector
                .iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += weight * value);
        }
        for (found, expected) in found[stems.len()..].iter().zip(&vector) {
            assert!((found - expected).abs() < 1e-4, "{found}, {expected}");
        }
    }
}

#[test]
fn parts_are_what_the_whole_is() {
    let dir = model(1.5);
    let options = TrainableOptions {
        dropout: Some(0.2),
        ..TrainableOptions::default()
    };
    let model = TrainableLift::open(dir.path(), &options).expect("opens");
    let texts = model.read(&QUERIES, &DOCUMENTS).expect("splits");
    let pass = Pass {
        tracked: false,
        randomness: Some(Randomness {
            seed: 3,
            step: 5,
            first_text: 0,
        }),
    };
    let part = |range| {
        rows(
            &model
                .represent_part(&texts, InputKind::Document, range, pass)
                .expect("computes"),
        )
    };
    let whole = part(0..4);
    let parts = [part(0..1), part(1..3), part(3..4)].concat();
    for (whole, part) in whole.iter().flatten().zip(parts.iter().flatten()) {
        assert!((whole - part).abs() < 1e-5, "{whole}, {part}");
    }
    let dry = rows(
        &model
            .represent_part(&texts, InputKind::Document, 0..4, Pass::default())
            .expect("computes"),
    );
    assert_ne!(whole, dry, "something is dropped");
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let dir = model(1.5);
    let options = TrainableOptions {
        train_query_table: true,
        ..no_dropout()
    };
    let model = TrainableLift::open_in_double(dir.path(), &options).expect("opens");
    assert!(model.variables().iter().any(|variable| variable.name == "query.idf"));
    let texts = model.read(&QUERIES, &DOCUMENTS).expect("splits");
    let objective = |tracked| {
        let pass = Pass {
            tracked,
            randomness: None,
        };
        let queries = model
            .represent_part(&texts, InputKind::Query, 0..2, pass)
            .expect("computes");
        let documents = model
            .represent_part(&texts, InputKind::Document, 0..4, pass)
            .expect("computes");
        let scores = queries.matmul(&documents.t().expect("a matrix")).expect("fits");
        scores.sqr().and_then(|scores| scores.sum_all()).expect("a sum")
    };
    let gradients = objective(true).backward().expect("differentiable");
    let value = || objective(false).to_scalar::<f64>().expect("a number");
    let mut compared = 0;
    for NamedVariable { name, var } in model.variables() {
        let before = var.as_tensor().copy().expect("small");
        let values = before
            .flatten_all()
            .and_then(|values| values.to_vec1::<f64>())
            .expect("numbers");
        let gradient = gradients
            .get(var.as_tensor())
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        let gradient = gradient
            .flatten_all()
            .and_then(|values| values.to_vec1::<f64>())
            .expect("numbers");
        // A few elements of each variable, the largest gradient among them.
        let largest = (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
        for at in [0, values.len() / 2, largest.expect("not empty")] {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[at] += by;
                let moved = Tensor::from_vec(values, before.shape(), &Device::Cpu).expect("as many");
                var.set(&moved).expect("fits");
                value()
            };
            let step = 1e-5;
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!(
                (slope - gradient[at]).abs() < 1e-4 * (1.0 + slope.abs()),
                "{name}[{at}]: {slope}, {}",
                gradient[at]
            );
            compared += 1;
        }
        var.set(&before).expect("fits");
    }
    assert!(compared > 60, "{compared}");
}

fn config() -> TrainerConfig {
    let loss = Loss::Sum(vec![
        Weighted {
            weight: 1.0,
            loss: Loss::Kl(Kl {
                candidates: Candidates::Batch,
                ..Kl::default()
            }),
            name: None,
        },
        Weighted {
            weight: 0.5,
            loss: Loss::Contrastive(Contrastive::InBatch),
            name: None,
        },
    ]);
    TrainerConfig {
        learning_rate: LearningRate {
            peak: 2e-3,
            ..LearningRate::default()
        },
        optimiser: AdamWOptions {
            no_decay: vec!["query.idf".to_owned()],
            ..AdamWOptions::default()
        },
        model: TrainableOptions {
            frozen_embeddings: true,
            train_query_table: true,
            ..no_dropout()
        },
        ..TrainerConfig::new(9, loss)
    }
}

fn batch() -> TextBatch<'static> {
    TextBatch {
        queries: QUERIES.to_vec(),
        documents: vec![DOCUMENTS[0], DOCUMENTS[3], DOCUMENTS[2], DOCUMENTS[3]],
        group: 2,
        teacher: Some(vec![9.0, -1.0, 5.0, 0.0, 4.0, 0.0, 9.0, -1.0]),
        excluded: Vec::new(),
    }
}

#[test]
fn a_run_learns_and_goes_on_from_its_state() {
    let dir = model(1.5);
    let open = |dir: &Path, options: &TrainableOptions| TrainableLift::open(dir, options);
    let config = config();
    let mut whole = Trainer::new(open(dir.path(), &config.model).expect("opens"), config).expect("fits");
    let first = whole.step(&batch()).expect("a step");
    assert!(first.document_length > 0.0 && first.query_length > 2.0);
    for _ in 1..4 {
        whole.step(&batch()).expect("a step");
    }
    let states = tempfile::tempdir().expect("room for a temporary folder");
    let state = states.path().join("state");
    whole.save(&state).expect("writable");
    let mut resumed = Trainer::resume_with(&state, open).expect("opens");
    for _ in 4..8 {
        assert_eq!(
            whole.step(&batch()).expect("a step"),
            resumed.step(&batch()).expect("a step")
        );
    }
    let last = whole.step(&batch()).expect("a step");
    assert!(last.loss < first.loss, "{} then {}", first.loss, last.loss);
    let (trained, export) = (whole.model(), states.path().join("export"));
    trained.save(&export).expect("writable");
    let encoder = LiftedEncoder::open(&export, Compute::default()).expect("opens");
    assert_eq!(encoder.lift().gate(), Some(&trained.gate().expect("numbers")));
    let start = LiftedEncoder::open(dir.path(), Compute::default()).expect("opens");
    assert_ne!(encoder.lift().gate(), start.lift().gate());
    let (learned, before) = (encoder.lift().idf_table(), start.lift().idf_table());
    assert!(learned[0] != before[0], "flour is asked for: {learned:?}");
    assert_eq!(learned[4], before[4], "wheat is not");
    assert_eq!(encoder.lift().idf("nowhere"), start.lift().idf("nowhere"));
}

#[test]
fn gates_may_have_layers_of_their_own() {
    let dir = model(0.0);
    let open = |dir: &Path, options: &TrainableOptions| TrainableLift::open(dir, options);
    let mut config = config();
    config.model.gate_layers = 1;
    let mut whole = Trainer::new(open(dir.path(), &config.model).expect("opens"), config).expect("fits");
    for _ in 0..3 {
        whole.step(&batch()).expect("a step");
    }
    let states = tempfile::tempdir().expect("room for a temporary folder");
    let state = states.path().join("state");
    whole.save(&state).expect("writable");
    let mut resumed = Trainer::resume_with(&state, open).expect("opens");
    for _ in 3..6 {
        let (one, other) = (whole.step(&batch()), resumed.step(&batch()));
        assert_eq!(one.expect("a step"), other.expect("a step"));
    }
    let export = states.path().join("export");
    whole.model().save(&export).expect("writable");

    let vectors = |dir: &Path| {
        let dense =
            DenseEncoder::open(&LiftedEncoder::dense_dir(dir), LongText::Truncate, Compute::default()).expect("opens");
        dense.encode(InputKind::Document, &DOCUMENTS).expect("encodes")
    };
    assert_eq!(vectors(&export), vectors(dir.path()), "vectors stay");
    let encode = || {
        let encoder = LiftedEncoder::open(&export, Compute::default()).expect("opens");
        assert_eq!(encoder.lift().config().gate_layers, 1);
        (
            encoder.fingerprint(),
            encoder.encode(InputKind::Document, &DOCUMENTS).expect("encodes"),
        )
    };
    let (fingerprint, encoded) = encode();
    let texts = whole.model().read(&QUERIES, &DOCUMENTS).expect("splits");
    let found = whole
        .model()
        .represent_part(&texts, InputKind::Document, 0..4, Pass::default());
    let found = rows(&found.expect("computes"));
    let weight = |text: usize, stem: &str| {
        encoded[text]
            .tokens
            .iter()
            .find(|(token, _)| token == stem)
            .expect("there")
            .1
    };
    // Columns are the queries' stems, sorted: fine, flour, miller, mill, rye, siev and others.
    assert!(
        found[0].iter().any(|value| (value - weight(0, "flour")).abs() < 1e-4),
        "{found:?}"
    );
    assert!(
        found[2].iter().any(|value| (value - weight(2, "siev")).abs() < 1e-4),
        "{found:?}"
    );

    let rounded = LiftedEncoder::gate_layers_in_eight_bits(&export).expect("finite");
    for (name, bytes) in &rounded {
        fs::write(LiftedEncoder::gate_dir(&export).join(name), bytes).expect("writable");
    }
    assert_eq!(
        LiftedEncoder::gate_layers_in_eight_bits(&export).expect("as stored"),
        rounded
    );
    let (other, near) = encode();
    assert_ne!(other, fingerprint, "its weights are others");
    for (one, other) in encoded
        .iter()
        .flat_map(|text| &text.tokens)
        .zip(near.iter().flat_map(|text| &text.tokens))
    {
        assert!(one.0 == other.0 && (one.1 - other.1).abs() < 0.1, "{one:?}, {other:?}");
    }

    let refused = |factor: f32, gate_layers: usize| {
        let options = TrainableOptions {
            gate_layers,
            ..no_dropout()
        };
        let error = TrainableLift::open(model(factor).path(), &options).err();
        error.expect("refused").to_string()
    };
    assert!(refused(1.5, 1).contains("--factor 0"));
    assert!(refused(0.0, 99).contains("gate_layers"));
}

#[test]
fn texts_are_cut_in_training_alone() {
    let dir = model(1.5);
    let read = |max_length| {
        let options = TrainableOptions {
            max_length,
            ..no_dropout()
        };
        let model = TrainableLift::open(dir.path(), &options).expect("opens");
        let texts = model.read(&[], &DOCUMENTS).expect("reads");
        let lengths = texts
            .dense
            .of(InputKind::Document)
            .iter()
            .map(|tokens| tokens.ids.len());
        (lengths.max().expect("documents"), model)
    };
    let (whole, _) = read(None);
    let (cut, model) = read(Some(5));
    assert!(whole > 5 && cut == 5, "{whole}, {cut}");
    let exported = dir.path().join("exported");
    model.export(&exported).expect("writes");
    let encode = |dir: &Path| {
        let encoder = LiftedEncoder::open(dir, Compute::default()).expect("opens");
        encoder.encode(InputKind::Document, &DOCUMENTS).expect("encodes")
    };
    assert_eq!(encode(&exported), encode(dir.path()), "as far as it read before");
}

#[test]
fn what_cannot_be_trained_is_named() {
    let dir = model(1.0);
    let pooling = LiftedEncoder::dense_dir(dir.path()).join("1_Pooling/config.json");
    let text = fs::read_to_string(&pooling).expect("text");
    assert!(text.contains("mean"));
    fs::write(&pooling, text.replace("mean", "max")).expect("writable");
    let message = TrainableLift::open(dir.path(), &no_dropout())
        .err()
        .expect("refused")
        .to_string();
    assert!(message.contains("pooling"), "{message}");
    let wild = TrainableOptions {
        dropout: Some(1.0),
        ..TrainableOptions::default()
    };
    assert!(TrainableLift::open(dir.path(), &wild).is_err());
}
