//! Policies: what the caller or a `tamis.json` decides, and what follows for the fingerprint.

use crate::{copy_of, difference, fixture, replace, weight};
use tamis_encoder::{
    Checkpoint, CheckpointOptions, Compute, DeviceChoice, Encoder, InputKind, Pooling, Precision, QueryWeighting,
    SparseEncoding, SpecialTokens, SpladeActivation, open_stored, open_stored_with,
};

const TEXT: &str = "The miller sifts the flour.";

fn open_with(name: &str, options: &CheckpointOptions) -> Checkpoint {
    Checkpoint::open(&fixture(name), options).expect("a whole checkpoint")
}

fn encode(encoder: &dyn Encoder, kind: InputKind, text: &str) -> SparseEncoding {
    encoder.encode(kind, &[text]).expect("any text").remove(0)
}

fn special(special_tokens: SpecialTokens) -> CheckpointOptions {
    CheckpointOptions {
        special_tokens: Some(special_tokens),
        ..Default::default()
    }
}

#[test]
fn zeroed_columns_change_no_other_weight() {
    let keep = encode(
        &open_with("bert-plain", &special(SpecialTokens::Keep)),
        InputKind::Document,
        TEXT,
    );
    let zero = encode(
        &open_with("bert-plain", &special(SpecialTokens::ZeroColumns)),
        InputKind::Document,
        TEXT,
    );
    let without = keep
        .tokens
        .iter()
        .filter(|(token, _)| !(token.starts_with('[') && token.len() > 1));
    assert_eq!(zero.tokens, without.cloned().collect::<Vec<_>>());
    assert!(
        zero.tokens.len() < keep.tokens.len(),
        "a special token has a weight in this fixture"
    );
}

#[test]
fn excluded_positions_do_not_count() {
    let options = special(SpecialTokens::ExcludePositions);
    let encoder = open_with("bert-plain", &options);
    let excluded = encode(&encoder, InputKind::Document, TEXT);
    let keep = encode(
        &open_with("bert-plain", &CheckpointOptions::default()),
        InputKind::Document,
        TEXT,
    );
    assert!(
        excluded
            .tokens
            .iter()
            .all(|(token, value)| *value <= weight(&keep, token) + 1e-5)
    );
    assert!(difference(&excluded, &keep) > 1e-3);
    let empty = encode(&encoder, InputKind::Document, "");
    assert_eq!(
        (empty.tokens.len(), empty.num_tokens),
        (0, 2),
        "[CLS] and [SEP] are read but not pooled"
    );
    let coil = encode(&open_with("unicoil", &options), InputKind::Document, "");
    assert!(coil.tokens.is_empty());
}

#[test]
fn pooling_and_activation_are_as_told() {
    let with = |pooling, activation| {
        let options = CheckpointOptions {
            pooling: Some(pooling),
            activation: Some(activation),
            ..Default::default()
        };
        encode(&open_with("bert-plain", &options), InputKind::Document, TEXT)
    };
    let max = with(Pooling::Max, SpladeActivation::Relu);
    let sum = with(Pooling::Sum, SpladeActivation::Relu);
    let twice = with(Pooling::Max, SpladeActivation::Log1pRelu);
    for (token, value) in &max.tokens {
        assert!(weight(&sum, token) >= value - 1e-5, "{token}");
        assert!((weight(&twice, token) - value.ln_1p()).abs() < 1e-5, "{token}");
    }
    assert!(difference(&sum, &max) > 0.1);
}

#[test]
fn a_shorter_limit_truncates() {
    let options = CheckpointOptions {
        max_length: Some(4),
        ..Default::default()
    };
    let short = encode(
        &open_with("bert-plain", &options),
        InputKind::Document,
        "wheel mill stone",
    );
    let two = encode(
        &open_with("bert-plain", &CheckpointOptions::default()),
        InputKind::Document,
        "wheel mill",
    );
    assert!(short.truncated && !two.truncated);
    assert_eq!(short.num_tokens, 4);
    assert!(difference(&short, &two) < 1e-5);
}

#[test]
fn a_file_in_the_directory_decides_too_and_the_caller_wins() {
    let dir = copy_of("bert-plain");
    std::fs::write(
        dir.path().join("tamis.json"),
        r#"{"special_tokens": "zero_columns", "pooling": "sum"}"#,
    )
    .expect("writable");
    let from_file = Checkpoint::open(dir.path(), &CheckpointOptions::default()).expect("a whole checkpoint");
    let told = CheckpointOptions {
        special_tokens: Some(SpecialTokens::ZeroColumns),
        pooling: Some(Pooling::Sum),
        ..Default::default()
    };
    assert_eq!(from_file.fingerprint(), open_with("bert-plain", &told).fingerprint());
    let over = CheckpointOptions {
        pooling: Some(Pooling::Max),
        ..Default::default()
    };
    let over = Checkpoint::open(dir.path(), &over).expect("a whole checkpoint");
    assert_eq!(
        over.fingerprint(),
        open_with("bert-plain", &special(SpecialTokens::ZeroColumns)).fingerprint()
    );
}

#[test]
fn the_fingerprint_covers_weights_tokenizer_config_and_policy() {
    let of = |dir: &std::path::Path| {
        Checkpoint::open(dir, &CheckpointOptions::default())
            .expect("a whole checkpoint")
            .fingerprint()
    };
    let original = of(&fixture("bert-plain"));
    assert_eq!(original, of(copy_of("bert-plain").path()), "the place does not count");

    let weights = copy_of("bert-plain");
    let path = weights.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).expect("there");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    assert_ne!(of(weights.path()), original);

    let config = copy_of("bert-plain");
    replace(config.path(), "config.json", "1e-12", "1e-11");
    assert_ne!(of(config.path()), original);

    let tokenizer = copy_of("bert-plain");
    replace(
        tokenizer.path(),
        "tokenizer.json",
        "\"lowercase\": true",
        "\"lowercase\": false",
    );
    assert_ne!(of(tokenizer.path()), original);

    assert_ne!(
        open_with("bert-plain", &special(SpecialTokens::ZeroColumns)).fingerprint(),
        original
    );
}

#[test]
fn what_is_described_opens_again() {
    let dir = copy_of("st-router");
    let options = CheckpointOptions {
        max_length: Some(9),
        ..special(SpecialTokens::ZeroColumns)
    };
    let encoder = Checkpoint::open(dir.path(), &options).expect("a whole checkpoint");
    let again = open_stored(&encoder.description()).expect("own description");
    assert_eq!(again.fingerprint(), encoder.fingerprint());
    assert_eq!(again.name(), encoder.name());
    assert_eq!(again.query_weighting(), QueryWeighting::Model);
    let query = encode(&*again, InputKind::Query, "mill [SEP] wheel");
    assert_eq!(
        query.tokens.iter().map(|(token, _)| token.as_str()).collect::<Vec<_>>(),
        ["mill", "wheel"]
    );

    drop(dir);
    let message = open_stored(&encoder.description()).err().expect("gone").to_string();
    assert!(message.contains("no such directory"), "{message}");
}

#[test]
fn older_module_names_and_table_files_are_known() {
    let dir = copy_of("st-router");
    let router = "router_config.json";
    let text = std::fs::read_to_string(dir.path().join(router)).expect("there");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let types = config["types"].as_object_mut().expect("an object");
    for class in types.values_mut() {
        let last = class
            .as_str()
            .expect("a text")
            .rsplit('.')
            .next()
            .expect("a part")
            .to_owned();
        let last = if last == "Transformer" {
            "MLMTransformer".to_owned()
        } else {
            last
        };
        *class = format!("sentence_transformers.sparse_encoder.models.{last}").into();
    }
    std::fs::remove_file(dir.path().join(router)).expect("there");
    std::fs::write(dir.path().join("config.json"), config.to_string()).expect("writable");
    let table = dir.path().join("query_0_SparseStaticEmbedding");
    std::fs::remove_file(table.join("model.safetensors")).expect("there");
    std::fs::write(
        table.join("config.json"),
        r#"{"frozen": true, "path": "some/hub/idf.json"}"#,
    )
    .expect("writable");
    std::fs::write(dir.path().join("idf.json"), r#"{"mill": 2.5, "wheel": 0.0}"#).expect("writable");

    let encoder = Checkpoint::open(dir.path(), &CheckpointOptions::default()).expect("the older layout");
    let query = encode(&encoder, InputKind::Query, "a mill wheel, a mill");
    assert_eq!(
        query.tokens,
        [("mill".to_owned(), 2.5)],
        "tokens that the table leaves out weigh nothing here"
    );
}

#[test]
fn where_a_model_computes_is_no_part_of_it() {
    let original = open_with("bert-plain", &CheckpointOptions::default());
    for precision in [Precision::Int16, Precision::Int8] {
        let compute = Compute {
            precision: Some(precision),
            ..Compute::default()
        };
        let path = fixture("bert-plain");
        let encoder = tamis_encoder::open_with(
            path.to_str().expect("a plain path"),
            &CheckpointOptions::default(),
            compute,
        )
        .expect("on the CPU");
        assert_eq!(encoder.fingerprint(), original.fingerprint());
        assert_eq!(encoder.description(), original.description());
        let again = open_stored_with(&encoder.description(), compute).expect("own description");
        assert_eq!(again.fingerprint(), original.fingerprint());
    }
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let refusal = |precision| {
        let compute = Compute {
            device: DeviceChoice::Cuda(77),
            precision: Some(precision),
        };
        let options = CheckpointOptions::default();
        let refused = Checkpoint::open_with(&fixture("bert-plain"), &options, compute);
        refused.err().expect("no machine has 78 GPUs").to_string()
    };
    let message = refusal(Precision::F32);
    let needle = if cfg!(feature = "cuda") {
        "cannot be used"
    } else {
        "--features cuda"
    };
    assert!(message.contains("cuda:77") && message.contains(needle), "{message}");
    let message = refusal(Precision::Int8);
    assert!(message.contains("int8") && message.contains("cuda:77"), "{message}");
}
