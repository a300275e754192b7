//! What is particular to RoBERTa and its kin: tensor names, counted positions, and configurations that contradict.

use crate::malformed::refused_after;
use crate::weights::{rename, rewrite};
use crate::{copy_of, difference, fixture, replace};
use std::path::Path;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind, SparseEncoding};

const WHEEL: &str = "the wheel";

fn open(dir: &Path) -> Checkpoint {
    Checkpoint::open(dir, &CheckpointOptions::default()).expect("a whole checkpoint")
}

fn encode(encoder: &Checkpoint, text: &str) -> SparseEncoding {
    encoder
        .encode(InputKind::Document, &[text])
        .expect("any text")
        .remove(0)
}

#[test]
fn tensors_may_have_any_name_that_is_in_use() {
    let original = encode(&open(&fixture("roberta")), WHEEL);
    for (from, to) in [
        ("roberta.", "xlm-roberta."),
        ("roberta.", "xlm_roberta."),
        ("roberta.", "camembert."),
        ("lm_head.bias", "lm_head.decoder.bias"),
        ("LayerNorm.weight", "LayerNorm.gamma"),
        ("layer_norm.bias", "layer_norm.beta"),
    ] {
        let dir = copy_of("roberta");
        rename(dir.path(), from, to);
        assert_eq!(encode(&open(dir.path()), WHEEL), original, "{to}");
    }
    let foreign = |dir: &Path| rename(dir, "roberta.", "electra.");
    let needles = ["roberta.embeddings.word_embeddings.weight", "missing"];
    refused_after("roberta", foreign, &needles);
}

#[test]
fn a_spelled_out_padding_token_takes_no_position() {
    let encoder = open(&fixture("roberta"));
    let dir = copy_of("roberta");
    // Without the row that only padding takes, texts without padding stay as they are.
    rewrite(dir.path(), |name, dtype, shape, mut data| {
        if name == "roberta.embeddings.position_embeddings.weight" {
            let row = data.len() / shape[0];
            data[row..2 * row].fill(0);
        }
        Some((dtype, shape, data))
    });
    let changed = open(dir.path());
    assert_eq!(encode(&changed, WHEEL), encode(&encoder, WHEEL));
    let padded = format!("<pad>{WHEEL}");
    assert!(difference(&encode(&changed, &padded), &encode(&encoder, &padded)) > 1e-3);
}

#[test]
fn positions_below_the_padding_token_are_not_for_texts() {
    let encoder = open(&fixture("xlm-roberta"));
    assert_eq!(
        encoder.description()["document"]["max_length"],
        24,
        "26 rows, two of them skipped"
    );
    let all = encode(&encoder, &"mill ".repeat(60));
    assert_eq!((all.num_tokens, all.truncated), (24, true));
}

#[test]
fn contradicting_configurations_are_refused() {
    for (from, to, needles) in [
        (
            "\"model_type\": \"roberta\"",
            "\"model_type\": \"bert\"",
            ["model_type", "RobertaForMaskedLM", "\"bert\" found"],
        ),
        (
            "\"max_position_embeddings\": 26",
            "\"max_position_embeddings\": 2",
            ["max_position_embeddings", "from 3", "2 found"],
        ),
        (
            "\"max_position_embeddings\": 26",
            "\"max_position_embeddings\": 24",
            ["position_embeddings.weight", "[26, 16]", "[24, 16]"],
        ),
        (
            "\"pad_token_id\": 1",
            "\"pad_token_id\": 9999",
            ["pad_token_id", "a whole number", "9999 found"],
        ),
        (
            "\"pad_token_id\": 1",
            "\"pad_token_id\": -1",
            ["pad_token_id", "a whole number", "-1 found"],
        ),
        (
            "\"pad_token_id\": 1",
            "\"pad_token_id\": 30",
            ["max_position_embeddings", "from 32", "26 found"],
        ),
        (
            "\"tie_word_embeddings\": true",
            "\"tie_word_embeddings\": false",
            ["lm_head.decoder.weight", "missing", "tie_word_embeddings"],
        ),
    ] {
        refused_after("roberta", |dir| replace(dir, "config.json", from, to), &needles);
    }
    let no_head = |dir: &Path| {
        rewrite(dir, |name, dtype, shape, data| {
            (!name.starts_with("lm_head.")).then_some((dtype, shape, data))
        });
    };
    refused_after(
        "roberta",
        no_head,
        &["lm_head.dense.weight", "masked-language-model head"],
    );
}

#[test]
fn the_padding_token_is_1_unless_told_otherwise() {
    let dir = copy_of("roberta");
    replace(dir.path(), "config.json", "\"pad_token_id\": 1,", "");
    assert_eq!(
        encode(&open(dir.path()), WHEEL),
        encode(&open(&fixture("roberta")), WHEEL)
    );
}
