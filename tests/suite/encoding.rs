//! Encode's outputs: forms, whole numbers, runs that were killed, and the cache.

use super::support::{run, succeed, tamis};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const DOCUMENTS: &str = r#"{"id": "drum", "title": "Tamis", "text": "A drum sieve."}
{"id": "none", "text": ""}
{"id": "mesh", "text": "A sieve has a mesh; a fine mesh."}
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::write(folder.path().join("documents.jsonl"), DOCUMENTS).expect("writable");
    folder
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("written");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn anserini_lines_have_contents_and_whole_numbers() {
    let folder = folder();
    let folder = folder.path();
    let encode = |args: &[&str]| {
        let args = [
            &["encode", "documents.jsonl", "--model", "lexical", "-o", "out.jsonl"],
            args,
        ]
        .concat();
        succeed(folder, &args);
        lines(&folder.join("out.jsonl"))
    };
    let plain = encode(&[]);
    let anserini = encode(&["--format", "anserini"]);
    assert_eq!(anserini[0]["content"], "Tamis A drum sieve.");
    assert_eq!(anserini[1], json!({"id": "none", "content": "", "vector": {}}));
    for (line, whole) in plain.iter().zip(&anserini) {
        for (token, weight) in line["vector"].as_object().expect("a vector") {
            let expected = (weight.as_f64().expect("a weight") * 100.0).round();
            assert_eq!(whole["vector"][token].as_f64(), Some(expected), "{token}");
        }
    }
    let ceil = encode(&["--quantise", "unicoil"]);
    let weight = plain[2]["vector"]["mesh"].as_f64().expect("a weight");
    assert_eq!(ceil[2]["vector"]["mesh"].as_f64(), Some((weight / 5.0 * 256.0).ceil()));
    let wrong = run(
        folder,
        &["encode", "documents.jsonl", "--model", "lexical", "--quantise", "x100"],
    );
    assert!(wrong.code == 2 && wrong.stderr.contains("pyserini"), "{}", wrong.stderr);
}

/// Rows of a matrix as tokens to weights, from its parts.
fn rows(indptr: &[u64], indices: &[u32], data: &[f32], vocabulary: &[Value]) -> Vec<Value> {
    let ranges = indptr.windows(2).map(|pair| size(pair[0])..size(pair[1]));
    let row = |range: std::ops::Range<usize>| {
        let mut row: Vec<(&str, f32)> = range
            .map(|at| (vocabulary[indices[at] as usize].as_str().expect("a token"), data[at]))
            .collect();
        row.sort_by(|a, b| a.0.cmp(b.0));
        // As the lines have it: the shortest number that is this weight.
        let shortest = |weight: f32| json!(weight.to_string().parse::<f64>().expect("a number"));
        row.into_iter()
            .map(|(token, weight)| (token.to_owned(), shortest(weight)))
            .collect()
    };
    ranges.map(row).collect()
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

fn numbers<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| from(chunk)).collect()
}

#[test]
fn matrices_hold_the_same_vectors() {
    let folder = folder();
    let folder = folder.path();
    for format in ["jsonl", "csr", "npz"] {
        succeed(
            folder,
            &[
                "encode",
                "documents.jsonl",
                "--model",
                "lexical",
                "--format",
                format,
                "-o",
                &format!("out.{format}"),
            ],
        );
    }
    let expected: Vec<Value> = lines(&folder.join("out.jsonl"))
        .into_iter()
        .map(|line| line["vector"].clone())
        .collect();
    for format in ["csr", "npz"] {
        let ids = lines(&folder.join(format!("out.{format}.ids.jsonl")));
        assert_eq!(ids, [json!("drum"), json!("none"), json!("mesh")]);
    }
    let csr = fs::read(folder.join("out.csr")).expect("written");
    let vocabulary = lines(&folder.join("out.csr.vocabulary.jsonl"));
    let counts = numbers(&csr[..24], u64::from_le_bytes);
    let nnz = size(counts[2]);
    assert_eq!(counts[..2], [3, vocabulary.len() as u64]);
    assert_eq!(csr.len(), 24 + 32 + 8 * nnz);
    let found = rows(
        &numbers(&csr[24..56], u64::from_le_bytes),
        &numbers(&csr[56..56 + 4 * nnz], u32::from_le_bytes),
        &numbers(&csr[56 + 4 * nnz..], f32::from_le_bytes),
        &vocabulary,
    );
    assert_eq!(found, expected);

    let archive = fs::File::open(folder.join("out.npz")).expect("written");
    let mut archive = zip::ZipArchive::new(archive).expect("an archive");
    let mut array = |name: &str, descr: &str| {
        let mut bytes = Vec::new();
        let mut entry = archive.by_name(&format!("{name}.npy")).expect("an array");
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("whole");
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8(bytes[10..start].to_vec()).expect("text");
        assert!(header.contains(&format!("'descr': '{descr}'")), "{header}");
        bytes.split_off(start)
    };
    assert_eq!(array("format", "|S3"), b"csr");
    assert_eq!(
        numbers(&array("shape", "<i8"), u64::from_le_bytes),
        [3, vocabulary.len() as u64]
    );
    let indptr = numbers(&array("indptr", "<i8"), u64::from_le_bytes);
    let indices = numbers(&array("indices", "<i4"), u32::from_le_bytes);
    let data = numbers(&array("data", "<f4"), f32::from_le_bytes);
    assert_eq!(rows(&indptr, &indices, &data, &vocabulary), expected);

    let report = succeed(folder, &["index", "out.csr", "-o", "index", "--json"]).json();
    assert_eq!(report["num_docs"], 3);
    fs::write(folder.join("query.jsonl"), "{\"id\": 1, \"text\": \"new mesh\"}\n").expect("writable");
    let numbered = [
        "encode",
        "query.jsonl",
        "--model",
        "lexical",
        "--format",
        "csr",
        "-o",
        "query.csr",
    ];
    let numbered = [&numbered[..], &["--vocabulary", "out.csr.vocabulary.jsonl"]].concat();
    succeed(folder, &numbered);
    let extended = lines(&folder.join("query.csr.vocabulary.jsonl"));
    assert_eq!(extended[..vocabulary.len()], vocabulary[..]);
    assert_eq!(extended[vocabulary.len()..], [json!("new")]);
    let piped = run(
        folder,
        &["encode", "documents.jsonl", "--model", "lexical", "--format", "csr"],
    );
    assert!(piped.code == 2 && piped.stderr.contains("--output"), "{}", piped.stderr);
}

/// Enough documents for several batches.
fn many() -> String {
    (0..2000).fold(String::new(), |mut text, number| {
        let _ = writeln!(
            text,
            "{{\"id\": {number}, \"text\": \"sieve {number} mesh {}\"}}",
            number % 7
        );
        text
    })
}

/// Encodes `text` from a pipe that never ends, kills that once a part is there, and gives how many texts were done.
fn killed_after_a_part(folder: &Path, args: &[&str], text: &str) -> u64 {
    let mut process = tamis(folder, args)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut input = process.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("read");
    let manifest = folder.join("out.parts/manifest.json");
    let start = Instant::now();
    let done = loop {
        if let Some(manifest) = fs::read(&manifest)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        {
            let parts = manifest["parts"].as_array().expect("a list");
            break parts.iter().map(|part| part["texts"].as_u64().expect("a count")).sum();
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no part appears");
        std::thread::yield_now();
    };
    process.kill().expect("running");
    process.wait().expect("ended");
    drop(input);
    done
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("many.jsonl"), many()).expect("writable");
    let model = ["--model", "lexical"];
    for format in ["jsonl", "anserini", "npz"] {
        let form = ["--format", format];
        // The lexical model measures files before it encodes them, but not pipes: both runs are piped.
        let whole = [&["encode", "-", "-o", "whole"], &form[..], &model].concat();
        piped(folder, &whole, "many.jsonl");
        let resumable = [
            &["encode", "-", "-o", "out", "--resume", "--part-texts", "512", "--json"],
            &form[..],
            &model,
        ]
        .concat();
        let done = killed_after_a_part(folder, &resumable, &many());
        assert!((512..2000).contains(&done), "{done}");
        assert!(!folder.join("out").exists(), "an unfinished output has no name");
        let report = piped(folder, &resumable, "many.jsonl");
        assert!(report["resumed"].as_u64() >= Some(done), "{report}");
        assert_eq!(
            report["documents"]
                .as_u64()
                .zip(report["resumed"].as_u64())
                .map(|(a, b)| a + b),
            Some(2000)
        );
        let same = fs::read(folder.join("out")).expect("written") == fs::read(folder.join("whole")).expect("written");
        assert!(same, "{format}");
        assert!(!folder.join("out.parts").exists());
        fs::remove_file(folder.join("out")).expect("there");
    }
}

/// Runs `args` with a file as stdin, which must succeed; its stdout as JSON where there is some.
fn piped(folder: &Path, args: &[&str], file: &str) -> Value {
    let input = fs::File::open(folder.join(file)).expect("there");
    let output = tamis(folder, args).stdin(input).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Runs `args` with a file as stdin, which must be refused.
fn refuse(folder: &Path, (args, file): (&[&str], &str), code: i32, needle: &str) {
    let input = fs::File::open(folder.join(file)).expect("there");
    let output = tamis(folder, args).stdin(input).output().expect("the binary starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(needle), "{stderr}");
}

#[test]
fn parts_of_something_else_are_refused() {
    let folder = folder();
    let folder = folder.path();
    let args = [
        "encode",
        "-",
        "--model",
        "lexical",
        "-o",
        "out",
        "--resume",
        "--part-texts",
        "512",
    ];
    killed_after_a_part(folder, &args, &many());
    let other = many().replace("sieve 3 ", "colander 3 ");
    fs::write(folder.join("other.jsonl"), other).expect("writable");
    let refuse = |args: &[&str], file: &str, code: i32, needle: &str| refuse(folder, (args, file), code, needle);
    refuse(&args, "other.jsonl", 6, "another input");
    refuse(&args, "documents.jsonl", 6, "input");
    let query = [&args[..], &["--kind", "query"]].concat();
    refuse(&query, "other.jsonl", 6, "another model, kind, precision or form");
    let part = folder.join("out.parts/part-000000");
    let mut bytes = fs::read(&part).expect("there");
    bytes[100] ^= 1;
    fs::write(part, bytes).expect("writable");
    refuse(&args, "other.jsonl", 5, "another checksum");
}

#[test]
fn the_cache_saves_encoding_and_changes_nothing() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("many.jsonl"), many()).expect("writable");
    let plain = ["encode", "many.jsonl", "--model", "lexical", "-o", "out.jsonl"];
    succeed(folder, &plain);
    let expected = fs::read(folder.join("out.jsonl")).expect("written");
    let cached = [&plain[..], &["--cache", "cache", "--json"]].concat();
    for (hits, misses) in [(0, 2000), (2000, 0)] {
        let report = succeed(folder, &cached).json();
        assert_eq!(report["cache"], json!({"hits": hits, "misses": misses}));
        assert_eq!(fs::read(folder.join("out.jsonl")).expect("written"), expected);
    }
    let index = [
        "index",
        "many.jsonl",
        "--model",
        "lexical",
        "-o",
        "mine",
        "--cache",
        "cache",
        "--json",
    ];
    let report = succeed(folder, &index).json();
    assert_eq!(report["encode"]["cache"], json!({"hits": 2000, "misses": 0}));
    let segment = folder.join("cache/00000000.vectors");
    let bytes = fs::read(&segment).expect("written");
    fs::write(&segment, &bytes[..bytes.len() / 2]).expect("writable");
    let report = succeed(folder, &cached).json();
    let hits = report["cache"]["hits"].as_u64().expect("a count");
    assert!((900..1100).contains(&hits), "{report}");
    assert_eq!(fs::read(folder.join("out.jsonl")).expect("written"), expected);
    let other = [&cached[..], &["--kind", "query"]].concat();
    assert_eq!(
        succeed(folder, &other).json()["cache"]["hits"],
        0,
        "queries are other vectors"
    );
}

/// A SPLADE checkpoint that reads 24 tokens.
const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crates/tamis-encoder/tests/fixtures/splade-v3"
);

#[test]
fn parts_of_another_precision_length_or_expansion_are_refused() {
    let folder = folder();
    let folder = folder.path();
    let args = [
        "encode",
        "-",
        "-o",
        "out",
        "--resume",
        "--part-texts",
        "512",
        "--model",
        CHECKPOINT,
    ];
    killed_after_a_part(folder, &args, &many());
    fs::write(folder.join("many.jsonl"), many()).expect("writable");
    let with = |more: &[&'static str]| [&args[..], more].concat();
    let made = "another model, kind, precision or form";
    refuse(folder, (&with(&["--precision", "int8"]), "many.jsonl"), 6, made);
    refuse(folder, (&with(&["--long", "windows:4"]), "many.jsonl"), 6, made);
    let expanded = many().replacen("\"id\": 3, ", "\"id\": 3, \"expansion\": \"\", ", 1);
    fs::write(folder.join("expanded.jsonl"), expanded).expect("writable");
    refuse(folder, (&args, "expanded.jsonl"), 6, "another input");
    piped(folder, &args, "many.jsonl");
    assert_eq!(lines(&folder.join("out")).len(), 2000);
}

#[test]
fn the_cache_tells_precisions_apart_and_remembers_windows() {
    let folder = folder();
    let folder = folder.path();
    let text = "mill wheel stone ".repeat(19);
    let line = format!("{{\"id\": \"long\", \"text\": {text:?}}}\n");
    fs::write(folder.join("long.jsonl"), line).expect("writable");
    let encode = |more: &[&str]| {
        let args = ["encode", "long.jsonl", "-o", "out", "--json", "--cache", "cache"];
        let report = succeed(folder, &[&args[..], &["--model", CHECKPOINT], more].concat()).json();
        assert!(report["documents_per_second"].as_f64() > Some(0.0), "{report}");
        let vectors = fs::read_to_string(folder.join("out")).expect("written");
        (
            report["cache"]["hits"].clone(),
            report["windows"].clone(),
            report["truncated"].clone(),
            vectors,
        )
    };
    let settings: [&[&str]; 4] = [
        &[],
        &["--precision", "int16"],
        &["--precision", "int8"],
        &["--long", "windows:4"],
    ];
    let first = settings.map(&encode);
    for (setting, first) in settings.iter().zip(first) {
        assert_eq!(first.0, 0, "{setting:?}");
        let again = encode(setting);
        assert_eq!(again, (json!(1), first.1, first.2, first.3), "{setting:?}");
    }
    assert_eq!(encode(&["--long", "windows:4"]).2, 0, "read whole");
}
