//! Checkpoints as their libraries write them: the same vectors, or a clear refusal.
//!
//! The fixtures and their expected vectors are written by `tests/make_fixtures.py`.

mod damage;
mod dense;
mod eight_bits;
mod exactness;
mod families;
mod gates;
mod known_answers;
mod layouts;
mod lifted;
mod long_texts;
mod malformed;
mod modern;
mod options;
mod parts;
mod pickles;
mod presets;
mod reference;
mod roberta;
mod shards;
mod weights;

use std::path::{Path, PathBuf};
use tamis_encoder::SparseEncoding;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of a fixture that a test may change.
fn copy_of(name: &str) -> tempfile::TempDir {
    let target = tempfile::tempdir().expect("room for a temporary folder");
    copy_tree(&fixture(name), target.path());
    target
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).expect("new");
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("readable");
        }
    }
}

/// Replaces text that must be there in a file of `dir`.
fn replace(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).expect("a text file");
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replace(from, to)).expect("writable");
}

/// The weight of `token`, 0 where it has none.
fn weight(encoding: &SparseEncoding, token: &str) -> f32 {
    encoding
        .tokens
        .iter()
        .find(|(other, _)| other == token)
        .map_or(0.0, |&(_, weight)| weight)
}

/// The largest difference of a weight between two vectors.
fn difference(a: &SparseEncoding, b: &SparseEncoding) -> f32 {
    let one_way = |a: &SparseEncoding, b: &SparseEncoding| {
        a.tokens
            .iter()
            .map(|(token, value)| (value - weight(b, token)).abs())
            .fold(0.0, f32::max)
    };
    one_way(a, b).max(one_way(b, a))
}
