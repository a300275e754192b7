//! The `tamis` command line: wires the crates together, reads files, prints, and decides exit codes.

mod cache;
mod collection;
mod commands;
mod compute;
mod dense;
mod development;
mod encoding;
mod exit;
mod input;
mod judged;
mod output;
mod progress;
mod search;
mod standalone;
mod vectors;

use clap::Parser;
use std::process::ExitCode;

/// Learned sparse retrieval: encode, index, search, serve and evaluate.
#[derive(Parser)]
#[command(name = "tamis", version, about, after_help = exit::HELP, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TAMIS_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let command = Cli::parse().command;
    check_kernels();
    match command.run() {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error),
    }
}

/// Says so when `TAMIS_KERNELS` asks for what this processor does not have.
fn check_kernels() {
    let active = tamis_kernels::active().to_string();
    if let Ok(wanted) = std::env::var("TAMIS_KERNELS")
        && wanted != active
    {
        let available: Vec<String> = tamis_kernels::Kernels::available()
            .map(|kernels| kernels.to_string())
            .collect();
        let available = available.join(", ");
        output::note(&format!(
            "note: TAMIS_KERNELS={wanted} is none of {available}; using {active}"
        ));
    }
}
