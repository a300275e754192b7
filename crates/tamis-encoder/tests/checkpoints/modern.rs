//! What is particular to ModernBERT and GTE: rotary positions, windows, gated blocks, and their configurations.

use crate::malformed::refused_after;
use crate::weights::{rename, rewrite};
use crate::{copy_of, difference, fixture, replace};
use std::path::Path;
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, InputKind, SparseEncoding};

/// Longer than the window of local layers to both sides.
const TEXT: &str = "the miller sifts the flour through a fine silk mesh under the old mill";

fn open(dir: &Path) -> Checkpoint {
    Checkpoint::open(dir, &CheckpointOptions::default()).expect("a whole checkpoint")
}

fn encode(dir: &Path, text: &str) -> SparseEncoding {
    let mut encoded = open(dir).encode(InputKind::Document, &[text]).expect("any text");
    encoded.remove(0)
}

/// How far a change of `config.json` moves the weights of [`TEXT`].
fn moved(name: &str, from: &str, to: &str) -> f32 {
    let dir = copy_of(name);
    replace(dir.path(), "config.json", from, to);
    difference(&encode(dir.path(), TEXT), &encode(&fixture(name), TEXT))
}

fn refused(name: &str, from: &str, to: &str, needles: &[&str]) {
    refused_after(name, |dir| replace(dir, "config.json", from, to), needles);
}

#[test]
fn prefixes_may_be_missing_or_others() {
    for (name, from, to) in [
        ("modernbert", "model.", ""),
        ("gte-new", "new.", ""),
        ("gte-new", "new.", "gte."),
        ("gte", "gte.", "new."),
        ("gte-new", "lm_head.decoder.bias", "lm_head.bias"),
        ("bert-plain", "bert.", ""),
        ("distilbert-vocab", "distilbert.", ""),
        ("roberta", "roberta.", ""),
        ("bert-plain", "LayerNorm.weight", "LayerNorm.gamma"),
        ("bert-plain", "LayerNorm.bias", "LayerNorm.beta"),
        ("bert-plain", "cls.predictions.bias", "cls.predictions.decoder.bias"),
    ] {
        let dir = copy_of(name);
        rename(dir.path(), from, to);
        assert_eq!(
            encode(dir.path(), TEXT),
            encode(&fixture(name), TEXT),
            "{name}: {from} as {to:?}"
        );
    }
}

#[test]
fn all_names_may_begin_with_what_wraps_the_model() {
    for (name, parts) in [
        ("bert-plain", &["bert.", "cls."][..]),
        ("distilbert-vocab", &["distilbert.", "vocab_"]),
        ("modernbert", &["model.", "head.", "decoder."]),
    ] {
        let dir = copy_of(name);
        for part in parts {
            rename(dir.path(), part, &format!("\0{part}"));
        }
        rename(dir.path(), "\0", "model.");
        assert_eq!(encode(dir.path(), TEXT), encode(&fixture(name), TEXT), "{name}");
    }
}

#[test]
fn a_missing_head_is_named_though_the_backbone_is_there() {
    for (name, head, missing) in [
        ("modernbert", "head.", "head.dense.weight"),
        ("gte-new", "lm_head.", "lm_head.dense.weight"),
    ] {
        let without = |dir: &Path| {
            rewrite(dir, |name, dtype, shape, data| {
                (!name.starts_with(head)).then_some((dtype, shape, data))
            });
        };
        refused_after(name, without, &[missing, "masked-language-model head"]);
    }
}

#[test]
fn windows_and_bases_shape_vectors() {
    let changes = [
        ("modernbert", "\"local_attention\": 7", "\"local_attention\": 9"),
        (
            "modernbert",
            "\"global_rope_theta\": 700.0",
            "\"global_rope_theta\": 70.0",
        ),
        ("modernbert", "\"local_rope_theta\": 30.0", "\"local_rope_theta\": 20.0"),
        (
            "modernbert",
            "\"global_attn_every_n_layers\": 3",
            "\"global_attn_every_n_layers\": 2",
        ),
        ("modernbert-untied", "\"factor\": 2.5", "\"factor\": 1.5"),
        ("st-modernbert", "\"rope_theta\": 30.0", "\"rope_theta\": 20.0"),
        ("gte-new", "\"factor\": 3.0", "\"factor\": 2.0"),
        ("gte-new-unpacked", "\"mixed_b\": 0.6", "\"mixed_b\": 0.9"),
        ("gte", "\"rope_theta\": 600.0", "\"rope_theta\": 60.0"),
    ];
    for (name, from, to) in changes {
        let moved = moved(name, from, to);
        assert!(moved > 1e-3, "{name}: {to} moves weights by {moved} only");
    }
    let even = moved("modernbert", "\"local_attention\": 7", "\"local_attention\": 6");
    assert_eq!(even, 0.0, "half of a window, rounded down, lies to each side");
}

#[test]
fn fields_that_are_not_written_have_the_value_of_the_library() {
    for (name, written, spelled_out) in [
        (
            "modernbert",
            ",\n  \"global_rope_theta\": 700.0",
            ",\n  \"global_rope_theta\": 160000.0",
        ),
        (
            "modernbert",
            ",\n  \"local_rope_theta\": 30.0",
            ",\n  \"local_rope_theta\": 10000.0",
        ),
        ("modernbert", "\"local_attention\": 7,", "\"local_attention\": 128,"),
        ("gte-new", "\"rope_theta\": 600.0,", "\"rope_theta\": 10000.0,"),
        ("gte", "\"rope_theta\": 600.0,", "\"rope_theta\": 160000.0,"),
    ] {
        let (left_out, spelled) = (copy_of(name), copy_of(name));
        replace(left_out.path(), "config.json", written, "");
        replace(spelled.path(), "config.json", written, spelled_out);
        assert_eq!(
            encode(left_out.path(), TEXT),
            encode(spelled.path(), TEXT),
            "{name}: {spelled_out}"
        );
    }
    // Before version 5 null stood for the base of the global layers.
    let (null, same) = (copy_of("modernbert"), copy_of("modernbert"));
    let written = "\"local_rope_theta\": 30.0";
    replace(null.path(), "config.json", written, "\"local_rope_theta\": null");
    replace(same.path(), "config.json", written, "\"local_rope_theta\": 700.0");
    assert_eq!(encode(null.path(), TEXT), encode(same.path(), TEXT));
}

#[test]
fn modernbert_configurations_that_contradict_are_refused() {
    for (from, to, needles) in [
        (
            "\"modernbert\"",
            "\"bert\"",
            ["model_type", "ModernBertForMaskedLM", "\"bert\" found"],
        ),
        (
            "\"local_attention\": 7",
            "\"local_attention\": 0",
            ["local_attention", "from 1", "0 found"],
        ),
        (
            "\"global_attn_every_n_layers\": 3",
            "\"global_attn_every_n_layers\": 0",
            ["global_attn_every_n_layers", "from 1", "0 found"],
        ),
        (
            "\"local_rope_theta\": 30.0",
            "\"local_rope_theta\": -30.0",
            ["local_rope_theta", "above 0", "-30.0 found"],
        ),
        (
            "\"global_rope_theta\": 700.0",
            "\"global_rope_theta\": \"many\"",
            ["global_rope_theta", "a number", "\"many\" found"],
        ),
        (
            "\"norm_bias\": false",
            "\"norm_bias\": true",
            ["embeddings.norm.bias", "missing", "config.json"],
        ),
        (
            "\"mlp_bias\": false",
            "\"mlp_bias\": 1",
            ["mlp_bias", "true or false", "1 found"],
        ),
        (
            "\"classifier_activation\": \"gelu\"",
            "\"classifier_activation\": \"softsign\"",
            ["classifier_activation", "gelu_new", "\"softsign\" found"],
        ),
        (
            "\"num_attention_heads\": 2",
            "\"num_attention_heads\": 16",
            ["num_attention_heads", "even width", "16 found"],
        ),
        (
            "\"intermediate_size\": 24",
            "\"intermediate_size\": 48",
            ["mlp.Wi.weight", "[48, 16]", "[96, 16]"],
        ),
        (
            "\"tie_word_embeddings\": true",
            "\"tie_word_embeddings\": false",
            ["decoder.weight", "missing", "tie_word_embeddings"],
        ),
        (
            "\"model_type\"",
            "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}, \"model_type\"",
            ["rope_scaling", "nothing", "linear"],
        ),
    ] {
        refused("modernbert", from, to, &needles);
    }
    for (from, to, needles) in [
        (
            "\"full_attention\",\n    \"sliding",
            "\"half_attention\",\n    \"sliding",
            ["layer_types", "4 times \"full_attention\"", "half_attention"],
        ),
        (
            "\"num_hidden_layers\": 4",
            "\"num_hidden_layers\": 3",
            ["layer_types", "3 times \"full_attention\"", "sliding_attention"],
        ),
        (
            "\"rope_type\": \"linear\"",
            "\"rope_type\": \"yarn\"",
            [
                "rope_parameters.full_attention.rope_type",
                "\"linear\"",
                "\"yarn\" found",
            ],
        ),
        (
            "\"factor\": 2.5,",
            "",
            ["rope_parameters.full_attention.factor", "a number", "nothing found"],
        ),
        (
            "\"factor\": 2.5",
            "\"factor\": 0",
            ["rope_parameters.full_attention.factor", "above 0", "0 found"],
        ),
        (
            "\"rope_theta\": 900.0",
            "\"partial_rotary_factor\": 0.5",
            ["rope_parameters.full_attention.partial_rotary_factor", "1", "0.5 found"],
        ),
    ] {
        refused("modernbert-untied", from, to, &needles);
    }
}

#[test]
fn gte_configurations_that_contradict_are_refused() {
    for (from, to, needles) in [
        (
            "\"model_type\": \"new\"",
            "\"model_type\": \"modernbert\"",
            ["model_type", "NewForMaskedLM", "\"modernbert\" found"],
        ),
        (
            "\"type\": \"ntk\"",
            "\"type\": \"dynamic\"",
            ["rope_scaling.rope_type", "\"ntk\"", "\"dynamic\" found"],
        ),
        (
            "\"factor\": 3.0",
            "\"factor\": 0.5",
            ["rope_scaling.factor", "at least 1", "0.5 found"],
        ),
        (
            "\"rope_theta\": 600.0",
            "\"rope_theta\": 0",
            ["rope_theta", "above 0", "0 found"],
        ),
        (
            "\"layer_norm_type\": \"layer_norm\"",
            "\"layer_norm_type\": \"rms_norm\"",
            ["layer_norm_type", "\"layer_norm\"", "\"rms_norm\" found"],
        ),
        (
            "\"position_embedding_type\": \"rope\"",
            "\"position_embedding_type\": \"alibi\"",
            ["position_embedding_type", "\"rope\" expected", "\"alibi\" found"],
        ),
        (
            "\"logn_attention_scale\": false",
            "\"logn_attention_scale\": true",
            ["logn_attention_scale", "not supported", "true found"],
        ),
        (
            "\"type_vocab_size\": 0",
            "\"type_vocab_size\": 2",
            ["new.embeddings.token_type_embeddings.weight", "missing", "config.json"],
        ),
        (
            "\"hidden_act\": \"gelu\"",
            "\"hidden_act\": \"softsign\"",
            ["hidden_act", "gelu_new", "\"softsign\" found"],
        ),
    ] {
        refused("gte-new", from, to, &needles);
    }
    let no_maps = |dir: &Path| rename(dir, "qkv_proj", "kqv_proj");
    refused_after(
        "gte-new",
        no_maps,
        &["new.encoder.layer.0.attention.qkv_proj.weight", "missing"],
    );
    let scaling = "{\n    \"type\": \"ntk\",\n    \"factor\": 3.0\n  }";
    refused("gte-new", scaling, "3.0", &["rope_scaling", "an object", "3.0 found"]);
}
