//! `tamis index`: documents or vectors to a stand-alone index, or into a collection.

use crate::cache::CachingEncoder;
use crate::collection::{self, Filling, Target};
use crate::compute::ComputeArgs;
use crate::encoding::{self, BATCH, EncodeReport, Indexing, Long};
use crate::exit::{Exit, failure};
use crate::input::{self, Broken, CsrFile, Extent, Record};
use crate::output;
use crate::progress::Progress;
use crate::standalone;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use tamis_encoder::{DEFAULT_MODEL, Encoder, InputKind};
use tamis_index::{BuildReport, IndexOptions, Quantisation};

/// Arguments of `tamis index`.
#[derive(clap::Args)]
pub struct Args {
    /// JSON lines of documents {"id", "text"[, "title"]} or vectors {"id", "vector"}, a BEIR folder or archive, or a CSR file
    input: PathBuf,
    /// Folder of the stand-alone index; an index that is there is replaced once the new one is complete
    #[arg(short, long, required_unless_present = "collection", conflicts_with_all = ["data", "collection"])]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// `tamis-small`, `lexical`, or the folder of a model; default for texts: tamis-small. With vectors: the model that made them
    #[arg(long)]
    model: Option<String>,
    /// Look for vectors in this folder first, and keep new ones there: indexing again costs no model time
    #[arg(long, value_name = "DIR", conflicts_with = "collection")]
    cache: Option<PathBuf>,
    /// Texts longer than the model reads: truncate, windows or windows:OVERLAP (tokens shared by neighbours; 32 unless
    /// told), parts or parts:MOST (4 unless told); unless told, as the model says
    #[arg(long, value_name = "HOW")]
    long: Option<Long>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// How weights become 8-bit impacts: auto, exact (integers 1 to 255 only) or max=WEIGHT
    #[arg(long, default_value = "auto")]
    quantise: Quantise,
    /// Keep documents in input order: builds faster, searches slower
    #[arg(long)]
    no_reorder: bool,
    /// Memory of the builder in MiB before it spills to disk
    #[arg(long, default_value_t = IndexOptions::default().memory_budget_bytes >> 20)]
    memory: usize,
    /// log2 of the documents in a window
    #[arg(long, default_value_t = IndexOptions::default().window_bits, value_parser = clap::value_parser!(u32).range(8..=16))]
    window_bits: u32,
    /// Report broken lines and go on (exit code 3)
    #[arg(long)]
    skip_broken: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
struct Quantise(Quantisation);

impl FromStr for Quantise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let weight = text.strip_prefix("max=").and_then(|weight| weight.parse::<f32>().ok());
        match (text, weight) {
            ("auto", _) => Ok(Self(Quantisation::Auto)),
            ("exact", _) => Ok(Self(Quantisation::Exact)),
            (_, Some(weight)) if weight.is_finite() && weight > 0.0 => Ok(Self(Quantisation::MaxWeight(weight))),
            _ => Err("one of auto, exact, max=WEIGHT with a positive weight".to_owned()),
        }
    }
}

#[derive(Serialize)]
struct Report {
    index: PathBuf,
    #[serde(flatten)]
    build: BuildReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    encode: Option<EncodeReport>,
    seconds: f64,
    documents_per_second: f64,
}

/// Runs `tamis index`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut broken = Broken::new(args.skip_broken);
    match (&args.output, &args.target.collection) {
        (Some(folder), _) => stand_alone(args, folder, &mut broken)?,
        (None, Some(name)) => {
            let filling = Filling {
                model: args.model.as_deref(),
                compute: args.compute.checked()?,
                input: &args.input,
                long: args.long,
                json: args.json,
            };
            collection::fill(&args.target, name, &filling, &mut broken)?;
        }
        (None, None) => return Err(failure(Exit::Usage, "--output or --collection is needed")),
    }
    Ok(broken.exit())
}

fn stand_alone(args: &Args, folder: &Path, broken: &mut Broken) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    std::fs::create_dir_all(folder).map_err(|error| {
        failure(
            Exit::Failed,
            format!("cannot create folder {}: {error}", folder.display()),
        )
    })?;
    let mut options = IndexOptions {
        window_bits: args.window_bits,
        quantisation: args.quantise.0,
        memory_budget_bytes: args.memory << 20,
        ..IndexOptions::default()
    };
    if args.no_reorder {
        options.reorder = None;
    }
    let mut indexing = Indexing::new(options, folder)?;
    let mut encode = EncodeReport::default();
    if let Some(matrix) = CsrFile::open(&args.input)? {
        let progress = Progress::new("read", "vectors", Extent::Records(matrix.num_rows() as u64), args.json);
        for row in 0..matrix.num_rows() {
            indexing.add_vector(&matrix.row(row)?)?;
            progress.add(1);
        }
        progress.finish();
        drop(matrix);
    } else {
        add_documents(args, &mut indexing, &mut encode, broken)?;
    }
    let path = folder.join(standalone::FILE_NAME);
    let build = indexing.finish(&path, args.json)?;
    let seconds = start.elapsed().as_secs_f64();
    let encode = (encode.documents > 0).then_some(encode);
    let documents_per_second = f64::from(build.num_docs) / seconds.max(1e-9);
    print(
        &Report {
            index: path,
            build,
            encode,
            seconds,
            documents_per_second,
        },
        args.json,
    )
}

fn add_documents(
    args: &Args,
    indexing: &mut Indexing,
    report: &mut EncodeReport,
    broken: &mut Broken,
) -> anyhow::Result<()> {
    let mut cache: Option<Arc<CachingEncoder>> = None;
    let mut open = |model: &str| -> anyhow::Result<Arc<dyn Encoder>> {
        let compute = args.compute.checked()?;
        let encoder = encoding::open_model_for(model, &args.input, args.long.unwrap_or_default(), compute)?;
        let Some(dir) = &args.cache else { return Ok(encoder) };
        let caching = Arc::new(CachingEncoder::open(dir, encoder, compute)?);
        cache = Some(Arc::clone(&caching));
        Ok(caching)
    };
    let mut encoder: Option<Arc<dyn Encoder>> = args.model.as_deref().map(&mut open).transpose()?;
    let (records, extent) = input::documents(&args.input)?;
    let progress = Progress::new("read", "documents", extent, args.json);
    input::in_batches(records, broken, BATCH, |batch| {
        progress.add(batch.len());
        if encoder.is_none() && batch.iter().any(Record::is_text) {
            encoder = Some(open(DEFAULT_MODEL)?);
        }
        for (id, tokens) in report.encode_records(encoder.as_deref(), InputKind::Document, batch)? {
            indexing.add_tokens(id, tokens)?;
        }
        Ok(())
    })?;
    progress.finish();
    report.finish_cache(cache.as_deref());
    report.warn_long();
    encoder.map_or(Ok(()), |encoder| indexing.set_model(encoder.as_ref()))
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(report);
    }
    let build = &report.build;
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let bytes_per_posting = build.bytes as f64 / build.num_postings.max(1) as f64;
    output::line(&format!(
        "{}: {} documents, {} terms, {} postings, {} bytes ({bytes_per_posting:.2} a posting)",
        report.index.display(),
        output::grouped(build.num_docs.into()),
        output::grouped(build.num_terms.into()),
        output::grouped(build.num_postings),
        output::grouped(build.bytes)
    ));
    if build.num_saturated > 0 {
        let saturated = output::grouped(build.num_saturated);
        output::note(&format!(
            "note: {saturated} weights were above the largest and count as it (--quantise max=WEIGHT)"
        ));
    }
    Ok(())
}
