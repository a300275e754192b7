//! Where program and numbers are in a file of `torch.save`.
//!
//! Since PyTorch 1.6 it is a zip archive without compression: `NAME/data.pkl`, `NAME/data/KEY` for each storage and
//! `NAME/byteorder`. Before, it was five pickles one after the other (magic number, version, machine, tensors, keys of
//! the storages), then each storage with its length before it.

use super::machine::{Fault, MAX_PROGRAM_BYTES, Machine};
use super::tensor::Storage;
use super::value::{Node, Value};
use crate::Error;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use zip::{CompressionMethod, ZipArchive};

/// A pickle of the magic number that files of the older form begin with.
const LEGACY_MAGIC: [u8; 15] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.',
];

/// Pickles of the older form before that of the tensors: magic number, version, machine.
const LEGACY_PREAMBLE: usize = 3;

/// An open file, with the place of every storage.
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    storages: HashMap<String, Place>,
    pub(super) big_endian: bool,
}

/// Where a storage is.
#[derive(Clone, Copy, Default)]
struct Place {
    start: u64,
    /// In bytes.
    size: u64,
    /// The checksum that the archive states; the older form has none.
    crc: Option<u32>,
}

/// What a program leaves: a value and the nodes it refers to.
type Program = (Vec<Node>, Value);

impl Archive {
    /// Opens `path` and runs its program; gives the name of the program's part of the file as well.
    pub(super) fn open(path: &Path) -> Result<(Self, String, Program), Error> {
        let mut file = File::open(path).map_err(read(path))?;
        let mut start = Vec::new();
        file.by_ref().take(15).read_to_end(&mut start).map_err(read(path))?;
        if start == LEGACY_MAGIC {
            return Self::legacy(path, file);
        }
        if !start.starts_with(b"PK\x03\x04") {
            let reason = "neither the archive nor the pickle that torch.save writes begins like this";
            return Err(damaged(path, "first bytes", reason));
        }
        Self::zip(path, file)
    }

    fn zip(path: &Path, file: File) -> Result<(Self, String, Program), Error> {
        let len = file.metadata().map_err(read(path))?.len();
        let broken = |error: zip::result::ZipError| damaged(path, "archive", error.to_string());
        let mut archive = ZipArchive::new(file.try_clone().map_err(read(path))?).map_err(broken)?;
        let is_program = |name: &str| name.strip_suffix("/data.pkl").is_some_and(|root| !root.contains('/'));
        let program = archive
            .file_names()
            .filter_map(Result::ok)
            .find(|name| is_program(name))
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(|| damaged(path, "archive", "it has no NAME/data.pkl"))?;
        let root = program.trim_end_matches("data.pkl").to_owned();
        let numbers = format!("{root}data/");
        let mut storages = HashMap::new();
        for at in 0..archive.len() {
            let entry = archive.by_index(at).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return Err(damaged(
                    path,
                    &name,
                    "it is compressed or encrypted, as torch.save never does",
                ));
            }
            let (start, size) = (entry.data_start().unwrap_or(u64::MAX), entry.size());
            if start.checked_add(size).is_none_or(|end| end > len) {
                return Err(damaged(path, &name, format!("{size} bytes are more than the file has")));
            }
            if let Some(key) = name.strip_prefix(&numbers) {
                let crc = Some(entry.crc32());
                storages.insert(key.to_owned(), Place { start, size, crc });
            }
        }
        let mut entry = |name: &str, limit: usize| {
            let Ok(mut entry) = archive.by_name(name) else {
                return Ok(None);
            };
            if entry.size() > limit as u64 {
                return Err(damaged(
                    path,
                    name,
                    format!("{} bytes, at most {limit} expected", entry.size()),
                ));
            }
            let mut bytes = Vec::new();
            let read = entry.read_to_end(&mut bytes);
            read.map_err(|error| damaged(path, name, error.to_string()))?;
            Ok(Some(bytes))
        };
        let order = entry(&format!("{root}byteorder"), 16)?;
        let big_endian = match order.as_deref().map(<[u8]>::trim_ascii) {
            None | Some(b"little") => false,
            Some(b"big") => true,
            Some(_) => return Err(damaged(path, "byteorder", "neither little nor big")),
        };
        let bytes = entry(&program, MAX_PROGRAM_BYTES)?.unwrap_or_default();
        let made = Machine::new(&bytes)
            .run()
            .map_err(|fault| fault.in_part(path, &program))?;
        let archive = Self {
            path: path.to_owned(),
            file,
            storages,
            big_endian,
        };
        Ok((archive, program, made))
    }

    fn legacy(path: &Path, mut file: File) -> Result<(Self, String, Program), Error> {
        let part = "pickles before the numbers";
        let fail = |fault: Fault| fault.in_part(path, part);
        file.rewind().map_err(read(path))?;
        let mut bytes = Vec::new();
        let limit = MAX_PROGRAM_BYTES as u64;
        file.by_ref().take(limit).read_to_end(&mut bytes).map_err(read(path))?;
        let mut machine = Machine::new(&bytes);
        for _ in 0..LEGACY_PREAMBLE {
            machine.run().map_err(fail)?;
        }
        let program = machine.run().map_err(fail)?;
        let (nodes, keys) = machine.run().map_err(fail)?;
        let start = machine.at as u64;
        let keys: Vec<&str> = match &keys {
            Value::List(node) => nodes[*node]
                .iter()
                .filter_map(|key| match key {
                    Value::Text(key) => Some(&**key),
                    _ => None,
                })
                .collect(),
            other => {
                return Err(damaged(
                    path,
                    part,
                    format!("a list of keys expected, {} found", other.kind()),
                ));
            }
        };
        let sizes = element_sizes(&program.0);
        let mut archive = Self {
            path: path.to_owned(),
            file,
            storages: HashMap::new(),
            big_endian: false,
        };
        archive.find_legacy_storages(&keys, &sizes, start)?;
        Ok((archive, part.to_owned(), program))
    }

    /// Storages lie one after the other from `at`, each after the number of its elements.
    fn find_legacy_storages(&mut self, keys: &[&str], sizes: &HashMap<&str, usize>, mut at: u64) -> Result<(), Error> {
        let len = self.file.metadata().map_err(read(&self.path))?.len();
        for &key in keys {
            let part = format!("storage {key:?}");
            let Some(&size) = sizes.get(key) else {
                return Err(damaged(&self.path, &part, "no tensor tells the type of its numbers"));
            };
            let mut count = [0; 8];
            self.file.seek(SeekFrom::Start(at)).map_err(read(&self.path))?;
            let short = |_| damaged(&self.path, &part, "the file ends before it");
            self.file.read_exact(&mut count).map_err(short)?;
            let bytes = u64::from_le_bytes(count).checked_mul(size as u64);
            let end = bytes
                .and_then(|bytes| (at + 8).checked_add(bytes))
                .filter(|&end| end <= len);
            let (Some(bytes), Some(end)) = (bytes, end) else {
                return Err(damaged(&self.path, &part, "the file ends inside it"));
            };
            let place = Place {
                start: at + 8,
                size: bytes,
                crc: None,
            };
            self.storages.insert(key.to_owned(), place);
            at = end;
        }
        Ok(())
    }

    /// Refuses a storage that the file does not have in this size; `tensor` is for the message.
    pub(super) fn check(&self, storage: &Storage, tensor: &str) -> Result<(), Error> {
        let expected = (storage.len as u64).checked_mul(storage.element.size() as u64);
        let found = self.storages.get(&*storage.key).map(|place| place.size);
        if found.is_some() && found == expected {
            return Ok(());
        }
        let reason = match found {
            None => format!("tensor {tensor:?} needs it, and it is not in the file"),
            Some(found) => format!(
                "tensor {tensor:?} needs {} numbers of type {}, it has {found} bytes",
                storage.len,
                storage.element.name()
            ),
        };
        Err(damaged(&self.path, &format!("storage {:?}", &*storage.key), reason))
    }

    /// Size of all storages.
    pub(super) fn num_bytes(&self) -> u64 {
        self.storages.values().map(|place| place.size).sum()
    }

    /// The bytes of a storage that passed [`Archive::check`].
    pub(super) fn read(&mut self, storage: &Storage) -> Result<Vec<u8>, Error> {
        let Place { start, size, crc } = self.storages.get(&*storage.key).copied().unwrap_or_default();
        self.file.seek(SeekFrom::Start(start)).map_err(read(&self.path))?;
        let part = format!("storage {:?}", &*storage.key);
        // The size was checked against the length of the file.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let found = self.file.by_ref().take(size).read_to_end(&mut bytes);
        if found.map_err(read(&self.path))? as u64 != size {
            return Err(damaged(&self.path, &part, "it ends early"));
        }
        let found = crc32fast::hash(&bytes);
        if let Some(expected) = crc.filter(|&expected| expected != found) {
            let reason = format!("checksum {expected:08x} expected, {found:08x} found: copy the file again");
            return Err(damaged(&self.path, &part, reason));
        }
        Ok(bytes)
    }
}

/// Bytes of one number in each storage that a tensor of `nodes` refers to.
fn element_sizes(nodes: &[Node]) -> HashMap<&str, usize> {
    let storages = nodes.iter().flatten().filter_map(|value| match value {
        Value::Storage(storage) => Some((&*storage.key, storage.element.size())),
        Value::Tensor(view) => Some((&*view.storage.key, view.storage.element.size())),
        _ => None,
    });
    let mut seen = HashSet::new();
    storages.filter(|&(key, _)| seen.insert(key)).collect()
}

fn read(path: &Path) -> impl Fn(std::io::Error) -> Error {
    |source| Error::Read {
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, part: &str, reason: impl Into<String>) -> Error {
    Error::Pickle {
        path: path.to_owned(),
        part: part.to_owned(),
        reason: reason.into(),
    }
}
