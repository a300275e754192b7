//! Where checkpoints compute: `--device` and `--precision` of every command that encodes.

use super::support::{Finished, Service, run, succeed};
use std::fs;
use std::path::Path;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crates/tamis-encoder/tests/fixtures/st-modernbert"
);

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let documents = "{\"id\": \"a\", \"text\": \"fine flour\"}\n{\"id\": \"b\", \"text\": \"a mill wheel\"}\n";
    fs::write(folder.path().join("documents.jsonl"), documents).expect("writable");
    folder
}

fn assert_usage(finished: &Finished, needles: &[&str]) {
    assert_eq!(finished.code, 2, "{}", finished.stderr);
    for needle in needles {
        assert!(finished.stderr.contains(needle), "{needle:?}: {}", finished.stderr);
    }
}

/// Every command that encodes, as it is called in `folder` after an index and a collection were made.
const COMMANDS: [&[&str]; 7] = [
    &["encode", "documents.jsonl", "--model", CHECKPOINT],
    &["index", "documents.jsonl", "-o", "again", "--model", CHECKPOINT],
    &["index", "documents.jsonl", "--collection", "mills"],
    &["search", "--index", "made", "flour"],
    &["search", "--collection", "mills", "flour"],
    &["run", "--index", "made", "--queries", "documents.jsonl"],
    &["serve", "--port", "0"],
];

#[test]
fn the_cpu_computes_by_default_and_by_name() {
    let folder = folder();
    let folder = folder.path();
    let by = |options: &[&str]| {
        let mut args = COMMANDS[0].to_vec();
        args.extend(options);
        succeed(folder, &args).stdout
    };
    let vectors = by(&[]);
    assert!(vectors.starts_with("{\"id\":\"a\",\"vector\":{"), "{vectors}");
    assert_eq!(by(&["--device", "cpu", "--precision", "f32"]), vectors);

    let index = ["index", "documents.jsonl", "-o", "made", "--model", CHECKPOINT];
    succeed(folder, &index);
    let collection = [
        "index",
        "documents.jsonl",
        "--collection",
        "mills",
        "--model",
        CHECKPOINT,
    ];
    succeed(folder, &collection);
    for command in COMMANDS.iter().filter(|command| command[0] != "serve") {
        let mut args = command.to_vec();
        args.extend(["--device", "cpu", "--precision", "int8"]);
        succeed(folder, &args);
    }
    let service = Service::start(folder, &["serve", "--port", "0", "--precision", "int16"]);
    let (status, body) = service.request("POST", "/v1/collections/mills/search", r#"{"query": "flour"}"#);
    assert_eq!(status, 200, "{body}");
}

#[test]
fn devices_that_cannot_be_used_are_refused_before_anything_is_written() {
    let folder = folder();
    let folder = folder.path();
    let with = |command: &[&str], options: &[&str]| {
        let mut args = command.to_vec();
        args.extend(options);
        run(folder, &args)
    };
    for command in COMMANDS {
        assert_usage(&with(command, &["--device", "gpu"]), &["--device", "\"gpu\"", "cuda:N"]);
        assert_usage(
            &with(command, &["--precision", "f16"]),
            &["--precision", "\"f16\"", "int8"],
        );
    }
    let both = ["--device", "cuda", "--precision", "int8"];
    assert_usage(&with(COMMANDS[0], &both), &["int8", "cuda", "CPU"]);
    if !cfg!(feature = "cuda") {
        for command in [COMMANDS[0], COMMANDS[1], COMMANDS[2], COMMANDS[6]] {
            let refused = with(command, &["--device", "cuda"]);
            assert_usage(&refused, &["device cuda", "--features cuda"]);
        }
        assert_usage(
            &with(&["encode", "documents.jsonl"], &["--device", "cuda:1"]),
            &["device cuda:1", "--features cuda"],
        );
    }
    for name in ["again", "tamis-data"] {
        let made = folder.join(name);
        assert!(!holds_files(&made), "{} was filled", made.display());
    }
}

fn holds_files(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries
        .filter_map(Result::ok)
        .any(|entry| entry.path().is_file() || holds_files(&entry.path()))
}
