//! Steps against PyTorch, parts against the whole, resumed runs against those that were never stopped.

use super::state::weights_of;
use super::*;
use crate::InputKind;
use crate::training::{
    Contrastive, ControllerOptions, Flops, Gradients, Kl, LearningRate, Loss, MarginMse, Pass, Penalty, Regulariser,
    Schedule, TrainableDense, TrainableModel, TrainableOptions,
};
use candle_core::Tensor;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::PathBuf;

const QUERIES: [&str; 4] = [
    "who ground the wheat",
    "fine silk mesh",
    "water wheel",
    "salt and butter",
];
const DOCUMENTS: [&str; 8] = [
    "The miller ground wheat and rye for every baker of the town.",
    "a sack of oats",
    "The miller sifts the flour through a fine silk mesh.",
    "iron and steel",
    "The old mill by the river has a water wheel.",
    "honey, milk & butter!",
    "bread with salt and butter",
    "the long road to the market",
];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn batch(offset: usize) -> TextBatch<'static> {
    let turned = |at: usize| (at + offset) % QUERIES.len();
    TextBatch {
        queries: (0..4).map(|at| QUERIES[turned(at)]).collect(),
        documents: (0..8).map(|at| DOCUMENTS[2 * turned(at / 2) + at % 2]).collect(),
        group: 2,
        teacher: Some(vec![9.0, 2.0, 8.0, 3.0, 7.0, -1.0, 6.0, 2.5]),
        excluded: Vec::new(),
    }
}

fn flops(side: Side, weight: f64) -> Penalty {
    Penalty {
        side,
        regulariser: Regulariser::Flops(Flops::default()),
        weight,
        schedule: Schedule::Constant,
        name: None,
    }
}

/// A run that moves the tiny models visibly.
fn config(loss: Loss) -> TrainerConfig {
    TrainerConfig {
        penalties: vec![flops(Side::Query, 0.003), flops(Side::Document, 0.005)],
        learning_rate: LearningRate {
            peak: 5e-3,
            ..LearningRate::default()
        },
        ..TrainerConfig::new(12, loss)
    }
}

fn contrastive() -> Loss {
    Loss::Contrastive(Contrastive::InBatch)
}

fn opened(name: &str, config: TrainerConfig) -> Trainer {
    Trainer::open(&fixture(name), &CheckpointOptions::default(), config).unwrap_or_else(|error| panic!("{error}"))
}

/// Variables by name, to the bit.
type Bits = Vec<(String, Vec<u32>)>;

fn bits<M: TextModel>(trainer: &Trainer<M>) -> Bits {
    let variables = trainer.model().variables();
    let of = |tensor: &Tensor| {
        tensor
            .flatten_all()
            .and_then(|flat| flat.to_vec1::<f32>())
            .expect("numbers")
    };
    let variable = |variable: NamedVariable| {
        let values = of(variable.var.as_tensor()).into_iter().map(f32::to_bits).collect();
        (variable.name, values)
    };
    variables.into_iter().map(variable).collect()
}

/// The same without dropout, whose noise is larger than what a dozen steps change.
fn quiet(loss: Loss) -> TrainerConfig {
    TrainerConfig {
        penalties: Vec::new(),
        model: TrainableOptions {
            dropout: Some(0.0),
            ..TrainableOptions::default()
        },
        ..config(loss)
    }
}

/// Gradients of a step on `batch`, by the step's own way.
fn gradients<M: TextModel>(trainer: &mut Trainer<M>, batch: &TextBatch<'_>) -> Vec<(String, Option<Vec<f32>>)> {
    let mut gradients = Gradients::new(&trainer.variables);
    trainer
        .part(batch, 0, &mut gradients, &mut step::Tally::default())
        .expect("a step");
    let of = |variable: &NamedVariable| {
        let gradient = gradients.get(&variable.name).expect("computed");
        let values = gradient.map(|gradient| gradient.flatten_all().and_then(|flat| flat.to_vec1()).expect("numbers"));
        (variable.name.clone(), values)
    };
    trainer.variables.iter().map(of).collect()
}

#[test]
fn a_step_has_the_loss_and_the_gradients_of_pytorch() {
    let dir = fixture("steps");
    let text = std::fs::read_to_string(dir.join("steps.json")).expect("written by make_step_fixtures.py");
    let case: Value = serde_json::from_str(&text).expect("JSON");
    let texts = |field: &str| -> Vec<String> { serde_json::from_value(case[field].clone()).expect("texts") };
    let (queries, documents) = (texts("queries"), texts("documents"));
    let number = |value: &Value| value.as_f64().expect("a number");
    let batch = TextBatch {
        queries: queries.iter().map(String::as_str).collect(),
        documents: documents.iter().map(String::as_str).collect(),
        group: 2,
        teacher: Some(serde_json::from_value(case["teacher"].clone()).expect("scores")),
        excluded: Vec::new(),
    };
    for (name, loss) in [
        ("contrastive", contrastive()),
        ("margin_mse", Loss::MarginMse(MarginMse::default())),
        ("kl", Loss::Kl(Kl::default())),
    ] {
        let penalties = vec![
            flops(Side::Query, number(&case["query_weight"])),
            flops(Side::Document, number(&case["document_weight"])),
        ];
        let without_dropout = TrainableOptions {
            dropout: Some(0.0),
            ..TrainableOptions::default()
        };
        let config = TrainerConfig {
            penalties,
            model: without_dropout,
            ..config(loss)
        };
        let mut trainer = opened("bert-plain", config);
        let bytes = std::fs::read(dir.join(format!("{name}.safetensors"))).expect("written");
        let expected = SafeTensors::deserialize(&bytes).expect("whole");
        let mut compared = 0;
        for (variable, gradient) in gradients(&mut trainer, &batch) {
            let stored = variable.strip_prefix("shared.").expect("one transformer");
            // Stored under two names, and PyTorch's is the other.
            let stored = stored.replace("cls.predictions.decoder.bias", "cls.predictions.bias");
            let view = expected
                .tensor(&stored)
                .unwrap_or_else(|_| panic!("PyTorch has no {stored}"));
            let values: Vec<f32> = view
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect();
            let gradient = gradient.unwrap_or_else(|| panic!("{variable} has no gradient"));
            for (at, (found, expected)) in gradient.iter().zip(&values).enumerate() {
                let error = (found - expected).abs();
                assert!(
                    error < 1e-4 * (1.0 + expected.abs()),
                    "{name}, {variable} [{at}]: {found}, {expected} expected"
                );
            }
            assert_eq!(gradient.len(), values.len(), "{variable}");
            compared += values.len();
        }
        assert!(compared > 8000, "{compared} numbers");
        let outcome = trainer.step(&batch).expect("a step");
        let of = &case["losses"][name];
        let near = |found: f64, expected: f64| {
            assert!(
                (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
                "{name}: {found}, {expected} expected"
            )
        };
        near(outcome.loss, number(&of["total"]));
        for (term, value) in &outcome.terms {
            near(*value, number(&of["terms"][term]));
        }
        assert_eq!(outcome.terms.len(), 3);
    }
}

#[test]
fn a_step_in_parts_has_the_gradients_of_the_whole() {
    for name in ["bert-plain", "unicoil", "deepimpact", "bert-idf"] {
        let whole = gradients(&mut opened(name, config(contrastive())), &batch(0));
        for micro_batch in [1, 3, 8] {
            let parts = TrainerConfig {
                micro_batch,
                ..config(contrastive())
            };
            let parts = gradients(&mut opened(name, parts), &batch(0));
            for ((variable, whole), (_, parts)) in whole.iter().zip(&parts) {
                let (Some(whole), Some(parts)) = (whole, parts) else {
                    assert_eq!(whole, parts, "{name}, {variable}");
                    continue;
                };
                let largest = whole.iter().fold(0f32, |largest, x| largest.max(x.abs()));
                let error = whole
                    .iter()
                    .zip(parts)
                    .fold(0f32, |largest, (a, b)| largest.max((a - b).abs()));
                assert!(
                    error <= 1e-5 * (1.0 + largest),
                    "{name}, {variable}: {error} of {largest}"
                );
            }
        }
    }
}

#[test]
fn accumulated_parts_are_means_of_smaller_steps() {
    let no_dropout = TrainableOptions {
        dropout: Some(0.0),
        ..TrainableOptions::default()
    };
    let of = |accumulation| TrainerConfig {
        accumulation,
        model: no_dropout.clone(),
        ..config(contrastive())
    };
    let whole = batch(0);
    let outcome =
        |batch: &TextBatch<'_>, accumulation| opened("splade-v3", of(accumulation)).step(batch).expect("a step");
    let two = outcome(&whole, 2);
    let halves = [outcome(&whole.part(0..2), 1), outcome(&whole.part(2..4), 1)];
    let mean = (halves[0].loss + halves[1].loss) / 2.0;
    assert!((two.loss - mean).abs() < 1e-5 * mean, "{}, {mean} expected", two.loss);
    assert_eq!(two.tokens, halves[0].tokens + halves[1].tokens);
    let refused = opened("splade-v3", of(3))
        .step(&whole)
        .expect_err("4 queries in 3 parts")
        .to_string();
    assert!(
        refused.contains("accumulation") && refused.contains("4 queries in 3 parts"),
        "{refused}"
    );
}

#[test]
fn training_lowers_the_loss_of_every_kind_of_model() {
    for name in [
        "bert-plain",
        "unicoil",
        "deepimpact",
        "bert-idf",
        "lsr-epic",
        "sparta",
        "li-lsr",
        "modernbert",
    ] {
        let mut trainer = opened(name, quiet(Loss::MarginMse(MarginMse::default())));
        let losses: Vec<f64> = (0..12).map(|_| trainer.step(&batch(0)).expect("a step").loss).collect();
        let (first, last) = (losses[0], losses[9..].iter().sum::<f64>() / 3.0);
        assert!(last < 0.99 * first, "{name}: {losses:?}");
    }
}

#[test]
fn deepct_learns_which_words_are_asked() {
    let mut trainer = opened("deepct", quiet(Loss::TermMse));
    let losses: Vec<f64> = (0..12).map(|_| trainer.step(&batch(0)).expect("a step").loss).collect();
    assert!(losses[11] < 0.7 * losses[0], "{losses:?}");
}

#[test]
fn dense_encoders_are_trained_too() {
    let ranking = Contrastive::SentenceTransformers(crate::training::SentenceTransformersRanking {
        scale: 20.0,
        ..crate::training::SentenceTransformersRanking::default()
    });
    let config = TrainerConfig {
        micro_batch: 5,
        ..quiet(Loss::Contrastive(ranking))
    };
    let model = TrainableDense::open(&fixture("dense-mean"), &config.model).expect("a dense encoder");
    let mut trainer = Trainer::new(model, config).expect("options of a dense encoder");
    let losses: Vec<f64> = (0..12).map(|_| trainer.step(&batch(0)).expect("a step").loss).collect();
    assert!(losses[11] < 0.8 * losses[0], "{losses:?}");
}

fn steered() -> TrainerConfig {
    let mut config = TrainerConfig {
        controller: Some(ControllerOptions::new(Controlled::DocumentLength, 20.0)),
        micro_batch: 5,
        seed: 9,
        ..config(Loss::MarginMse(MarginMse::default()))
    };
    config.model.train_query_table = true;
    config.penalties[1].regulariser = Regulariser::Flops(Flops {
        columns: ColumnWeighting::DocumentFrequency,
        ..Flops::default()
    });
    config.document_frequency.refresh_every = 2;
    config
}

/// Six steps in one go, and three, saved and resumed, and three more.
fn whole_and_resumed(name: &str) -> [(Bits, StepOutcome); 2] {
    let scratch = tempfile::tempdir().expect("room for a temporary folder");
    let dir = scratch.path().join("state");
    let mut whole = opened(name, steered());
    let mut last = None;
    for at in 0..6 {
        if at == 3 {
            whole.save(&dir).expect("writable");
        }
        last = Some(whole.step(&batch(at)).expect("a step"));
    }
    let mut resumed = Trainer::resume(&dir).expect("own state");
    assert_eq!((resumed.steps_done(), resumed.config()), (3, &steered()));
    let mut last_resumed = None;
    for at in 3..6 {
        last_resumed = Some(resumed.step(&batch(at)).expect("a step"));
    }
    [
        (bits(&whole), last.expect("six steps")),
        (bits(&resumed), last_resumed.expect("three steps")),
    ]
}

#[test]
fn a_resumed_run_has_the_bytes_of_one_that_was_never_stopped() {
    for name in ["splade-v3", "bert-idf", "efficient-splade-doc"] {
        let [whole, resumed] = whole_and_resumed(name);
        assert_eq!(whole, resumed, "{name}");
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| whole_and_resumed("splade-v3"))
    };
    let [one, three] = [1, 3].map(with);
    assert_eq!(one, three);
    assert_eq!(three[0], three[1]);
}

#[test]
fn states_are_replaced_whole_and_damage_is_named() {
    let scratch = tempfile::tempdir().expect("room for a temporary folder");
    let dir = scratch.path().join("state");
    let mut trainer = opened("splade-v3", steered());
    trainer.save(&dir).expect("writable");
    trainer.step(&batch(0)).expect("a step");
    trainer.save(&dir).expect("in the place of the first");
    assert_eq!(Trainer::resume(&dir).expect("own state").steps_done(), 1);
    // Killed between two names.
    let previous = crate::convert::previous(&dir);
    std::fs::rename(&dir, &previous).expect("there");
    assert_eq!(Trainer::resume(&dir).expect("the one from before").steps_done(), 1);
    std::fs::rename(&previous, &dir).expect("there");
    let refusal = || Trainer::resume(&dir).err().expect("a refusal").to_string();
    let weights = weights_of(&dir);
    let bytes = std::fs::read(&weights).expect("there");
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    std::fs::write(&weights, flipped).expect("writable");
    let message = refusal();
    assert!(message.contains("model.safetensors has changed"), "{message}");
    std::fs::remove_file(&weights).expect("there");
    assert!(refusal().contains("model.safetensors is missing"));
    std::fs::write(&weights, bytes).expect("writable");
    let state = std::fs::read_to_string(dir.join("state.json")).expect("there");
    std::fs::write(
        dir.join("state.json"),
        state.replace("\"version\": 1", "\"version\": 2"),
    )
    .expect("writable");
    let message = refusal();
    assert!(
        message.contains("version 2") && message.contains("1 expected"),
        "{message}"
    );
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut trainer = opened("splade-v3", config(Loss::Kl(Kl::default())));
    let before = bits(&trainer);
    let without = TextBatch {
        teacher: None,
        ..batch(0)
    };
    let message = trainer.step(&without).expect_err("no teacher").to_string();
    assert!(message.contains("kl") && message.contains("teacher"), "{message}");
    let broken = TextBatch {
        teacher: Some(vec![f32::INFINITY; 8]),
        ..batch(0)
    };
    assert!(trainer.step(&broken).is_err());
    assert_eq!((bits(&trainer), trainer.steps_done()), (before, 0));
}

#[test]
fn frozen_layers_stay_and_the_rest_is_trained() {
    let mut frozen = config(contrastive());
    frozen.model.frozen_layers = 1;
    let mut trainer = opened("bert-plain", frozen);
    let rows = |model: &TrainableModel| {
        let texts = model.read(&[], &DOCUMENTS).expect("any text");
        let rows = model
            .represent_part(&texts, InputKind::Document, 0..8, Pass::default())
            .expect("fits");
        rows.to_vec2::<f32>().expect("a matrix")
    };
    let before = rows(trainer.model());
    trainer.step(&batch(0)).expect("a step");
    assert_ne!(rows(trainer.model()), before);
    let names: Vec<String> = trainer.variables.iter().map(|variable| variable.name.clone()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.contains("embeddings") || name.contains("layer.0.")),
        "{names:?}"
    );
}

#[test]
fn configurations_read_as_presets_write_them() {
    let text = r#"{"steps": 100, "loss": {"contrastive": "in_batch"},
        "penalties": [{"side": "document", "regulariser": {"flops": {}}, "weight": 0.08}],
        "model": {"frozen_embeddings": true, "start": {"seed": 4}}}"#;
    let parsed: TrainerConfig = serde_json::from_str(text).expect("a preset");
    let mut expected = TrainerConfig::new(100, contrastive());
    expected.penalties = vec![flops(Side::Document, 0.08)];
    expected.model.frozen_embeddings = true;
    expected.model.start.seed = 4;
    assert_eq!(parsed, expected);
    assert!(serde_json::from_str::<TrainerConfig>(r#"{"steps": 1, "loss": {"kl": {}}, "batch": 3}"#).is_err());
    let refusal = TrainerConfig::new(0, contrastive())
        .validate()
        .expect_err("no steps")
        .to_string();
    assert!(refusal.contains("steps is 0"), "{refusal}");
    let inverse = Penalty {
        regulariser: Regulariser::Flops(Flops {
            columns: ColumnWeighting::InverseIdf,
            ..Flops::default()
        }),
        ..flops(Side::Document, 1.0)
    };
    let config = TrainerConfig {
        penalties: vec![inverse],
        ..config(contrastive())
    };
    assert!(
        opened("bert-idf", config.clone()).step(&batch(0)).is_ok(),
        "a table of queries"
    );
    let refusal = Trainer::open(&fixture("bert-plain"), &CheckpointOptions::default(), config);
    assert!(refusal.err().expect("no table").to_string().contains("query table"));
}
