//! Checkpoints in several files: the list says which tensor is in which, and the files must agree.

use super::super::json::JsonFile;
use super::file::SafetensorsFile;
use crate::{Error, files};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// Opens the shards that `index` lists, in the order of their names; gives them with the place of every tensor.
///
/// # Errors
/// When a shard lies outside `dir` or is missing, when a tensor is in two shards, or in another one than the list
/// says, or in none.
pub(super) fn open(dir: &Path, index: &JsonFile) -> Result<(Vec<SafetensorsFile>, BTreeMap<String, usize>), Error> {
    let listed = listed(index)?;
    let mut names: Vec<&str> = listed.values().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut files = Vec::with_capacity(names.len());
    let mut shard_of = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        let path = dir.join(name);
        if !files::exists(&path) {
            let remedy = "the list of shards beside it names it: the checkpoint is incomplete";
            return Err(Error::MissingFile { path, remedy });
        }
        let file = SafetensorsFile::open(&path)?;
        for tensor in file.header.offset_keys() {
            check(
                index,
                &tensor,
                name,
                listed.get(&tensor),
                shard_of.get(&tensor).map(|&at: &usize| names[at]),
            )?;
            shard_of.insert(tensor, at);
        }
        files.push(file);
    }
    if let Some((tensor, name)) = listed.iter().find(|(tensor, _)| !shard_of.contains_key(*tensor)) {
        return Err(Error::Shard {
            path: index.path.clone(),
            tensor: tensor.clone(),
            reason: format!("it should be in {name:?}, which does not have it"),
        });
    }
    Ok((files, shard_of))
}

/// Refuses a tensor of shard `name` that the list has in `listed`, or that was found in shard `before`.
fn check(
    index: &JsonFile,
    tensor: &str,
    name: &str,
    listed: Option<&String>,
    before: Option<&str>,
) -> Result<(), Error> {
    let reason = match (before, listed) {
        (Some(before), _) => format!("it is in two shards, {before:?} and {name:?}"),
        (None, None) => format!("it is in {name:?}, but the list has no such tensor"),
        (None, Some(listed)) if listed != name => format!("it should be in {listed:?} and is in {name:?}"),
        (None, Some(_)) => return Ok(()),
    };
    Err(Error::Shard {
        path: index.path.clone(),
        tensor: tensor.to_owned(),
        reason,
    })
}

/// Tensor to file, as the list has it.
fn listed(index: &JsonFile) -> Result<BTreeMap<String, String>, Error> {
    let field = "weight_map";
    let expected = "an object of tensor to file in the same directory";
    let map = index.required(field, expected)?;
    let wrong = |found: &Value| Error::field(&index.path, field, expected, found);
    let map = map
        .as_object()
        .filter(|map| !map.is_empty())
        .ok_or_else(|| wrong(map))?;
    let entry = |(tensor, name): (&String, &Value)| {
        let inside = |name: &&str| {
            matches!(
                Path::new(name).components().collect::<Vec<_>>()[..],
                [Component::Normal(_)]
            )
        };
        let name = name.as_str().filter(inside).ok_or_else(|| wrong(name))?;
        Ok((tensor.clone(), name.to_owned()))
    };
    map.iter().map(entry).collect()
}
