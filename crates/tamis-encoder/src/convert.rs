//! From a directory with pickled weights to one with safetensors.
//!
//! Everything else is copied as it is. Tensors keep their names and, but for double precision, their types; of tensors
//! that share their numbers (an output embedding tied to the input embedding) the first is kept, unless the
//! configuration says that they are not tied.

mod safetensors_writer;
mod target;
mod tensors;

use crate::Error;
use crate::checkpoint::{WEIGHTS_INDEX_NAME, WEIGHTS_NAME};
use crate::pickle::{INDEX_NAME, PickleFile, TensorView};
use safetensors_writer::Entry;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
pub(crate) use target::{FileSum, Target, file_sums, previous};
pub(crate) use tensors::{StoredTensor, write_tensors};

/// What [`convert`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conversion {
    /// Weights files that were written, relative to the target.
    pub written: Vec<PathBuf>,
    /// Number of tensors in them.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: u64,
    /// Tensors that were left out, each with the one that has the same numbers.
    pub tied: Vec<(String, String)>,
    /// Files that were copied.
    pub copied: Vec<PathBuf>,
    /// Pickles that are no weights, or weights that were there as safetensors too, left behind.
    pub left_out: Vec<PathBuf>,
}

/// Tensors may overlap; what is written is at most this many times what is stored.
const MAX_GROWTH: u64 = 4;

/// Endings of files that are pickles whatever they hold.
const PICKLED: [&str; 5] = ["bin", "pt", "pth", "pkl", "ckpt"];

/// Writes the checkpoint in `source` to `target`, its pickled weights as safetensors.
///
/// `target` appears complete or not at all. Takes the memory of one tensor and its storage at a time.
///
/// # Errors
/// When `target` exists or lies in `source`, there are no pickled weights, a pickle is damaged or needs more than a
/// dictionary of tensors does, or a file cannot be read or written.
pub fn convert(source: &Path, target: &Path) -> Result<Conversion, Error> {
    let source = &source.canonicalize().map_err(|error| Error::Read {
        path: source.to_owned(),
        source: error,
    })?;
    let mut files = Vec::new();
    list(source, Path::new(""), &mut files)?;
    let mut weights = BTreeSet::new();
    let mut conversion = Conversion::default();
    for file in files {
        let dir = file.parent().unwrap_or(Path::new("")).to_owned();
        let has_safetensors = [WEIGHTS_NAME, WEIGHTS_INDEX_NAME].map(|name| source.join(&dir).join(name).exists());
        let name = file.file_name().unwrap_or_default();
        let pickled = file
            .extension()
            .is_some_and(|extension| PICKLED.iter().any(|end| *end == extension));
        if !pickled && name != INDEX_NAME {
            conversion.copied.push(file);
        } else if is_weights(source, &file) && !has_safetensors.contains(&true) {
            weights.insert(dir);
        } else {
            conversion.left_out.push(file);
        }
    }
    if weights.is_empty() {
        return Err(Error::Convert {
            path: source.clone(),
            reason: "no pytorch_model.bin without a model.safetensors beside it: there is nothing to convert"
                .to_owned(),
        });
    }
    let target = Target::create(target, source)?;
    for file in &conversion.copied {
        target.copy(&source.join(file), file)?;
    }
    for dir in &weights {
        convert_weights(&source.join(dir), dir, &target, &mut conversion)?;
    }
    target.finish()?;
    Ok(conversion)
}

/// Whether `file` is one of the pickles that hold weights.
fn is_weights(source: &Path, file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let sharded = file.with_file_name(INDEX_NAME);
    crate::pickle::FILE_NAMES.contains(&&*name) || (name.starts_with("pytorch_model-") && source.join(sharded).exists())
}

/// Files below `source/dir`, relative to `source`, in the order of their names; hidden ones are no part of a model.
pub(crate) fn list(source: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let folder = source.join(dir);
    let read = |source| Error::Read {
        path: folder.clone(),
        source,
    };
    let mut names: Vec<_> = Vec::new();
    for entry in fs::read_dir(&folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            names.push((entry.file_name(), entry.file_type().map_err(read)?.is_dir()));
        }
    }
    names.sort();
    for (name, is_dir) in names {
        let path = dir.join(name);
        if is_dir {
            list(source, &path, files)?;
        } else if source.join(&path).is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes the weights of one directory as one file.
fn convert_weights(dir: &Path, relative: &Path, target: &Target, conversion: &mut Conversion) -> Result<(), Error> {
    let mut files = pickles(dir)?;
    let mut kept: Vec<Entry> = Vec::new();
    let mut names = BTreeSet::new();
    let may_tie = may_tie(dir)?;
    for (file, pickle) in files.iter().enumerate() {
        let mut first: Vec<(&TensorView, &str)> = Vec::new();
        for (at, (name, view)) in pickle.tensors.iter().enumerate() {
            if !names.insert(name.clone()) {
                return Err(Error::Convert {
                    path: pickle.path.clone(),
                    reason: format!("tensor {name:?} is in another weights file too"),
                });
            }
            match first
                .iter()
                .find(|(other, _)| may_tie && *other == view && view.len() > 0)
            {
                Some((_, kept)) => conversion.tied.push((name.clone(), (*kept).to_owned())),
                None => {
                    first.push((view, name));
                    kept.push(Entry::new(name, view, file, at));
                }
            }
        }
    }
    let (stored, written): (u64, u64) = (
        files.iter().map(PickleFile::num_bytes).sum(),
        kept.iter().map(Entry::bytes).sum(),
    );
    if written > MAX_GROWTH * stored {
        return Err(Error::Convert {
            path: dir.to_owned(),
            reason: format!("its tensors share so many numbers that {stored} bytes would become {written}"),
        });
    }
    conversion.tensors += kept.len();
    conversion.parameters += kept.iter().map(Entry::len).sum::<u64>();
    let path = relative.join(WEIGHTS_NAME);
    target.write(&path, |out| {
        safetensors_writer::write(out, kept, |file, at| files[file].read(at))
    })?;
    conversion.written.push(path);
    Ok(())
}

/// The pickled weights of `dir`: one file or its shards, and what COIL keeps beside its backbone.
fn pickles(dir: &Path) -> Result<Vec<PickleFile>, Error> {
    let [whole, index, extra] = crate::pickle::FILE_NAMES.map(|name| dir.join(name));
    let mut paths = Vec::new();
    if whole.exists() {
        paths.push(whole);
    } else if index.exists() {
        paths.extend(shards(dir, &index)?);
    }
    if extra.exists() {
        paths.push(extra);
    }
    paths.iter().map(|path| PickleFile::open(path)).collect()
}

/// The shards that the list `index` names, each once, in the order of their names.
fn shards(dir: &Path, index: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bytes = fs::read(index).map_err(|source| Error::Read {
        path: index.to_owned(),
        source,
    })?;
    let index: Index = serde_json::from_slice(&bytes).map_err(|source| Error::Json {
        path: index.to_owned(),
        source,
    })?;
    let shard = |name: &String| match Path::new(name).components().collect::<Vec<_>>()[..] {
        [Component::Normal(_)] => Ok(dir.join(name)),
        _ => Err(Error::Convert {
            path: dir.join(INDEX_NAME),
            reason: format!("shard {name:?} does not lie in the same directory"),
        }),
    };
    index.weight_map.values().map(shard).collect()
}

/// Whether tensors that share numbers may be stored once: unless `config.json` says that embeddings are not tied.
fn may_tie(dir: &Path) -> Result<bool, Error> {
    let path = dir.join("config.json");
    let Ok(bytes) = fs::read(&path) else {
        return Ok(true);
    };
    let config: serde_json::Value = serde_json::from_slice(&bytes).map_err(|source| Error::Json { path, source })?;
    Ok(config.get("tie_word_embeddings") != Some(&serde_json::Value::Bool(false)))
}
