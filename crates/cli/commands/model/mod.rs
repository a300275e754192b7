//! `tamis model`: look at, check and convert checkpoint directories.

mod convert;
mod inspect;
mod sums;
mod verify;

use crate::exit::Exit;
use clap::Subcommand;
use std::path::Path;
use tamis_core::Fingerprint;
use tamis_encoder::{Checkpoint, CheckpointOptions, Compute, DenseEncoder, Encoder, Error, LiftedEncoder, LongText};

/// Arguments of `tamis model`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell what was found in a checkpoint directory, and every setting in force
    Inspect(inspect::Args),
    /// Compare a directory with its checksums, and open every tensor
    Verify(verify::Args),
    /// Make a safetensors checkpoint of one with pickled weights (pytorch_model.bin); nothing in them is executed
    Convert(convert::Args),
}

/// Opens the model in `dir`, sparse or dense, as it is opened to encode.
fn fingerprint(dir: &Path) -> Result<Fingerprint, Error> {
    match DenseEncoder::is_in(dir)? {
        true => Ok(DenseEncoder::open(dir, LongText::Truncate, Compute::default())?.fingerprint()),
        false if LiftedEncoder::is_in(dir) => Ok(LiftedEncoder::open(dir, Compute::default())?.fingerprint()),
        false => Ok(Checkpoint::open(dir, &CheckpointOptions::default())?.fingerprint()),
    }
}

/// Runs `tamis model`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Convert(args) => convert::run(args),
    }
}
