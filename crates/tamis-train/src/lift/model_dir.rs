//! The directory of a lifted model: written beside its place, opened once to see that it is whole, then renamed.

use super::{BaseWeights, LiftOptions, LiftTexts, Solved, card};
use crate::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tamis_core::Fingerprint;
use tamis_encoder::{Compute, DenseEncoder, Encoder, LiftedEncoder};

/// Of what a dense encoder's directory holds, what is copied: configurations, vocabularies, weights.
const COPIED: [&str; 4] = ["json", "txt", "model", "safetensors"];

/// How deep folders lie in it at most.
const MAX_DEPTH: usize = 3;

/// What a model was lifted from.
#[derive(Clone, Copy)]
pub struct ModelSource<'a> {
    /// The dense encoder, as the model holds it.
    pub dense: &'a DenseEncoder,
    /// The lifted model whose gate it gets; layers that this has of its own are copied, in 8 bits.
    pub gate: Option<&'a Path>,
    /// What the dense encoder is called: the folder it was found in.
    pub dense_name: &'a str,
    /// How the card begins, Markdown: its title and what only people know.
    pub notes: Option<&'a str>,
    /// The texts.
    pub texts: &'a LiftTexts,
    /// The options.
    pub options: &'a LiftOptions,
    /// The collections on which lambda and factor were chosen, by name; none where they were given.
    pub chosen_on: &'a [String],
}

/// Writes the model to the directory `path` and gives its fingerprint. The same inputs give the same bytes.
///
/// A lifted model that is there is replaced, at once; anything else is left alone.
///
/// # Errors
/// When something else is at `path`, a file cannot be read or written, or the model does not open again.
pub fn write_model(path: &Path, solved: &Solved, source: &ModelSource<'_>) -> Result<Fingerprint, Error> {
    check_place(path)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(write_error(parent))?;
    let beside = |end: &str| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        parent.join(format!(".{name}.{}.{end}", std::process::id()))
    };
    let temp = beside("tmp");
    fs::create_dir(&temp).map_err(write_error(&temp))?;
    let written = fill(&temp, solved, source).and_then(|fingerprint| {
        replace(path, &temp, &beside("old"))?;
        sync(parent)?;
        Ok(fingerprint)
    });
    if written.is_err() {
        // Whatever went wrong is reported; the leftover is in nobody's way.
        let _ = fs::remove_dir_all(&temp);
    }
    written
}

/// Whether a model may be written to `path`: nothing is there, an empty folder, or a lifted model.
///
/// # Errors
/// [`Error::OutputExists`] where something else is.
pub fn check_place(path: &Path) -> Result<(), Error> {
    let free = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none() || LiftedEncoder::is_in(path),
        Err(error) => error.kind() == io::ErrorKind::NotFound && path.file_name().is_some(),
    };
    match free {
        true => Ok(()),
        false => Err(Error::OutputExists { path: path.to_owned() }),
    }
}

fn fill(dir: &Path, solved: &Solved, source: &ModelSource<'_>) -> Result<Fingerprint, Error> {
    copy_dense(source.dense, &LiftedEncoder::dense_dir(dir), BaseWeights::Original)?;
    for (name, bytes) in solved.lift.to_files()? {
        write_file(&dir.join(name), &bytes)?;
    }
    if let Some(model) = source.gate.filter(|_| solved.lift.config().gate_layers > 0) {
        let folder = LiftedEncoder::gate_dir(dir);
        fs::create_dir(&folder).map_err(write_error(&folder))?;
        for (name, bytes) in LiftedEncoder::gate_layers_in_eight_bits(model)? {
            write_file(&folder.join(name), &bytes)?;
        }
        sync(&folder)?;
    }
    let fingerprint = LiftedEncoder::open(dir, Compute::default())?.fingerprint();
    let card = card::text(solved, source, fingerprint);
    write_file(&dir.join("README.md"), card.as_bytes())?;
    sync(dir)?;
    Ok(fingerprint)
}

/// Copies the directory of a dense encoder, what is needed of it, to `to`, with weights in the form that is asked for.
///
/// What is lifted from such a copy in 8 bits is lifted from exactly the encoder that the model will hold.
///
/// # Errors
/// When `to` exists, a file cannot be read or written, or weights hold a value that is not finite.
pub fn copy_dense(dense: &DenseEncoder, to: &Path, weights: BaseWeights) -> Result<(), Error> {
    let rounded = match weights {
        BaseWeights::Int8 => dense.weights_in_eight_bits()?,
        BaseWeights::Original => None,
    };
    let without_weights = rounded.as_ref().map(|_| dense.transformer_dir());
    copy_tree(dense.path(), to, without_weights, MAX_DEPTH)?;
    let inside = dense.transformer_dir().strip_prefix(dense.path());
    let inside = to.join(inside.unwrap_or(Path::new("")));
    for (name, bytes) in rounded.into_iter().flatten() {
        write_file(&inside.join(name), &bytes)?;
    }
    sync(&inside)
}

/// Copies the files of a dense encoder's directory; of the folder `without_weights` not the weights.
fn copy_tree(from: &Path, to: &Path, without_weights: Option<&Path>, depth: usize) -> Result<(), Error> {
    let read_error = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Copy { path, source }
    };
    fs::create_dir(to).map_err(write_error(to))?;
    for entry in fs::read_dir(from).map_err(read_error(from))? {
        let path = entry.map_err(read_error(from))?.path();
        let name = path.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        let target = to.join(name);
        if path.is_dir() {
            if depth > 0 {
                copy_tree(&path, &target, without_weights, depth - 1)?;
            }
        } else if extension.is_some_and(|extension| COPIED.contains(&extension))
            && !(extension == Some("safetensors") && without_weights == Some(from))
        {
            let bytes = fs::read(&path).map_err(read_error(&path))?;
            write_file(&target, &bytes)?;
        }
    }
    sync(to)
}

/// Puts `temp` in the place of `path`, where nothing, an empty folder or an older model is.
fn replace(path: &Path, temp: &Path, old: &Path) -> Result<(), Error> {
    let is_there = path.is_dir();
    if is_there {
        fs::rename(path, old).map_err(write_error(path))?;
    }
    if let Err(source) = fs::rename(temp, path) {
        if is_there {
            // Back to how it was; the first error is the one that says why.
            let _ = fs::rename(old, path);
        }
        return Err(write_error(path)(source));
    }
    if is_there {
        fs::remove_dir_all(old).map_err(write_error(old))?;
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(write_error(path))
}

/// Flushes a folder's entries; only Unix can.
fn sync(dir: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(write_error(dir))?;
    }
    Ok(())
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path: PathBuf = path.to_owned();
    move |source| Error::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_free_places_are_taken() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(check_place(dir.path()).is_ok(), "an empty folder");
        assert!(check_place(&dir.path().join("new")).is_ok());
        fs::write(dir.path().join("mine.txt"), "kept").expect("writable");
        for taken in [dir.path().to_owned(), dir.path().join("mine.txt"), PathBuf::from("/")] {
            assert!(
                matches!(check_place(&taken), Err(Error::OutputExists { .. })),
                "{}",
                taken.display()
            );
        }
        fs::write(dir.path().join("lifted.json"), "{}").expect("writable");
        assert!(check_place(dir.path()).is_ok(), "a lifted model");
    }

    #[test]
    fn of_a_dense_directory_only_what_is_needed_is_copied() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("1_Pooling")).expect("writable");
        for name in [
            "config.json",
            "1_Pooling/config.json",
            "vocab.txt",
            "README.md",
            "model.onnx",
            ".hidden.json",
        ] {
            fs::write(from.join(name), name).expect("writable");
        }
        copy_tree(&from, &to, None, MAX_DEPTH).expect("copied");
        let count = |dir: &Path| fs::read_dir(dir).expect("there").count();
        assert_eq!((count(&to), count(&to.join("1_Pooling"))), (3, 1));
        assert_eq!(fs::read(to.join("vocab.txt")).expect("copied"), b"vocab.txt");
    }
}
