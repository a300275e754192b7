//! The recipes that come with the program: every one opens and fits together, and says what its publication says.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tamis_train::{Recipe, preset_summaries, preset_text, recipe_names};

/// A field of a preset, by its path, and its value as JSON.
type Row = (&'static str, &'static str, &'static str);

/// What the publications and their code say.
const PUBLISHED: [Row; 156] = [
    ("splade-v1", "model.checkpoint.preset", r#""splade-v1""#),
    ("splade-v1", "trainer.loss", r#"{"contrastive":"in_batch_pairwise"}"#),
    ("splade-v1", "trainer.penalties.0.weight", "3e-4"),
    ("splade-v1", "trainer.penalties.1.weight", "1e-4"),
    ("splade-max", "trainer.loss", r#"{"contrastive":"in_batch_pairwise"}"#),
    ("splade-max", "trainer.penalties.0.side", r#""query""#),
    ("splade-max", "trainer.penalties.0.weight", "3e-4"),
    ("splade-max", "trainer.penalties.1.side", r#""document""#),
    ("splade-max", "trainer.penalties.1.weight", "1e-4"),
    (
        "splade-max",
        "trainer.penalties.1.regulariser",
        r#"{"flops":{"grouping":"positive_negative","columns":"uniform"}}"#,
    ),
    (
        "splade-max",
        "trainer.penalties.1.schedule",
        r#"{"quadratic":{"length":{"steps":50000},"convention":"naver"}}"#,
    ),
    ("splade-max", "trainer.steps", "150000"),
    ("splade-max", "batch.size", "128"),
    ("splade-max", "trainer.learning_rate.peak", "2e-5"),
    ("splade-max", "trainer.learning_rate.warm_up", r#"{"steps":6000}"#),
    ("splade-max", "trainer.optimiser.weight_decay", "0.01"),
    (
        "distilsplade-max",
        "trainer.loss",
        r#"{"margin_mse":{"pairs":"positive_negatives"}}"#,
    ),
    ("distilsplade-max", "trainer.penalties.0.weight", "0.5"),
    ("distilsplade-max", "trainer.penalties.1.weight", "0.4"),
    ("distilsplade-max", "teacher.members.0.kind", r#""stored""#),
    ("splade-doc", "model.checkpoint.preset", r#""splade-doc""#),
    ("splade-doc", "trainer.loss.kl.student_temperature", "1"),
    ("splade-doc", "trainer.penalties.0.weight", "5e-4"),
    (
        "splade-doc",
        "trainer.penalties.0.schedule.quadratic.length.steps",
        "10000",
    ),
    ("splade-doc", "trainer.penalties.1", "null"),
    ("splade-doc", "trainer.steps", "50000"),
    (
        "splade-pp-selfdistil",
        "trainer.loss.margin_mse.pairs",
        r#""positive_negatives""#,
    ),
    ("splade-pp-selfdistil", "trainer.penalties.0.weight", "0.5"),
    ("splade-pp-selfdistil", "trainer.penalties.1.weight", "0.4"),
    (
        "splade-pp-selfdistil",
        "trainer.penalties.1.schedule.quadratic.length.steps",
        "50000",
    ),
    ("splade-pp-selfdistil", "trainer.steps", "150000"),
    ("splade-pp-selfdistil", "batch.size", "128"),
    (
        "splade-pp-ensembledistil",
        "trainer.loss.margin_mse.pairs",
        r#""positive_negatives""#,
    ),
    ("splade-pp-ensembledistil", "trainer.penalties.0.weight", "0.5"),
    ("splade-pp-ensembledistil", "trainer.penalties.1.weight", "0.4"),
    (
        "splade-pp-ensembledistil",
        "trainer.penalties.1.schedule.quadratic.length.steps",
        "50000",
    ),
    ("splade-pp-ensembledistil", "trainer.steps", "150000"),
    ("splade-pp-ensembledistil", "batch.size", "128"),
    ("splade-v3", "trainer.loss.sum.0.weight", "0.99"),
    ("splade-v3", "trainer.loss.sum.0.loss.kl.candidates", r#""own""#),
    ("splade-v3", "trainer.loss.sum.1.weight", "0.05"),
    ("splade-v3", "trainer.loss.sum.1.loss.margin_mse.pairs", r#""all""#),
    (
        "splade-v3",
        "trainer.penalties.0.regulariser",
        r#"{"flops":{"grouping":"flatten","columns":"uniform"}}"#,
    ),
    ("splade-v3", "trainer.penalties.0.weight", "0.02"),
    ("splade-v3", "trainer.penalties.1.regulariser", r#""l1""#),
    ("splade-v3", "trainer.penalties.1.weight", "0.01"),
    ("splade-v3", "trainer.penalties.2.regulariser", r#""anti_zero""#),
    (
        "splade-v3",
        "trainer.penalties.1.schedule.quadratic.length.steps",
        "30000",
    ),
    ("splade-v3", "batch.negatives", "8"),
    ("splade-v3", "trainer.learning_rate.warm_up", r#"{"share":0.01}"#),
    ("efficient-splade-v-large", "trainer.penalties.0.regulariser", r#""l1""#),
    ("efficient-splade-v-large", "trainer.penalties.0.weight", "5e-4"),
    ("efficient-splade-v-large", "trainer.penalties.1.weight", "5e-4"),
    ("efficient-splade-v-large", "trainer.steps", "250000"),
    ("efficient-splade-v-large", "trainer.model.start.separate", "true"),
    (
        "efficient-splade-v-medium",
        "trainer.penalties.0.regulariser",
        r#""l1""#,
    ),
    ("efficient-splade-v-medium", "trainer.penalties.0.weight", "5e-3"),
    ("efficient-splade-v-medium", "trainer.penalties.1.weight", "5e-4"),
    ("efficient-splade-v-medium", "trainer.steps", "250000"),
    ("efficient-splade-v-medium", "trainer.model.start.separate", "true"),
    ("efficient-splade-v-small", "trainer.penalties.0.regulariser", r#""l1""#),
    ("efficient-splade-v-small", "trainer.penalties.0.weight", "5e-3"),
    ("efficient-splade-v-small", "trainer.penalties.1.weight", "5e-3"),
    ("efficient-splade-v-small", "trainer.steps", "250000"),
    ("efficient-splade-v-small", "trainer.model.start.separate", "true"),
    (
        "efficient-splade-vi-bt-large",
        "model.checkpoint.query_model",
        r#""query""#,
    ),
    ("efficient-splade-vi-bt-large", "trainer.penalties.0.weight", "5e-4"),
    ("efficient-splade-vi-bt-large", "trainer.penalties.1.weight", "5e-4"),
    ("deepct", "trainer.loss", r#""term_mse""#),
    ("deepct", "trainer.learning_rate.peak", "2e-5"),
    ("deepct", "batch.size", "16"),
    ("unicoil", "trainer.loss", r#"{"contrastive":"in_batch"}"#),
    ("unicoil", "trainer.learning_rate.peak", "5e-6"),
    ("unicoil", "trainer.learning_rate.warm_up", r#"{"share":0.1}"#),
    ("unicoil", "batch.size", "8"),
    ("unicoil", "batch.negatives", "7"),
    (
        "unicoil-marginmse",
        "trainer.loss",
        r#"{"margin_mse":{"pairs":"positive_negatives"}}"#,
    ),
    ("unicoil-marginmse", "trainer.learning_rate.peak", "5e-5"),
    (
        "unicoil-expanded-marginmse",
        "trainer.loss",
        r#"{"margin_mse":{"pairs":"positive_negatives"}}"#,
    ),
    ("unicoil-expanded-marginmse", "trainer.learning_rate.peak", "5e-5"),
    (
        "deepimpact-marginmse",
        "trainer.loss",
        r#"{"margin_mse":{"pairs":"positive_negatives"}}"#,
    ),
    ("deepimpact-marginmse", "trainer.learning_rate.peak", "5e-5"),
    (
        "tildev2-marginmse",
        "trainer.loss",
        r#"{"margin_mse":{"pairs":"positive_negatives"}}"#,
    ),
    ("tildev2-marginmse", "trainer.learning_rate.peak", "5e-5"),
    (
        "sparta-marginmse",
        "trainer.loss",
        r#"{"margin_mse":{"pairs":"positive_negatives"}}"#,
    ),
    ("sparta-marginmse", "trainer.learning_rate.peak", "5e-5"),
    (
        "epic-marginmse",
        "trainer.loss",
        r#"{"margin_mse":{"pairs":"positive_negatives"}}"#,
    ),
    ("epic-marginmse", "trainer.learning_rate.peak", "5e-5"),
    ("unicoil-expanded", "model.checkpoint.preset", r#""unicoil-expanded""#),
    ("unicoil-expanded", "trainer.loss", r#"{"contrastive":"in_batch"}"#),
    ("deepimpact", "trainer.loss", r#"{"contrastive":"pairwise"}"#),
    ("deepimpact", "trainer.learning_rate.peak", "3e-6"),
    ("deepimpact", "trainer.max_gradient_norm", "2.0"),
    ("deepimpact", "trainer.accumulation", "2"),
    ("deepimpact", "batch.size", "32"),
    ("tildev2", "trainer.loss", r#"{"contrastive":"in_batch"}"#),
    ("tildev2", "trainer.learning_rate.peak", "5e-6"),
    ("sparta", "trainer.loss", r#"{"contrastive":"pairwise"}"#),
    ("sparta", "batch.negatives", "3"),
    ("epic", "trainer.loss", r#"{"contrastive":"negative_likelihood"}"#),
    ("epic", "trainer.learning_rate.decay", r#""constant""#),
    ("epic", "trainer.steps", "2432"),
    ("epic", "batch.size", "16"),
    ("lsr-splade-max", "trainer.loss", r#"{"contrastive":"in_batch"}"#),
    ("lsr-splade-max", "trainer.penalties.0.weight", "0.01"),
    ("lsr-splade-max", "trainer.penalties.1.weight", "0.05"),
    ("lsr-splade-max", "trainer.learning_rate.peak", "5e-6"),
    ("lsr-distilsplade-max", "trainer.penalties.0.weight", "0.1"),
    ("lsr-distilsplade-max", "trainer.penalties.1.weight", "0.08"),
    (
        "lsr-distilsplade-max",
        "trainer.penalties.0.schedule",
        r#"{"quadratic":{"length":{"steps":50000},"convention":"lsr"}}"#,
    ),
    ("lsr-distilsplade-max", "model.checkpoint.max_length", "250"),
    ("lsr-distilsplade-sep", "trainer.penalties.0.weight", "0.1"),
    ("lsr-distilsplade-sep", "trainer.penalties.1.weight", "0.08"),
    (
        "lsr-distilsplade-sep",
        "trainer.penalties.0.schedule",
        r#"{"quadratic":{"length":{"steps":50000},"convention":"lsr"}}"#,
    ),
    ("lsr-distilsplade-sep", "model.checkpoint.max_length", "250"),
    ("lsr-distilsplade-sep", "trainer.model.start.separate", "true"),
    ("lsr-splade-qmlp", "model.checkpoint.query.head", r#""token""#),
    ("lsr-splade-qmlp", "model.checkpoint.document.head", r#""mlm""#),
    ("lsr-splade-qmlp", "trainer.penalties.0.side", r#""document""#),
    ("lsr-splade-qmlp", "trainer.penalties.0.weight", "0.08"),
    ("lsr-qmlm-dmlp", "model.checkpoint.document.head", r#""token""#),
    ("lsr-qmlm-dmlp", "trainer.penalties.0.side", r#""query""#),
    ("lsr-clsmlm", "model.checkpoint.preset", r#""lsr-clsmlm""#),
    ("l0-doc", "model.checkpoint.preset", r#""opensearch-doc-v3""#),
    ("l0-doc", "trainer.loss.kl.teacher_temperature", "1"),
    ("l0-doc", "trainer.penalties.0.weight", "0.08"),
    ("l0-doc", "trainer.penalties.0.regulariser.flops.row_threshold", "150"),
    (
        "l0-doc",
        "trainer.penalties.0.regulariser.flops.grouping",
        r#""position_sum""#,
    ),
    (
        "l0-doc",
        "trainer.penalties.0.schedule",
        r#"{"quadratic":{"length":{"steps":40000},"convention":"open_search"}}"#,
    ),
    ("l0-doc", "batch.size", "20"),
    ("l0-doc", "batch.negatives", "1"),
    ("l0-doc", "trainer.steps", "100000"),
    ("l0-doc", "trainer.max_gradient_norm", "0"),
    ("l0-mask", "model.checkpoint.preset", r#""opensearch-doc-v2""#),
    ("l0-mask", "trainer.penalties.0.regulariser.flops.row_threshold", "150"),
    ("l0-activation", "model.checkpoint.preset", r#""opensearch-doc-v3""#),
    (
        "l0-activation",
        "trainer.penalties.0.regulariser.flops.row_threshold",
        "null",
    ),
    ("l0-baseline", "model.checkpoint.preset", r#""opensearch-doc-v2""#),
    (
        "l0-baseline",
        "trainer.penalties.0.regulariser.flops.row_threshold",
        "null",
    ),
    ("idf-aware", "model.checkpoint.preset", r#""opensearch-doc-v2""#),
    (
        "idf-aware",
        "trainer.penalties.0.regulariser.flops.columns",
        r#""uniform""#,
    ),
    (
        "idf-aware-explicit",
        "trainer.penalties.0.regulariser.flops.columns",
        r#""inverse_idf""#,
    ),
    ("opensearch-ensemble", "trainer.loss.kl.candidates", r#""batch""#),
    ("opensearch-ensemble", "teacher.combine", r#""min_max""#),
    ("opensearch-ensemble", "teacher.in_batch", "true"),
    ("opensearch-ensemble", "trainer.penalties.0.weight", "0.002"),
    (
        "opensearch-ensemble",
        "trainer.penalties.0.schedule.quadratic.length.steps",
        "200",
    ),
    (
        "df-flops",
        "trainer.penalties.1.regulariser.flops.columns",
        r#""document_frequency""#,
    ),
    ("li-lsr", "model.checkpoint.preset", r#""li-lsr""#),
    ("sparse-from-pairs", "trainer.controller.target", "200"),
    ("sparse-from-pairs", "teacher.members.1.weight", "30"),
    ("sparse-from-pairs", "trainer.loss.sum.1.weight", "0.5"),
    ("gated-lift", "trainer.model.gate_layers", "2"),
    ("gated-lift", "trainer.optimiser.groups.0.rate_factor", "40"),
    ("gated-lift", "teacher.members.1.weight", "30"),
    ("gated-lift", "batch.cluster", "8"),
];

fn field<'a>(recipe: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(recipe, |value, part| match part.parse::<usize>() {
            Ok(at) => value.get(at),
            Err(_) => value.get(part),
        })
}

#[test]
fn presets_say_what_was_published() {
    for (name, path, expected) in PUBLISHED {
        let recipe = Recipe::preset(name).unwrap_or_else(|error| panic!("{error}"));
        let recipe = serde_json::to_value(&recipe).expect("plain values");
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        let found = field(&recipe, path).unwrap_or(&Value::Null);
        let same = match (found.as_f64(), expected.as_f64()) {
            (Some(found), Some(expected)) => found == expected,
            _ => *found == expected,
        };
        assert!(same, "{name}: {path} is {found}, published is {expected}");
    }
}

#[test]
fn every_preset_opens_and_fits_together() {
    let told: BTreeSet<&str> = PUBLISHED.iter().map(|(name, ..)| *name).collect();
    for name in recipe_names() {
        let mut recipe = Recipe::preset(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(recipe.name, name);
        assert!(!recipe.about.is_empty() && !recipe.source.is_empty(), "{name}");
        let at_a_given_year = recipe.source.contains("20") || recipe.source.contains("Tamis");
        assert!(at_a_given_year, "{name}: {}", recipe.source);
        // What only the command line gives.
        for member in &mut recipe.teacher.members {
            if matches!(
                member.kind,
                tamis_train::TeacherKind::Dense | tamis_train::TeacherKind::Sparse
            ) {
                member.model = Some("teacher".into());
            }
        }
        recipe.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(told.contains(name), "{name}: nothing that was published is checked");
        assert_eq!(
            Recipe::parse(&recipe.to_toml(), name).expect("its own text"),
            recipe,
            "{name}"
        );
        let known = tamis_encoder::preset_names();
        if let Some(preset) = &recipe.model.checkpoint.preset {
            assert!(known.contains(preset), "{name}: {preset}");
        }
    }
    assert_eq!(preset_summaries().len(), recipe_names().count());
}

#[test]
fn every_file_is_a_preset() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
    let files: BTreeSet<String> = std::fs::read_dir(dir)
        .expect("the folder of presets")
        .map(|entry| {
            entry
                .expect("readable")
                .path()
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(files, recipe_names().map(str::to_owned).collect());
}

#[test]
fn an_unknown_preset_names_a_near_one() {
    let message = preset_text("splade-ppp").expect_err("there is none").to_string();
    assert!(
        message.contains("\"splade-ppp\"") && message.contains("splade"),
        "{message}"
    );
    assert!(preset_text("").is_err());
}
