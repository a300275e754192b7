//! Vectors agree with those of the reference libraries.

use crate::{difference, fixture};
use serde_json::Value;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind, SparseEncoding, open};

/// Largest absolute difference of any weight from the reference.
const TOLERANCE: f32 = 1e-4;
/// Largest difference between a text alone and the same text in a batch: none over packed weights.
const BATCH_TOLERANCE: f32 = 0.0;
/// The same by tensor operations, which add up in an order of their own.
const TENSOR_BATCH_TOLERANCE: f32 = 1e-5;

struct Case {
    kind: InputKind,
    text: String,
    expected: SparseEncoding,
}

fn cases(name: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(fixture(name).join("expected.json")).expect("written by make_fixtures.py");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let list = expected["cases"].as_array().expect("a list");
    let number = |value: &Value| value.to_string().parse::<f32>().expect("a number");
    let case = |case: &Value| Case {
        kind: if case["kind"] == "query" {
            InputKind::Query
        } else {
            InputKind::Document
        },
        text: case["text"].as_str().expect("a text").to_owned(),
        expected: SparseEncoding {
            tokens: case["tokens"]
                .as_object()
                .expect("an object")
                .iter()
                .map(|(token, value)| (token.clone(), number(value)))
                .collect(),
            num_tokens: usize::try_from(case["num_tokens"].as_u64().expect("a count")).expect("small"),
            num_windows: 1,
            truncated: case["truncated"].as_bool().expect("a flag"),
        },
    };
    list.iter().map(case).collect()
}

fn encode(encoder: &dyn Encoder, kind: InputKind, texts: &[&str]) -> Vec<SparseEncoding> {
    let encodings = encoder.encode(kind, texts).expect("any text");
    for encoding in &encodings {
        assert!(
            encoding.tokens.is_sorted_by(|a, b| a.0 < b.0),
            "tokens are sorted and distinct"
        );
        assert!(
            encoding
                .tokens
                .iter()
                .all(|&(_, weight)| weight.is_finite() && weight > 0.0)
        );
    }
    encodings
}

/// Checks every case, as the CPU computes it and by the tensor operations that serve other devices.
pub(crate) fn check(name: &str) {
    let encoder = open(fixture(name).to_str().expect("a plain path")).expect("a whole checkpoint");
    check_with(&*encoder, name, BATCH_TOLERANCE);
    let options = CheckpointOptions::default();
    let by_tensors = Checkpoint::open_by_tensors(&fixture(name), &options).expect("a whole checkpoint");
    assert_eq!(
        by_tensors.fingerprint(),
        encoder.fingerprint(),
        "the same model wherever it computes"
    );
    assert_eq!(by_tensors.description(), encoder.description());
    check_with(&by_tensors, name, TENSOR_BATCH_TOLERANCE);
}

/// Checks every case alone and all cases of a kind in one batch.
fn check_with(encoder: &dyn Encoder, name: &str, batch_tolerance: f32) {
    let cases = cases(name);
    for kind in [InputKind::Document, InputKind::Query] {
        let of_kind: Vec<&Case> = cases.iter().filter(|case| case.kind == kind).collect();
        let texts: Vec<&str> = of_kind.iter().map(|case| case.text.as_str()).collect();
        let together = encode(encoder, kind, &texts);
        assert_eq!(together.len(), texts.len());
        for (case, batched) in of_kind.iter().zip(&together) {
            let alone = &encode(encoder, kind, &[&case.text])[0];
            let text = &case.text;
            let error = difference(alone, &case.expected);
            assert!(
                error <= TOLERANCE,
                "{name}, {kind:?} {text:?}: a weight is off by {error}"
            );
            let error = difference(alone, batched);
            assert!(
                error <= batch_tolerance,
                "{name}, {kind:?} {text:?}: batched, a weight is off by {error}"
            );
            assert_eq!(alone.num_tokens, case.expected.num_tokens, "{name}, {kind:?} {text:?}");
            assert_eq!(alone.truncated, case.expected.truncated, "{name}, {kind:?} {text:?}");
            assert_eq!(
                (batched.num_tokens, batched.truncated),
                (alone.num_tokens, alone.truncated)
            );
        }
    }
    assert!(
        cases.iter().any(|case| case.expected.truncated),
        "a truncated text is among the cases"
    );
    assert!(
        cases.iter().any(|case| case.text.is_empty()),
        "the empty text is among the cases"
    );
}

#[test]
fn bert_with_tied_decoder() {
    check("bert-plain");
}

#[test]
fn distilbert_with_tied_decoder_and_only_a_vocabulary() {
    check("distilbert-vocab");
}

#[test]
fn distilbert_with_its_own_decoder_in_bfloat16() {
    check("distilbert-untied-bf16");
}

#[test]
fn sentence_transformers_with_max_pooling() {
    check("st-bert-max");
}

#[test]
fn sentence_transformers_with_sum_pooling_prompts_and_a_cased_vocabulary() {
    check("st-bert-sum");
}

#[test]
fn sentence_transformers_router_with_a_query_table() {
    check("st-router");
}

#[test]
fn plain_directory_with_a_query_table_in_half_precision() {
    check("bert-idf");
}

#[test]
fn unicoil() {
    check("unicoil");
}

#[test]
fn unicoil_under_the_names_of_its_own_code() {
    check("unicoil-prefixed");
}

#[test]
fn roberta_with_byte_level_pieces() {
    check("roberta");
}

#[test]
fn xlm_roberta_with_unigram_pieces_and_no_limit_but_its_positions() {
    check("xlm-roberta");
}

#[test]
fn sentence_transformers_camembert_with_its_own_decoder() {
    check("st-camembert");
}

#[test]
fn modernbert_under_the_configuration_of_older_libraries() {
    check("modernbert");
}

#[test]
fn modernbert_with_its_own_decoder_and_all_biases() {
    check("modernbert-untied");
}

#[test]
fn sentence_transformers_modernbert() {
    check("st-modernbert");
}

#[test]
fn gte_with_scaled_rotary_positions() {
    check("gte-new");
}

#[test]
fn gte_with_single_maps_and_its_own_decoder() {
    check("gte-new-unpacked");
}

#[test]
fn gte_as_transformers_writes_it() {
    check("gte");
}

#[test]
fn many_texts_fill_several_batches() {
    let encoder = open(fixture("bert-plain").to_str().expect("a plain path")).expect("a whole checkpoint");
    let cases = cases("bert-plain");
    let texts: Vec<&str> = (0..600).map(|at| cases[at % cases.len()].text.as_str()).collect();
    let encoded = encode(&*encoder, InputKind::Document, &texts);
    for (at, encoding) in encoded.iter().enumerate() {
        assert!(
            difference(encoding, &cases[at % cases.len()].expected) <= TOLERANCE,
            "text {at}"
        );
    }
}
