//! Damaged, incomplete and foreign directories: an error that names the place, never a panic.

use crate::weights::rewrite;
use crate::{copy_of, replace};
use safetensors::Dtype;
use std::path::Path;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind, open};

/// The message with which `dir` is refused.
pub(crate) fn refusal(dir: &Path) -> String {
    let options = CheckpointOptions::default();
    Checkpoint::open(dir, &options).err().expect("a refusal").to_string()
}

/// Checks that a message says all of `needles`.
pub(crate) fn assert_names(message: &str, needles: &[&str]) {
    for needle in needles {
        assert!(message.contains(needle), "{needle:?} is not in: {message}");
    }
}

/// A fixture with one file changed, and what the refusal must name.
pub(crate) fn refused_after(fixture: &str, change: impl FnOnce(&Path), needles: &[&str]) {
    let dir = copy_of(fixture);
    change(dir.path());
    assert_names(&refusal(dir.path()), needles);
}

pub(crate) fn remove(dir: &Path, file: &str) {
    std::fs::remove_file(dir.join(file)).expect("there");
}

pub(crate) fn write(dir: &Path, file: &str, content: impl AsRef<[u8]>) {
    std::fs::write(dir.join(file), content).expect("writable");
}

#[test]
fn missing_files_are_named_with_a_remedy() {
    refused_after(
        "bert-plain",
        |dir| remove(dir, "config.json"),
        &["config.json", "no such file"],
    );
    refused_after(
        "bert-plain",
        |dir| remove(dir, "model.safetensors"),
        &["model.safetensors", "safe_serialization"],
    );
    refused_after(
        "bert-plain",
        |dir| remove(dir, "tokenizer.json"),
        &["vocab.txt", "tokenizer.json"],
    );
    refused_after("distilbert-vocab", |dir| remove(dir, "vocab.txt"), &["vocab.txt"]);
    let pooling = "1_SpladePooling/config.json";
    refused_after(
        "st-bert-max",
        |dir| remove(dir, pooling),
        &["1_SpladePooling", "config.json"],
    );
    refused_after(
        "st-router",
        |dir| remove(dir, "router_config.json"),
        &["config.json", "Router"],
    );
    let table = "query_0_SparseStaticEmbedding/model.safetensors";
    refused_after(
        "st-router",
        |dir| remove(dir, table),
        &["query_0_SparseStaticEmbedding", "idf.json"],
    );
    let message = open("no/such/folder").err().expect("a refusal").to_string();
    assert_names(&message, &["no/such/folder", "no such directory"]);
}

#[test]
fn pickles_are_refused_with_the_way_out() {
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        let pickle = |dir: &Path| {
            remove(dir, "model.safetensors");
            write(dir, name, b"pickle");
        };
        refused_after(
            "bert-plain",
            pickle,
            &["model.safetensors", "pickle", "tamis model convert"],
        );
    }
}

#[test]
fn damaged_json_is_located() {
    for file in [
        "config.json",
        "tokenizer_config.json",
        "modules.json",
        "1_SpladePooling/config.json",
    ] {
        refused_after(
            "st-bert-max",
            |dir| write(dir, file, "{\n\"a\": tru"),
            &[file, "line 2"],
        );
    }
    refused_after(
        "bert-idf",
        |dir| write(dir, "idf.json", "{\"a\": "),
        &["idf.json", "line 1"],
    );
    refused_after(
        "bert-plain",
        |dir| write(dir, "tokenizer.json", "{}"),
        &["tokenizer.json"],
    );
    refused_after(
        "bert-plain",
        |dir| write(dir, "tokenizer.json", [0xff, 0xfe]),
        &["tokenizer.json"],
    );
    refused_after(
        "bert-plain",
        |dir| write(dir, "tamis.json", "{\"poling\": \"max\"}"),
        &["tamis.json", "poling"],
    );
}

#[test]
fn other_architectures_are_refused() {
    let other = |dir: &Path| {
        replace(dir, "config.json", "BertForMaskedLM", "ElectraForMaskedLM");
        replace(
            dir,
            "config.json",
            "\"model_type\": \"bert\"",
            "\"model_type\": \"electra\"",
        );
    };
    refused_after("bert-plain", other, &["ElectraForMaskedLM", "RobertaForMaskedLM"]);
    let nothing = |dir: &Path| write(dir, "config.json", "{}");
    refused_after("bert-plain", nothing, &["config.json", "model_type (missing)"]);
    let dense = |dir: &Path| replace(dir, "modules.json", "SpladePooling\"", "Pooling\"");
    refused_after("st-bert-max", dense, &["modules.json", "Transformer + Pooling"]);
    let no_head = |dir: &Path| {
        rewrite(dir, |name, dtype, shape, data| {
            (!name.starts_with("cls.")).then_some((dtype, shape, data))
        });
    };
    refused_after(
        "bert-plain",
        no_head,
        &[
            "cls.predictions.transform.dense.weight",
            "no masked-language-model head",
        ],
    );
}

#[test]
fn fields_out_of_range_are_named() {
    for (from, to, needles) in [
        (
            "\"hidden_size\": 16",
            "\"hidden_size\": 0",
            ["hidden_size", "from 1 to", "0 found"],
        ),
        (
            "\"hidden_size\": 16",
            "\"hidden_size\": -4",
            ["hidden_size", "whole number", "-4 found"],
        ),
        (
            "\"hidden_size\": 16",
            "\"hidden_size\": \"16\"",
            ["hidden_size", "whole number", "\"16\" found"],
        ),
        (
            "\"hidden_size\": 16,",
            "",
            ["hidden_size", "whole number", "nothing found"],
        ),
        (
            "\"num_attention_heads\": 4",
            "\"num_attention_heads\": 3",
            ["num_attention_heads", "divisor", "3 found"],
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 999999",
            ["num_hidden_layers", "to 256", "999999"],
        ),
        (
            "\"hidden_act\": \"gelu\"",
            "\"hidden_act\": \"mish\"",
            ["hidden_act", "gelu_new", "mish"],
        ),
        ("1e-12", "-1.0", ["layer_norm_eps", "above 0", "-1"]),
        (
            "\"model_type\"",
            "\"position_embedding_type\": \"relative_key\", \"model_type\"",
            ["position_embedding_type", "absolute", "relative_key"],
        ),
    ] {
        refused_after("bert-plain", |dir| replace(dir, "config.json", from, to), &needles);
    }
    let pooling = "1_SpladePooling/config.json";
    refused_after(
        "st-bert-max",
        |dir| replace(dir, pooling, "\"max\"", "\"mean\""),
        &["pooling_strategy", "mean"],
    );
    refused_after(
        "st-bert-max",
        |dir| replace(dir, pooling, "\"relu\"", "\"silu\""),
        &["activation_function", "silu"],
    );
    let limit = "\"model_max_length\": 24";
    let settings = "tokenizer_config.json";
    refused_after(
        "bert-plain",
        |dir| replace(dir, settings, limit, "\"model_max_length\": 0"),
        &["model_max_length"],
    );
    refused_after(
        "bert-plain",
        |dir| replace(dir, settings, limit, "\"model_max_length\": 2"),
        &["more than 2 tokens"],
    );
    refused_after(
        "bert-plain",
        |dir| replace(dir, settings, limit, "\"model_max_length\": \"x\""),
        &["model_max_length"],
    );
}

#[test]
fn tensors_must_have_the_shape_and_type_that_the_configuration_calls_for() {
    const WORDS: &str = "bert.embeddings.word_embeddings.weight";
    let shape = |dir: &Path| {
        replace(
            dir,
            "config.json",
            "\"intermediate_size\": 32",
            "\"intermediate_size\": 48",
        )
    };
    refused_after(
        "bert-plain",
        shape,
        &["bert.encoder.layer.0.intermediate.dense.weight", "[32, 16]", "[48, 16]"],
    );
    let layers = |dir: &Path| {
        replace(
            dir,
            "config.json",
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
        )
    };
    refused_after("bert-plain", layers, &["bert.encoder.layer.2", "missing"]);
    let integers = |dir: &Path| {
        rewrite(dir, |name, dtype, shape, data| {
            Some((if name == WORDS { Dtype::I32 } else { dtype }, shape, data))
        });
    };
    refused_after("bert-plain", integers, &[WORDS, "I32", "F16"]);
    let not_finite = |dir: &Path| {
        rewrite(dir, |name, dtype, shape, mut data| {
            if name == WORDS {
                data[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
            }
            Some((dtype, shape, data))
        });
    };
    refused_after("bert-plain", not_finite, &[WORDS, "not finite", "element 3"]);
}

#[test]
fn a_weights_file_cut_short_is_refused_wherever_it_ends() {
    let dir = copy_of("bert-plain");
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).expect("there");
    for len in [0, 1, 7, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).expect("writable");
        assert_names(&refusal(dir.path()), &["model.safetensors", "safetensors"]);
    }
    let mut long_header = whole.clone();
    long_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, &long_header).expect("writable");
    assert_names(&refusal(dir.path()), &["model.safetensors"]);
}

#[test]
fn a_tokenizer_must_fit_the_embeddings() {
    let vocabulary = |dir: &Path| {
        let path = dir.join("vocab.txt");
        let text = std::fs::read_to_string(&path).expect("there");
        std::fs::write(path, text + "surplus\n").expect("writable");
    };
    refused_after("distilbert-vocab", vocabulary, &["vocab.txt", "surplus", "embeddings"]);
    let no_unknown = |dir: &Path| replace(dir, "vocab.txt", "[UNK]", "[unk]");
    refused_after("distilbert-vocab", no_unknown, &["vocab.txt", "[UNK]"]);
    let not_text = |dir: &Path| write(dir, "vocab.txt", [0xff, 0xfe, b'\n']);
    refused_after("distilbert-vocab", not_text, &["vocab.txt"]);
    let empty = |dir: &Path| write(dir, "vocab.txt", "");
    refused_after("distilbert-vocab", empty, &["vocab.txt", "[UNK]"]);
}

#[test]
fn query_tables_must_be_of_the_same_vocabulary() {
    let other = |dir: &Path| write(dir, "idf.json", r#"{"qwerty": 1.0, "asdf": 2.0, "mill": 1.0}"#);
    refused_after("bert-idf", other, &["idf.json", "another model"]);
    refused_after(
        "bert-idf",
        |dir| write(dir, "idf.json", "{}"),
        &["idf.json", "another model"],
    );
    refused_after("bert-idf", |dir| write(dir, "idf.json", "[1]"), &["idf.json", "object"]);
    refused_after(
        "bert-idf",
        |dir| write(dir, "idf.json", r#"{"mill": "x"}"#),
        &["idf.json", "mill", "number"],
    );
    let table = "query_0_SparseStaticEmbedding/model.safetensors";
    let foreign = |dir: &Path| {
        std::fs::copy(dir.join("document_0_Transformer/model.safetensors"), dir.join(table)).expect("readable");
    };
    refused_after("st-router", foreign, &[table, "\"weight\"", "missing"]);
}

#[test]
fn module_paths_stay_inside_the_directory() {
    let up = |dir: &Path| replace(dir, "modules.json", "1_SpladePooling\"", "../other\"");
    refused_after("st-bert-max", up, &["modules.json", "../other", "inside"]);
    let absolute = |dir: &Path| replace(dir, "modules.json", "1_SpladePooling\"", "/etc\"");
    refused_after("st-bert-max", absolute, &["modules.json", "/etc"]);
    refused_after(
        "st-bert-max",
        |dir| write(dir, "modules.json", "[]"),
        &["modules.json", "empty list"],
    );
    refused_after(
        "st-bert-max",
        |dir| write(dir, "modules.json", "{}"),
        &["modules.json", "a list"],
    );
}

#[test]
fn an_overflowing_model_is_an_error_not_a_vector() {
    let dir = copy_of("bert-plain");
    rewrite(dir.path(), |name, dtype, shape, mut data| {
        if name == "cls.predictions.transform.LayerNorm.weight" {
            data.chunks_exact_mut(4)
                .for_each(|x| x.copy_from_slice(&f32::MAX.to_le_bytes()));
        }
        Some((dtype, shape, data))
    });
    let encoder = Checkpoint::open(dir.path(), &CheckpointOptions::default()).expect("all tensors are finite");
    let message = encoder
        .encode(InputKind::Document, &["mill"])
        .expect_err("overflow")
        .to_string();
    assert_names(&message, &["text 0", "not finite"]);
}
