//! `tamis hold-out`: judged collections of the sources that training leaves out.

use crate::exit::{Exit, failure};
use crate::output;
use serde::Serialize;
use std::path::PathBuf;
use tamis_train::{HeldOut, HeldOutCounts, HoldOutOptions, TrainingPairs};

/// Arguments of `tamis hold-out`.
#[derive(clap::Args)]
pub struct Args {
    /// JSON lines {"src", "query", "text"[, "title"]}, plain, .gz or .zst
    #[arg(long, required = true, num_args = 1..)]
    pairs: Vec<PathBuf>,
    /// Make a collection of the pairs of this source; may be repeated
    #[arg(long = "source", required = true, value_name = "NAME")]
    sources: Vec<String>,
    /// The folder in which each source gets a BEIR folder of its name
    #[arg(short, long)]
    output: PathBuf,
    /// Of more distinct queries of a source, take a sample of so many
    #[arg(long, default_value_t = HoldOutOptions::default().max_queries)]
    max_queries: usize,
    /// Which queries are sampled
    #[arg(long, default_value_t = HoldOutOptions::default().seed)]
    seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Made {
    source: String,
    folder: PathBuf,
    #[serde(flatten)]
    counts: HeldOutCounts,
}

/// Runs `tamis hold-out`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.max_queries == 0 {
        return Err(failure(Exit::Usage, "--max-queries is above 0"));
    }
    let options = HoldOutOptions {
        max_queries: args.max_queries,
        seed: args.seed,
    };
    let mut made = Vec::with_capacity(args.sources.len());
    for source in &args.sources {
        let readers = args.pairs.iter().map(|path| TrainingPairs::open(path));
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        let held_out = HeldOut::collect(readers.into_iter().flatten(), source, &options)?;
        let folder = args.output.join(folder_name(source));
        held_out.write(&folder)?;
        made.push(Made {
            source: source.clone(),
            folder,
            counts: held_out.counts(),
        });
    }
    if args.json {
        output::json(&made)?;
        return Ok(Exit::Done);
    }
    for Made { folder, counts, .. } in &made {
        output::line(&format!(
            "{}: {} passages, {} queries, {} judgements",
            folder.display(),
            output::grouped(counts.num_passages as u64),
            output::grouped(counts.num_queries as u64),
            output::grouped(counts.num_judgements as u64)
        ));
    }
    Ok(Exit::Done)
}

/// A source as the name of a folder: nothing in it leads elsewhere.
fn folder_name(source: &str) -> String {
    let kept = |character: char| character.is_alphanumeric() || character == '_';
    source
        .chars()
        .map(|character| if kept(character) { character } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_lead_nowhere_else() {
        assert_eq!(folder_name("squadshifts-reddit/test"), "squadshifts-reddit-test");
        assert_eq!(folder_name("../x y"), "---x-y");
    }
}
