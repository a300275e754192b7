//! Length and CRC-32 of files, and making files and their names durable.

use crate::Error;
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// What a file must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// Its length.
    pub(crate) bytes: u64,
    /// CRC-32 (IEEE) of all of it.
    pub(crate) crc: u32,
}

impl FileRecord {
    /// Reads the whole file and compares.
    pub(crate) fn verify(&self, path: &Path) -> Result<(), Error> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::corrupt(path, format!("a file of {} bytes", self.bytes), "none"));
            }
            Err(error) => return Err(Error::io(path, error)),
        };
        let len = file.metadata().map_err(|error| Error::io(path, error))?.len();
        if len != self.bytes {
            return Err(Error::corrupt(
                path,
                format!("{} bytes", self.bytes),
                format!("{len} bytes"),
            ));
        }
        let mut hasher = Hasher::new();
        let mut chunk = vec![0; 1 << 18];
        loop {
            let read = file.read(&mut chunk).map_err(|error| Error::io(path, error))?;
            if read == 0 {
                break;
            }
            hasher.update(&chunk[..read]);
        }
        let found = hasher.finalize();
        if found != self.crc {
            return Err(Error::corrupt(
                path,
                format!("checksum {:08x}", self.crc),
                format!("{found:08x}"),
            ));
        }
        Ok(())
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    let directory = File::open(path).map_err(|error| Error::io(path, error))?;
    directory.sync_all().map_err(|error| Error::io(path, error))
}

/// Replaces the file `name` in `directory` as a whole: whoever reads it, also after a crash, finds the
/// old content or the new.
pub(crate) fn replace_file(directory: &Path, name: &str, content: &[u8]) -> Result<(), Error> {
    let temporary = directory.join(format!("{name}.tmp"));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, directory.join(name))
    };
    write().map_err(|error| Error::io(directory.join(name), error))?;
    sync_directory(directory)
}
