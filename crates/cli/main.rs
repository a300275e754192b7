//! The `tamis` command line: wires the crates together, reads files, prints, and decides exit codes.

mod collection;
mod commands;
mod encoding;
mod exit;
mod input;
mod judged;
mod output;
mod progress;
mod search;
mod standalone;

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
    match Cli::parse().command.run() {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error),
    }
}
