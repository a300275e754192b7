//! Directories of two encoders, of other frameworks and of older versions.

use crate::malformed::{assert_names, refusal, refused_after, remove, write};
use crate::{copy_of, copy_tree, fixture, replace};
use std::path::Path;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind, SparseEncoding};

const TEXT: &str = "The miller sifts the flour.";

fn open(dir: &Path) -> Checkpoint {
    Checkpoint::open(dir, &CheckpointOptions::default()).expect("a whole checkpoint")
}

fn encode(encoder: &dyn Encoder, kind: InputKind) -> SparseEncoding {
    encoder.encode(kind, &[TEXT]).expect("any text").remove(0)
}

/// Copies fixtures into folders of one new folder.
fn arranged(parts: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("room for a temporary folder");
    for (name, place) in parts {
        let place = root.path().join(place);
        std::fs::create_dir_all(&place).expect("new");
        copy_tree(&fixture(name), &place);
    }
    root
}

#[test]
fn a_pair_may_lie_in_any_of_three_ways() {
    let pair = open(&fixture("efficient-splade-doc"));
    let expected = [InputKind::Document, InputKind::Query].map(|kind| encode(&pair, kind));
    assert_ne!(expected[0], expected[1]);

    let inside = arranged(&[("efficient-splade-doc", "."), ("efficient-splade-query", "query")]);
    remove(inside.path(), "tamis.json");
    let apart = arranged(&[("efficient-splade-doc", "model"), ("efficient-splade-query", "model_q")]);
    let linked = arranged(&[("efficient-splade-doc", "d"), ("efficient-splade-query", "d/q/r")]);
    replace(
        &linked.path().join("d"),
        "tamis.json",
        "../efficient-splade-query",
        "q/r",
    );
    for dir in [inside.path(), apart.path(), &linked.path().join("d")] {
        let encoder = open(dir);
        let found = [InputKind::Document, InputKind::Query].map(|kind| encode(&encoder, kind));
        assert_eq!(found, expected, "{}", dir.display());
    }
}

#[test]
fn the_other_encoder_stays_beside_this_one() {
    for name in [
        "../../efficient-splade-query",
        "/tmp",
        "../x/../../y",
        "nowhere",
        "../efficient-splade-doc/config.json",
    ] {
        let root = arranged(&[("efficient-splade-doc", "efficient-splade-doc")]);
        let dir = root.path().join("efficient-splade-doc");
        replace(&dir, "tamis.json", "../efficient-splade-query", name);
        assert_names(&refusal(&dir), &["tamis.json", "query_model", name, "beside"]);
    }
    #[cfg(unix)]
    {
        let root = arranged(&[("efficient-splade-doc", "a/doc")]);
        let dir = root.path().join("a/doc");
        let elsewhere = arranged(&[("efficient-splade-query", "query")]);
        std::os::unix::fs::symlink(elsewhere.path().join("query"), dir.join("link")).expect("new");
        replace(&dir, "tamis.json", "../efficient-splade-query", "link");
        assert_names(&refusal(&dir), &["query_model", "\"link\", which is"]);
    }
    let alone = arranged(&[("splade-v3", "m")]);
    replace(&alone.path().join("m"), "tamis.json", "splade-v3", "efficient-splade");
    assert_names(
        &refusal(&alone.path().join("m")),
        &["query_model", "efficient-splade", "nothing found"],
    );
}

#[test]
fn the_query_side_of_ml_commons_stands_alone_or_beside_a_document_encoder() {
    let root = arranged(&[("bert-idf", "doc"), ("bert-idf", "query")]);
    let [doc, query] = ["doc", "query"].map(|name| root.path().join(name));
    let expected = encode(&open(&doc), InputKind::Query);
    for file in ["config.json", "model.safetensors", "expected.json"] {
        remove(&query, file);
    }
    let encoder = open(&query);
    assert_eq!(encode(&encoder, InputKind::Query), expected);
    let message = encoder
        .encode(InputKind::Document, &[TEXT])
        .expect_err("no model")
        .to_string();
    assert_names(&message, &["query side", "query_model"]);

    remove(&doc, "idf.json");
    write(&doc, "tamis.json", r#"{"query_model": "../query"}"#);
    let pair = open(&doc);
    assert_eq!(encode(&pair, InputKind::Query), expected);
    let document = encode(&open(&fixture("bert-idf")), InputKind::Document);
    assert_eq!(encode(&pair, InputKind::Document), document);

    remove(&query, "idf.json");
    write(&query, "model.pt", "a program");
    assert_names(&refusal(&query), &["model.pt", "TorchScript", "idf.json"]);
}

#[test]
fn a_list_of_token_weights_is_checked_line_by_line() {
    let list = "query_token_weights.txt";
    let lines = |text: &'static str| move |dir: &Path| write(dir, list, text);
    refused_after(
        "opensearch-v3",
        lines("mill\t1.5\nwheel 2\n"),
        &[list, "line 2", "a tab"],
    );
    refused_after(
        "opensearch-v3",
        lines("mill\tmuch\n"),
        &[list, "mill", "number expected"],
    );
    refused_after(
        "opensearch-v3",
        lines("mill\tinf\n"),
        &[list, "mill", "number expected"],
    );
    refused_after("opensearch-v3", lines("\n\n"), &[list, "another model"]);
    refused_after(
        "opensearch-v3",
        |dir| write(dir, list, [0xff, b'\t', b'1']),
        &[list, "UTF-8"],
    );
    let json_wins = copy_of("opensearch-v3");
    write(json_wins.path(), "idf.json", r#"{"miller": 1.0, "flour": 2.5}"#);
    let query = encode(&open(json_wins.path()), InputKind::Query);
    assert!(query.tokens.contains(&("flour".to_owned(), 2.5)), "{query:?}");
}

#[test]
fn directories_of_the_lsr_framework_are_checked() {
    let base = |dir: &Path| remove(dir, "shared_encoder/base_config.json");
    let needles = [
        "shared_encoder",
        "tf_base_model_name_or_dir",
        "base_config.json",
        "\"tiny\" found",
    ];
    refused_after("lsr-mlm", base, &needles);
    let published = |dir: &Path| {
        base(dir);
        replace(dir, "shared_encoder/config.json", "tiny", "distilbert-base-uncased");
    };
    refused_after("lsr-mlm", published, &["word_embeddings", "[193, 8]", "[30522, 768]"]);
    let tokenizer = |dir: &Path| std::fs::remove_dir_all(dir.join("tokenizer")).expect("there");
    refused_after("lsr-mlm", tokenizer, &["tokenizer", "LSR framework"]);
    let encoders = |dir: &Path| replace(dir, "config.json", "true", "false");
    refused_after("lsr-mlm", encoders, &["doc_encoder", "config.json", "no such file"]);
    for (from, to, needles) in [
        ("\"MLM\"", "\"DENSE\"", ["model_type DENSE", "CLS_MLM"]),
        ("\"max\"", "\"abs\"", ["pool", "\"abs\" found"]),
        ("\"relu\"", "\"tanh\"", ["activation", "\"tanh\" found"]),
        ("\"log1p\"", "\"sqrt\"", ["norm", "\"sqrt\" found"]),
    ] {
        let change = |dir: &Path| replace(dir, "shared_encoder/config.json", from, to);
        refused_after("lsr-mlm", change, &needles);
    }
    let stored = encode(&open(&fixture("lsr-binary")), InputKind::Query);
    let dir = copy_of("lsr-binary");
    remove(dir.path(), "query_encoder/model.safetensors");
    let started = encode(&open(dir.path()), InputKind::Query);
    for ((token, trained), (same, untrained)) in stored.tokens.iter().zip(&started.tokens) {
        assert_eq!(token, same);
        assert!((trained / 0.27 - untrained / 0.3).abs() < 1e-5, "{token}");
    }
}

#[test]
fn a_router_may_keep_its_routes_in_its_module_and_its_transformer_at_the_root() {
    let expected = open(&fixture("st-router"));
    let dir = copy_of("st-router");
    let root = dir.path();
    let text = std::fs::read_to_string(root.join("router_config.json")).expect("there");
    remove(root, "router_config.json");
    let transformer = root.join("document_0_Transformer");
    copy_tree(&transformer, root);
    std::fs::remove_dir_all(transformer).expect("there");
    // The transformer has the root for its directory: an empty name.
    let text = text.replace("\"document_0_Transformer\"", "\"\"");
    write(root, "router_config.json", &text);
    let at_root = open(root);
    for kind in [InputKind::Document, InputKind::Query] {
        assert_eq!(encode(&at_root, kind), encode(&expected, kind));
    }

    let dir = tempfile::tempdir().expect("room for a temporary folder");
    let module = dir.path().join("0_Router");
    std::fs::create_dir(&module).expect("new");
    copy_tree(&fixture("st-router"), &module);
    std::fs::rename(module.join("modules.json"), dir.path().join("modules.json")).expect("there");
    std::fs::rename(module.join("router_config.json"), module.join("config.json")).expect("there");
    replace(dir.path(), "modules.json", "\"path\": \"\"", "\"path\": \"0_Router\"");
    let in_module = open(dir.path());
    for kind in [InputKind::Document, InputKind::Query] {
        assert_eq!(encode(&in_module, kind), encode(&expected, kind));
    }
}
