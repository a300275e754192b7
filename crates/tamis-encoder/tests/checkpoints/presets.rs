//! Presets and settings: what contradicts is refused, and every setting says where it came from.

use crate::malformed::{assert_names, refused_after, write};
use crate::weights::rewrite;
use crate::{copy_of, fixture};
use serde_json::json;
use std::path::Path;
use tamis_encoder::{
    Checkpoint, CheckpointOptions, Encoder, HeadKind, InputKind, LongText, Norm, Pooling, Setting, SettingSource,
    SideOptions, SpladeActivation, TermUnit, open_stored, preset_names,
};

fn preset(name: &str) -> CheckpointOptions {
    CheckpointOptions {
        preset: Some(name.to_owned()),
        ..CheckpointOptions::default()
    }
}

fn refused(name: &str, options: &CheckpointOptions, needles: &[&str]) {
    let message = Checkpoint::open(&fixture(name), options)
        .err()
        .expect("a refusal")
        .to_string();
    assert_names(&message, needles);
}

fn setting(checkpoint: &Checkpoint, name: &str) -> Setting {
    let found = checkpoint.settings().into_iter().find(|setting| setting.name == name);
    found.unwrap_or_else(|| panic!("no setting {name}"))
}

#[test]
fn a_preset_that_contradicts_the_tensors_is_refused() {
    let token = "a layer of one number a token";
    refused(
        "bert-plain",
        &preset("unicoil"),
        &[
            "model.safetensors",
            "\"head\"",
            token,
            "preset \"unicoil\"",
            "language-model head found",
        ],
    );
    refused(
        "unicoil",
        &preset("splade-v3"),
        &[
            "model.safetensors",
            "\"head\"",
            "masked-language-model",
            "tok_proj.weight found",
        ],
    );
    refused("sparta", &preset("lsr-mlm"), &["\"head\"", "no head found"]);
    refused(
        "bert-plain",
        &preset("opensearch-doc-v2"),
        &["query.head", "\"table\"", "opensearch-doc-v2", "no table"],
    );
    refused(
        "bert-idf",
        &preset("splade-v3"),
        &["query.head", "\"mlm\"", "splade-v3", "a table of weights"],
    );
    refused(
        "lsr-mlm",
        &preset("splade-v3"),
        &[
            "shared_encoder",
            "\"special_tokens\"",
            "\"keep\"",
            "\"zero_logits\" found",
        ],
    );
    refused(
        "lsr-binary",
        &preset("splade-v3"),
        &["doc_encoder", "\"head\"", "linear.weight found"],
    );
    refused(
        "bert-plain",
        &preset("splade_v3"),
        &["preset", "\"splade-v3\" expected", "splade_v3"],
    );
}

#[test]
fn a_preset_that_contradicts_the_files_gives_way_to_the_caller_only() {
    let options = preset("splade-max");
    refused(
        "st-bert-sum",
        &options,
        &[
            "1_SpladePooling",
            "pooling",
            "\"max\", as preset \"splade-max\"",
            "\"sum\" found",
        ],
    );
    let options = CheckpointOptions {
        pooling: Some(Pooling::Sum),
        activation: Some(SpladeActivation::Log1pRelu),
        ..options
    };
    let told = Checkpoint::open(&fixture("st-bert-sum"), &options).expect("the caller decides");
    assert_eq!(setting(&told, "document.pooling").source, SettingSource::Caller);
}

#[test]
fn vectors_of_coil_are_refused_with_the_reason() {
    let wide = |dir: &Path| {
        rewrite(dir, |name, dtype, shape, data| match name {
            "tok_proj.weight" => Some((dtype, vec![4, shape[1]], data.repeat(4))),
            "tok_proj.bias" => Some((dtype, vec![4], data.repeat(4))),
            _ => Some((dtype, shape, data)),
        });
    };
    refused_after(
        "unicoil",
        wide,
        &["tok_proj.weight", "COIL", "1 output", "4 outputs found"],
    );
    refused("unicoil", &preset("coil-tok"), &["preset", "unicoil", "inner product"]);
}

#[test]
fn every_setting_says_where_it_came_from() {
    let dir = copy_of("st-bert-sum");
    let file = json!({"preset": "splade-v1", "special_tokens": "zero_columns", "activation": "log1p_relu",
        "query": {"top_k": 3}});
    write(dir.path(), "tamis.json", file.to_string());
    let options = CheckpointOptions {
        max_length: Some(11),
        ..CheckpointOptions::default()
    };
    let checkpoint = Checkpoint::open(dir.path(), &options).expect("they agree");
    for (name, value, source) in [
        ("preset", json!("splade-v1"), SettingSource::File),
        ("document.head", json!("mlm"), SettingSource::Preset),
        ("document.pooling", json!("sum"), SettingSource::Preset),
        ("document.norm", json!("log1p_log1p"), SettingSource::Default),
        ("document.special_tokens", json!("zero_columns"), SettingSource::File),
        ("document.max_length", json!(11), SettingSource::Caller),
        ("document.long_text", json!("truncate"), SettingSource::Default),
        ("document.prompt", json!("the "), SettingSource::Directory),
        ("query.top_k", json!(3), SettingSource::File),
        ("query.scale", json!(1.0), SettingSource::Default),
    ] {
        let found = setting(&checkpoint, name);
        assert_eq!((&found.value, found.source), (&value, source), "{name}");
    }
    let listed = serde_json::to_value(checkpoint.settings()).expect("serialisable");
    assert_eq!(listed, checkpoint.description()["settings"]);
    let plain = Checkpoint::open(&fixture("st-bert-sum"), &CheckpointOptions::default()).expect("a whole checkpoint");
    assert_eq!(setting(&plain, "document.pooling").source, SettingSource::Directory);
    assert_eq!(setting(&plain, "document.max_length").source, SettingSource::Directory);
    let query = checkpoint
        .encode(InputKind::Query, &["mill"])
        .expect("any text")
        .remove(0);
    assert_eq!(query.tokens.len(), 3);
}

#[test]
fn mistyped_fields_get_the_nearest_name() {
    for (text, needles) in [
        (r#"{"max-length": 3}"#, ["\"max-length\"", "\"max_length\" expected"]),
        (
            r#"{"document": {"topk": 3}}"#,
            ["\"document.topk\"", "\"document.top_k\" expected"],
        ),
        (
            r#"{"query": {"temperature": 3}}"#,
            ["\"query.temperature\"", "one of head, pooling"],
        ),
        (r#"{"pooling": "mean"}"#, ["mean", "`max`, `sum`"]),
    ] {
        refused_after("bert-plain", |dir| write(dir, "tamis.json", text), &needles);
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let with = |document| CheckpointOptions {
        document,
        ..CheckpointOptions::default()
    };
    let side = SideOptions::default;
    for (options, needles) in [
        (
            SideOptions {
                scale: Some(0.0),
                ..side()
            },
            ["scale", "above 0", "0 found"],
        ),
        (
            SideOptions {
                scale: Some(f32::NAN),
                ..side()
            },
            ["scale", "above 0", "NaN found"],
        ),
        (
            SideOptions {
                min_weight: Some(-1.0),
                ..side()
            },
            ["min_weight", "at least 0", "-1 found"],
        ),
        (
            SideOptions {
                prune_ratio: Some(1.0),
                ..side()
            },
            ["prune_ratio", "below 1", "1 found"],
        ),
        (
            SideOptions {
                top_k: Some(0),
                ..side()
            },
            ["top_k", "at least 1", "0 found"],
        ),
        (
            SideOptions {
                terms: Some(TermUnit::Words),
                ..side()
            },
            ["terms", "pieces", "words"],
        ),
        (
            SideOptions {
                activation: Some(SpladeActivation::Identity),
                norm: Some(Norm::Log1p),
                ..side()
            },
            ["norm", "activation is \"identity\"", "\"log1p\" found"],
        ),
        (
            SideOptions {
                head: Some(HeadKind::Table),
                ..side()
            },
            ["document.head", "\"table\"", "no table"],
        ),
    ] {
        refused("bert-plain", &with(options), &needles);
    }
}

#[test]
fn pruning_drops_what_is_small_and_keeps_the_rest() {
    let open = |document: SideOptions| {
        let options = CheckpointOptions {
            document,
            ..CheckpointOptions::default()
        };
        let checkpoint = Checkpoint::open(&fixture("bert-plain"), &options).expect("a whole checkpoint");
        checkpoint
            .encode(InputKind::Document, &["the miller"])
            .expect("any text")
            .remove(0)
            .tokens
    };
    let all = open(SideOptions::default());
    let largest = all.iter().map(|&(_, weight)| weight).fold(0.0, f32::max);
    let kept = |least: f32| {
        all.iter()
            .filter(|&&(_, weight)| weight > least)
            .cloned()
            .collect::<Vec<_>>()
    };
    let half = open(SideOptions {
        prune_ratio: Some(0.5),
        ..SideOptions::default()
    });
    assert_eq!(half, kept(0.5 * largest));
    let one = open(SideOptions {
        min_weight: Some(1.0),
        ..SideOptions::default()
    });
    assert_eq!(one, kept(1.0));
    assert!(!half.is_empty() && half.len() < all.len() && one.len() < all.len());
    let five = open(SideOptions {
        top_k: Some(5),
        ..SideOptions::default()
    });
    let least_of_five = five.iter().map(|&(_, weight)| weight).fold(f32::INFINITY, f32::min);
    assert_eq!((five.len(), kept(least_of_five).len()), (5, 4));
    let scaled = open(SideOptions {
        scale: Some(2.0),
        ..SideOptions::default()
    });
    assert!(scaled.iter().zip(&all).all(|(a, b)| a.0 == b.0 && a.1 == 2.0 * b.1));
}

#[test]
fn a_preset_is_part_of_the_stored_description_and_of_the_fingerprint() {
    let fixtures = fixture("bert-plain");
    let plain = Checkpoint::open(&fixtures, &CheckpointOptions::default()).expect("a whole checkpoint");
    let options = CheckpointOptions {
        long_text: Some(LongText::Windows { overlap: 3 }),
        ..preset("splade-topk")
    };
    let chosen = Checkpoint::open(&fixtures, &options).expect("a whole checkpoint");
    assert_ne!(chosen.fingerprint(), plain.fingerprint());
    let again = open_stored(&chosen.description()).expect("own description");
    assert_eq!(again.fingerprint(), chosen.fingerprint());
    assert_eq!(again.description(), chosen.description());
}

#[test]
fn hints_for_integers_come_with_the_preset() {
    let checkpoint = Checkpoint::open(&fixture("deepimpact"), &CheckpointOptions::default()).expect("a whole one");
    let hint = checkpoint.quantisation(InputKind::Document).expect("DeepImpact's");
    assert!((hint.impact(2.0, 4.0) - 128.0).abs() < 1e-6);
    assert_eq!(checkpoint.quantisation(InputKind::Query), None);
    assert!(preset_names().contains(&"deepimpact".to_owned()));
}

#[test]
fn presets_that_say_what_directories_say_change_no_vector() {
    let texts = [
        "The miller sifts the flour.",
        "water water wheel",
        "a [SEP] b [MASK] \u{6771}",
        "",
    ];
    for (name, of_family) in [
        ("bert-plain", "splade-max"),
        ("bert-plain", "splade-pp"),
        ("bert-plain", "splade-v3"),
        ("st-bert-max", "splade-pp"),
        ("bert-idf", "opensearch-doc-v1"),
        ("bert-idf", "opensearch-doc-v2"),
        ("unicoil", "unicoil"),
        ("unicoil-prefixed", "unicoil"),
        ("lsr-mlm", "lsr-mlm"),
        ("lsr-clsmlm", "lsr-clsmlm"),
        ("lsr-binary", "lsr-binary"),
        ("lsr-binary", "lsr-expmlp"),
        ("st-bert-sum", "splade-v1"),
    ] {
        // The log taken twice is st-bert-sum's own, and stronger than the preset only where somebody says so.
        let twice = (name == "st-bert-sum").then_some(SpladeActivation::Log1pRelu);
        let options = CheckpointOptions {
            activation: twice,
            ..preset(of_family)
        };
        let plain = Checkpoint::open(&fixture(name), &CheckpointOptions::default()).expect("a whole checkpoint");
        let chosen = Checkpoint::open(&fixture(name), &options).unwrap_or_else(|error| panic!("{error}"));
        for kind in [InputKind::Document, InputKind::Query] {
            let vectors = |checkpoint: &Checkpoint| checkpoint.encode(kind, &texts).expect("any text");
            assert_eq!(vectors(&chosen), vectors(&plain), "{name}, {of_family}, {kind:?}");
        }
    }
}
