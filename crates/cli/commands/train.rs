//! `tamis train`: a sparse encoder by gradients, after a recipe.

mod request;
mod view;

use crate::compute::ComputeArgs;
use crate::exit::{Exit, failure};
use crate::output;
use clap::ArgGroup;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tamis_train::{EndReason, Finished, LogRecord, NamedLog, TrainingRun};
use view::View;

/// Arguments of `tamis train`.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["preset", "config", "resume", "list", "show", "curves"]))]
pub struct Args {
    /// List the recipes of this program
    #[arg(long)]
    list: bool,
    /// Print a recipe, as it stands or with --set
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    /// Train after a recipe of this program
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Train after the recipe in a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go on with the run in the output folder, from its newest checkpoint
    #[arg(long, requires = "output")]
    resume: bool,
    /// Draw the curves of a run (its folder, or its log) again; of several runs, what they reached against what it costs
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "output")]
    curves: Vec<PathBuf>,
    /// Set a field of the recipe: batch.size=32, trainer.learning_rate.peak=1e-5
    #[arg(long = "set", value_name = "TABLE.FIELD=VALUE", conflicts_with_all = ["resume", "list", "curves"])]
    assignments: Vec<String>,
    /// The folder of the checkpoint to start from
    #[arg(long, value_name = "DIR", conflicts_with_all = ["resume", "list", "show", "curves"])]
    model: Option<PathBuf>,
    /// What to train on: JSON lines, triples, folders of them, judged collections with a split "train"
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = ["resume", "list", "show", "curves"])]
    data: Vec<PathBuf>,
    /// Leave out rows of this source (the field "src")
    #[arg(long, value_name = "NAME", conflicts_with_all = ["resume", "list", "show", "curves"])]
    exclude_source: Vec<String>,
    /// The folder of a teacher, for those of the recipe that need one, in their order
    #[arg(long, value_name = "DIR", conflicts_with_all = ["resume", "list", "show", "curves"])]
    teacher: Vec<PathBuf>,
    /// What tokens weigh in queries that no network reads: an idf.json, token to weight
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "list", "show", "curves"])]
    idf: Option<PathBuf>,
    /// Judged collections to evaluate on during the run (BEIR folders or archives); the best model on them is kept
    #[arg(long, value_name = "COLLECTION", num_args = 1.., conflicts_with_all = ["resume", "list", "show", "curves"])]
    dev: Vec<PathBuf>,
    /// Optimiser steps, instead of the recipe's
    #[arg(long, conflicts_with_all = ["resume", "list", "show", "curves"])]
    steps: Option<u64>,
    /// The folder of the run; the model will be in its folder `model`
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// `steps`, `patience`, or `stopped`.
    ended: &'static str,
    /// Steps done when it stopped, or of the model that was kept.
    step: u64,
    model: Option<String>,
    mean: Option<f64>,
    seconds: f64,
}

/// Runs `tamis train`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.list {
        return list(args.json);
    }
    if args.show.is_some() {
        output::line(request::shown(args)?.trim_end());
        return Ok(Exit::Done);
    }
    let output = args.output.as_deref();
    let output = output.ok_or_else(|| failure(Exit::Usage, "training needs a folder for the run: -o DIR"))?;
    if !args.curves.is_empty() {
        return curves(&args.curves, output);
    }
    let compute = args.compute.checked()?;
    let mut view = View::new()?;
    let run = match args.resume {
        true => TrainingRun::resume(output, compute, &mut view)?,
        false => TrainingRun::start(request::recipe(args)?, output, compute, &mut view)?,
    };
    let finished = run.finish(&mut view)?;
    let seconds = view.finish();
    report(args, output, &finished, seconds)
}

fn report(args: &Args, output: &Path, finished: &Finished, seconds: f64) -> anyhow::Result<Exit> {
    let (report, exit) = match finished {
        Finished::Ended {
            reason,
            model,
            model_step,
            mean,
        } => {
            let ended = match reason {
                EndReason::Steps => "steps",
                EndReason::Patience => "patience",
            };
            let report = Report {
                ended,
                step: *model_step,
                model: Some(model.display().to_string()),
                mean: *mean,
                seconds,
            };
            (report, Exit::Done)
        }
        Finished::Stopped { step } => {
            let report = Report {
                ended: "stopped",
                step: *step,
                model: None,
                mean: None,
                seconds,
            };
            (report, Exit::Partial)
        }
    };
    match &report.model {
        Some(model) => {
            let worth = report
                .mean
                .map_or_else(String::new, |mean| format!(", dev mean {mean:.4}"));
            output::note(&format!("the model of step {}{worth}: {model}", report.step));
        }
        None => output::note(&format!(
            "stopped after step {}; go on with: tamis train --resume -o {}",
            report.step,
            output.display()
        )),
    }
    if args.json {
        output::json(&report)?;
    }
    Ok(exit)
}

fn list(json: bool) -> anyhow::Result<Exit> {
    let presets = tamis_train::preset_summaries();
    if json {
        output::json(&presets)?;
        return Ok(Exit::Done);
    }
    let width = presets.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
    for preset in presets {
        output::line(&format!("{:<width$}  {}", preset.name, preset.about));
    }
    Ok(Exit::Done)
}

/// Draws the curves of one run, or compares several.
fn curves(runs: &[PathBuf], output: &Path) -> anyhow::Result<Exit> {
    let logs = runs
        .iter()
        .map(|path| open_log(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let files = match &logs[..] {
        [one] => tamis_train::draw_run(&one.records, output)?,
        several => tamis_train::draw_trade_off(several, output)?,
    };
    files.iter().for_each(|file| output::line(&file.display().to_string()));
    Ok(Exit::Done)
}

/// The log of a run, under the name of the run's folder.
fn open_log(path: &Path) -> anyhow::Result<NamedLog> {
    let (folder, log) = match path.is_dir() {
        true => (path.to_owned(), path.join("log.jsonl")),
        false => (path.parent().unwrap_or(path).to_owned(), path.to_owned()),
    };
    let records: Vec<LogRecord> = tamis_train::read_log(&log)?;
    let folder = std::fs::canonicalize(&folder).unwrap_or(folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(NamedLog { name, records })
}
