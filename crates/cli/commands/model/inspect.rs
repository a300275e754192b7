//! `tamis model inspect`: what was found in a checkpoint directory.

use crate::exit::{Exit, failure};
use crate::output;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tamis_encoder::{Checkpoint, CheckpointOptions, Compute, DenseEncoder, Encoder, Finding, LiftedEncoder, LongText};

/// Arguments of `tamis model inspect`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the checkpoint
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `tamis model inspect`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if !args.model.is_dir() {
        return Err(failure(
            Exit::NotFound,
            format!("{}: no such folder", args.model.display()),
        ));
    }
    let (fingerprint, findings) = if DenseEncoder::is_in(&args.model)? {
        let encoder = DenseEncoder::open(&args.model, LongText::Truncate, Compute::default())?;
        (encoder.fingerprint(), encoder.findings()?)
    } else if LiftedEncoder::is_in(&args.model) {
        let encoder = LiftedEncoder::open(&args.model, Compute::default())?;
        (encoder.fingerprint(), encoder.findings()?)
    } else {
        let checkpoint = Checkpoint::open(&args.model, &CheckpointOptions::default())?;
        (checkpoint.fingerprint(), checkpoint.findings()?)
    };
    let (name, fingerprint) = (name(&args.model), fingerprint.to_string());
    if args.json {
        output::json(&json!({"model": name, "fingerprint": fingerprint, "findings": findings}))?;
    } else {
        output::line(&format!("{name}  {fingerprint}"));
        output::line(&table(&findings));
    }
    Ok(Exit::Done)
}

/// The folder's own name.
fn name(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Setting, value and source in columns, all to the left.
fn table(findings: &[Finding]) -> String {
    let rows: Vec<[String; 3]> = findings
        .iter()
        .map(|finding| [finding.setting.clone(), plain(&finding.value), finding.source.clone()])
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let lines = rows
        .iter()
        .map(|[setting, value, source]| format!("{setting:<first$}  {value:<second$}  {source}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A value as people write it.
fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), output::grouped),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key} {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_plain() {
        assert_eq!(plain(&json!({"F32": 1234, "BF16": 5})), "F32 1,234, BF16 5");
        assert_eq!(plain(&json!(["BertForMaskedLM"])), "BertForMaskedLM");
        assert_eq!(plain(&json!("")), "\"\"");
        assert_eq!(plain(&json!(0.5)), "0.5");
    }
}
