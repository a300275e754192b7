//! `torch.save` files, read without executing anything.
//!
//! A pickle is a program. This reader knows the few instructions and the few names that a dictionary of tensors needs
//! and refuses everything else by offset and name; it calls nothing. [`machine`] runs the program over plain values,
//! [`archive`] finds program and numbers in the file (the zip form of PyTorch 1.6 and later, or the older form without
//! an archive), [`tensor`] lays the numbers out.
//!
//! Whatever the bytes say, reading the program takes at most 320 MiB (a hundredth of that for real models), and reading
//! a tensor at most twice its storage, which is never larger than the file.

mod archive;
mod machine;
mod tensor;
mod value;

use crate::Error;
use archive::Archive;
use machine::Fault;
use std::path::{Path, PathBuf};
pub(crate) use tensor::{Element, TensorView};
use value::{Node, Value};

/// Names under which libraries save weights as pickles; the last is that of COIL, for what is not in the backbone.
pub(crate) const FILE_NAMES: [&str; 3] = ["pytorch_model.bin", INDEX_NAME, "model.pt"];

/// The list of the shards of a large pickled checkpoint.
pub(crate) const INDEX_NAME: &str = "pytorch_model.bin.index.json";

/// Keys under which training code wraps the dictionary of tensors.
const WRAPPERS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// An open file of named tensors.
pub(crate) struct PickleFile {
    pub(crate) path: PathBuf,
    archive: Archive,
    /// In the order of the file.
    pub(crate) tensors: Vec<(String, TensorView)>,
}

impl PickleFile {
    /// Opens `path` and reads the names, types and shapes of its tensors.
    ///
    /// # Errors
    /// When the file is damaged, is compressed, or its program needs more than a dictionary of tensors does.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (archive, part, (nodes, value)) = Archive::open(path)?;
        let refused = |reason: String| Error::Pickle {
            path: path.to_owned(),
            part: part.clone(),
            reason,
        };
        let mut tensors = tensors_of(&nodes, &value).map_err(refused)?;
        if tensors.is_empty() {
            return Err(refused("it holds no tensors".to_owned()));
        }
        for (name, view) in &mut tensors {
            view.check()
                .map_err(|reason| refused(format!("tensor {name:?}: {reason}")))?;
            archive.check(&view.storage, name)?;
        }
        Ok(Self {
            path: path.to_owned(),
            archive,
            tensors,
        })
    }

    /// Size of all storages.
    pub(crate) fn num_bytes(&self) -> u64 {
        self.archive.num_bytes()
    }

    /// The numbers of tensor `at` row by row, little endian; double precision is rounded to single.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn read(&mut self, at: usize) -> Result<Vec<u8>, Error> {
        let (_, view) = &self.tensors[at];
        let mut bytes = self.archive.read(&view.storage)?;
        if self.archive.big_endian {
            bytes
                .chunks_exact_mut(view.storage.element.size())
                .for_each(<[u8]>::reverse);
        }
        Ok(view.lay_out(bytes))
    }
}

/// The named tensors of the top-level dictionary, or of the one that training code wraps in it.
fn tensors_of(nodes: &[Node], value: &Value) -> Result<Vec<(String, TensorView)>, String> {
    let entries = |value: &Value| match value {
        Value::Dict(node) => Some(nodes[*node].as_chunks::<2>().0),
        _ => None,
    };
    let mut top = entries(value).ok_or_else(|| format!("a dictionary of tensors expected, {} found", value.kind()))?;
    let wrapped = top.iter().find_map(|[key, value]| match key {
        Value::Text(key) if WRAPPERS.contains(&&**key) => entries(value),
        _ => None,
    });
    top = wrapped.unwrap_or(top);
    let mut tensors: Vec<(String, TensorView)> = Vec::new();
    let mut names = std::collections::HashSet::new();
    for [key, value] in top {
        let (Value::Text(name), Value::Tensor(view)) = (key, value) else {
            // Counters, settings and the like.
            continue;
        };
        if !names.insert(name) {
            return Err(format!("tensor {name:?} comes twice"));
        }
        tensors.push((name.to_string(), (**view).clone()));
    }
    Ok(tensors)
}

impl Fault {
    /// The error of this fault in `part` of `path`.
    fn in_part(self, path: &Path, part: &str) -> Error {
        Error::Pickle {
            path: path.to_owned(),
            part: format!("{part}, byte {}", self.offset),
            reason: self.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn fixture(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickles");
        fs::read(folder.join(name)).expect("there")
    }

    /// Name, shape and numbers.
    type Tensor = (String, Vec<usize>, Vec<u8>);

    /// All tensors of a file of these bytes.
    fn tensors(folder: &Path, bytes: &[u8]) -> Result<Vec<Tensor>, Error> {
        let path = folder.join("pytorch_model.bin");
        fs::write(&path, bytes).expect("writable");
        let mut file = PickleFile::open(&path)?;
        let described = file.tensors.clone().into_iter().enumerate();
        described
            .map(|(at, (name, view))| Ok((name, view.shape, file.read(at)?)))
            .collect()
    }

    #[test]
    fn every_truncation_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (name, step) in [
            ("system.bin", 1),
            ("types.bin", 1),
            ("bert.bin", 97),
            ("bert-legacy.bin", 61),
        ] {
            let whole = fixture(name);
            assert_eq!(tensors(folder.path(), &whole).is_err(), name == "system.bin", "{name}");
            for len in (0..whole.len()).step_by(step) {
                assert!(tensors(folder.path(), &whole[..len]).is_err(), "{name}: {len} bytes");
            }
        }
    }

    #[test]
    fn flipped_bytes_are_refused_or_change_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let whole = fixture("types.bin");
        let expected = tensors(folder.path(), &whole).expect("valid");
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            match tensors(folder.path(), &bytes) {
                // Times, padding and copies of checksums are not looked at.
                Ok(found) => assert!(found == expected, "byte {at} changed the tensors"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > whole.len() / 4, "{refused} of {} refused", whole.len());
    }

    #[test]
    fn flipped_bytes_of_the_older_form_never_panic() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let whole = fixture("bert-legacy.bin");
        let mut refused = 0;
        // Its programs come first, and its numbers have no checksum.
        for at in (0..whole.len().min(6000)).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] = bytes[at].wrapping_add(1 + u8::try_from(at % 255).expect("below 255"));
            refused += usize::from(tensors(folder.path(), &bytes).is_err());
        }
        assert!(refused > 300, "{refused} of 2000 refused");
    }
}
