//! Collections filled, searched and inspected from the command line, and pairs mined.

use super::support::{run, succeed};
use serde_json::Value;
use std::fs;

const DOCUMENTS: &str = r#"{"id": "drum", "title": "Tamis", "text": "A drum sieve for fine purees.", "year": 1890, "colour": "red"}
{"id": "pan", "text": "A pan for frying eggs.", "year": 1990}
{"id": "mesh", "text": "A sieve has a mesh.", "year": 2001}
"#;

fn hits(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["id"].as_str().expect("an id")).collect()
}

#[test]
fn a_file_fills_a_collection() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    fs::write(folder.join("documents.jsonl"), DOCUMENTS).expect("writable");
    let make = [
        "index",
        "documents.jsonl",
        "--collection",
        "kitchen",
        "--model",
        "lexical",
        "--field",
        "year=integer",
        "--json",
    ];
    let made = succeed(folder, &make);
    assert_eq!(made.json()["documents"], 3);
    assert!(made.stderr.contains("colour"), "says what is left out: {}", made.stderr);
    let again = run(folder, &make);
    assert_eq!(again.code, 2, "fields are fixed: {}", again.stderr);
    let upserted = succeed(
        folder,
        &["index", "documents.jsonl", "--collection", "kitchen", "--json"],
    )
    .json();
    assert_eq!(upserted["documents"], 3, "the same ids are replaced");

    for mode in ["sparse", "bm25", "fused"] {
        let args = ["search", "--collection", "kitchen", "sieves", "--mode", mode, "--json"];
        let found = succeed(folder, &args).json();
        assert_eq!(hits(&found).len(), 2, "{mode}");
        let late = succeed(folder, &[&args[..], &["--filter", "year >= 2000"]].concat()).json();
        assert_eq!(hits(&late), ["mesh"], "{mode}");
    }
    let shown = succeed(
        folder,
        &["search", "--collection", "kitchen", "fine sieve", "--explain"],
    );
    assert!(
        shown.stdout.contains("Tamis") && shown.stdout.contains("siev"),
        "{}",
        shown.stdout
    );
    let unknown = run(
        folder,
        &["search", "--collection", "kitchen", "sieve", "--filter", "yeer = 3"],
    );
    assert!(
        unknown.code == 1 && unknown.stderr.contains("year"),
        "{}",
        unknown.stderr
    );
    let nowhere = run(folder, &["search", "--collection", "kitchn", "sieve"]);
    assert!(
        nowhere.code == 4 && nowhere.stderr.contains("kitchen"),
        "{}",
        nowhere.stderr
    );
    let described = succeed(folder, &["inspect", "tamis-data", "--json"]).json();
    assert_eq!(described["kitchen"]["stats"]["num_docs"], 3);
}

#[test]
fn a_broken_file_makes_no_collection() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    fs::write(folder.join("broken.jsonl"), format!("{DOCUMENTS}{{broken")).expect("writable");
    let args = [
        "index",
        "broken.jsonl",
        "--collection",
        "kitchen",
        "--model",
        "lexical",
        "--field",
        "year=integer",
    ];
    let broken = run(folder, &args);
    assert!(
        broken.code == 1 && broken.stderr.contains("broken.jsonl:4"),
        "{}",
        broken.stderr
    );
    assert_eq!(run(folder, &["search", "--collection", "kitchen", "sieve"]).code, 4);
    let skipping = run(folder, &[&args[..], &["--skip-broken", "--json"]].concat());
    assert_eq!(
        (skipping.code, &skipping.json()["documents"]),
        (3, &3.into()),
        "{}",
        skipping.stderr
    );
}

#[test]
fn a_held_out_source_becomes_a_judged_collection() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let pairs = r#"{"src": "faq/one", "query": "how to sift flour", "text": "Shake the flour through a sieve."}
{"src": "faq/one", "query": "what is a sieve", "text": "A sieve is a mesh for flour."}
{"src": "news", "query": "mill burns", "text": "The mill burnt."}
"#;
    fs::write(folder.join("pairs.jsonl"), pairs).expect("writable");
    let hold_out = |more: &[&str]| {
        let args = ["hold-out", "--pairs", "pairs.jsonl", "-o", "dev"];
        run(folder, &[&args[..], more].concat())
    };
    let made = hold_out(&["--source", "faq/one", "--source", "news", "--json"]).json();
    assert_eq!(
        (&made[0]["num_queries"], &made[1]["num_passages"]),
        (&2.into(), &1.into())
    );
    let args = [
        "eval",
        "dev/faq-one",
        "--model",
        "lexical",
        "--metrics",
        "recall@2",
        "--json",
    ];
    assert_eq!(succeed(folder, &args).json()["metrics"]["recall@2"], 1.0);
    let again = hold_out(&["--source", "news"]);
    assert!(
        again.code == 2 && again.stderr.contains("dev/news"),
        "{} {}",
        again.code,
        again.stderr
    );
    let unknown = hold_out(&["--source", "forum"]);
    assert!(
        unknown.code == 4 && unknown.stderr.contains("\"forum\""),
        "{} {}",
        unknown.code,
        unknown.stderr
    );
}

#[test]
fn negatives_are_mined_for_pairs() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let pairs = r#"{"query": "how to sift flour", "text": "Shake the flour through a sieve."}
{"query": "what is a sieve", "text": "A sieve is a mesh for flour."}
{"query": "frying", "text": "Eggs go into a pan."}
"#;
    fs::write(folder.join("pairs.jsonl"), pairs).expect("writable");
    let report = succeed(folder, &["mine", "pairs.jsonl", "-o", "examples.jsonl", "--json"]).json();
    assert_eq!(
        report["num_negatives"], 2,
        "the third query shares no word with another passage"
    );
    let examples = fs::read_to_string(folder.join("examples.jsonl")).expect("written");
    let first: Value = serde_json::from_str(examples.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["negatives"][0]["text"], "A sieve is a mesh for flour.");
    assert_eq!(
        run(folder, &["mine", "pairs.jsonl", "-o", "x", "--first-rank", "0"]).code,
        2
    );
}
