//! One process at a time: a locked file in the directory.

use crate::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The file's name.
pub(crate) const LOCK: &str = "LOCK";

/// Holds a directory until it is dropped; the system lets go of it when the process ends in any way.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    pub(crate) fn acquire(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(LOCK);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| Error::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked {
                directory: directory.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(Error::io(path, error)),
        }
    }
}
