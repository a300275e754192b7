//! The model that comes with the program: found from anywhere, and used where none is named.

use super::support::{Service, run, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;

const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tamis-small");

const DOCUMENTS: &str = r#"{"id": "mill", "text": "Wind and water turn the stones that grind wheat."}
{"id": "bread", "text": "The baker kneads dough and bakes loaves."}
{"id": "star", "text": "Telescopes gather the light of distant galaxies."}
"#;

/// Shares no word with its answer.
const QUERY: &str = "astronomy";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::write(folder.path().join("documents.jsonl"), DOCUMENTS).expect("writable");
    folder
}

fn first(found: &Value) -> &str {
    found["hits"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("a hit: {found}"))
}

#[test]
fn it_is_the_model_where_none_is_named() {
    let folder = folder();
    let folder = folder.path();
    succeed(folder, &["index", "documents.jsonl", "-o", "made"]);
    let described = succeed(folder, &["inspect", "made", "--json"]).json();
    assert_eq!(described["model"]["name"], "tamis-small", "{described}");
    let found = succeed(folder, &["search", "--index", "made", QUERY, "--json"]).json();
    assert_eq!(first(&found), "star");
    succeed(folder, &["index", "documents.jsonl", "--collection", "sky"]);
    let found = succeed(folder, &["search", "--collection", "sky", QUERY, "--json"]).json();
    assert_eq!(first(&found), "star");
    let named = succeed(folder, &["encode", "documents.jsonl", "--model", "tamis-small"]);
    assert_eq!(succeed(folder, &["encode", "documents.jsonl"]).stdout, named.stdout);
}

#[test]
fn the_name_and_the_folder_are_the_same_model() {
    let folder = folder();
    let folder = folder.path();
    let fingerprint = |spec: &str| succeed(folder, &["inspect", spec, "--json"]).json()["fingerprint"].clone();
    assert_eq!(fingerprint("tamis-small"), fingerprint(SMALL));
    let card = fs::read_to_string(Path::new(SMALL).join("README.md")).expect("a card");
    let known = fingerprint(SMALL);
    assert!(card.contains(known.as_str().expect("a text")), "the card names {known}");
    succeed(folder, &["model", "verify", SMALL]);
    let found = succeed(folder, &["model", "inspect", SMALL]).stdout;
    assert!(
        found.contains("lifted model") && found.contains("dense.pooling"),
        "{found}"
    );
    succeed(folder, &["index", "documents.jsonl", "-o", "made", "--model", SMALL]);
    let found = succeed(folder, &["search", "--index", "made", QUERY, "--json"]).json();
    assert_eq!(first(&found), "star");
    let unknown = run(folder, &["encode", "documents.jsonl", "--model", "tamis-large"]);
    assert!(
        unknown.code == 4 && unknown.stderr.contains("tamis-small"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_service_makes_collections_with_it() {
    let folder = folder();
    let service = Service::start(folder.path(), &["serve", "--port", "0"]);
    let make = |body: &str| service.json("POST", "/v1/collections", body)["model"].clone();
    assert_eq!(make(r#"{"name": "small"}"#), "tamis-small");
    assert_eq!(make(r#"{"name": "words", "model": "lexical"}"#), "lexical");
    assert_eq!(make(r#"{"name": "vectors", "model": null}"#), Value::Null);
    let put = |body: &str| service.request("PUT", "/v1/collections/words", body).0;
    assert_eq!(put("{}"), 200, "a collection keeps its model where none is named");
    assert_eq!(put(r#"{"model": "tamis-small"}"#), 409);
    assert_eq!(service.terminate(), Some(0));
}
