//! Dense sentence encoders through `tamis encode`: NumPy arrays, and what is refused.

use super::support::{run, succeed, tamis};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The vectors of this fixture have 16 values.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/tamis-encoder/tests/fixtures")
        .join(name)
}

const WIDTH: usize = 16;

/// A folder with the cases of the fixture's documents as `documents.jsonl`, and their vectors.
fn prepared(name: &str) -> (tempfile::TempDir, Vec<Vec<f64>>) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = fs::read_to_string(fixture(name).join("expected.json")).expect("there");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let cases = expected["cases"].as_array().expect("a list").iter();
    let (mut lines, mut vectors) = (String::new(), Vec::new());
    for case in cases.filter(|case| case["kind"] == "document") {
        let line = json!({"id": format!("no {}", vectors.len()), "text": case["text"]});
        lines.push_str(&format!("{line}\n"));
        let values = case["values"].as_array().expect("a list").iter();
        vectors.push(values.map(|value| value.as_f64().expect("a number")).collect());
    }
    fs::write(folder.path().join("documents.jsonl"), lines).expect("writable");
    (folder, vectors)
}

/// Shape and values of an array, after its header was checked.
fn array(bytes: &[u8]) -> (String, Vec<f32>) {
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "format 1.0");
    let len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + len) % 64, 0, "aligned");
    let header = std::str::from_utf8(&bytes[10..10 + len]).expect("text");
    assert!(header.ends_with('\n'));
    let shape = header
        .trim_end()
        .strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': ");
    let shape = shape
        .and_then(|shape| shape.strip_suffix(", }"))
        .expect("a description");
    let (values, rest) = bytes[10 + len..].as_chunks::<4>();
    assert!(rest.is_empty());
    let values = values.iter().map(|&value| f32::from_le_bytes(value));
    (shape.to_owned(), values.collect())
}

#[test]
fn dense_vectors_become_an_array_with_its_ids() {
    for name in ["dense-mean", "dense-cls", "dense-max"] {
        let (folder, expected) = prepared(name);
        let folder = folder.path();
        let model = fixture(name).display().to_string();
        let encode = ["encode", "documents.jsonl", "--model", &model];
        let finished = succeed(folder, &[&encode[..], &["-o", "out.npy", "--json"]].concat());
        let cut = finished.stderr.contains("were cut") && finished.stderr.contains("--long");
        assert!(cut, "{}", finished.stderr);
        let report = finished.json();
        assert_eq!(report["documents"], expected.len());
        assert_eq!(report["output"], "out.npy");
        assert!(report["documents_per_second"].as_f64() > Some(0.0), "{report}");
        assert!(report["truncated"].as_u64() > Some(0), "{report}");
        let bytes = fs::read(folder.join("out.npy")).expect("written");
        let (shape, values) = array(&bytes);
        assert_eq!(shape, format!("({}, {WIDTH})", expected.len()));
        assert_eq!(values.len(), expected.len() * WIDTH);
        for (row, expected) in values.chunks_exact(WIDTH).zip(&expected) {
            for (value, expected) in row.iter().zip(expected) {
                assert!(
                    (f64::from(*value) - expected).abs() < 1e-4,
                    "{name}: {value} {expected}"
                );
            }
        }
        let ids = fs::read_to_string(folder.join("out.npy.ids.txt")).expect("written");
        let wanted: String = (0..expected.len()).map(|number| format!("no {number}\n")).collect();
        assert_eq!(ids, wanted);
        let piped = tamis(folder, &[&encode[..], &["--format", "npy"]].concat());
        let piped = { piped }.output().expect("the binary starts");
        assert!(piped.status.success() && piped.stdout == bytes, "{name}: stdout");
        let narrow = [&encode[..], &["--precision", "int8", "-o", "narrow.npy"]].concat();
        succeed(folder, &narrow);
        let narrow = fs::read(folder.join("narrow.npy")).expect("written");
        assert!(narrow.len() == bytes.len() && narrow != bytes, "{name}: int8");
    }
}

#[test]
fn queries_have_their_prompt_and_no_texts_make_an_empty_array() {
    let (folder, _) = prepared("dense-mean");
    let folder = folder.path();
    let model = fixture("dense-mean").display().to_string();
    let encode = |input: &str, more: &[&str]| {
        succeed(
            folder,
            &[&["encode", input, "--model", &model, "-o", "out.npy"], more].concat(),
        );
        array(&fs::read(folder.join("out.npy")).expect("written"))
    };
    let documents = encode("documents.jsonl", &[]);
    let queries = encode("documents.jsonl", &["--kind", "query"]);
    assert_eq!(documents.0, queries.0);
    assert_ne!(documents.1, queries.1);
    fs::write(folder.join("nothing.jsonl"), "").expect("writable");
    assert_eq!(encode("nothing.jsonl", &[]), (format!("(0, {WIDTH})"), Vec::new()));
}

#[test]
fn each_kind_of_model_has_its_forms() {
    let (folder, _) = prepared("dense-cls");
    let folder = folder.path();
    let [dense, sparse] = ["dense-cls", "splade-v3"].map(|name| fixture(name).display().to_string());
    let refused = |model: &str, more: &[&str], needles: &[&str]| {
        let args = [&["encode", "documents.jsonl", "-o", "refused", "--model", model], more].concat();
        let finished = run(folder, &args);
        assert_eq!(finished.code, 2, "{args:?}: {}", finished.stderr);
        for needle in needles {
            assert!(finished.stderr.contains(needle), "{needle}: {}", finished.stderr);
        }
    };
    refused(&sparse, &["--format", "npy"], &["--format npy", "sparse", "npz"]);
    refused("lexical", &["--format", "npy"], &["--format npy", "lexical"]);
    refused(&dense, &["--format", "jsonl"], &["dense", "--format"]);
    for option in [
        &["--quantise", "splade"][..],
        &["--vocabulary", "documents.jsonl"],
        &["--resume"],
        &["--cache", "cache"],
        &["--long", "windows"],
    ] {
        refused(&dense, option, &["dense", option[0]]);
    }
    for name in ["refused", "refused.ids.txt", "refused.parts", "cache"] {
        assert!(!folder.join(name).exists(), "{name}");
    }
}

#[test]
fn ids_and_records_that_an_array_cannot_have_are_refused() {
    let (folder, _) = prepared("dense-cls");
    let folder = folder.path();
    let model = fixture("dense-cls").display().to_string();
    for (line, needle) in [
        (r#"{"id": "a\nb", "text": "flour"}"#, "line break"),
        (r#"{"id": "vector", "vector": {"flour": 1.5}}"#, "\"vector\""),
    ] {
        fs::write(folder.join("wrong.jsonl"), line).expect("writable");
        let finished = run(folder, &["encode", "wrong.jsonl", "--model", &model, "-o", "wrong.npy"]);
        assert!(
            finished.code == 1 && finished.stderr.contains(needle),
            "{}",
            finished.stderr
        );
        assert!(!folder.join("wrong.npy").exists());
    }
}

#[test]
fn verify_opens_a_dense_encoder() {
    let (folder, _) = prepared("dense-max");
    let copy = folder.path().join("model");
    fs::create_dir_all(copy.join("1_Pooling")).expect("writable");
    for file in [
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        fs::copy(fixture("dense-max").join(file), copy.join(file)).expect("readable");
    }
    let report = succeed(folder.path(), &["model", "verify", "model", "--write", "--json"]).json();
    assert_eq!(report["verified"], 5);
    assert!(
        report["fingerprint"].as_str().is_some_and(|digest| digest.len() > 20),
        "{report}"
    );
}

#[test]
fn inspect_tells_what_a_dense_encoder_is() {
    let (folder, _) = prepared("dense-mean");
    let model = fixture("dense-mean").display().to_string();
    let found = succeed(folder.path(), &["model", "inspect", &model, "--json"]).json();
    let findings = found["findings"].as_array().expect("a list");
    for (setting, expected) in [
        ("layout", json!("dense sentence encoder")),
        ("pooling", json!("mean")),
        ("normalised", json!(true)),
        ("width", json!(WIDTH)),
        ("max_length", json!(24)),
        ("query.prompt", json!("what is ")),
    ] {
        let finding = findings.iter().find(|finding| finding["setting"] == setting);
        assert_eq!(
            finding.map(|finding| &finding["value"]),
            Some(&expected),
            "{setting}: {found}"
        );
    }
}
