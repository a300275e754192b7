//! Random damage to every file: an error or an encoder that works, never a panic.

use crate::copy_of;
use std::path::{Path, PathBuf};
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind};

/// Marsaglia's xorshift, so that failures repeat.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("below sides")
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect();
    files.retain(|path| !path.ends_with("expected.json"));
    files.sort();
    files
}

/// Changes, inserts or removes a few bytes; numbers and brackets more often than anything.
fn damaged(original: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = original.to_vec();
    // The header of a weights file is worth more attention than its numbers.
    let reach = bytes.len().min(4000);
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(reach.min(bytes.len()).max(1));
        let junk = b"0123456789-{}[],:\"\\ntefalsu\xff\0"[dice.roll(28)];
        match dice.roll(4) {
            0 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + dice.roll(9)).min(bytes.len()))),
            1 => bytes.insert(at.min(bytes.len()), junk),
            _ if at < bytes.len() => bytes[at] = junk,
            _ => bytes.push(junk),
        }
    }
    bytes
}

/// Counts how often a damaged copy still opens, after encoding with it.
fn survivals(fixture: &str, rounds: usize) -> (usize, usize) {
    let dir = copy_of(fixture);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut opened, mut refused) = (0, 0);
    for file in files_below(dir.path()) {
        let original = std::fs::read(&file).expect("readable");
        for _ in 0..rounds {
            std::fs::write(&file, damaged(&original, &mut dice)).expect("writable");
            match Checkpoint::open(dir.path(), &CheckpointOptions::default()) {
                Ok(encoder) => {
                    opened += 1;
                    for kind in [InputKind::Document, InputKind::Query] {
                        let _ = encoder.encode(kind, &["The mill é 東 [SEP] 12", ""]);
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        std::fs::write(&file, original).expect("writable");
    }
    (opened, refused)
}

#[test]
fn damaged_files_never_panic() {
    for fixture in [
        "bert-idf",
        "distilbert-vocab",
        "st-bert-max",
        "st-router",
        "unicoil",
        "roberta",
        "xlm-roberta",
    ] {
        let (opened, refused) = survivals(fixture, 25);
        assert!(
            opened > 0 && refused > 0,
            "{fixture}: {opened} opened, {refused} refused"
        );
    }
}
