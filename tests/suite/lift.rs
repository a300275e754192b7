//! `tamis lift`: from a dense encoder and texts to a model that evaluates, indexes and searches.

use super::support::{run, succeed};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const DENSE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crates/tamis-encoder/tests/fixtures/dense-lift"
);

const BACKGROUND: [&str; 6] = [
    "The miller sifts the flour through a fine silk mesh.",
    "A water wheel turns the mill stone by the river.",
    "Wheat and rye are ground to flour, bran and germ.",
    "The baker kneads the dough with yeast, salt and honey.",
    "A drum sieve holds back the coarse bran.",
    "The old mill stands by the river under the wind.",
];

const QUERIES: [&str; 4] = [
    "fine flour",
    "what turns a mill",
    "old river mill",
    "bread dough with salt",
];

/// A folder with background texts, queries, and a judged collection of them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    let lines = |field: &str, id: &str, texts: &[&str]| {
        let line = |(at, text): (usize, &&str)| format!("{{\"_id\": \"{id}{at}\", \"{field}\": \"{text}\"}}\n");
        texts.iter().enumerate().map(line).collect::<String>()
    };
    let write = |name: &str, text: String| fs::write(dir.join(name), text).expect("writable");
    write("background.jsonl", lines("text", "d", &BACKGROUND));
    // Enough of them that one is left out to judge the fit.
    let more: Vec<String> = (0..60).map(|at| format!("{} number {at}", QUERIES[at % 4])).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).chain(QUERIES).collect();
    write("queries.jsonl", lines("query", "t", &more));
    fs::create_dir_all(dir.join("mills/qrels")).expect("writable");
    write("mills/corpus.jsonl", lines("text", "d", &BACKGROUND));
    write("mills/queries.jsonl", lines("text", "q", &QUERIES));
    let qrels = "query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td1\t1\nq2\td5\t1\nq3\td3\t1\n";
    write("mills/qrels/test.tsv", qrels.to_owned());
    folder
}

const LIFT: [&str; 9] = [
    "lift",
    "--dense",
    DENSE,
    "--queries",
    "queries.jsonl",
    "--background",
    "background.jsonl",
    "--lambda",
    "10",
];

fn lift<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [LIFT.as_slice(), more].concat()
}

/// Every file below `dir` with its content.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below").display().to_string();
                files.insert(name, fs::read(path).expect("readable"));
            }
        }
    }
    files
}

#[test]
fn a_lifted_model_evaluates_indexes_and_searches() {
    let folder = folder();
    let folder = folder.path();
    let report = succeed(folder, &lift(&["-o", "models/mine", "--top", "8", "--json"])).json();
    assert_eq!((&report["lambda"], &report["top"]), (&10.0.into(), &8.into()));
    assert_eq!(report["lift"]["num_held_out"], 1, "{report}");
    assert!(
        report["lift"]["ridge"]["residual"].as_f64().expect("a number") < 1e-4,
        "{report}"
    );
    let card = fs::read_to_string(folder.join("models/mine/README.md")).expect("a card");
    let fingerprint = report["fingerprint"].as_str().expect("a text");
    assert!(
        card.contains(fingerprint) && card.contains("`background.jsonl`: 6 texts"),
        "{card}"
    );

    let args = [
        "eval",
        "mills",
        "--model",
        "models/mine",
        "--metrics",
        "recall@6",
        "--json",
    ];
    let judged = succeed(folder, &args).json();
    assert_eq!(
        judged["metrics"]["recall@6"], 1.0,
        "every answer shares a stem: {judged}"
    );
    let args = [
        "index",
        "background.jsonl",
        "-o",
        "made",
        "--model",
        "models/mine",
        "--json",
    ];
    assert_eq!(succeed(folder, &args).json()["num_docs"], 6);
    let args = ["search", "--index", "made", "baker's yeast", "--json"];
    let found = succeed(folder, &args).json();
    assert_eq!(found["hits"][0]["id"], "d3", "{found}");
    let args = ["encode", "background.jsonl", "--model", "models/mine"];
    let vectors = succeed(folder, &args).stdout;
    let lexical = succeed(folder, &["encode", "background.jsonl", "--model", "lexical"]).stdout;
    let terms = |text: &str| text.matches("\":").count();
    assert!(
        terms(&vectors) > terms(&lexical) + 20,
        "documents are expanded: {vectors}"
    );

    // With queries expanded, a query without any known stem finds documents.
    succeed(folder, &lift(&["-o", "both", "--expand-queries"]));
    let hits = |model: &str| {
        succeed(folder, &["index", "background.jsonl", "-o", "by", "--model", model]);
        let found = succeed(folder, &["search", "--index", "by", "shortest", "--json"]).json();
        found["hits"].as_array().expect("a list").len()
    };
    assert_eq!(hits("models/mine"), 0);
    assert!(hits("both") > 0);

    // Another model under the same name is not searched with.
    succeed(folder, &lift(&["-o", "models/mine", "--top", "9"]));
    let mismatch = run(folder, &["search", "--index", "made", "yeast"]);
    assert_eq!(mismatch.code, 6, "{}", mismatch.stderr);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let folder = folder();
    let folder = folder.path();
    succeed(folder, &lift(&["-o", "one"]));
    let mut again = super::support::tamis(folder, &lift(&["-o", "two"]));
    let status = again
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("the binary starts")
        .status;
    assert!(status.success());
    let one = tree(&folder.join("one"));
    assert_eq!(one, tree(&folder.join("two")));
    let names: Vec<&str> = one.keys().map(String::as_str).collect();
    for name in [
        "README.md",
        "lifted.json",
        "lift.safetensors",
        "stems.txt",
        "dense/model-00001-of-00002.safetensors",
        "dense/model-00002-of-00002.safetensors",
        "dense/model.safetensors.index.json",
        "dense/modules.json",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let hidden = fs::read_dir(folder).expect("a folder").filter(|entry| {
        let name = entry.as_ref().expect("readable").file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0, "nothing is left behind");
}

#[test]
fn constants_are_chosen_on_judged_collections() {
    let folder = folder();
    let folder = folder.path();
    let args: Vec<&str> = lift(&["-o", "chosen", "--dev", "mills", "--json"]);
    let report = succeed(folder, &args).json();
    let choices = report["choices"].as_array().expect("a list");
    assert_eq!(choices.len(), 3, "lambda was given: three factors");
    let best = choices
        .iter()
        .map(|choice| choice["mean"].as_f64().expect("a number"))
        .fold(0.0, f64::max);
    let chosen = choices
        .iter()
        .find(|choice| choice["factor"] == report["factor"])
        .expect("one of them");
    assert_eq!(chosen["mean"], best);
    assert_eq!(report["dev"], serde_json::json!(["mills"]));
    // What was chosen by is what `eval` measures.
    let args = ["eval", "mills", "--model", "chosen", "--metrics", "ndcg@10", "--json"];
    assert_eq!(succeed(folder, &args).json()["metrics"]["ndcg@10"], chosen["mean"]);
    let table = succeed(folder, &lift(&["-o", "chosen", "--dev", "mills", "--factor", "1"])).stdout;
    assert!(table.contains("lambda") && table.contains("mean ndcg@10"), "{table}");
}

/// Arguments and what stands in their place.
type Change = &'static [(&'static str, &'static str)];

#[test]
fn wrong_input_is_refused_before_anything_is_written() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("broken.jsonl"), "{\"query\": 1}\n").expect("writable");
    fs::create_dir(folder.join("taken")).expect("writable");
    fs::write(folder.join("taken/mine.txt"), "kept").expect("writable");
    let with = |change: Change| {
        let mut args = lift(&["-o", "out"]);
        for (from, to) in change {
            let at = args.iter().position(|arg| arg == from).expect("an argument");
            args[at] = to;
        }
        run(folder, &args)
    };
    let cases: [(Change, i32, &str); 6] = [
        (&[(DENSE, "nowhere")], 4, "nowhere"),
        (&[("queries.jsonl", "nowhere.jsonl")], 4, "nowhere.jsonl"),
        (
            &[("queries.jsonl", "broken.jsonl")],
            1,
            "broken.jsonl, line 1, column 11",
        ),
        (&[("background.jsonl", "queries.jsonl")], 1, "queries.jsonl, line 1"),
        (&[("10", "0")], 2, "lambda"),
        (&[("out", "taken")], 2, "taken"),
    ];
    for (change, code, needle) in cases {
        let refused = with(change);
        assert_eq!(refused.code, code, "{change:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(needle), "{change:?}: {}", refused.stderr);
        assert!(!folder.join("out").exists());
    }
    assert_eq!(fs::read(folder.join("taken/mine.txt")).expect("untouched"), b"kept");
    succeed(folder, &lift(&["-o", "made"]));
    let windows = ["--long", "windows"];
    let eval = ["eval", "mills", "--model", "made"];
    for args in [
        lift(&["-o", "out", "--long", "windows"]),
        [&eval[..], &windows].concat(),
    ] {
        let refused = run(folder, &args);
        assert!(
            refused.code != 0 && refused.stderr.contains("parts"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn how_long_texts_are_read_and_what_is_kept_is_in_the_model() {
    let folder = folder();
    let folder = folder.path();
    let config = |more: &[&str], name: &str| -> serde_json::Value {
        succeed(folder, &lift(&[&["-o", name], more].concat()));
        let text = fs::read_to_string(folder.join(name).join("lifted.json")).expect("a configuration");
        serde_json::from_str(&text).expect("JSON")
    };
    let usual = config(&[], "usual");
    assert_eq!(usual["long_text"]["parts"]["most"], 4);
    assert_eq!(usual["min_weight"], 0.0);
    let other = config(&["--long", "truncate", "--min-weight", "0.05"], "other");
    assert!(
        other["long_text"].is_null() && other["min_weight"].as_f64() > Some(0.04),
        "{other}"
    );
    let long = format!("{{\"id\": \"long\", \"text\": {:?}}}\n", "mill wheel stone ".repeat(19));
    fs::write(folder.join("long.jsonl"), long).expect("writable");
    let encoded = |more: &[&str]| {
        let args = ["encode", "long.jsonl", "-o", "out.jsonl", "--json", "--model", "usual"];
        let report = succeed(folder, &[&args[..], more].concat()).json();
        ["truncated", "windows"].map(|name| report[name].as_u64().expect("a count"))
    };
    assert_eq!(encoded(&[]), [0, 3], "57 tokens by 22");
    assert_eq!(encoded(&["--long", "truncate"]), [1, 1]);
    assert_eq!(encoded(&["--long", "parts:2"]), [1, 2]);
}
