//! Weights in several files: the same vectors and another fingerprint, or a refusal that names tensor and file.

use crate::malformed::refused_after;
use crate::{copy_of, fixture};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind};

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const WORDS: &str = "bert.embeddings.word_embeddings.weight";

/// Splits the weights of `dir` into two shards; `change` may move tensors and edit the list.
fn shard(dir: &Path, change: impl FnOnce(&mut Map<String, Value>, &mut [Vec<String>; 2])) {
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).expect("there");
    let tensors = SafeTensors::deserialize(&bytes).expect("valid");
    let mut names: Vec<String> = tensors.iter().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    let second = names.split_off(names.len() / 2);
    let mut parts = [names, second];
    let listed = parts.iter().zip(SHARDS);
    let listed = listed.flat_map(|(names, shard)| names.iter().map(move |name| (name.clone(), json!(shard))));
    let mut list: Map<String, Value> = listed.collect();
    change(&mut list, &mut parts);
    for (names, shard) in parts.iter().zip(SHARDS) {
        let views = names.iter().map(|name| {
            let view = tensors.tensor(name).expect("there");
            let view = TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).expect("valid");
            (name.clone(), view)
        });
        fs::write(dir.join(shard), safetensors::serialize(views, None).expect("valid")).expect("writable");
    }
    fs::remove_file(path).expect("there");
    let index = json!({"metadata": {"total_size": 1}, "weight_map": list});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).expect("writable");
}

fn open(dir: &Path) -> Checkpoint {
    Checkpoint::open(dir, &CheckpointOptions::default()).expect("a checkpoint")
}

#[test]
fn shards_give_the_vectors_of_the_whole() {
    let dir = copy_of("bert-plain");
    shard(dir.path(), |_, _| ());
    let (sharded, whole) = (open(dir.path()), open(&fixture("bert-plain")));
    let encode = |encoder: &Checkpoint| {
        encoder
            .encode(InputKind::Document, &["sieve the flour"])
            .expect("encodable")
    };
    assert_eq!(encode(&sharded), encode(&whole));
    assert_ne!(sharded.fingerprint(), whole.fingerprint(), "other files");
    assert_eq!(sharded.fingerprint(), open(dir.path()).fingerprint());
}

#[test]
fn shards_that_contradict_their_list_are_refused() {
    let missing = |dir: &Path| {
        shard(dir, |_, _| ());
        fs::remove_file(dir.join(SHARDS[1])).expect("there");
    };
    refused_after("bert-plain", missing, &[SHARDS[1], "no such file", "incomplete"]);
    let twice = |dir: &Path| {
        shard(dir, |_, parts| {
            let name = parts[0][0].clone();
            parts[1].push(name);
        });
    };
    refused_after("bert-plain", twice, &["index.json", "two shards", SHARDS[0], SHARDS[1]]);
    let elsewhere = |dir: &Path| {
        shard(dir, |list, _| {
            list.insert(WORDS.to_owned(), json!(SHARDS[1]));
        });
    };
    refused_after("bert-plain", elsewhere, &[WORDS, "should be in", SHARDS[1]]);
    let unlisted = |dir: &Path| {
        shard(dir, |list, _| {
            list.remove(WORDS);
        });
    };
    refused_after("bert-plain", unlisted, &[WORDS, "the list has no such tensor"]);
    let nowhere = |dir: &Path| {
        shard(dir, |list, _| {
            list.insert("cls.extra".to_owned(), json!(SHARDS[0]));
        });
    };
    refused_after("bert-plain", nowhere, &["cls.extra", SHARDS[0], "does not have it"]);
}

#[test]
fn lists_are_checked() {
    for map in [
        json!({"a": "../model.safetensors"}),
        json!({"a": "/etc/passwd"}),
        json!({"a": 3}),
        json!({}),
        json!([]),
    ] {
        let list = |dir: &Path| {
            fs::remove_file(dir.join("model.safetensors")).expect("there");
            let index = json!({"weight_map": map});
            fs::write(dir.join("model.safetensors.index.json"), index.to_string()).expect("writable");
        };
        refused_after(
            "bert-plain",
            list,
            &["model.safetensors.index.json", "weight_map", "same directory"],
        );
    }
    let cut = |dir: &Path| {
        shard(dir, |_, _| ());
        let path = dir.join(SHARDS[0]);
        let bytes = fs::read(&path).expect("there");
        fs::write(path, &bytes[..bytes.len() - 1]).expect("writable");
    };
    refused_after("bert-plain", cut, &[SHARDS[0], "bytes expected by the header"]);
}
