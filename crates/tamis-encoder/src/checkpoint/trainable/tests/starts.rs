//! What a base lacks is made; what cannot be trained is refused; what is frozen stays.

use super::{KINDS, TEXTS, fixture, opened};
use crate::checkpoint::trainable::{Pass, StartOptions, TableStart, TrainableModel, TrainableOptions};
use crate::training::Randomness;
use crate::{CheckpointOptions, HeadKind, InputKind, LongText, SideOptions};
use candle_core::Tensor;

fn preset(name: &str) -> CheckpointOptions {
    CheckpointOptions {
        preset: Some(name.to_owned()),
        max_length: Some(24),
        ..CheckpointOptions::default()
    }
}

fn started(name: &str, checkpoint: &CheckpointOptions, start: StartOptions) -> TrainableModel {
    let options = TrainableOptions {
        start,
        ..TrainableOptions::default()
    };
    TrainableModel::open(&fixture(name), checkpoint, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn names(model: &TrainableModel) -> Vec<String> {
    model.variables().into_iter().map(|variable| variable.name).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.flatten_all().and_then(|flat| flat.to_vec1());
    flat.expect("single precision")
}

fn variable(model: &TrainableModel, name: &str) -> Vec<f32> {
    let found = model.variables().into_iter().find(|variable| variable.name == name);
    values(found.unwrap_or_else(|| panic!("no variable {name}")).var.as_tensor())
}

/// Whether both sides give weights at all.
fn weighs(model: &TrainableModel) {
    let texts = model.read(&TEXTS, &TEXTS).expect("any text");
    for kind in KINDS {
        let rows = model
            .represent_part(&texts, kind, 0..TEXTS.len(), Pass::default())
            .expect("fits");
        assert!(values(&rows).iter().any(|&weight| weight > 0.0), "{kind:?}");
    }
}

#[test]
fn a_sentence_encoder_gets_a_masked_language_model_head() {
    let model = started("dense-mean", &preset("splade-v3"), StartOptions::default());
    weighs(&model);
    let dense = variable(&model, "shared.cls.predictions.transform.dense.weight");
    let mean = dense.iter().sum::<f32>() / dense.len() as f32;
    let deviation = (dense.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / dense.len() as f32).sqrt();
    assert!(
        mean.abs() < 0.005 && (0.016..0.024).contains(&deviation),
        "{mean}, {deviation}"
    );
    assert!(
        variable(&model, "shared.cls.predictions.bias")
            .iter()
            .all(|&x| x == 0.0)
    );
    assert!(
        variable(&model, "shared.cls.predictions.transform.LayerNorm.weight")
            .iter()
            .all(|&x| x == 1.0)
    );
    assert!(
        !names(&model).iter().any(|name| name.contains("decoder.weight")),
        "the decoder is tied"
    );
    assert!(names(&model).contains(&"shared.bert.embeddings.word_embeddings.weight".to_owned()));
    let again = started("dense-mean", &preset("splade-v3"), StartOptions::default());
    assert_eq!(variable(&again, "shared.cls.predictions.transform.dense.weight"), dense);
    let other = StartOptions {
        seed: 1,
        ..StartOptions::default()
    };
    let other = started("dense-mean", &preset("splade-v3"), other);
    assert_ne!(variable(&other, "shared.cls.predictions.transform.dense.weight"), dense);
}

#[test]
fn token_heads_are_those_of_the_preset() {
    for (name, expected) in [
        ("unicoil", "shared.tok_proj.weight"),
        ("deepimpact", "document.impact_score_encoder.0.weight"),
        ("deepct", "document.classifier.bias"),
        ("tildev2", "document.tok_proj.bias"),
        ("epic", "shared.term_importance.linear.weight"),
        ("li-lsr", "shared.linear.weight"),
    ] {
        let model = started("bert-plain", &preset(name), StartOptions::default());
        assert!(
            names(&model).contains(&expected.to_owned()),
            "{name}: {:?}",
            names(&model)
        );
        model.read(&TEXTS, &TEXTS).expect("any text");
    }
    let scores = started("bert-plain", &preset("deepimpact"), StartOptions::default());
    assert!(names(&scores).contains(&"document.impact_score_encoder.3.weight".to_owned()));
}

#[test]
fn query_tables_and_encoders_of_their_own_are_made() {
    let table = StartOptions {
        query_table: Some(TableStart::Ones),
        ..StartOptions::default()
    };
    let model = started("bert-plain", &preset("opensearch-doc-v2"), table);
    assert!(
        model
            .query_table()
            .expect("a table")
            .iter()
            .filter(|&&weight| weight == 1.0)
            .count()
            > 100
    );
    weighs(&model);
    let from = StartOptions {
        query_table: Some(TableStart::File(fixture("bert-idf").join("idf.json"))),
        ..StartOptions::default()
    };
    let model = started("bert-plain", &preset("opensearch-doc-v2"), from);
    let stored = opened("bert-idf", &TrainableOptions::default());
    assert_eq!(model.query_table(), stored.query_table());
    let separate = StartOptions {
        separate: true,
        ..StartOptions::default()
    };
    let model = started("bert-plain", &preset("efficient-splade"), separate);
    let names = names(&model);
    let of = |side: &str| names.iter().filter(|name| name.starts_with(side)).count();
    assert!(
        of("document.") > 10 && of("document.") == of("query.") && of("shared.") == 0,
        "{names:?}"
    );
    weighs(&model);
}

#[test]
fn a_factor_begins_where_it_is_told() {
    let options = TrainableOptions {
        train_scale: true,
        ..TrainableOptions::default()
    };
    let checkpoint = CheckpointOptions {
        query: SideOptions {
            head: Some(HeadKind::Binary),
            ..SideOptions::default()
        },
        ..CheckpointOptions::default()
    };
    let model = TrainableModel::open(&fixture("bert-plain"), &checkpoint, &options).expect("a whole checkpoint");
    assert_eq!(variable(&model, "query.scale"), [0.3]);
    let stored = opened("lsr-binary", &options);
    assert!(stored.variables().iter().any(|variable| variable.name == "query.scale"));
    assert_ne!(variable(&stored, "query.scale"), [0.3], "the checkpoint has its own");
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let refusal = |name: &str, checkpoint: CheckpointOptions, options: TrainableOptions| {
        let model = TrainableModel::open(&fixture(name), &checkpoint, &options);
        model.err().expect("a refusal").to_string()
    };
    let windows = CheckpointOptions {
        long_text: Some(LongText::Windows { overlap: 2 }),
        ..CheckpointOptions::default()
    };
    let message = refusal("bert-plain", windows, TrainableOptions::default());
    assert!(
        message.contains("long_text") && message.contains("truncate"),
        "{message}"
    );
    let message = refusal("bert-plain", preset("opensearch-doc-v2"), TrainableOptions::default());
    assert!(
        message.contains("query.head") && message.contains("start.query_table"),
        "{message}"
    );
    let no_heads = TrainableOptions {
        start: StartOptions {
            heads: false,
            ..StartOptions::default()
        },
        ..TrainableOptions::default()
    };
    let message = refusal("bert-plain", preset("unicoil"), no_heads);
    assert!(message.contains("one number a token"), "{message}");
    let rate = TrainableOptions {
        dropout: Some(1.0),
        ..TrainableOptions::default()
    };
    let message = refusal("bert-plain", CheckpointOptions::default(), rate);
    assert!(message.contains("dropout") && message.contains("below 1"), "{message}");
    let short = TrainableOptions {
        max_length: Some(16),
        ..TrainableOptions::default()
    };
    let message = refusal("bert-plain", CheckpointOptions::default(), short);
    assert!(
        message.contains("max_length") && message.contains("setting"),
        "{message}"
    );
    let words = CheckpointOptions {
        query: SideOptions {
            head: Some(HeadKind::Binary),
            ..SideOptions::default()
        },
        ..preset("deepct")
    };
    let pieces = CheckpointOptions {
        query: SideOptions {
            terms: Some(crate::TermUnit::Pieces),
            ..words.query.clone()
        },
        ..words
    };
    let message = refusal("deepct", pieces, TrainableOptions::default());
    assert!(message.contains("terms") && message.contains("same terms"), "{message}");
}

#[test]
fn frozen_parts_are_no_variables_and_change_no_output() {
    let free = opened("bert-plain", &TrainableOptions::default());
    let frozen = TrainableOptions {
        frozen_layers: 1,
        ..TrainableOptions::default()
    };
    let frozen = opened("bert-plain", &frozen);
    let of_frozen = names(&frozen);
    assert!(
        !of_frozen
            .iter()
            .any(|name| name.contains("embeddings") || name.contains("layer.0.")),
        "{of_frozen:?}"
    );
    assert!(of_frozen.iter().any(|name| name.contains("layer.1.")));
    let texts = free.read(&TEXTS, &TEXTS).expect("any text");
    let represented = |model: &TrainableModel| {
        let rows = model.represent_part(&texts, InputKind::Document, 0..TEXTS.len(), Pass::default());
        values(&rows.expect("fits"))
    };
    let expected = represented(&free);
    for (first, second) in represented(&frozen).iter().zip(&expected) {
        assert!((first - second).abs() < 1e-5);
    }
    assert_eq!(
        represented(&frozen),
        represented(&frozen),
        "what is kept is what was computed"
    );
    let embeddings = TrainableOptions {
        frozen_embeddings: true,
        ..TrainableOptions::default()
    };
    let embeddings = opened("bert-plain", &embeddings);
    assert!(!names(&embeddings).iter().any(|name| name.contains("embeddings")));
    assert_eq!(represented(&embeddings), expected);
}

#[test]
fn dropout_is_of_the_text_and_the_step() {
    let options = TrainableOptions {
        dropout: Some(0.2),
        ..TrainableOptions::default()
    };
    let model = opened("bert-plain", &options);
    let texts = model.read(&TEXTS, &TEXTS).expect("any text");
    let represented = |range: std::ops::Range<usize>, step| {
        let pass = Pass {
            tracked: false,
            randomness: Some(Randomness {
                seed: 3,
                step,
                first_text: 0,
            }),
        };
        let rows = model
            .represent_part(&texts, InputKind::Document, range, pass)
            .expect("fits");
        rows.to_vec2::<f32>().expect("a matrix")
    };
    let whole = represented(0..TEXTS.len(), 1);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near(&represented(4..5, 1)[0], &whole[4]), "the same text alone");
    assert!(!near(&represented(4..5, 2)[0], &whole[4]), "another step");
    let none = model
        .represent_part(&texts, InputKind::Document, 0..1, Pass::default())
        .expect("fits");
    assert!(!near(&values(&none), &whole[0]), "without dropout");
}
