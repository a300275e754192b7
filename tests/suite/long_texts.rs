//! Texts longer than the model reads, through the commands: cut and counted, or read in windows and counted.

use super::support::{run, succeed};
use std::fs;
use std::path::Path;

/// A SPLADE checkpoint that reads 24 tokens, and a document of 60 with a short one beside it.
fn prepared() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = "mill wheel stone ".repeat(19) + "sieve";
    let lines = format!("{{\"id\": \"long\", \"text\": {text:?}}}\n{{\"id\": \"short\", \"text\": \"flour\"}}\n");
    fs::write(folder.path().join("documents.jsonl"), lines).expect("writable");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tamis-encoder/tests/fixtures/splade-v3");
    (folder, model.display().to_string())
}

#[test]
fn cut_texts_are_counted_and_windows_read_them_whole() {
    let (folder, model) = prepared();
    let index = |long: &[&str]| {
        let args = ["index", "documents.jsonl", "-o", "mine", "--json", "--model", &model];
        succeed(folder.path(), &[&args, long].concat())
    };
    let cut = index(&[]);
    assert!(cut.stderr.contains("1 of 2 texts are longer"), "{}", cut.stderr);
    let counts = |report: &serde_json::Value| {
        ["truncated", "windowed", "windows"].map(|name| report["encode"][name].as_u64().expect("a count"))
    };
    assert_eq!(counts(&cut.json()), [1, 0, 2]);
    let whole = index(&["--long", "windows:4"]);
    assert_eq!(
        counts(&whole.json()),
        [0, 1, 4],
        "58 tokens by 22, four shared, and the short text"
    );
    assert!(whole.stderr.contains("4 windows in all"), "{}", whole.stderr);
    assert_eq!(
        counts(&index(&["--long", "parts"]).json()),
        [0, 1, 4],
        "58 tokens by 22"
    );
    assert_eq!(
        counts(&index(&["--long", "parts:2"]).json()),
        [1, 1, 3],
        "the rest is cut"
    );
    // The index knows how its documents were read, and queries are read the same way.
    let long_query = "mill ".repeat(40);
    succeed(folder.path(), &["search", "--index", "mine", &long_query]);

    let encode = |long: &[&str]| {
        let args = ["encode", "documents.jsonl", "--model", &model];
        succeed(folder.path(), &[&args, long].concat()).stdout
    };
    assert_eq!(encode(&[]), encode(&["--long", "truncate"]));
    assert_ne!(encode(&[]), encode(&["--long", "windows:0"]).as_str());
}

#[test]
fn other_ways_of_reading_are_refused() {
    let (folder, model) = prepared();
    for how in ["chunks", "windows:", "windows:-1", "truncate:3", "parts:0", "parts:few"] {
        let args = ["encode", "documents.jsonl", "--model", &model, "--long", how];
        let refused = run(folder.path(), &args);
        assert_eq!(refused.code, 2, "{how}: {}", refused.stderr);
        assert!(refused.stderr.contains("parts[:MOST]"), "{}", refused.stderr);
    }
    let args = ["encode", "documents.jsonl", "--model", &model, "--long", "windows:22"];
    let refused = run(folder.path(), &args);
    assert!(
        refused.code != 0 && refused.stderr.contains("below the 22 tokens"),
        "{}",
        refused.stderr
    );
}

#[test]
fn dense_encoders_have_no_windows() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("new");
        fs::write(path, content).expect("writable");
    };
    write(
        "judged/corpus.jsonl",
        "{\"_id\": \"d\", \"title\": \"\", \"text\": \"flour\"}\n",
    );
    write("judged/queries.jsonl", "{\"_id\": \"q\", \"text\": \"flour\"}\n");
    write("judged/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\td\t1\n");
    write(
        "dense/modules.json",
        r#"[{"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]"#,
    );
    let args = ["eval", "judged", "--model", "dense", "--long", "windows"];
    let refused = run(folder.path(), &args);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--long windows is for sparse models"),
        "{}",
        refused.stderr
    );
}
