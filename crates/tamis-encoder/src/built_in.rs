//! Models that the program carries: opened by name, wherever it runs.
//!
//! Their files, made by `tamis lift` as the card of each says, are compiled in and found under paths that no disk has.

use std::io;
use std::path::{Path, PathBuf};

/// The small model that the program carries: for English, its queries need no network.
pub const TAMIS_SMALL: &str = "tamis-small";

/// The model-free encoder.
pub const LEXICAL: &str = "lexical";

/// The model where none is named.
pub const DEFAULT_MODEL: &str = TAMIS_SMALL;

/// The folder of all models that are compiled in. No file system's root, so that no file is hidden by it but in a
/// folder of that very name.
pub(crate) const ROOT: &str = "built-in:";

/// A path inside a model, and what the file holds.
type ModelFile = (&'static str, &'static [u8]);

/// The files `$name` of the model in folder `$model`.
macro_rules! model_files {
    ($model:literal: $($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/", $model, "/", $name)),
        )),*]
    };
}

/// The files that loaders read of the model `name`; `None` where there is no such model.
// Not inlined: crates that use this one would otherwise hold copies of the files.
#[inline(never)]
fn files(name: &str) -> Option<&'static [ModelFile]> {
    let files: &[ModelFile] = model_files!(
        "tamis-small":
        "lifted.json",
        "stems.txt",
        "lift.safetensors",
        "dense/modules.json",
        "dense/config.json",
        "dense/config_sentence_transformers.json",
        "dense/sentence_bert_config.json",
        "dense/1_Pooling/config.json",
        "dense/tokenizer.json",
        "dense/tokenizer_config.json",
        "dense/model.safetensors.index.json",
        "dense/model-00001-of-00002.safetensors",
        "dense/model-00002-of-00002.safetensors",
        "gate/model.safetensors",
    );
    (name == TAMIS_SMALL).then_some(files)
}

/// The names of all models that need no folder.
pub fn model_names() -> impl Iterator<Item = &'static str> {
    [TAMIS_SMALL, LEXICAL].into_iter()
}

/// Where the model `name` is found, if it is compiled in.
pub(crate) fn dir(name: &str) -> Option<PathBuf> {
    files(name).map(|_| Path::new(ROOT).join(name))
}

/// Whether `path` is the directory of a model that is compiled in.
pub(crate) fn is_dir(path: &Path) -> bool {
    parts(path).is_some_and(|(model, inside)| inside.as_os_str().is_empty() && files(&model).is_some())
}

/// Whether `path` is the directory of a model that is compiled in, or lies in it.
pub(crate) fn holds(path: &Path) -> bool {
    parts(path).is_some_and(|(model, _)| files(&model).is_some())
}

/// What the file `path` holds; `None` where the path is none of a compiled-in model.
pub(crate) fn content(path: &Path) -> Option<io::Result<&'static [u8]>> {
    let (model, inside) = parts(path)?;
    let found = files(&model)?.iter().find(|(name, _)| Path::new(name) == inside);
    Some(
        found
            .map(|(_, bytes)| *bytes)
            .ok_or_else(|| io::ErrorKind::NotFound.into()),
    )
}

/// The name of a model, and the path inside it.
fn parts(path: &Path) -> Option<(String, PathBuf)> {
    let mut inside = path.strip_prefix(ROOT).ok()?.components();
    let model = inside.next()?.as_os_str().to_str()?.to_owned();
    Some((model, inside.as_path().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Files of a model's folder that loaders do not read.
    const UNREAD: [&str; 5] = [
        "README.md",
        "SHA256SUMS",
        "dense/data_config.json",
        "dense/special_tokens_map.json",
        "dense/vocab.txt",
    ];

    fn names(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).expect("readable") {
            let path = entry.expect("readable").path();
            let name = format!("{prefix}{}", path.file_name().expect("a name").to_string_lossy());
            match path.is_dir() {
                true => names(&path, &format!("{name}/"), found),
                false => drop(found.insert(name)),
            }
        }
    }

    #[test]
    fn what_is_compiled_in_is_the_folder() {
        for model in model_names().filter(|&name| name != LEXICAL) {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(model);
            let mut found = BTreeSet::new();
            names(&folder, "", &mut found);
            let compiled = files(model).expect("a model");
            let unread = UNREAD.iter().copied();
            let expected: BTreeSet<String> = compiled
                .iter()
                .map(|(name, _)| *name)
                .chain(unread)
                .map(str::to_owned)
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn paths_lead_to_files_and_to_nothing_else() {
        let dir = dir(TAMIS_SMALL).expect("compiled in");
        assert!(holds(&dir) && holds(&dir.join("dense")) && !holds(Path::new("built-in:/other")));
        assert!(is_dir(&dir) && !is_dir(&dir.join("dense")) && !is_dir(Path::new("built-in:/other")));
        let config = content(&dir.join("lifted.json")).expect("a place in a model");
        assert!(config.expect("there").starts_with(b"{"));
        assert!(content(&dir.join("none.json")).expect("a place in a model").is_err());
        assert!(content(Path::new("built-in:/other/lifted.json")).is_none());
        assert!(content(Path::new("tamis-small/lifted.json")).is_none());
        assert!(super::dir("lexical").is_none());
    }
}
