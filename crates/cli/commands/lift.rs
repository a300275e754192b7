//! `tamis lift`: an inference-free sparse model from a dense sentence encoder.

use crate::compute::ComputeArgs;
use crate::development::{self, DevelopmentSet};
use crate::encoding::Long;
use crate::exit::Exit;
use crate::input::Extent;
use crate::output;
use crate::progress::Progress;
use anyhow::Context;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;
use tamis_encoder::{DenseEncoder, Expander, Lift, LongText, Precision, QueryExpansion, QueryWeighting};
use tamis_train::{
    BaseWeights, FileCounts, LiftOptions, LiftProgress, LiftReport, LiftStage, LiftTexts, Lifting, ModelSource, Solved,
};
use tempfile::TempDir;

/// What is tried with `--dev`, where the command does not say: a decade around what serves most collections.
const LAMBDAS: [f64; 3] = [100.0, 1000.0, 10_000.0];
const FACTORS: [f32; 3] = [1.0, 1.5, 2.0];

/// Arguments of `tamis lift`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the dense sentence encoder
    #[arg(long)]
    dense: PathBuf,
    /// Queries: JSON lines with "query", else "title", else "text"; plain, .gz or .zst
    #[arg(long, required = true, num_args = 1..)]
    queries: Vec<PathBuf>,
    /// Background texts, for stems and their frequencies: JSON lines with "text" and perhaps "title"
    #[arg(long, required = true, num_args = 1..)]
    background: Vec<PathBuf>,
    /// The folder of the model
    #[arg(short, long)]
    output: PathBuf,
    /// How many stems documents can be expanded by
    #[arg(long, default_value_t = LiftOptions::default().num_terms)]
    terms: usize,
    /// How close the table stays to the vectors of single words (300 unless told or chosen)
    #[arg(long)]
    lambda: Option<f64>,
    /// What expansion weights are multiplied by (2 unless told or chosen)
    #[arg(long)]
    factor: Option<f32>,
    /// A stem that a larger share of queries has, averaged over their sources, weighs no more than the share's negative
    /// logarithm; 1 for never
    #[arg(long, default_value_t = LiftOptions::default().query_share)]
    query_share: f64,
    /// How many stems a document is expanded by at most
    #[arg(long, default_value_t = LiftOptions::default().top)]
    top: usize,
    /// Keep expansion weights that are above this
    #[arg(long, value_name = "WEIGHT", default_value_t = LiftOptions::default().min_weight)]
    min_weight: f32,
    /// How the model reads texts that are longer than the dense encoder takes: truncate, or parts:MOST
    #[arg(long, value_name = "HOW", default_value = "parts")]
    long: Long,
    /// What the weights of queries are multiplied by in the index that is searched
    #[arg(long, value_enum, default_value_t = Weighting::RootIdf)]
    query_weighting: Weighting,
    /// Also expand queries, which then go through the dense encoder too (what --dev chooses does not count on it)
    #[arg(long)]
    expand_queries: bool,
    /// Take the gate of this lifted model, which was trained with this dense encoder or with layers of its own
    #[arg(long, value_name = "MODEL")]
    gate: Option<PathBuf>,
    /// Of more distinct queries, take a sample of so many
    #[arg(long, default_value_t = LiftOptions::default().max_queries)]
    max_queries: usize,
    /// Of more distinct background texts, take a sample of so many
    #[arg(long, default_value_t = LiftOptions::default().max_background)]
    max_background: usize,
    /// How the model holds the matrices of the dense encoder
    #[arg(long, value_enum, default_value_t = Base::Int8)]
    base: Base,
    /// Leave out queries of this source (the field "src"), because it is held out for --dev; may be repeated
    #[arg(long = "exclude-source", value_name = "NAME")]
    excluded_sources: Vec<String>,
    /// Choose lambda and factor, where not given, by nDCG@10 on these judged collections (BEIR folders or archives)
    #[arg(long, value_name = "COLLECTION", num_args = 1..)]
    dev: Vec<PathBuf>,
    /// Which judgements of these collections
    #[arg(long, default_value = "test", requires = "dev")]
    split: String,
    /// Begin the model's card with this Markdown: its title, and what only people know
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// The forms of `--base`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Base {
    /// In 8 bits with a scale a row; vectors are then computed in 8 bits too, unless --precision says otherwise
    Int8,
    /// As its library saved them
    Original,
}

/// The forms of `--query-weighting`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Weighting {
    /// Nothing: the background texts alone tell how rare a stem is
    None,
    /// The root of the stem's idf in the index
    RootIdf,
    /// The stem's idf in the index
    Idf,
}

impl From<Weighting> for QueryWeighting {
    fn from(weighting: Weighting) -> Self {
        match weighting {
            Weighting::None => Self::Model,
            Weighting::RootIdf => Self::TimesRootIndexIdf,
            Weighting::Idf => Self::TimesIndexIdf,
        }
    }
}

impl From<Base> for BaseWeights {
    fn from(base: Base) -> Self {
        match base {
            Base::Int8 => Self::Int8,
            Base::Original => Self::Original,
        }
    }
}

/// One choice of lambda and factor.
#[derive(Serialize)]
struct Choice {
    lambda: f64,
    factor: f32,
    /// nDCG@10 on each collection.
    ndcg: Vec<f64>,
    mean: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    model: String,
    fingerprint: String,
    lambda: f64,
    factor: f32,
    top: usize,
    dev: &'a [String],
    choices: &'a [Choice],
    query_files: &'a [FileCounts],
    background_files: &'a [FileCounts],
    lift: &'a LiftReport,
    seconds: f64,
}

/// Runs `tamis lift`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let options = LiftOptions {
        num_terms: args.terms,
        lambda: args.lambda.unwrap_or(LiftOptions::default().lambda),
        factor: args.factor.unwrap_or(LiftOptions::default().factor),
        top: args.top,
        query_share: args.query_share,
        min_weight: args.min_weight,
        long_text: args.long.for_dense()?,
        max_queries: args.max_queries,
        max_background: args.max_background,
        query_weighting: args.query_weighting.into(),
        excluded_sources: args.excluded_sources.clone(),
        ..LiftOptions::default()
    };
    options.validate()?;
    tamis_train::check_place(&args.output)?;
    let notes = args
        .notes
        .as_ref()
        .map(|path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())));
    let notes = notes.transpose()?;
    let base = base(args)?;
    let dense = &base.encoder;
    let reading = Progress::new("read", "texts", Extent::Unknown, false);
    let texts = LiftTexts::read(&args.queries, &args.background, &options, &mut |num| reading.add(num))?;
    reading.finish();
    let lifting = prepare(dense, &texts, &options)?;
    let sets = development_sets(args, dense, options.long_text)?;
    let (mut solved, choices) = if sets.is_empty() {
        (lifting.solve(options.lambda)?, Vec::new())
    } else {
        choose(args, &options, &lifting, (&sets, dense.precision()))?
    };
    if let Some(model) = &args.gate {
        let gated = Lift::read(model)?;
        let (gate, layers) = (gated.gate().cloned(), gated.config().gate_layers);
        let gate = gate.with_context(|| format!("{} has no gate; leave --gate out", model.display()))?;
        solved.lift = solved.lift.with_gate(Some(gate))?.with_gate_layers(layers);
    }
    if args.expand_queries {
        let expansion = Some(QueryExpansion::default());
        solved.lift = solved.lift.with_query_expansion(expansion)?;
    }
    let names: Vec<String> = sets.iter().map(|set| set.name.clone()).collect();
    let source = ModelSource {
        dense,
        gate: args.gate.as_deref(),
        dense_name: &base.name,
        notes: notes.as_deref(),
        texts: &texts,
        options: &options,
        chosen_on: &names,
    };
    let fingerprint = tamis_train::write_model(&args.output, &solved, &source)?;
    let report = Report {
        model: args.output.display().to_string(),
        fingerprint: fingerprint.to_string(),
        lambda: solved.report.lambda,
        factor: solved.lift.config().factor,
        top: args.top,
        dev: &names,
        choices: &choices,
        query_files: &texts.query_files,
        background_files: &texts.background_files,
        lift: &solved.report,
        seconds: start.elapsed().as_secs_f64(),
    };
    print(args, &report)?;
    Ok(Exit::Done)
}

/// The dense encoder as the model will hold it.
struct DenseBase {
    encoder: DenseEncoder,
    name: String,
    /// Where it lies where it is not the user's own.
    _scratch: Option<TempDir>,
}

/// Opens the dense encoder, rounded first where the model holds it so: what is lifted are then exactly its vectors.
fn base(args: &Args) -> anyhow::Result<DenseBase> {
    let compute = args.compute.checked()?;
    let encoder = DenseEncoder::open(&args.dense, LongText::Truncate, compute)?;
    let name = encoder.path().file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    if matches!(args.base, Base::Original) {
        return Ok(DenseBase {
            encoder,
            name,
            _scratch: None,
        });
    }
    let scratch = tempfile::tempdir()?;
    let rounded = scratch.path().join("dense");
    tamis_train::copy_dense(&encoder, &rounded, args.base.into())?;
    Ok(DenseBase {
        encoder: DenseEncoder::open(&rounded, LongText::Truncate, compute)?,
        name,
        _scratch: Some(scratch),
    })
}

/// Encodes what the lift needs, with a bar for each stage.
fn prepare(dense: &DenseEncoder, texts: &LiftTexts, options: &LiftOptions) -> anyhow::Result<Lifting> {
    let mut current: Option<(LiftStage, Progress)> = None;
    let lifting = Lifting::prepare(dense, texts, options, &mut |progress: LiftProgress| {
        if current.as_ref().is_none_or(|(stage, _)| *stage != progress.stage) {
            let noun = match progress.stage {
                LiftStage::Words => "words",
                LiftStage::Queries => "queries",
                LiftStage::Documents => "background texts",
            };
            let bar = Progress::new("encoded", noun, Extent::Records(progress.total as u64), false);
            if let Some((_, done)) = current.replace((progress.stage, bar)) {
                done.finish();
            }
        }
        if let Some((_, bar)) = &current {
            bar.add(progress.done);
        }
    })?;
    if let Some((_, done)) = current {
        done.finish();
    }
    Ok(lifting)
}

/// Encodes the documents of `--dev` as the model will read them.
fn development_sets(args: &Args, dense: &DenseEncoder, long_text: LongText) -> anyhow::Result<Vec<DevelopmentSet>> {
    if args.dev.is_empty() {
        return Ok(Vec::new());
    }
    let reader = DenseEncoder::open(dense.path(), long_text, args.compute.checked()?)?;
    let sets = args.dev.iter();
    sets.map(|path| DevelopmentSet::encode(path, &args.split, &reader))
        .collect()
}

/// Tries every lambda and factor and gives the model with the best mean; of equal ones the first.
fn choose(
    args: &Args,
    options: &LiftOptions,
    lifting: &Lifting,
    (sets, precision): (&[DevelopmentSet], Precision),
) -> anyhow::Result<(Solved, Vec<Choice>)> {
    let lambdas = args.lambda.map_or_else(|| LAMBDAS.to_vec(), |lambda| vec![lambda]);
    let factors = args.factor.map_or_else(|| FACTORS.to_vec(), |factor| vec![factor]);
    let total = lambdas.len() * factors.len();
    let progress = Progress::new("tried", "choices", Extent::Records(total as u64), false);
    let mut choices: Vec<Choice> = Vec::new();
    let mut best: Option<(f64, Solved)> = None;
    for lambda in lambdas {
        let solved = lifting.solve(lambda)?;
        for &factor in &factors {
            let lift = solved
                .lift
                .clone()
                .with_expansion(factor, options.top, options.min_weight)?;
            let expander = Expander::new(lift.clone(), precision);
            let ndcg = sets.iter().map(|set| set.judge(&expander));
            let ndcg = ndcg.collect::<anyhow::Result<Vec<f64>>>()?;
            #[expect(clippy::cast_precision_loss, reason = "a handful of collections")]
            let mean = ndcg.iter().sum::<f64>() / ndcg.len() as f64;
            if best.as_ref().is_none_or(|(so_far, _)| mean > *so_far) {
                let report = solved.report.clone();
                best = Some((mean, Solved { lift, report }));
            }
            choices.push(Choice {
                lambda,
                factor,
                ndcg,
                mean,
            });
            progress.add(1);
        }
    }
    progress.finish();
    let (_, solved) = best.ok_or_else(|| anyhow::anyhow!("there is nothing to choose from"))?;
    Ok((solved, choices))
}

fn print(args: &Args, report: &Report<'_>) -> anyhow::Result<()> {
    if args.json {
        return output::json(report);
    }
    if !report.choices.is_empty() {
        let metric = format!("mean {}", development::METRIC);
        let mut header = vec!["lambda", "factor"];
        header.extend(report.dev.iter().map(String::as_str));
        header.push(&metric);
        let row = |choice: &Choice| {
            let figures = choice
                .ndcg
                .iter()
                .chain([&choice.mean])
                .map(|value| format!("{value:.4}"));
            let constants = [choice.lambda.to_string(), choice.factor.to_string()];
            constants.into_iter().chain(figures).collect()
        };
        output::line(&output::table(
            &header,
            &report.choices.iter().map(row).collect::<Vec<_>>(),
        ));
    }
    let lift = report.lift;
    if let (Some(before), Some(after)) = (lift.cosine_untrained, lift.cosine) {
        output::note(&format!(
            "cosine to the dense vectors of {} queries left out: {after:.3} (vectors of single words: {before:.3})",
            output::grouped(lift.num_held_out as u64)
        ));
    }
    output::note(&format!(
        "lifted {} stems on {} queries in {:.1} s: {} (lambda {}, factor {})",
        output::grouped(lift.num_terms as u64),
        output::grouped(lift.num_queries as u64),
        report.seconds,
        report.model,
        report.lambda,
        report.factor
    ));
    Ok(())
}
