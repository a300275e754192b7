//! `tamis encode`: texts to sparse vectors.

use crate::compute::ComputeArgs;
use crate::encoding::{self, BATCH, EncodeReport, Long};
use crate::exit::Exit;
use crate::input::{self, Broken};
use crate::output::Sink;
use crate::progress::Progress;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io::Write;
use std::path::PathBuf;
use tamis_encoder::InputKind;

/// Arguments of `tamis encode`.
#[derive(clap::Args)]
pub struct Args {
    /// JSON lines {"id", "text"[, "title"]}, plain, .gz or .zst; `-` reads stdin
    input: PathBuf,
    /// `lexical`, or the folder of a checkpoint
    #[arg(long, default_value = "lexical")]
    model: String,
    /// Texts longer than the model reads: truncate, windows or windows:OVERLAP (tokens shared by neighbours; 32 unless told)
    #[arg(long, value_name = "HOW")]
    long: Option<Long>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// What the texts are
    #[arg(long, value_enum, default_value_t = Kind::Document)]
    kind: Kind,
    /// Write here in place of stdout; the file appears when it is complete
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Report broken lines and go on (exit code 3)
    #[arg(long)]
    skip_broken: bool,
}

/// The two sides of a model.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Kind {
    /// What is searched
    Document,
    /// What is asked
    Query,
}

impl From<Kind> for InputKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Document => Self::Document,
            Kind::Query => Self::Query,
        }
    }
}

#[derive(serde::Serialize)]
struct Encoded<'a> {
    id: &'a str,
    vector: Weights<'a>,
}

/// Tokens as a JSON object, in the order given.
struct Weights<'a>(&'a [(String, f32)]);

impl Serialize for Weights<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (token, weight) in self.0 {
            map.serialize_entry(token, weight)?;
        }
        map.end()
    }
}

/// Runs `tamis encode`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let long = args.long.unwrap_or_default();
    let encoder = encoding::open_model_for(&args.model, &args.input, long, args.compute.checked()?)?;
    let mut sink = Sink::create(args.output.as_deref())?;
    let mut broken = Broken::new(args.skip_broken);
    let mut report = EncodeReport::default();
    let (records, extent) = input::documents(&args.input)?;
    let progress = Progress::new("encoded", "texts", extent, false);
    input::in_batches(records, &mut broken, BATCH, |batch| {
        progress.add(batch.len());
        for (id, tokens) in report.encode_records(Some(encoder.as_ref()), args.kind.into(), batch)? {
            let vector = Weights(&tokens);
            serde_json::to_writer(&mut sink, &Encoded { id: &id, vector })?;
            sink.write_all(b"\n")?;
        }
        Ok(())
    })?;
    sink.finish()?;
    progress.finish();
    report.warn_long();
    Ok(broken.exit())
}
