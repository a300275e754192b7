//! Checkpoint directories: converted, inspected, verified.

use super::support::{run, succeed};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/tamis-encoder/tests/fixtures")
        .join(name)
}

/// A folder with the checkpoint `plain`, and `pickled`: the same with its weights as a pickle.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    for name in ["plain", "pickled"] {
        let dir = folder.path().join(name);
        fs::create_dir(&dir).expect("writable");
        for file in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ] {
            fs::copy(fixture("bert-plain").join(file), dir.join(file)).expect("readable");
        }
    }
    let pickled = folder.path().join("pickled");
    fs::remove_file(pickled.join("model.safetensors")).expect("there");
    fs::copy(fixture("pickles/bert.bin"), pickled.join("pytorch_model.bin")).expect("readable");
    folder
}

#[test]
fn a_pickled_checkpoint_is_refused_then_converted() {
    let folder = folder();
    let folder = folder.path();
    fs::write(
        folder.join("texts.jsonl"),
        "{\"id\": 1, \"text\": \"the miller sifts flour\"}\n",
    )
    .expect("writable");
    let refused = run(folder, &["encode", "texts.jsonl", "--model", "pickled"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("tamis model convert"), "{}", refused.stderr);
    let report = succeed(folder, &["model", "convert", "pickled", "-o", "converted", "--json"]).json();
    assert_eq!(report["tied"].as_array().map(Vec::len), Some(2), "{report}");
    let encode = |model| succeed(folder, &["encode", "texts.jsonl", "--model", model]).stdout;
    assert_eq!(encode("converted"), encode("plain"));
    let again = run(folder, &["model", "convert", "pickled", "-o", "converted"]);
    assert!(
        again.code == 1 && again.stderr.contains("exists already"),
        "{}",
        again.stderr
    );
    fs::copy(fixture("pickles/system.bin"), folder.join("pickled/pytorch_model.bin")).expect("readable");
    let hostile = run(folder, &["model", "convert", "pickled", "-o", "hostile"]);
    assert!(
        hostile.code == 5 && hostile.stderr.contains("os.system"),
        "{}",
        hostile.stderr
    );
    assert!(!folder.join("hostile").exists());
}

#[test]
fn inspect_tells_what_was_found() {
    let folder = folder();
    let found = succeed(folder.path(), &["model", "inspect", "plain", "--json"]).json();
    let value = |setting: &str| {
        let findings = found["findings"].as_array().expect("a list");
        let finding = findings.iter().find(|finding| finding["setting"] == setting);
        finding.unwrap_or_else(|| panic!("no {setting} in {found}"))["value"].clone()
    };
    assert_eq!(value("layout"), "plain");
    assert_eq!(value("document.architectures"), serde_json::json!(["BertForMaskedLM"]));
    assert_eq!(value("document.pooling"), "max");
    assert!(value("document.parameters")["F32"].as_u64() > Some(1000));
    let tamis = folder.path().join("plain/tamis.json");
    fs::write(tamis, r#"{"preset": "splade-v3", "max_length": 20}"#).expect("writable");
    let found = succeed(folder.path(), &["model", "inspect", "plain", "--json"]).json();
    let source = |setting: &str| {
        let findings = found["findings"].as_array().expect("a list");
        let finding = findings.iter().find(|finding| finding["setting"] == setting);
        finding.unwrap_or_else(|| panic!("no {setting} in {found}"))["source"].clone()
    };
    assert_eq!(source("preset"), "tamis.json");
    assert_eq!(source("document.max_length"), "tamis.json");
    assert_eq!(source("document.pooling"), "preset");
    assert_eq!(source("document.stop_words"), "default");
    let text = succeed(folder.path(), &["model", "inspect", "plain"]).stdout;
    assert!(
        text.contains("BertForMaskedLM") && text.contains("config.json"),
        "{text}"
    );
    assert_eq!(run(folder.path(), &["model", "inspect", "nowhere"]).code, 4);
}

#[test]
fn verify_notices_every_change() {
    let folder = folder();
    let folder = folder.path();
    let verify = |code: i32| -> Value {
        let finished = run(folder, &["model", "verify", "plain", "--json"]);
        assert_eq!(finished.code, code, "{}{}", finished.stdout, finished.stderr);
        finished.json()
    };
    assert_eq!(run(folder, &["model", "verify", "plain"]).code, 4, "no checksums yet");
    succeed(folder, &["model", "verify", "plain", "--write"]);
    assert_eq!(verify(0)["verified"], 4);
    fs::write(folder.join("plain/tamis.json"), r#"{"pooling": "sum"}"#).expect("writable");
    assert_eq!(verify(3)["unlisted"], serde_json::json!(["tamis.json"]));
    fs::remove_file(folder.join("plain/tamis.json")).expect("there");
    let weights = folder.join("plain/model.safetensors");
    let mut bytes = fs::read(&weights).expect("there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, &bytes).expect("writable");
    assert_eq!(verify(5)["changed"], serde_json::json!(["model.safetensors"]));
    fs::write(&weights, &bytes[..last]).expect("writable");
    assert!(
        verify(5)["error"]
            .as_str()
            .is_some_and(|error| error.contains("bytes expected"))
    );
    fs::remove_file(&weights).expect("there");
    assert_eq!(verify(5)["missing"], serde_json::json!(["model.safetensors"]));
}
