//! Files in, files out: encode, index, search, run, eval, inspect.

use super::support::{run, succeed};
use std::fs;
use std::path::Path;

const DOCUMENTS: &str = r#"{"id": "drum", "title": "Tamis", "text": "A drum sieve for fine purees."}
{"id": "pan", "text": "A pan for frying eggs."}
{"_id": "mesh", "text": "A sieve has a mesh; a fine mesh holds back lumps."}
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::write(folder.path().join("documents.jsonl"), DOCUMENTS).expect("writable");
    folder
}

fn ids(run: &str) -> Vec<&str> {
    run.lines()
        .map(|line| line.split(' ').nth(2).expect("a TREC line"))
        .collect()
}

#[test]
fn documents_are_indexed_and_found() {
    let folder = folder();
    let folder = folder.path();
    let report = succeed(
        folder,
        &["index", "documents.jsonl", "--model", "lexical", "-o", "mine", "--json"],
    )
    .json();
    assert_eq!(report["num_docs"], 3);
    let found = succeed(folder, &["search", "--index", "mine", "fine sieves", "--json"]).json();
    let ids: Vec<&str> = found["hits"]
        .as_array()
        .expect("hits")
        .iter()
        .map(|hit| hit["id"].as_str().expect("id"))
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(!ids.contains(&"pan"));
    let query = r#"{"id": "q", "text": "fine sieves"}"#;
    fs::write(folder.join("query.jsonl"), query).expect("writable");
    let asked = ["run", "--index", "mine", "--queries", "query.jsonl"];
    let by_name = succeed(folder, &[&asked[..], &["--model", "lexical"]].concat());
    assert_eq!(
        by_name.stdout,
        succeed(folder, &asked).stdout,
        "the index knows its average length"
    );
    let nothing = succeed(folder, &["search", "--index", "mine", "."]);
    assert_eq!(nothing.stdout, "");
    let described = succeed(folder, &["inspect", "mine", "--json"]).json();
    assert_eq!(
        (&described["documents"], &described["index"]),
        (&3.into(), &"mine/index.tamis".into())
    );
    let vector = succeed(folder, &["inspect", "mine", "--document", "pan", "--json"]).json();
    assert_eq!(vector["terms"], 3);
}

#[test]
fn encoded_vectors_index_to_the_same_scores() {
    let folder = folder();
    let folder = folder.path();
    succeed(
        folder,
        &["encode", "documents.jsonl", "--model", "lexical", "-o", "vectors.jsonl"],
    );
    let line = fs::read_to_string(folder.join("vectors.jsonl")).expect("written");
    assert!(line.starts_with(r#"{"id":"drum","vector":{"#), "{line}");
    fs::write(
        folder.join("queries.jsonl"),
        "{\"id\": \"q1\", \"text\": \"fine sieve\"}\n{\"id\": \"q2\", \"text\": \".\"}\n",
    )
    .expect("writable");
    succeed(
        folder,
        &["index", "documents.jsonl", "--model", "lexical", "-o", "texts"],
    );
    succeed(folder, &["index", "vectors.jsonl", "-o", "vectors"]);
    succeed(
        folder,
        &[
            "encode",
            "queries.jsonl",
            "--model",
            "lexical",
            "--kind",
            "query",
            "-o",
            "query-vectors.jsonl",
        ],
    );
    let texts = succeed(
        folder,
        &["run", "--index", "texts", "--queries", "queries.jsonl", "-k", "5"],
    );
    let vectors = succeed(
        folder,
        &[
            "run",
            "--index",
            "vectors",
            "--queries",
            "query-vectors.jsonl",
            "-k",
            "5",
        ],
    );
    assert_eq!(ids(&texts.stdout).len(), 2);
    assert_eq!(ids(&texts.stdout), ids(&vectors.stdout));
    let refused = run(folder, &["run", "--index", "vectors", "--queries", "queries.jsonl"]);
    assert_eq!(
        refused.code, 2,
        "an index of vectors has no model for texts: {}",
        refused.stderr
    );
}

#[test]
fn integer_weights_are_kept_exactly_and_runs_are_scored() {
    let folder = folder();
    let folder = folder.path();
    let vectors = r#"{"id": "a", "vector": {"x": 255, "y": 1}}
{"id": "b", "vector": {"x": 100, "y": 200}}
{"id": "c", "vector": {"z": 7}}
"#;
    fs::write(folder.join("vectors.jsonl"), vectors).expect("writable");
    fs::write(
        folder.join("queries.jsonl"),
        "{\"id\": \"q\", \"vector\": {\"x\": 2, \"y\": 3, \"unknown\": 9}}\n",
    )
    .expect("writable");
    succeed(folder, &["index", "vectors.jsonl", "-o", "mine"]);
    for algorithm in ["auto", "exhaustive", "block-max", "oracle"] {
        let args = [
            "run",
            "--index",
            "mine",
            "--queries",
            "queries.jsonl",
            "-o",
            "run.trec",
            "--algorithm",
            algorithm,
            "--json",
        ];
        let report = succeed(folder, &args).json();
        assert_eq!((&report["queries"], &report["hits"]), (&1.into(), &2.into()));
        let trec = fs::read_to_string(folder.join("run.trec")).expect("written");
        assert_eq!(trec, "q Q0 b 1 800 tamis\nq Q0 a 2 513 tamis\n", "{algorithm}");
    }
    fs::write(folder.join("qrels.tsv"), "query-id\tcorpus-id\tscore\nq\ta\t1\n").expect("writable");
    let scored = succeed(
        folder,
        &[
            "eval",
            "--qrels",
            "qrels.tsv",
            "run.trec",
            "--metrics",
            "mrr@10,p@1",
            "--json",
        ],
    )
    .json();
    assert_eq!(scored[0]["metrics"]["mrr@10"], 0.5);
    fs::write(folder.join("other.trec"), "q Q0 a 1 9 other\n").expect("writable");
    let compare = [
        "eval",
        "--qrels",
        "qrels.tsv",
        "run.trec",
        "--against",
        "other.trec",
        "--metrics",
        "mrr@10",
    ];
    let compared = succeed(folder, &[&compare[..], &["--json"]].concat()).json();
    let against = &compared[0]["against"][0];
    assert_eq!(
        (&against["other_mean"], &against["num_worse"]),
        (&1.0.into(), &1.into()),
        "{compared}"
    );
    assert_eq!(against["p_value"], 1.0, "one query tells nothing");
    let table = succeed(folder, &compare).stdout;
    assert!(
        table.contains("-0.5000") && table.contains("run.trec against other.trec"),
        "{table}"
    );
    let below = run(
        folder,
        &["eval", "--qrels", "qrels.tsv", "run.trec", "--fail-under", "mrr@10=0.6"],
    );
    assert_eq!(below.code, 9, "{}", below.stderr);
}

#[test]
fn matrices_are_indexed_by_number() {
    let folder = folder();
    let folder = folder.path();
    let matrix = |rows: &[&[(i32, f32)]]| {
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let mut bytes = Vec::new();
        let counts = [rows.len(), 50, lengths.iter().sum()].map(|count| i64::try_from(count).expect("small"));
        counts.iter().for_each(|count| bytes.extend(count.to_le_bytes()));
        let mut offset = 0i64;
        bytes.extend(offset.to_le_bytes());
        for length in lengths {
            offset += i64::try_from(length).expect("small");
            bytes.extend(offset.to_le_bytes());
        }
        rows.iter()
            .flat_map(|row| row.iter())
            .for_each(|(column, _)| bytes.extend(column.to_le_bytes()));
        rows.iter()
            .flat_map(|row| row.iter())
            .for_each(|(_, value)| bytes.extend(value.to_le_bytes()));
        bytes
    };
    let documents = matrix(&[&[(1, 3.0)], &[(1, 5.0), (40, 2.0)], &[]]);
    fs::write(folder.join("documents.csr"), &documents).expect("writable");
    fs::write(
        folder.join("queries.csr"),
        matrix(&[&[(1, 2.0), (40, 1.0)], &[(7, 1.0)]]),
    )
    .expect("writable");
    succeed(folder, &["index", "documents.csr", "-o", "mine"]);
    let found = succeed(folder, &["run", "--index", "mine", "--queries", "queries.csr"]);
    assert_eq!(found.stdout, "0 Q0 1 1 12 tamis\n0 Q0 0 2 6 tamis\n");
    fs::write(folder.join("short.csr"), &documents[..documents.len() - 1]).expect("writable");
    let short = run(folder, &["index", "short.csr", "-o", "other"]);
    assert_eq!(short.code, 1);
    assert!(
        short.stderr.contains("short.csr") && short.stderr.contains("header"),
        "{}",
        short.stderr
    );
}

#[test]
fn wrong_input_gets_a_clear_error_and_loses_nothing() {
    let folder = folder();
    let folder = folder.path();
    succeed(
        folder,
        &["index", "documents.jsonl", "--model", "lexical", "-o", "mine"],
    );
    let index = folder.join("mine/index.tamis");
    let before = fs::read(&index).expect("written");

    fs::write(
        folder.join("broken.jsonl"),
        format!("{DOCUMENTS}{{\"id\": 3, \"text\"\n"),
    )
    .expect("writable");
    let broken = run(folder, &["index", "broken.jsonl", "--model", "lexical", "-o", "mine"]);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("broken.jsonl:4"), "{}", broken.stderr);
    assert_eq!(
        fs::read(&index).expect("still there"),
        before,
        "the index that was there is untouched"
    );
    assert_eq!(
        fs::read_dir(folder.join("mine")).expect("readable").count(),
        1,
        "nothing is left behind"
    );
    let skipped = run(
        folder,
        &[
            "index",
            "broken.jsonl",
            "--model",
            "lexical",
            "-o",
            "other",
            "--skip-broken",
        ],
    );
    assert_eq!(skipped.code, 3, "{}", skipped.stderr);

    let twice = format!("{DOCUMENTS}{DOCUMENTS}");
    fs::write(folder.join("twice.jsonl"), twice).expect("writable");
    let twice = run(folder, &["index", "twice.jsonl", "--model", "lexical", "-o", "mine"]);
    assert!(twice.code == 1 && twice.stderr.contains("drum"), "{}", twice.stderr);

    truncated(folder, &before);
    let missing = [
        (vec!["search", "--index", "nowhere", "x"], 4),
        (vec!["encode", "nowhere.jsonl"], 4),
        (vec!["encode", "documents.jsonl", "--model", "nowhere"], 4),
        (vec!["eval", "nowhere.tar.zst"], 4),
        (vec!["search", "--data", "nowhere", "--collection", "x", "y"], 4),
        (vec!["index", "documents.jsonl"], 2),
        (vec!["index", "documents.jsonl", "-o", "x", "--quantise", "max=-1"], 2),
    ];
    for (args, code) in missing {
        let finished = run(folder, &args);
        assert_eq!(finished.code, code, "{args:?}: {}", finished.stderr);
        assert!(
            finished.stdout.is_empty() && !finished.stderr.contains("panicked"),
            "{args:?}: {}",
            finished.stderr
        );
    }
}

fn truncated(folder: &Path, index: &[u8]) {
    fs::create_dir(folder.join("short")).expect("writable");
    for len in [0, 10, index.len() / 2, index.len() - 1] {
        fs::write(folder.join("short/index.tamis"), &index[..len]).expect("writable");
        let finished = run(folder, &["search", "--index", "short", "sieve"]);
        assert_eq!(finished.code, 5, "{len} bytes: {}", finished.stderr);
        assert!(finished.stderr.contains("index.tamis"), "{}", finished.stderr);
    }
}
