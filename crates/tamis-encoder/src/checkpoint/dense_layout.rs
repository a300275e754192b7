//! Directories of dense sentence encoders: sentence-transformers' Transformer, Pooling and perhaps Normalize.

use super::json::JsonFile;
use super::layout::modules_of;
use crate::Error;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How hidden states become one vector (Reimers and Gurevych, EMNLP 2019).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DensePooling {
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
    /// The largest value of each dimension.
    Max,
    /// Their sum over the square root of their number.
    MeanSqrtLen,
    /// The last one.
    LastToken,
}

impl DensePooling {
    /// The names of sentence-transformers: its own, and that of the flag in older configurations.
    const NAMES: [(&'static str, &'static str, Self); 5] = [
        ("mean", "pooling_mode_mean_tokens", Self::Mean),
        ("cls", "pooling_mode_cls_token", Self::Cls),
        ("max", "pooling_mode_max_tokens", Self::Max),
        (
            "mean_sqrt_len_tokens",
            "pooling_mode_mean_sqrt_len_tokens",
            Self::MeanSqrtLen,
        ),
        ("lasttoken", "pooling_mode_lasttoken", Self::LastToken),
    ];
}

/// Where a dense encoder lies and what its modules say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DenseFiles {
    /// Of the transformer and its tokenizer.
    pub(super) dir: PathBuf,
    pub(super) pooling: DensePooling,
    pub(super) normalised: bool,
}

const SUPPORTED: &str = "Transformer and Pooling, with or without Normalize behind them";

/// Whether the modules in `dir` are those of a dense sentence encoder.
pub(super) fn is_dense(dir: &Path) -> Result<bool, Error> {
    let Some(modules) = JsonFile::read_if_present(&dir.join("modules.json"))? else {
        return Ok(false);
    };
    let modules = modules_of(&modules, dir)?;
    Ok(modules.iter().any(|(class, _)| class == "Pooling"))
}

/// The modules of the dense encoder in `dir`; a directory without any is a transformer whose states are averaged, as
/// sentence-transformers takes it.
pub(super) fn dense_files(dir: &Path) -> Result<DenseFiles, Error> {
    let Some(file) = JsonFile::read_if_present(&dir.join("modules.json"))? else {
        return Ok(DenseFiles {
            dir: dir.to_owned(),
            pooling: DensePooling::Mean,
            normalised: false,
        });
    };
    let modules = modules_of(&file, dir)?;
    let classes: Vec<&str> = modules.iter().map(|(class, _)| class.as_str()).collect();
    let normalised = match classes.as_slice() {
        ["Transformer", "Pooling"] => false,
        ["Transformer", "Pooling", "Normalize"] => true,
        other => {
            return Err(Error::Unsupported {
                path: file.path,
                found: other.join(" + "),
                supported: SUPPORTED,
            });
        }
    };
    Ok(DenseFiles {
        dir: modules[0].1.clone(),
        pooling: pooling(&modules[1].1)?,
        normalised,
    })
}

/// The one pooling that is switched on.
fn pooling(dir: &Path) -> Result<DensePooling, Error> {
    let file = JsonFile::read(&dir.join("config.json"), "the Pooling module keeps its settings there")?;
    let expected = || DensePooling::NAMES.map(|(name, ..)| name).join(", ");
    if let Some(name) = file.text("pooling_mode")? {
        let known = DensePooling::NAMES.into_iter().find(|(known, ..)| *known == name);
        return known.map(|(.., pooling)| pooling).ok_or_else(|| {
            let expected = format!("one of {}", expected());
            Error::field(&file.path, "pooling_mode", expected, format!("{name:?}"))
        });
    }
    let mut on = Vec::new();
    for (_, flag, pooling) in DensePooling::NAMES {
        if file.flag(flag)?.unwrap_or(false) {
            on.push(pooling);
        }
    }
    match on.as_slice() {
        [pooling] => Ok(*pooling),
        several => {
            let expected = format!("exactly one of {} switched on", expected());
            Err(Error::field(&file.path, "pooling_mode_*", expected, several.len()))
        }
    }
}
