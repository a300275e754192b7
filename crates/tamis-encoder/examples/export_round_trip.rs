//! Trains tiny checkpoints for two steps and exports them, with the vectors that the encoder gives afterwards.
//!
//! `cargo run -p tamis-encoder --example export_round_trip -- OUT`, then `python tests/export_round_trip.py OUT`, which
//! opens the exports with sentence-transformers and compares.

use std::path::{Path, PathBuf};
use tamis_encoder::training::{
    Contrastive, LearningRate, Loss, StartOptions, TableStart, TextBatch, TrainableOptions, Trainer, TrainerConfig,
};
use tamis_encoder::{Checkpoint, CheckpointOptions, Encoder, Error, InputKind};

const QUERIES: [&str; 2] = ["who ground the wheat", "fine silk mesh"];
const DOCUMENTS: [&str; 2] = [
    "The miller ground wheat and rye for every baker of the town.",
    "The miller sifts the flour through a fine silk mesh.",
];

/// Fixture and preset of each export; those of no preset are what their directory says.
const CASES: [(&str, Option<&str>); 8] = [
    ("bert-plain", Some("splade-v3")),
    ("dense-mean", Some("splade-v3")),
    ("st-bert-sum", None),
    ("splade-doc", None),
    ("bert-idf", None),
    ("li-lsr", None),
    ("st-router", None),
    ("modernbert", Some("opensearch-doc-v3")),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args()
        .nth(1)
        .ok_or("the name of a directory for the exports expected")?;
    for (fixture, preset) in CASES {
        let dir = Path::new(&out).join(fixture);
        export(fixture, preset, &dir)?;
        write_vectors(&dir)?;
    }
    Ok(())
}

fn export(fixture: &str, preset: Option<&str>, dir: &Path) -> Result<(), Error> {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(fixture);
    let checkpoint = CheckpointOptions {
        preset: preset.map(str::to_owned),
        max_length: Some(24),
        ..CheckpointOptions::default()
    };
    let config = TrainerConfig {
        learning_rate: LearningRate {
            peak: 1e-3,
            ..LearningRate::default()
        },
        model: TrainableOptions {
            train_query_table: true,
            start: StartOptions {
                query_table: Some(TableStart::Ones),
                ..StartOptions::default()
            },
            ..TrainableOptions::default()
        },
        ..TrainerConfig::new(4, Loss::Contrastive(Contrastive::InBatch))
    };
    let mut trainer = Trainer::open(&from, &checkpoint, config)?;
    let batch = TextBatch {
        queries: QUERIES.to_vec(),
        documents: DOCUMENTS.to_vec(),
        group: 1,
        ..TextBatch::default()
    };
    for _ in 0..2 {
        trainer.step(&batch)?;
    }
    trainer.export(dir)
}

/// The encoder's vectors of documents and queries, token by token.
fn write_vectors(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let encoder = Checkpoint::open(dir, &CheckpointOptions::default())?;
    let mut cases = Vec::new();
    for (kind, name) in [(InputKind::Document, "document"), (InputKind::Query, "query")] {
        for text in QUERIES.iter().chain(&DOCUMENTS) {
            let encoding = encoder.encode(kind, &[text])?.remove(0);
            let tokens: serde_json::Map<_, _> = encoding
                .tokens
                .into_iter()
                .map(|(token, weight)| (token, weight.into()))
                .collect();
            cases.push(serde_json::json!({"kind": name, "text": text, "tokens": tokens}));
        }
    }
    std::fs::write(dir.join("vectors.json"), serde_json::to_vec(&cases)?)?;
    Ok(())
}
