//! The same text gives the same bits: alone, among others, and whatever the number of threads.

use crate::fixture;
use rayon::ThreadPoolBuilder;
use serde_json::Value;
use tamis_encoder::{
    Checkpoint, CheckpointOptions, Compute, DenseEncoder, Encoder, InputKind, LongText, Precision, SparseEncoding,
};

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Int16, Precision::Int8];

/// One of each architecture and head.
const NAMES: [&str; 8] = [
    "bert-plain",
    "st-bert-sum",
    "roberta",
    "modernbert",
    "gte-new",
    "unicoil",
    "sparta",
    "lsr-epic",
];

fn computing(precision: Precision) -> Compute {
    Compute {
        precision: Some(precision),
        ..Compute::default()
    }
}

/// The texts of a fixture's cases, each several times: more than one batch holds.
fn texts(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(fixture(name).join("expected.json")).expect("written by make_fixtures.py");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let cases = expected["cases"].as_array().expect("a list");
    let texts = cases
        .iter()
        .map(|case| case["text"].as_str().expect("a text").to_owned());
    let texts: Vec<String> = texts.collect();
    texts.iter().cycle().take(250).cloned().collect()
}

fn with_threads<T: Send>(num_threads: usize, encode: impl FnOnce() -> T + Send) -> T {
    let pool = ThreadPoolBuilder::new().num_threads(num_threads).build();
    pool.expect("threads").install(encode)
}

fn bits(encoding: &SparseEncoding) -> Vec<(&str, u32)> {
    let tokens = encoding.tokens.iter();
    tokens
        .map(|(token, weight)| (token.as_str(), weight.to_bits()))
        .collect()
}

#[test]
fn neither_threads_nor_neighbours_change_a_bit_of_sparse_vectors() {
    for (name, precision) in NAMES
        .iter()
        .flat_map(|name| PRECISIONS.map(|precision| (*name, precision)))
    {
        let options = CheckpointOptions::default();
        let encoder = Checkpoint::open_with(&fixture(name), &options, computing(precision)).expect("whole");
        let texts = texts(name);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encode = |texts: &[&str]| encoder.encode(InputKind::Document, texts).expect("any text");
        let together = with_threads(1, || encode(&texts));
        assert!(together.iter().any(|encoding| encoding.tokens.len() > 1), "{name}");
        let in_threads = with_threads(3, || encode(&texts));
        for (at, (one, three)) in together.iter().zip(&in_threads).enumerate() {
            assert_eq!(
                bits(one),
                bits(three),
                "{name}, {precision}, text {at}: 1 and 3 threads"
            );
        }
        for (text, batched) in texts.iter().zip(&together).take(20) {
            let alone = with_threads(3, || encode(&[text]));
            assert_eq!(bits(&alone[0]), bits(batched), "{name}, {precision}, {text:?}: alone");
        }
    }
}

#[test]
fn neither_threads_nor_neighbours_change_a_bit_of_dense_vectors() {
    for (name, precision) in ["dense-mean", "dense-max"]
        .iter()
        .flat_map(|name| PRECISIONS.map(|precision| (*name, precision)))
    {
        let encoder = DenseEncoder::open(&fixture(name), LongText::Truncate, computing(precision)).expect("whole");
        let texts = texts(name);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encode = |texts: &[&str]| {
            let encodings = encoder.encode(InputKind::Document, texts).expect("any text");
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
            encodings
                .into_iter()
                .map(|encoding| bits(encoding.values))
                .collect::<Vec<_>>()
        };
        let together = with_threads(1, || encode(&texts));
        assert_eq!(together, with_threads(3, || encode(&texts)), "{name}, {precision}");
        for (text, batched) in texts.iter().zip(&together).take(20) {
            let alone = with_threads(3, || encode(&[text]));
            assert_eq!(&alone[0], batched, "{name}, {precision}, {text:?}: alone");
        }
    }
}
