//! `tamis encode`: texts to sparse vectors, or to those of a dense sentence encoder.

mod dense;

use crate::cache::CachingEncoder;
use crate::compute::ComputeArgs;
use crate::encoding::{self, BATCH, EncodeReport, Long};
use crate::exit::{Exit, failure};
use crate::input::{self, Broken, Record};
use crate::output;
use crate::progress::Progress;
use crate::vectors::{self, Encoded, Format, Parts, SparseFormat, VectorWriter};
use anyhow::Context;
use serde::Serialize;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tamis_core::{INTEGER_RULES, IntegerRule, Vocabulary};
use tamis_encoder::{Compute, DEFAULT_MODEL, DenseEncoder, Encoder, InputKind};

/// Arguments of `tamis encode`.
#[derive(clap::Args)]
pub struct Args {
    /// JSON lines {"id", "text"[, "title"]}, plain, .gz or .zst, or a BEIR folder or archive; `-` reads stdin
    input: PathBuf,
    /// `tamis-small`, `lexical`, or the folder of a model, which may be a dense sentence encoder
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    /// Texts longer than the model reads: truncate, windows or windows:OVERLAP (tokens shared by neighbours; 32 unless
    /// told), parts or parts:MOST (4 unless told); unless told, as the model says
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
    /// The form of the output; default: jsonl, of a dense sentence encoder npy
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[arg(long, value_name = "RULE", help = format!(
        "Make whole numbers of weights as a published code base does: {INTEGER_RULES}; default for anserini: splade"
    ))]
    quantise: Option<IntegerRule>,
    /// Number the columns of a matrix as in this OUTPUT.vocabulary.jsonl of an earlier one, new tokens after it
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// Keep finished parts in OUTPUT.parts, and go on from those that are there
    #[arg(long, requires = "output")]
    resume: bool,
    /// Texts of a part
    #[arg(long, value_name = "N", default_value_t = 4096, requires = "resume")]
    part_texts: u64,
    /// Look for vectors in this folder first, and keep new ones there
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Report broken lines and go on (exit code 3)
    #[arg(long)]
    skip_broken: bool,
    /// Print a report as JSON on stdout
    #[arg(long, requires = "output")]
    json: bool,
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

#[derive(Serialize)]
struct Report<'a> {
    output: Option<&'a Path>,
    /// Texts that an earlier run had done.
    resumed: u64,
    #[serde(flatten)]
    encode: EncodeReport,
}

/// Runs `tamis encode`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if DenseEncoder::is_in(Path::new(&args.model))? {
        return dense::run(args);
    }
    let format = sparse_format(args)?;
    let compute = args.compute.checked()?;
    let mut encoder = encoding::open_model_for(&args.model, &args.input, args.long.unwrap_or_default(), compute)?;
    let cache = args.cache.as_deref();
    let cache = cache
        .map(|dir| CachingEncoder::open(dir, Arc::clone(&encoder), compute))
        .transpose()?
        .map(Arc::new);
    if let Some(cache) = &cache {
        encoder = Arc::clone(cache) as Arc<dyn Encoder>;
    }
    let writer = vectors::writer(
        format,
        args.output.as_deref(),
        args.quantise,
        vocabulary(args, format, encoder.as_ref())?,
    )?;
    let work = Work {
        args,
        encoder: encoder.as_ref(),
        has_content: format.has_content(),
    };
    let mut broken = Broken::new(args.skip_broken);
    let mut report = EncodeReport::default();
    let resumed = match &args.output {
        Some(output) if args.resume => {
            let parts = Parts::open(output, &work.settings(compute), args.part_texts)?;
            work.in_parts(writer, parts, (&mut broken, &mut report))?
        }
        _ => {
            work.straight(writer, (&mut broken, &mut report))?;
            0
        }
    };
    report.finish_cache(cache.as_deref());
    report.warn_long();
    print(args, resumed, report)?;
    Ok(broken.exit())
}

/// Prints the report of `--json`.
fn print(args: &Args, resumed: u64, encode: EncodeReport) -> anyhow::Result<()> {
    if !args.json {
        return Ok(());
    }
    output::json(&Report {
        output: args.output.as_deref(),
        resumed,
        encode,
    })
}

/// The form of a sparse model's output.
fn sparse_format(args: &Args) -> anyhow::Result<SparseFormat> {
    args.format.unwrap_or(Format::Jsonl).sparse().ok_or_else(|| {
        let model = &args.model;
        let forms = "jsonl, anserini, csr or npz";
        failure(
            Exit::Usage,
            format!("--format npy holds dense vectors, and model {model} is sparse: {forms}"),
        )
    })
}

/// Texts of one kind through one model.
struct Work<'a> {
    args: &'a Args,
    encoder: &'a dyn Encoder,
    /// Whether the output repeats the texts.
    has_content: bool,
}

impl Work<'_> {
    /// Writes each batch as it is encoded.
    fn straight(
        &self,
        mut writer: Box<dyn VectorWriter>,
        (broken, report): (&mut Broken, &mut EncodeReport),
    ) -> anyhow::Result<()> {
        let (records, extent) = input::documents(&self.args.input)?;
        let progress = Progress::new("encoded", "texts", extent, self.args.json);
        input::in_batches(records, broken, BATCH, |batch| {
            progress.add(batch.len());
            self.encode(report, batch)?
                .iter()
                .try_for_each(|encoded| writer.add(encoded))
        })?;
        writer.finish()?;
        progress.finish();
        Ok(())
    }

    /// Keeps parts, then writes them all; gives how many texts an earlier run had done.
    fn in_parts(
        &self,
        mut writer: Box<dyn VectorWriter>,
        mut parts: Parts,
        (broken, report): (&mut Broken, &mut EncodeReport),
    ) -> anyhow::Result<u64> {
        let resumed = parts.num_done();
        let (records, extent) = input::documents(&self.args.input)?;
        let progress = Progress::new("encoded", "texts", extent, self.args.json);
        input::in_batches(records, broken, BATCH, |batch| {
            progress.add(batch.len());
            if parts.is_done(&batch)? {
                return Ok(());
            }
            parts.add(&self.encode(report, batch)?)
        })?;
        parts.replay(|encoded| writer.add(encoded))?;
        writer.finish()?;
        parts.remove()?;
        progress.finish();
        if resumed > 0 && !self.args.json {
            output::note(&format!("note: {} texts were done before", output::grouped(resumed)));
        }
        Ok(resumed)
    }

    fn encode(&self, report: &mut EncodeReport, batch: Vec<Record>) -> anyhow::Result<Vec<Encoded>> {
        let contents: Vec<Option<String>> = batch
            .iter()
            .map(|record| self.has_content.then(|| record.joined_text().unwrap_or_default()))
            .collect();
        let encoded = report.encode_records(Some(self.encoder), self.args.kind.into(), batch)?;
        let encoded = encoded.into_iter().zip(contents);
        Ok(encoded
            .map(|((id, tokens), content)| Encoded { id, content, tokens })
            .collect())
    }

    /// Everything that decides what parts hold, but for what is read; `--long` and what becomes of expansions are part
    /// of the fingerprint.
    fn settings(&self, compute: Compute) -> String {
        let kind = match self.args.kind {
            Kind::Document => "document",
            Kind::Query => "query",
        };
        let (content, model) = (self.has_content, self.encoder.fingerprint());
        format!("2 {model} {kind} content={content} batch={BATCH} {compute}")
    }
}

/// The columns that are numbered before the first text: those of `--vocabulary`, else the model's own.
fn vocabulary(args: &Args, format: SparseFormat, encoder: &dyn Encoder) -> anyhow::Result<Vocabulary> {
    if !matches!(format, SparseFormat::Matrix(_)) {
        return Ok(Vocabulary::new());
    }
    let Some(path) = &args.vocabulary else {
        return Ok(encoder.vocabulary().cloned().unwrap_or_default());
    };
    let mut vocabulary = Vocabulary::new();
    for (number, line) in input::open(path)?.0.lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = |reason: &str| failure(Exit::Failed, format!("{}:{}: {reason}", path.display(), number + 1));
        let token: String = serde_json::from_str(&line).map_err(|_| wrong("a JSON text expected"))?;
        if vocabulary.intern(&token)?.index() != number {
            return Err(wrong("the token comes twice"));
        }
    }
    Ok(vocabulary)
}
