//! `tamis encode` with a dense sentence encoder: a NumPy array.

use super::{Args, print};
use crate::encoding::{BATCH, EncodeReport};
use crate::exit::{Exit, failure};
use crate::input::{self, Broken, Record};
use crate::progress::Progress;
use crate::vectors::{Array, Format};
use anyhow::Context;
use std::path::Path;
use tamis_encoder::DenseEncoder;

/// Runs `tamis encode` for a dense encoder.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    check(args)?;
    let long_text = args.long.unwrap_or_default().for_dense()?;
    let encoder = DenseEncoder::open(Path::new(&args.model), long_text, args.compute.checked()?)?;
    let mut array = Array::create(args.output.as_deref(), encoder.width())?;
    let mut broken = Broken::new(args.skip_broken);
    let mut report = EncodeReport::default();
    let (records, extent) = input::documents(&args.input)?;
    let progress = Progress::new("encoded", "texts", extent, args.json);
    input::in_batches(records, &mut broken, BATCH, |batch| {
        progress.add(batch.len());
        let texts: Vec<String> = batch.iter().map(text).collect::<anyhow::Result<_>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = report.encode_dense(&encoder, args.kind.into(), &texts)?;
        batch
            .iter()
            .zip(vectors)
            .try_for_each(|(record, vector)| array.add(&record.id, &vector))
    })?;
    array.finish()?;
    progress.finish();
    report.warn_long();
    print(args, 0, report)?;
    Ok(broken.exit())
}

fn text(record: &Record) -> anyhow::Result<String> {
    let text = record.joined_text();
    text.with_context(|| format!("{:?} is a sparse vector: a dense encoder needs a text", record.id))
}

/// Refuses what only sparse models have.
fn check(args: &Args) -> anyhow::Result<()> {
    let given = [
        ("--quantise", args.quantise.is_some()),
        ("--vocabulary", args.vocabulary.is_some()),
        ("--resume", args.resume),
        ("--cache", args.cache.is_some()),
        (
            "another --format than npy",
            args.format.is_some_and(|format| format != Format::Npy),
        ),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => {
            let message = format!(
                "model {} is a dense sentence encoder: {option} is for sparse models",
                args.model
            );
            Err(failure(Exit::Usage, message))
        }
    }
}
