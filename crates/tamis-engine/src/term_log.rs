//! The collection's vocabulary on disk: an append-only file of terms.
//!
//! Each term is its length (u32, little endian) and its text, in the order of term ids. The manifest
//! records how much of the file belongs to a commit and its checksum; what lies beyond that was never
//! committed and is cut off. A commit therefore writes new terms only.

use crate::Error;
use crate::checksum::FileRecord;
use crc32fast::Hasher;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tamis_core::{TermId, Vocabulary};

/// The file's name.
pub(crate) const TERM_LOG: &str = "TERMS";

/// The open file, and how much of it is committed.
#[derive(Debug)]
pub(crate) struct TermLog {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    bytes: u64,
    num_terms: u32,
}

impl TermLog {
    /// Opens the file, cuts off what was never committed, and reads the vocabulary. The file is made when
    /// nothing is committed yet.
    pub(crate) fn open(directory: &Path, committed: FileRecord) -> Result<(Self, Vocabulary), Error> {
        let path = directory.join(TERM_LOG);
        let io = |error| Error::io(&path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(committed.bytes == 0);
        let mut file = match options.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::corrupt(
                    &path,
                    format!("a file of {} bytes", committed.bytes),
                    "none",
                ));
            }
            other => other.map_err(io)?,
        };
        let len = file.metadata().map_err(io)?.len();
        if len < committed.bytes {
            return Err(Error::corrupt(
                &path,
                format!("{} bytes", committed.bytes),
                format!("{len} bytes"),
            ));
        }
        if len > committed.bytes {
            file.set_len(committed.bytes).map_err(io)?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let mut hasher = Hasher::new();
        hasher.update(&bytes);
        let found = hasher.clone().finalize();
        if bytes.len() as u64 != committed.bytes || found != committed.crc {
            return Err(Error::corrupt(
                &path,
                format!("checksum {:08x}", committed.crc),
                format!("{found:08x}"),
            ));
        }
        let vocabulary =
            parse(&bytes).ok_or_else(|| Error::corrupt(&path, "a list of distinct terms", "other bytes"))?;
        let num_terms = u32::try_from(vocabulary.len()).map_err(|error| Error::internal("counting terms", error))?;
        let log = Self {
            path,
            file,
            hasher,
            bytes: committed.bytes,
            num_terms,
        };
        Ok((log, vocabulary))
    }

    /// Appends the terms that are new since the last call and makes them durable.
    pub(crate) fn append(&mut self, vocabulary: &Vocabulary) -> Result<FileRecord, Error> {
        let num_terms = u32::try_from(vocabulary.len()).map_err(|error| Error::internal("counting terms", error))?;
        if num_terms > self.num_terms {
            let mut bytes = Vec::new();
            for id in self.num_terms..num_terms {
                let term = vocabulary.term(TermId::new(id)).unwrap_or_default();
                let len = u32::try_from(term.len()).map_err(|error| Error::internal("writing terms", error))?;
                bytes.extend_from_slice(&len.to_le_bytes());
                bytes.extend_from_slice(term.as_bytes());
            }
            let mut write = || {
                self.file.set_len(self.bytes)?;
                self.file.seek(SeekFrom::Start(self.bytes))?;
                self.file.write_all(&bytes)?;
                self.file.sync_all()
            };
            write().map_err(|error| Error::io(&self.path, error))?;
            self.hasher.update(&bytes);
            self.bytes += bytes.len() as u64;
            self.num_terms = num_terms;
        }
        Ok(FileRecord {
            bytes: self.bytes,
            crc: self.hasher.clone().finalize(),
        })
    }
}

fn parse(mut bytes: &[u8]) -> Option<Vocabulary> {
    let mut vocabulary = Vocabulary::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let term = std::str::from_utf8(rest.get(..len)?).ok()?;
        let id = vocabulary.intern(term).ok()?;
        if id.index() + 1 != vocabulary.len() {
            return None;
        }
        bytes = &rest[len..];
    }
    bytes.is_empty().then_some(vocabulary)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: FileRecord = FileRecord { bytes: 0, crc: 0 };

    #[test]
    fn keeps_what_was_committed_and_cuts_off_the_rest() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (mut log, mut vocabulary) = TermLog::open(dir.path(), EMPTY).expect("new");
        vocabulary.intern("sieve").expect("room");
        vocabulary.intern("").expect("room");
        let first = log.append(&vocabulary).expect("written");
        vocabulary.intern("mesh").expect("room");
        let second = log.append(&vocabulary).expect("written");
        drop(log);
        let (_, read) = TermLog::open(dir.path(), second).expect("whole");
        assert!(read.iter().eq(vocabulary.iter()));
        let (mut log, mut read) = TermLog::open(dir.path(), first).expect("beginning");
        assert_eq!(read.len(), 2);
        read.intern("flour").expect("room");
        let third = log.append(&read).expect("written");
        let (_, read) = TermLog::open(dir.path(), third).expect("whole");
        assert_eq!(read.id("flour"), Some(TermId::new(2)));
        assert!(matches!(TermLog::open(dir.path(), second), Err(Error::Corrupt { .. })));
    }
}
