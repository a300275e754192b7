//! `tamis mine`: hard negatives for training pairs.

use crate::compute::ComputeArgs;
use crate::encoding;
use crate::exit::{Exit, failure};
use crate::output;
use std::path::PathBuf;
use tamis_encoder::{CheckpointOptions, joined};
use tamis_train::{Example, MiningOptions, TrainingPairs, TrainingSet};

/// Arguments of `tamis mine`.
#[derive(clap::Args)]
pub struct Args {
    /// JSON lines {"query", "text"[, "title"]}, plain, .gz or .zst
    pairs: PathBuf,
    /// Write the examples here as JSON lines, compressed where the name ends in .gz or .zst
    #[arg(short, long)]
    output: PathBuf,
    /// `lexical`, `tamis-small`, or the folder of a model
    #[arg(long, default_value = "lexical")]
    model: String,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Read only this many rows
    #[arg(long)]
    rows: Option<usize>,
    /// Negatives for each pair
    #[arg(long, default_value_t = MiningOptions::default().num_negatives)]
    negatives: usize,
    /// Best rank a negative may have, from 1
    #[arg(long, default_value_t = MiningOptions::default().first_rank)]
    first_rank: usize,
    /// Worst rank a negative may have
    #[arg(long, default_value_t = MiningOptions::default().last_rank)]
    last_rank: usize,
    /// Leave out candidates that score above this share of the positive's score
    #[arg(long)]
    max_share: Option<f64>,
    /// Leave titles out of what is searched
    #[arg(long)]
    no_titles: bool,
    /// Which negatives of the range are drawn
    #[arg(long, default_value_t = MiningOptions::default().seed)]
    seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `tamis mine`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.first_rank == 0 || args.last_rank < args.first_rank || args.negatives == 0 {
        return Err(failure(
            Exit::Usage,
            "ranks count from 1, --last-rank is not below --first-rank, --negatives is above 0",
        ));
    }
    let set = TrainingSet::collect(TrainingPairs::open(&args.pairs)?.take(args.rows.unwrap_or(usize::MAX)))?;
    let options = MiningOptions {
        num_negatives: args.negatives,
        first_rank: args.first_rank,
        last_rank: args.last_rank,
        max_share_of_positive: args.max_share,
        with_titles: !args.no_titles,
        seed: args.seed,
    };
    let encoder = match args.model.as_str() {
        "lexical" => encoding::lexical_for(set.passages().iter().map(|passage| {
            let title = options.with_titles.then_some(passage.title.as_str());
            joined(title, &passage.text)
        }))?,
        spec => tamis_encoder::open_with(spec, &CheckpointOptions::default(), args.compute.checked()?)?,
    };
    let scratch = tempfile::tempdir()?;
    let mined = tamis_train::mine(&set, encoder.as_ref(), &options, scratch.path())?;
    Example::write_all(&mined.examples, &set, &args.output)?;
    if args.json {
        output::json(&mined.report)?;
    } else {
        let report = &mined.report;
        output::note(&format!(
            "mined {} negatives for {} pairs over {} passages; {} pairs have none",
            output::grouped(report.num_negatives),
            output::grouped(report.set.num_pairs),
            output::grouped(report.set.num_passages),
            output::grouped(report.num_without_negatives)
        ));
    }
    Ok(Exit::Done)
}
