//! Files of models by path: on disk, or compiled into the program.
//!
//! Loaders know paths alone. A path below [`built_in::ROOT`](super::built_in::ROOT) is looked up among the files of the
//! models that the program carries; every other one is asked of the system.

use super::built_in;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A whole file.
pub(crate) fn read(path: &Path) -> io::Result<Cow<'static, [u8]>> {
    match built_in::content(path) {
        Some(found) => found.map(Cow::Borrowed),
        None => std::fs::read(path).map(Cow::Owned),
    }
}

/// Whether there is a file, or anything else that is no directory.
pub(crate) fn exists(path: &Path) -> bool {
    match built_in::content(path) {
        Some(found) => found.is_ok(),
        None => path.exists(),
    }
}

/// Whether there is a directory of a model.
pub(crate) fn is_dir(path: &Path) -> bool {
    built_in::is_dir(path) || path.is_dir()
}

/// The path by which a directory is known from any current directory.
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    match built_in::holds(path) {
        true => Ok(path.to_owned()),
        false => path.canonicalize(),
    }
}

/// A file of which parts are read.
pub(crate) enum PartialFile {
    /// On disk.
    Disk(File),
    /// In the program.
    Memory(&'static [u8]),
}

impl PartialFile {
    /// Opens `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match built_in::content(path) {
            Some(found) => found.map(Self::Memory),
            None => File::open(path).map(Self::Disk),
        }
    }

    /// Bytes in it.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Disk(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// A reader of what comes from byte `start` on.
    pub(crate) fn from(&self, start: u64) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Disk(file) => {
                let mut file = file;
                file.seek(SeekFrom::Start(start))?;
                Ok(Box::new(file))
            }
            Self::Memory(bytes) => {
                let mut cursor = Cursor::new(*bytes);
                cursor.set_position(start);
                Ok(Box::new(cursor))
            }
        }
    }
}
