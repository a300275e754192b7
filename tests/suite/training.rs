//! `tamis train`: presets, a run that is killed and goes on, curves, and what is refused.

use super::support::{Finished, run, succeed, tamis};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crates/tamis-encoder/tests/fixtures/bert-plain"
);

const PASSAGES: [&str; 8] = [
    "the miller sifts flour through a fine sieve",
    "a water wheel turns the mill stone",
    "wheat and rye are ground to bran and germ",
    "the baker kneads dough with yeast and salt",
    "a drum sieve holds back the coarse bran",
    "the old mill stands by the river",
    "cream and eggs are beaten with a whisk",
    "honey sweetens the bread of the baker",
];

/// A folder with rows and a judged collection of them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    let lines = |line: &dyn Fn(usize, &str) -> String| -> String {
        PASSAGES
            .iter()
            .enumerate()
            .map(|(at, text)| line(at, text) + "\n")
            .collect()
    };
    let query = |text: &str| text.split(' ').rev().step_by(2).collect::<Vec<_>>().join(" ");
    let write = |name: &str, text: String| fs::write(dir.join(name), text).expect("writable");
    write(
        "rows.jsonl",
        lines(&|_, text| format!("{{\"src\":\"mill\",\"query\":\"{}\",\"text\":\"{text}\"}}", query(text))),
    );
    fs::create_dir_all(dir.join("mills/qrels")).expect("writable");
    write(
        "mills/corpus.jsonl",
        lines(&|at, text| format!("{{\"_id\":\"d{at}\",\"text\":\"{text}\"}}")),
    );
    write(
        "mills/queries.jsonl",
        lines(&|at, text| format!("{{\"_id\":\"q{at}\",\"text\":\"{}\"}}", query(text))),
    );
    let qrels = lines(&|at, _| format!("q{at}\td{at}\t1"));
    write("mills/qrels/test.tsv", format!("query-id\tcorpus-id\tscore\n{qrels}"));
    folder
}

const TRAIN: [&str; 22] = [
    "train",
    "--preset",
    "splade-max",
    "--model",
    CHECKPOINT,
    "--data",
    "rows.jsonl",
    "--dev",
    "mills",
    "--set",
    "batch.size=4",
    "--set",
    "trainer.learning_rate.peak=1e-3",
    "--set",
    "trainer.learning_rate.warm_up={steps = 2}",
    "--set",
    "run.log_every=1",
    "--set",
    "run.checkpoint_every=4",
    "--set",
    "evaluation.every=6",
    "--json",
];

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [TRAIN.as_slice(), more].concat()
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
fn recipes_are_listed_shown_and_changed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let list = succeed(folder, &["train", "--list"]).stdout;
    for name in ["splade-v3", "unicoil", "l0-doc", "li-lsr", "epic", "sparse-from-pairs"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name}: {list}");
    }
    let shown = succeed(folder, &["train", "--show", "splade-max"]).stdout;
    assert!(shown.contains("weight = 3e-4") && shown.contains('#'), "{shown}");
    let changed = succeed(folder, &["train", "--show", "splade-max", "--set", "batch.size=7"]).stdout;
    assert!(changed.contains("size = 7"), "{changed}");
    let refused = |args: &[&str], needle: &str| {
        let Finished { code, stderr, .. } = run(folder, args);
        assert!(code == 2 && stderr.contains(needle), "{args:?}: {code} {stderr}");
    };
    refused(&["train", "--show", "splade-maxx"], "splade-max");
    refused(
        &["train", "--show", "splade-max", "--set", "batch.sice=7"],
        "unknown field `sice`",
    );
    refused(&["train"], "--preset");
    refused(&["train", "--list", "--resume"], "cannot be used with");
}

#[test]
fn a_killed_run_is_resumed_to_the_same_files() {
    let folder = folder();
    let folder = folder.path();
    let report = succeed(folder, &train(&["--steps", "40", "-o", "whole"])).json();
    assert_eq!(report["ended"], "steps", "{report}");
    // Killed as soon as a checkpoint is there.
    let mut process = tamis(folder, &train(&["--steps", "40", "-o", "killed"]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    while !folder.join("killed/checkpoints/4").exists() && process.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    process.kill().expect("a child");
    process.wait().expect("a child");
    let resumed = succeed(folder, &["train", "--resume", "-o", "killed", "--json"]).json();
    assert_eq!((&resumed["step"], &resumed["mean"]), (&report["step"], &report["mean"]));
    let (whole, killed) = (tree(&folder.join("whole")), tree(&folder.join("killed")));
    assert_eq!(whole.keys().collect::<Vec<_>>(), killed.keys().collect::<Vec<_>>());
    let differing: Vec<&String> = whole
        .iter()
        .filter(|(name, bytes)| killed[*name] != **bytes)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(differing, Vec::<&String>::new());
    for name in [
        "recipe.toml",
        "log.jsonl",
        "model/model.safetensors",
        "model/README.md",
        "curves/loss.svg",
        "curves/dev.svg",
    ] {
        assert!(whole.contains_key(name), "{name}: {:?}", whole.keys());
    }

    // The model is one like any other, and what it was chosen by is what `eval` measures.
    let args = [
        "eval",
        "mills",
        "--model",
        "whole/model",
        "--metrics",
        "ndcg@10",
        "--json",
    ];
    assert_eq!(succeed(folder, &args).json()["metrics"]["ndcg@10"], report["mean"]);

    // Curves again, and two runs in one picture.
    let drawn = succeed(folder, &["train", "--curves", "whole", "-o", "again"]).stdout;
    assert!(drawn.contains("loss.svg"), "{drawn}");
    assert_eq!(
        fs::read(folder.join("again/loss.svg")).expect("drawn"),
        whole["curves/loss.svg"]
    );
    succeed(
        folder,
        &["train", "--curves", "whole", "killed/log.jsonl", "-o", "both"],
    );
    let picture = fs::read_to_string(folder.join("both/trade-off-length.svg")).expect("drawn");
    assert!(picture.contains("whole") && picture.contains("killed"), "{picture}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let folder = folder();
    let folder = folder.path();
    let process = tamis(folder, &train(&["--steps", "100000", "-o", "run"]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    while fs::metadata(folder.join("run/log.jsonl")).map_or(0, |log| log.len()) < 600 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupted = std::process::Command::new("kill")
        .args(["-INT", &process.id().to_string()])
        .status();
    assert!(interrupted.expect("kill is there").success());
    let output = process.wait_with_output().expect("a child");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("tamis train --resume -o run") && stderr.contains("loss"),
        "{stderr}"
    );
    let checkpoints = fs::read_dir(folder.join("run/checkpoints")).expect("a folder").count();
    assert_eq!(checkpoints, 1);
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_written() {
    let folder = folder();
    let folder = folder.path();
    fs::write(
        folder.join("broken.jsonl"),
        "{\"query\":\"q\",\"text\":\"t\"}\n{\"query\":\"q\"}\n",
    )
    .expect("writable");
    let refused = |args: &[&str], code: i32, needle: &str| {
        let finished = run(folder, args);
        assert_eq!(finished.code, code, "{args:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(needle), "{args:?}: {}", finished.stderr);
        assert!(!folder.join("out").exists(), "{args:?}");
    };
    refused(&train(&["--steps", "0", "-o", "out"]), 2, "steps");
    refused(
        &train(&["--teacher", "mills", "-o", "out"]),
        2,
        "no teacher of the recipe",
    );
    refused(
        &train(&["--set", "trainer.loss={kl = {}}", "-o", "out"]),
        2,
        "teacher.members",
    );
    refused(&train(&["--data", "nowhere.jsonl", "-o", "out"]), 4, "nowhere.jsonl");
    refused(
        &train(&["--data", "broken.jsonl", "-o", "out"]),
        1,
        "broken.jsonl, line 2",
    );
    refused(
        &train(&["--set", "batch.size=400", "-o", "out"]),
        2,
        "do not fill a batch of 400",
    );
    refused(&["train", "--resume", "-o", "out"], 4, "no training run");
    refused(&["train", "--curves", "mills", "-o", "out"], 4, "log.jsonl");
    fs::write(folder.join("mine.toml"), "[batch]\nsice = 3\n").expect("writable");
    refused(
        &["train", "--config", "mine.toml", "--data", "rows.jsonl", "-o", "out"],
        2,
        "mine.toml",
    );
    refused(&train(&["-o", "mills"]), 2, "not empty");
}
