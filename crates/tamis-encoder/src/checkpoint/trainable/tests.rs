//! Trainable models against the encoder, their gradients against finite differences.

mod gradients;
mod starts;
mod writes;

use super::*;
use crate::{Checkpoint, CheckpointOptions, Encoder};
use std::collections::BTreeMap;
use std::path::PathBuf;

const TEXTS: [&str; 7] = [
    "The miller sifts the flour through a fine silk mesh.",
    "WHEAT, rye & oats: 12% bran!",
    "",
    "a [SEP] b [MASK] [CLS] unbelievable",
    "water water water wheel wheel stone",
    "東京 the 🌾 wheel",
    "The old mill by the river ground wheat and rye for every baker of the town, and the miller measured each sack by \
     hand on an iron weight before the cart took it over the long road to the market.",
];

const KINDS: [InputKind; 2] = [InputKind::Document, InputKind::Query];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn opened(name: &str, options: &TrainableOptions) -> TrainableModel {
    TrainableModel::open(&fixture(name), &CheckpointOptions::default(), options)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The weights above zero of each row, by the names of their columns.
fn named(model: &TrainableModel, kind: InputKind, texts: &StepTexts, rows: &Tensor) -> Vec<BTreeMap<String, f32>> {
    let tokenizer = &model.side(kind).rules.tokenizer;
    let name = |column: usize| match model.weighs_words() {
        true => texts.word(column).unwrap_or_default().to_owned(),
        false => {
            let id = u32::try_from(column).expect("a column");
            tokenizer.token(id).unwrap_or_else(|| format!("[id {id}]"))
        }
    };
    let rows = rows.to_vec2::<f32>().expect("a matrix in single precision");
    let above = |row: Vec<f32>| {
        let weights = row.into_iter().enumerate().filter(|&(_, weight)| weight > 0.0);
        weights.map(|(column, weight)| (name(column), weight)).collect()
    };
    rows.into_iter().map(above).collect()
}

fn assert_near(found: &BTreeMap<String, f32>, expected: &BTreeMap<String, f32>, place: &str) {
    for token in found.keys().chain(expected.keys()) {
        let [found, expected] = [found, expected].map(|vector| vector.get(token).copied().unwrap_or(0.0));
        assert!(
            (found - expected).abs() <= 1e-4,
            "{place}: {token:?} weighs {found}, {expected} expected"
        );
    }
}

/// Compares every row with the vector of the encoder.
fn check_outputs(name: &str) {
    let model = opened(name, &TrainableOptions::default());
    let encoder = Checkpoint::open(&fixture(name), &CheckpointOptions::default()).expect("a whole checkpoint");
    let texts = model.read(&TEXTS, &TEXTS).expect("any text");
    let mut seen = 0;
    for kind in KINDS {
        let encoded = encoder.encode(kind, &TEXTS).expect("any text");
        for tracked in [false, true] {
            let pass = Pass {
                tracked,
                randomness: None,
            };
            let rows = model.represent_part(&texts, kind, 0..TEXTS.len(), pass).expect("fits");
            assert_eq!(rows.dims(), [TEXTS.len(), texts.columns()]);
            for ((found, encoding), text) in named(&model, kind, &texts, &rows).iter().zip(&encoded).zip(TEXTS) {
                let expected: BTreeMap<String, f32> = encoding.tokens.iter().cloned().collect();
                assert_near(found, &expected, &format!("{name}, {kind:?} {text:?}"));
                seen += expected.len();
            }
        }
        let part = model.represent_part(&texts, kind, 3..5, Pass::default()).expect("fits");
        let found = named(&model, kind, &texts, &part);
        let expected: BTreeMap<String, f32> = encoded[4].tokens.iter().cloned().collect();
        assert_near(&found[1], &expected, &format!("{name}, {kind:?}, in a part"));
    }
    assert!(seen > 50, "{name} has no weights to compare");
}

macro_rules! equal_outputs {
    ($($test:ident: $fixture:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check_outputs($fixture);
            }
        )*
    };
}

equal_outputs! {
    bert: "bert-plain",
    distilbert_with_its_own_decoder: "distilbert-untied-bf16",
    roberta: "roberta",
    xlm_roberta: "xlm-roberta",
    modernbert: "modernbert",
    modernbert_with_all_biases: "modernbert-untied",
    gte: "gte",
    gte_new: "gte-new",
    gte_new_unpacked: "gte-new-unpacked",
    sentence_transformers_sum_with_prompts: "st-bert-sum",
    sentence_transformers_max: "st-bert-max",
    sentence_transformers_router: "st-router",
    sentence_transformers_multiplier: "st-lexical",
    opensearch_table: "bert-idf",
    opensearch_v3_pruned: "opensearch-v3",
    splade_v1: "splade-v1",
    splade_v3: "splade-v3",
    splade_doc: "splade-doc",
    splade_lexical: "splade-lexical",
    splade_topk: "splade-topk",
    efficient_splade: "efficient-splade-doc",
    unicoil: "unicoil",
    unicoil_expanded: "unicoil-expanded",
    tildev2: "tildev2",
    deepimpact: "deepimpact",
    deepct: "deepct",
    sparta: "sparta",
    li_lsr: "li-lsr",
    epic: "lsr-epic",
    lsr_binary: "lsr-binary",
    lsr_mlm: "lsr-mlm",
    lsr_clsmlm: "lsr-clsmlm",
}
