//! How long does a query take whose model is a table: text to weighted tokens?
//!
//! The table has 30,522 rows. With TAMIS_TOKENIZER=FILE the vocabulary is that of a BERT `tokenizer.json`; without, one
//! of made-up words. Queries have ten words, some in pieces. Excluded: opening the model, everything after encoding.
//!
//! `cargo bench -p tamis-encoder --bench query_table`

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind};

const ROWS: usize = 30_522;
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/st-router");

/// Ten words each; the last one has a letter that takes the long way through the tokenizer.
const QUERIES: [(&str, &str); 3] = [
    ("plain", "what is the best way to grind wheat at home"),
    (
        "pieces",
        "antibody seroprevalence among unvaccinated paramedics, Lombardy: retrospective multicentre reanalysis protocols",
    ),
    ("accents", "what is the best way to grind wheat at caf\u{e9}"),
];

/// A syllable word for each number: `ba`, `be`, ..., `baba`, ...
fn made_up(mut number: usize) -> String {
    let mut word = String::new();
    loop {
        let (consonant, vowel) = (number / 5 % 20, number % 5);
        word.push(char::from(b"bcdfghjklmnpqrstvwxz"[consonant]));
        word.push(char::from(b"aeiou"[vowel]));
        number /= 100;
        if number == 0 {
            return word;
        }
    }
}

/// BERT's tokenizer over a vocabulary of [`ROWS`] tokens.
fn tokenizer() -> Value {
    if let Ok(path) = std::env::var("TAMIS_TOKENIZER") {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        return serde_json::from_slice(&bytes).expect("a tokenizer.json");
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let known = QUERIES[0].1.split(' ').filter(|word| word.len() > 1).map(str::to_owned);
    let words = (0..).flat_map(|number| [made_up(number), format!("##{}", made_up(number))]);
    let mut vocabulary = Map::new();
    for token in special.iter().cloned().chain(letters).chain(known).chain(words) {
        if vocabulary.len() == ROWS {
            break;
        }
        let id = vocabulary.len();
        vocabulary.entry(token).or_insert(id.into());
    }
    let added = special.iter().enumerate().map(|(id, token)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("a fixture") {
        let (path, name) = (
            entry.as_ref().expect("readable").path(),
            entry.expect("readable").file_name(),
        );
        if path.is_dir() {
            copy_tree(&path, &to.join(name));
        } else {
            fs::copy(path, to.join(name)).expect("writable");
        }
    }
}

/// A router model whose documents go through a tiny transformer and whose queries through the large table.
fn model(dir: &Path) -> Checkpoint {
    copy_tree(Path::new(FIXTURE), dir);
    let side = dir.join("query_0_SparseStaticEmbedding");
    let tokenizer = tokenizer();
    let vocabulary = tokenizer["model"]["vocab"].as_object().expect("a vocabulary").clone();
    let weights: Map<String, Value> = vocabulary
        .iter()
        .map(|(token, id)| (token.clone(), json!(0.5 + id.as_f64().expect("a number") / 1e4)))
        .collect();
    fs::remove_file(side.join("model.safetensors")).expect("there");
    fs::write(side.join("idf.json"), Value::Object(weights).to_string()).expect("writable");
    fs::write(side.join("tokenizer.json"), tokenizer.to_string()).expect("writable");
    Checkpoint::open(dir, &CheckpointOptions::default()).expect("a checkpoint")
}

fn encode(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = model(dir.path());
    for (name, query) in QUERIES {
        let tokens = model.encode(InputKind::Query, &[query]).expect("encodable")[0]
            .tokens
            .len();
        assert!(tokens >= 8, "{query} has {tokens} tokens");
        criterion.bench_function(&format!("query_table/{name}"), |bencher| {
            bencher.iter(|| model.encode(InputKind::Query, &[black_box(query)]));
        });
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
