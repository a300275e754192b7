//! The house rules that a machine can check: floors, file sizes, `unsafe`, citations, links.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every crate and the floor it stands on. A crate may only depend on crates of lower floors.
const FLOORS: [(&str, u32); 9] = [
    ("tamis-core", 0),
    ("tamis-kernels", 0),
    ("tamis-index", 1),
    ("tamis-eval", 1),
    ("tamis-query", 2),
    ("tamis-encoder", 2),
    ("tamis-engine", 3),
    ("tamis-server", 4),
    ("tamis-train", 4),
];

/// What only one crate may name: the walls that keep later changes local.
const WALLS: [(&str, &[&str]); 11] = [
    ("candle-core", &["tamis-encoder"]),
    ("tokenizers", &["tamis-encoder"]),
    ("safetensors", &["tamis-encoder"]),
    ("memmap2", &["tamis-index"]),
    ("tantivy", &["tamis-engine"]),
    ("actix-web", &["tamis-server"]),
    ("clap", &["tamis"]),
    ("plotters", &["tamis-train"]),
    ("signal-hook", &["tamis"]),
    ("anyhow", &["tamis"]),
    ("indicatif", &["tamis"]),
];

/// Where `unsafe` is allowed, as path prefixes.
const UNSAFE_ALLOWED: [&str; 2] = ["crates/tamis-kernels/src/", "crates/tamis-index/src/mmap.rs"];

/// Modules that implement something published; the module comment names the source with its year.
const CITED: [&str; 57] = [
    "crates/tamis-core/src/impact.rs",
    "crates/tamis-core/src/integer_rule.rs",
    "crates/tamis-encoder/src/lexical/bm25.rs",
    "crates/tamis-encoder/src/checkpoint/load/gte.rs",
    "crates/tamis-encoder/src/checkpoint/load/modernbert.rs",
    "crates/tamis-encoder/src/transformer/backbone.rs",
    "crates/tamis-encoder/src/transformer/device/attention.rs",
    "crates/tamis-encoder/src/transformer/mlm_head.rs",
    "crates/tamis-encoder/src/transformer/token_head.rs",
    "crates/tamis-encoder/src/checkpoint/ascii_words.rs",
    "crates/tamis-encoder/src/checkpoint/heads.rs",
    "crates/tamis-encoder/src/checkpoint/lsr.rs",
    "crates/tamis-encoder/src/checkpoint/pair.rs",
    "crates/tamis-encoder/src/checkpoint/quantisation.rs",
    "crates/tamis-encoder/src/checkpoint/query_table.rs",
    "crates/tamis-encoder/src/checkpoint/words.rs",
    "crates/tamis-encoder/src/transformer/embedding_head.rs",
    "crates/tamis-encoder/src/transformer/pool_rule.rs",
    "crates/tamis-encoder/src/checkpoint/wordpiece.rs",
    "crates/tamis-encoder/src/checkpoint/dense.rs",
    "crates/tamis-kernels/src/attention.rs",
    "crates/tamis-kernels/src/dense.rs",
    "crates/tamis-engine/src/bm25.rs",
    "crates/tamis-engine/src/fusion.rs",
    "crates/tamis-eval/src/comparison.rs",
    "crates/tamis-eval/src/metric.rs",
    "crates/tamis-index/src/reorder.rs",
    "crates/tamis-query/src/block_max.rs",
    "crates/tamis-query/src/exhaustive.rs",
    "crates/tamis-query/src/quantised.rs",
    "crates/tamis-train/src/mining.rs",
    "crates/tamis-train/src/evaluation.rs",
    "crates/tamis-train/src/negatives.rs",
    "crates/tamis-train/src/teacher.rs",
    "crates/tamis-train/src/lift/ridge.rs",
    "crates/tamis-train/src/lift/solve.rs",
    "crates/tamis-encoder/src/lifted.rs",
    "crates/tamis-encoder/src/lifted/gate.rs",
    "crates/tamis-encoder/src/training/adamw.rs",
    "crates/tamis-encoder/src/training/controller.rs",
    "crates/tamis-encoder/src/training/loss/contrastive.rs",
    "crates/tamis-encoder/src/training/loss/kl.rs",
    "crates/tamis-encoder/src/training/loss/margin_mse.rs",
    "crates/tamis-encoder/src/training/loss/term_mse.rs",
    "crates/tamis-encoder/src/training/randomness/philox.rs",
    "crates/tamis-encoder/src/training/regulariser/document_frequency.rs",
    "crates/tamis-encoder/src/training/regulariser/flops.rs",
    "crates/tamis-encoder/src/training/teacher.rs",
    "crates/tamis-encoder/src/training/trainer/step.rs",
    "crates/tamis-encoder/src/checkpoint/trainable/dense.rs",
    "crates/tamis-encoder/src/checkpoint/trainable/scatter.rs",
    "crates/tamis-encoder/src/checkpoint/trainable/start.rs",
    "crates/tamis-encoder/src/transformer/device/ragged/attention.rs",
    "crates/tamis-encoder/src/transformer/device/ragged/pool.rs",
    "crates/tamis-encoder/src/transformer/device/step_probe.rs",
    "crates/tamis-kernels/src/attention/backward.rs",
    "crates/tamis-kernels/src/dense/product.rs",
];

const MAX_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `dir` with one of `extensions`, as paths relative to the repository, sorted.
fn files(dir: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.expect("readable directory").path();
            let extension = path
                .extension()
                .and_then(|extension| extension.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                open.push(path);
            } else if extensions.contains(&extension) {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> Vec<(PathBuf, String)> {
    let paths = files("crates", &["rs"]).into_iter().chain(files("tests", &["rs"]));
    paths.map(|path| (path.clone(), read(&path))).collect()
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let start = manifest
        .find("\n[dependencies]")
        .map(|at| at + "\n[dependencies]".len());
    let section = start.map_or("", |start| &manifest[start..]);
    let section = section.split("\n[").next().unwrap_or_default();
    let lines = section
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned())
        .collect()
}

fn manifests() -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("tamis".to_owned(), read(Path::new("Cargo.toml")))]);
    let is_manifest = |path: &PathBuf| path.file_name().is_some_and(|name| name == "Cargo.toml");
    for path in files("crates", &["toml"]).into_iter().filter(is_manifest) {
        let name = path
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
            .expect("crates/NAME/Cargo.toml");
        all.insert(name.to_owned(), read(&path));
    }
    all
}

#[test]
fn dependencies_only_go_down() {
    let floors = BTreeMap::from(FLOORS);
    let manifests = manifests();
    assert_eq!(
        manifests.len(),
        FLOORS.len() + 1,
        "every crate has a floor: {:?}",
        manifests.keys()
    );
    for (name, manifest) in &manifests {
        let floor = if name == "tamis" { 5 } else { floors[name.as_str()] };
        for dependency in dependencies(manifest) {
            let below = floors.get(dependency.as_str()).copied();
            assert!(
                below.is_none_or(|below| below < floor),
                "{name} (floor {floor}) depends on {dependency}"
            );
        }
    }
}

#[test]
fn the_index_knows_no_text_and_the_encoder_no_index() {
    let manifests = manifests();
    let forbidden = [
        ("tamis-encoder", "tamis-index"),
        ("tamis-eval", "tamis-engine"),
        ("tamis-eval", "tamis-index"),
    ];
    for (name, other) in forbidden {
        assert!(
            !dependencies(&manifests[name]).contains(&other.to_owned()),
            "{name} depends on {other}"
        );
    }
    for (library, owners) in WALLS {
        for (name, manifest) in &manifests {
            let uses = dependencies(manifest).contains(&library.to_owned());
            assert!(
                !uses || owners.contains(&name.as_str()),
                "{name} depends on {library}, which belongs to {owners:?}"
            );
        }
    }
}

#[test]
fn no_file_outgrows_its_noun() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "{} has {lines} lines: look for the second noun",
            path.display()
        );
    }
}

#[test]
fn every_module_says_what_it_is() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//!"),
            "{} does not begin with a module comment",
            path.display()
        );
    }
}

#[test]
fn unsafe_stays_where_it_is_allowed_and_says_why_it_is_sound() {
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !(code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl"))
                || code.contains('"')
            {
                continue;
            }
            let place = format!("{}:{}", path.display(), number + 1);
            let allowed = UNSAFE_ALLOWED
                .iter()
                .any(|prefix| path.starts_with(prefix.trim_end_matches('/')));
            assert!(allowed, "{place}: unsafe belongs in {UNSAFE_ALLOWED:?}");
            let before = lines[number.saturating_sub(6)..number].iter();
            let reasoned = before
                .chain([line])
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            assert!(reasoned, "{place}: no SAFETY note");
        }
    }
}

#[test]
fn algorithms_name_their_source() {
    for path in CITED {
        let text = read(Path::new(path));
        let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let years = header
            .match_indices(['1', '2'])
            .filter_map(|(at, _)| header.get(at..at + 4));
        let cited = years
            .filter(|year| year.starts_with("19") || year.starts_with("20"))
            .any(|year| year.parse::<u16>().is_ok());
        assert!(cited, "{path} names no paper with its year in its module comment");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let ignore = ["#[", "ignore"].concat();
    for (path, text) in sources() {
        for mark in marks.iter().chain([&ignore]) {
            assert!(!text.contains(mark.as_str()), "{} contains {mark}", path.display());
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = vec![
        PathBuf::from("README.md"),
        PathBuf::from("ARCHITECTURE.md"),
        PathBuf::from("CHANGELOG.md"),
    ];
    for dir in ["index", "models", "tests", "benches", "crates"] {
        pages.extend(files(dir, &["md"]));
    }
    for page in pages {
        let text = read(&page);
        let folder = root().join(page.parent().unwrap_or(Path::new("")));
        for (at, _) in text.match_indices("](") {
            let target: String = text[at + 2..]
                .chars()
                .take_while(|&next| next != ')' && next != '#')
                .collect();
            let local = !target.is_empty() && !target.contains("://");
            assert!(
                !local || folder.join(&target).exists(),
                "{}: no {target}",
                page.display()
            );
        }
    }
}
