//! Texts longer than a model reads: cut and said so, or read whole in windows.

use crate::{copy_of, fixture, replace, weight};
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind, LongText, SparseEncoding};

const WORDS: [&str; 7] = ["mill", "wheel", "stone", "grain", "wheat", "sieve", "flour"];
/// [CLS], ten words, [SEP].
const LENGTH: usize = 12;

fn open(long_text: LongText) -> Checkpoint {
    let options = CheckpointOptions {
        max_length: Some(LENGTH),
        long_text: Some(long_text),
        ..CheckpointOptions::default()
    };
    Checkpoint::open(&fixture("bert-plain"), &options).expect("a whole checkpoint")
}

/// As many words, each one token.
pub(super) fn words(count: usize) -> Vec<&'static str> {
    (0..count).map(|at| WORDS[(at * at + at / 3) % WORDS.len()]).collect()
}

fn encode(encoder: &Checkpoint, text: &str) -> SparseEncoding {
    encoder
        .encode(InputKind::Document, &[text])
        .expect("any text")
        .remove(0)
}

#[test]
fn a_token_weighs_its_largest_of_all_windows() {
    let (cut, whole) = (open(LongText::Truncate), open(LongText::Windows { overlap: 2 }));
    let words = words(29);
    let text = words.join(" ");
    let read = encode(&whole, &text);
    // Windows of ten words, each beginning eight after the one before: 0..10, 8..18, 16..26, 24..29.
    let windows: Vec<SparseEncoding> = [0..10, 8..18, 16..26, 24..29]
        .into_iter()
        .map(|range| encode(&cut, &words[range].join(" ")))
        .collect();
    assert_eq!((read.num_windows, read.truncated), (4, false));
    assert_eq!(read.num_tokens, 3 * 12 + 7);
    let mut named = 0;
    for (token, value) in &read.tokens {
        let largest = windows.iter().map(|window| weight(window, token)).fold(0.0, f32::max);
        assert!((value - largest).abs() < 1e-5, "{token}: {value}, {largest} expected");
        named += 1;
    }
    for (token, _) in windows.iter().flat_map(|window| &window.tokens) {
        assert!(weight(&read, token) > 0.0, "{token}");
    }
    let first = encode(&cut, &text);
    assert_eq!((first.num_windows, first.truncated, first.num_tokens), (1, true, 12));
    assert!(named > first.tokens.len(), "later windows add tokens");
}

#[test]
fn short_texts_are_read_as_ever_and_batches_do_not_matter() {
    let (cut, whole) = (open(LongText::Truncate), open(LongText::Windows { overlap: 0 }));
    let texts: Vec<String> = [0, 1, 10, 11, 20, 21, 50].map(|count| words(count).join(" ")).to_vec();
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = whole.encode(InputKind::Query, &borrowed).expect("any text");
    let windows: Vec<usize> = together.iter().map(|encoding| encoding.num_windows).collect();
    assert_eq!(windows, [1, 1, 1, 2, 2, 3, 5]);
    for (text, batched) in texts.iter().zip(&together) {
        let alone = whole.encode(InputKind::Query, &[text]).expect("any text").remove(0);
        assert!(crate::difference(&alone, batched) < 1e-5);
        assert!(!batched.truncated);
        if batched.num_windows == 1 {
            assert_eq!(alone, encode(&cut, text));
        }
    }
}

#[test]
fn tables_read_long_queries_whole() {
    let with = |long_text| {
        let options = CheckpointOptions {
            max_length: Some(4),
            long_text: Some(long_text),
            ..CheckpointOptions::default()
        };
        let encoder = Checkpoint::open(&fixture("bert-idf"), &options).expect("a whole checkpoint");
        encoder
            .encode(InputKind::Query, &["mill wheel stone grain wheat"])
            .expect("any text")
            .remove(0)
    };
    let (cut, whole) = (with(LongText::Truncate), with(LongText::Windows { overlap: 1 }));
    assert_eq!((cut.tokens.len(), cut.truncated), (4, true));
    assert_eq!((whole.tokens.len(), whole.truncated, whole.num_windows), (5, false, 1));
}

#[test]
fn an_overlap_must_leave_room_for_new_tokens() {
    let options = CheckpointOptions {
        max_length: Some(LENGTH),
        long_text: Some(LongText::Windows { overlap: 10 }),
        ..CheckpointOptions::default()
    };
    let message = Checkpoint::open(&fixture("bert-plain"), &options)
        .err()
        .expect("a refusal")
        .to_string();
    for needle in ["long_text", "below the 10 tokens", "10 found"] {
        assert!(message.contains(needle), "{needle:?} is not in: {message}");
    }
}

#[test]
fn tamis_json_may_ask_for_windows() {
    let dir = copy_of("splade-v3");
    replace(
        dir.path(),
        "tamis.json",
        "{",
        r#"{"long_text": {"windows": {"overlap": 4}}, "#,
    );
    let encoder = Checkpoint::open(dir.path(), &CheckpointOptions::default()).expect("a whole checkpoint");
    let read = encode(&encoder, &words(60).join(" "));
    assert!(read.num_windows > 2 && !read.truncated);
}
