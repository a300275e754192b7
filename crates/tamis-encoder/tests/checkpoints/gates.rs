//! Gates of lifted models: the hidden states that transformers gives, the words that the analyser finds.

use super::lifted::{lifted, opened};
use super::{fixture, weight};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tamis_encoder::lexical::Analyzer;
use tamis_encoder::{Compute, Encoder, Gate, InputKind, LiftedEncoder, Precision, open};

#[derive(Deserialize)]
struct Expected {
    weights: Vec<f32>,
    bias: f32,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    pieces: Vec<(usize, f32)>,
}

fn expected() -> Expected {
    let bytes = fs::read(fixture("dense-lift").join("gates.json")).expect("committed");
    serde_json::from_slice(&bytes).expect("as the script writes it")
}

/// Gives the model in `dir` a gate, and perhaps no expansion.
fn set_gate(dir: &Path, gate: Gate, factor: f32) {
    let lift = opened(dir).expect("opens").lift().clone();
    let lift = lift
        .with_gate(Some(gate))
        .and_then(|lift| lift.with_expansion(factor, 3, 0.0));
    for (name, bytes) in lift.expect("valid").to_files().expect("serialises") {
        fs::write(dir.join(name), bytes).expect("writable");
    }
}

#[test]
fn lexical_weights_are_scaled_by_the_gates_of_first_pieces() {
    let expected = expected();
    let dir = lifted();
    let gate = Gate {
        weights: expected.weights,
        bias: expected.bias,
    };
    set_gate(dir.path(), gate, 0.0);
    let encoder = opened(dir.path()).expect("opens");
    let lexical = open("lexical").expect("built in");
    let mut compared = 0;
    for case in &expected.cases {
        let found = encoder
            .encode(InputKind::Document, &[&case.text])
            .expect("encodes")
            .remove(0);
        let plain = lexical
            .encode(InputKind::Document, &[&case.text])
            .expect("any text")
            .remove(0);
        assert_eq!(found.tokens.len(), plain.tokens.len(), "{}", case.text);
        let gates: HashMap<usize, f32> = case.pieces.iter().copied().collect();
        let mut by_stem: HashMap<String, Vec<Option<f32>>> = HashMap::new();
        for token in Analyzer.tokens(&case.text) {
            let gate = gates.get(&token.start).copied();
            by_stem.entry(token.text.into_owned()).or_default().push(gate);
        }
        for (stem, gates) in by_stem {
            let known: Option<Vec<f32>> = gates.into_iter().collect();
            let Some(known) = known else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a handful of occurrences")]
            let mean = known.iter().sum::<f32>() / known.len() as f32;
            let (found, plain) = (weight(&found, &stem), weight(&plain, &stem));
            assert!(
                (found - plain * mean).abs() < 1e-5,
                "{}: {stem} {found}, {plain} * {mean}",
                case.text
            );
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} stems compared");
}

#[test]
fn a_gate_at_rest_changes_nothing_but_the_fingerprint() {
    let dir = lifted();
    let plain = opened(dir.path()).expect("opens");
    assert!(plain.lift().gate().is_none());
    let width = plain.lift().config().width;
    let factor = plain.lift().config().factor;
    let gate = Gate {
        weights: vec![0.0; width],
        bias: 0.0,
    };
    set_gate(dir.path(), gate.clone(), factor);
    let gated = opened(dir.path()).expect("opens");
    assert_eq!(gated.lift().gate(), Some(&gate));
    assert_ne!(gated.fingerprint(), plain.fingerprint());
    let texts: Vec<String> = expected().cases.into_iter().map(|case| case.text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for kind in [InputKind::Document, InputKind::Query] {
        let of = |encoder: &LiftedEncoder| encoder.encode(kind, &texts).expect("encodes");
        assert_eq!(of(&gated), of(&plain));
    }
}

#[test]
fn gated_texts_are_the_same_alone_and_in_a_batch() {
    let expected = expected();
    let dir = lifted();
    let gate = Gate {
        weights: expected.weights,
        bias: expected.bias,
    };
    set_gate(dir.path(), gate, 1.0);
    for precision in [Precision::F32, Precision::Int16, Precision::Int8] {
        let compute = Compute {
            precision: Some(precision),
            ..Compute::default()
        };
        let encoder = LiftedEncoder::open(dir.path(), compute).expect("opens");
        let texts: Vec<&str> = expected.cases.iter().map(|case| case.text.as_str()).collect();
        let together = encoder.encode(InputKind::Document, &texts).expect("encodes");
        for (text, together) in texts.iter().zip(&together) {
            let alone = encoder.encode(InputKind::Document, &[text]).expect("encodes").remove(0);
            assert_eq!(&alone, together);
        }
    }
}

#[test]
fn gates_that_do_not_fit_are_refused() {
    let dir = lifted();
    let lift = opened(dir.path()).expect("opens").lift().clone();
    let width = lift.config().width;
    let refused = |weights: Vec<f32>, bias: f32| {
        let gate = Gate { weights, bias };
        lift.clone().with_gate(Some(gate)).expect_err("refused").to_string()
    };
    assert!(refused(vec![0.0; width + 1], 0.0).contains("\"gate\""));
    assert!(refused(vec![f32::NAN; width], 0.0).contains("\"gate\""));
    assert!(refused(vec![0.0; width], f32::INFINITY).contains("\"gate_bias\""));
}
