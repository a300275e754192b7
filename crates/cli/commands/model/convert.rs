//! `tamis model convert`: pickled weights to safetensors.

use crate::exit::Exit;
use crate::output;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tamis_encoder::Conversion;

/// Arguments of `tamis model convert`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the checkpoint with pytorch_model.bin
    source: PathBuf,
    /// The new folder; it appears when it is complete
    #[arg(short, long)]
    output: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    output: &'a Path,
    #[serde(flatten)]
    conversion: &'a Conversion,
}

/// Runs `tamis model convert`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let conversion = tamis_encoder::convert(&args.source, &args.output)?;
    let output = args.output.as_path();
    if args.json {
        output::json(&Report {
            output,
            conversion: &conversion,
        })?;
        return Ok(Exit::Done);
    }
    output::line(&format!(
        "{}: {} tensors, {} parameters; {} files copied",
        output.display(),
        output::grouped(conversion.tensors as u64),
        output::grouped(conversion.parameters),
        conversion.copied.len()
    ));
    for (name, same) in &conversion.tied {
        output::note(&format!(
            "note: {name} has the numbers of {same} and is not stored again"
        ));
    }
    for file in &conversion.left_out {
        output::note(&format!("note: {} was left out", file.display()));
    }
    Ok(Exit::Done)
}
