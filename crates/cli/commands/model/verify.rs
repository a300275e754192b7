//! `tamis model verify`: a directory against its checksums, and every tensor opened.

use super::sums;
use crate::exit::{Exit, failure};
use crate::output;
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `tamis model verify`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the checkpoint
    model: PathBuf,
    /// Write SHA256SUMS beside the files, once the checkpoint has opened
    #[arg(long)]
    write: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    model: PathBuf,
    fingerprint: Option<String>,
    /// Why it does not open.
    error: Option<String>,
    /// Files with the digest that was expected.
    verified: usize,
    /// Files with another digest.
    changed: Vec<String>,
    /// Files that have a digest and are not there.
    missing: Vec<String>,
    /// Files without a digest.
    unlisted: Vec<String>,
}

/// Runs `tamis model verify`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let dir = &args.model;
    if !dir.is_dir() {
        return Err(failure(Exit::NotFound, format!("{}: no such folder", dir.display())));
    }
    let found = sums::of(dir)?;
    if args.write {
        let fingerprint = super::fingerprint(dir)?;
        sums::write(dir, &found)?;
        let files = found.len();
        output::note(&format!(
            "wrote {files} checksums to {}, fingerprint {fingerprint}",
            sums::FILE_NAME
        ));
    }
    let Some(listed) = sums::read(dir)? else {
        let message = format!(
            "{}: no {}; `tamis model verify --write` makes it",
            dir.display(),
            sums::FILE_NAME
        );
        return Err(failure(Exit::NotFound, message));
    };
    let changed = listed
        .iter()
        .filter(|(path, digest)| found.get(*path).is_some_and(|found| found != *digest));
    let changed: Vec<String> = changed.map(|(path, _)| path.clone()).collect();
    let missing: Vec<String> = listed
        .keys()
        .filter(|path| !found.contains_key(*path))
        .cloned()
        .collect();
    let unlisted: Vec<String> = found
        .keys()
        .filter(|path| !listed.contains_key(*path))
        .cloned()
        .collect();
    let opened = super::fingerprint(dir);
    let report = Report {
        model: dir.clone(),
        fingerprint: opened.as_ref().ok().map(ToString::to_string),
        error: opened.err().map(|error| error.to_string()),
        verified: listed.len() - changed.len() - missing.len(),
        changed,
        missing,
        unlisted,
    };
    report.print(args.json)?;
    Ok(report.exit())
}

impl Report {
    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return output::json(self);
        }
        for (files, what) in [
            (&self.changed, "has another checksum"),
            (&self.missing, "is missing"),
            (&self.unlisted, "has no checksum"),
        ] {
            files.iter().for_each(|file| output::note(&format!("{file} {what}")));
        }
        if let Some(error) = &self.error {
            output::error(error);
        }
        let fingerprint = self.fingerprint.as_deref().unwrap_or("none");
        output::line(&format!(
            "{}: {} files as expected, {} changed, {} missing, {} without a checksum; fingerprint {fingerprint}",
            self.model.display(),
            self.verified,
            self.changed.len(),
            self.missing.len(),
            self.unlisted.len()
        ));
        Ok(())
    }

    fn exit(&self) -> Exit {
        if !self.changed.is_empty() || !self.missing.is_empty() {
            Exit::Corrupt
        } else if self.error.is_some() {
            Exit::Failed
        } else if !self.unlisted.is_empty() {
            Exit::Partial
        } else {
            Exit::Done
        }
    }
}
