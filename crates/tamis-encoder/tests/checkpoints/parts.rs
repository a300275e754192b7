//! Texts longer than a dense encoder reads: in parts, alone and inside lifted models.

use crate::lifted::{lifted, opened};
use crate::long_texts::words;
use crate::{copy_of, fixture, replace, weight};
use std::num::NonZeroUsize;
use std::path::Path;
use tamis_encoder::{
    Checkpoint, CheckpointOptions, Compute, DenseEncoder, DenseEncoding, Encoder, Error, Gate, InputKind, Lift,
    LiftedEncoder, LongText, open_stored, open_with,
};

/// [CLS], so many words, [SEP]: what the fixtures say they read.
const ROOM: usize = 22;

fn parts(most: usize) -> LongText {
    LongText::Parts {
        most: NonZeroUsize::new(most).expect("above 0"),
    }
}

fn dense(name: &str, long_text: LongText) -> DenseEncoder {
    DenseEncoder::open(&fixture(name), long_text, Compute::default()).expect("a whole encoder")
}

fn encode(encoder: &DenseEncoder, text: &str) -> DenseEncoding {
    let texts = encoder.encode(InputKind::Document, &[text]);
    texts.expect("any text").remove(0)
}

#[test]
fn a_vector_is_that_of_all_parts_by_their_lengths() {
    let (cut, whole) = (dense("dense-cls", LongText::Truncate), dense("dense-cls", parts(4)));
    let words = words(2 * ROOM + 6);
    let read = encode(&whole, &words.join(" "));
    assert_eq!(
        (read.num_windows, read.truncated, read.num_tokens),
        (3, false, 24 + 24 + 8)
    );
    let vectors = [0..ROOM, ROOM..2 * ROOM, 2 * ROOM..words.len()].map(|range| encode(&cut, &words[range].join(" ")));
    for (at, found) in read.values.iter().enumerate() {
        let sum = 24.0 * (vectors[0].values[at] + vectors[1].values[at]) + 8.0 * vectors[2].values[at];
        assert!((found - sum / 56.0).abs() < 1e-5, "{at}: {found}");
    }
    assert_ne!(read.values, encode(&cut, &words.join(" ")).values);
}

#[test]
fn what_the_last_part_cannot_hold_is_left_out_and_told() {
    let (two, four) = (dense("dense-mean", parts(2)), dense("dense-mean", parts(4)));
    let long = words(2 * ROOM + 1);
    let cut = encode(&two, &long.join(" "));
    assert_eq!((cut.num_windows, cut.truncated, cut.num_tokens), (2, true, 48));
    let same = encode(&four, &long[..2 * ROOM].join(" "));
    assert_eq!(same.values, cut.values, "the beginning is what was read");
    assert!(!same.truncated);
    let one = dense("dense-mean", parts(1));
    let (one, truncated) = (encode(&one, &long.join(" ")), dense("dense-mean", LongText::Truncate));
    assert_eq!(one, encode(&truncated, &long.join(" ")), "one part is a text cut");
}

#[test]
fn short_texts_are_read_as_ever_and_batches_do_not_matter() {
    let (cut, whole) = (dense("dense-lift", LongText::Truncate), dense("dense-lift", parts(4)));
    assert_ne!(cut.fingerprint(), whole.fingerprint());
    let texts: Vec<String> = [0, 1, ROOM, ROOM + 1, 3 * ROOM, 200]
        .map(|count| words(count).join(" "))
        .to_vec();
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = whole.encode(InputKind::Document, &borrowed).expect("any text");
    let windows: Vec<usize> = together.iter().map(|encoding| encoding.num_windows).collect();
    assert_eq!(windows, [1, 1, 1, 2, 3, 4]);
    for (text, batched) in texts.iter().zip(&together) {
        assert_eq!(&encode(&whole, text), batched);
        if batched.num_windows == 1 {
            assert_eq!(&encode(&cut, text), batched);
        }
    }
}

#[test]
fn sparse_checkpoints_read_parts_as_windows_that_share_nothing() {
    let open = |long_text| {
        let options = CheckpointOptions {
            max_length: Some(12),
            long_text: Some(long_text),
            ..CheckpointOptions::default()
        };
        Checkpoint::open(&fixture("bert-plain"), &options).expect("a whole checkpoint")
    };
    let (windows, parts) = (open(LongText::Windows { overlap: 0 }), open(parts(3)));
    let text = words(29).join(" ");
    let encode =
        |encoder: &Checkpoint, text: &str| encoder.encode(InputKind::Document, &[text]).expect("any").remove(0);
    assert_eq!(encode(&parts, &text), encode(&windows, &text));
    let longer = encode(&parts, &words(31).join(" "));
    assert_eq!((longer.num_windows, longer.truncated), (3, true));
}

/// Makes the lifted model in `dir` one whose lexical weights alone count, scaled by gates.
fn gated(dir: &Path) {
    let lift = Lift::read(dir)
        .expect("whole")
        .with_expansion(0.0, 3, 0.0)
        .expect("valid");
    let gate = Gate {
        weights: (0..lift.config().width)
            .map(|at| if at % 3 == 0 { 0.5 } else { -0.25 })
            .collect(),
        bias: 0.1,
    };
    for (name, bytes) in lift
        .with_gate(Some(gate))
        .expect("as wide")
        .to_files()
        .expect("serialises")
    {
        std::fs::write(dir.join(name), bytes).expect("writable");
    }
}

fn reading(dir: &Path, long_text: LongText) -> std::sync::Arc<dyn Encoder> {
    let options = CheckpointOptions {
        long_text: Some(long_text),
        ..CheckpointOptions::default()
    };
    open_with(dir.to_str().expect("UTF-8"), &options, Compute::default()).expect("opens")
}

#[test]
fn gates_are_those_of_the_first_part() {
    let dir = lifted();
    gated(dir.path());
    let of = |encoder: &dyn Encoder, text: &str| {
        let encoded = encoder.encode(InputKind::Document, &[text]);
        encoded.expect("any text").remove(0)
    };
    let mut text = words(ROOM);
    text.extend(["miller", "wheat", "stone"]);
    let text = text.join(" ");
    let (cut, whole) = (reading(dir.path(), LongText::Truncate), reading(dir.path(), parts(4)));
    let (cut, whole) = (of(cut.as_ref(), &text), of(whole.as_ref(), &text));
    assert_eq!((cut.num_windows, cut.truncated), (1, true));
    assert_eq!((whole.num_windows, whole.truncated), (2, false));
    assert_eq!(cut.tokens, whole.tokens, "words behind it have the mean of the others");
    assert!(weight(&whole, "miller") > 0.0);
}

#[test]
fn how_long_texts_are_read_is_part_of_the_model() {
    let dir = lifted();
    let cut = opened(dir.path()).expect("opens");
    replace(
        dir.path(),
        "lifted.json",
        "\"top\": 3,",
        "\"top\": 3,\n  \"long_text\": {\"parts\": {\"most\": 2}},",
    );
    let whole = opened(dir.path()).expect("opens");
    assert_ne!(cut.fingerprint(), whole.fingerprint());
    assert_eq!(whole.lift().config().long_text, parts(2));
    for encoder in [&cut, &whole] {
        let again = open_stored(&encoder.description()).expect("own description");
        assert_eq!(
            again.fingerprint(),
            encoder.fingerprint(),
            "what was stored reads as it did"
        );
    }
    assert_eq!(reading(dir.path(), LongText::Truncate).fingerprint(), cut.fingerprint());
    replace(
        dir.path(),
        "lifted.json",
        "{\"parts\": {\"most\": 2}}",
        "{\"windows\": {\"overlap\": 2}}",
    );
    let message = opened(dir.path()).err().expect("a refusal").to_string();
    assert!(message.contains("long_text") && message.contains("parts"), "{message}");
    replace(
        dir.path(),
        "lifted.json",
        "{\"windows\": {\"overlap\": 2}}",
        "{\"parts\": {\"most\": 0}}",
    );
    assert!(matches!(
        LiftedEncoder::open(dir.path(), Compute::default()),
        Err(Error::Json { .. })
    ));
    let unchanged = copy_of("dense-lift");
    assert!(DenseEncoder::open(unchanged.path(), parts(3), Compute::default()).is_ok());
}
