//! Bytes that go to disk when memory for them is full.

use crate::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file in the spill folder that nobody else uses and that disappears with this value.
pub(crate) struct TempFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// Whether the folder still has an entry for it.
    listed: bool,
}

impl TempFile {
    pub(crate) fn create(dir: &Path) -> Result<Self, Error> {
        let (file, path) = create_unique(|mark| dir.join(format!("tamis-spill-{mark}.tmp")))?;
        // Where the system allows it (Unix), the file is without a name from the start, so that not even a
        // killed process leaves it behind.
        let listed = fs::remove_file(&path).is_err();
        Ok(Self { file, path, listed })
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.listed {
            // Nothing depends on it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a file for reading and writing that did not exist, at a path with a mark of its own.
pub(crate) fn create_unique(path: impl Fn(&str) -> PathBuf) -> Result<(File, PathBuf), Error> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    loop {
        // Processes in different containers may share both folder and process id: only `create_new` decides.
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = path(&format!("{}-{serial}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(&path)(error)),
        }
    }
}

/// What went to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SpillStats {
    pub runs: u64,
    pub bytes: u64,
}

impl SpillStats {
    pub(crate) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.bytes += other.bytes;
    }
}

/// An append-only sequence of records of which at most `limit` bytes stay in memory.
pub(crate) struct Spill {
    dir: PathBuf,
    limit: usize,
    memory: Vec<u8>,
    file: Option<TempFile>,
    stats: SpillStats,
}

impl Spill {
    pub(crate) fn new(dir: &Path, limit: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            limit,
            memory: Vec::new(),
            file: None,
            stats: SpillStats::default(),
        }
    }

    /// Appends one record.
    pub(crate) fn push(&mut self, record: &[u8]) -> Result<(), Error> {
        if self.memory.len() + record.len() > self.limit && !self.memory.is_empty() {
            self.flush()?;
        }
        if self.memory.capacity() - self.memory.len() < record.len() {
            // Doubling without regard to the limit would take up to twice of it.
            let room = self
                .memory
                .len()
                .max(1 << 12)
                .min(self.limit.saturating_sub(self.memory.len()));
            self.memory.reserve_exact(room.max(record.len()));
        }
        self.memory.extend_from_slice(record);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let temp = match &mut self.file {
            Some(temp) => temp,
            none => none.insert(TempFile::create(&self.dir)?),
        };
        temp.file.write_all(&self.memory).map_err(Error::io(&temp.path))?;
        self.stats.runs += 1;
        self.stats.bytes += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    /// All bytes from the first on.
    pub(crate) fn read(&mut self) -> Result<SpillReader<'_>, Error> {
        if let Some(temp) = &mut self.file {
            temp.file.seek(SeekFrom::Start(0)).map_err(Error::io(&temp.path))?;
        }
        let temp = self.file.as_ref();
        Ok(SpillReader {
            file: temp.map(|temp| BufReader::with_capacity(1 << 16, &temp.file).take(self.stats.bytes)),
            memory: &self.memory,
            path: temp.map_or(&self.dir, |temp| &temp.path),
        })
    }

    pub(crate) fn stats(&self) -> SpillStats {
        self.stats
    }
}

/// Reads what was spilled, then what stayed in memory.
pub(crate) struct SpillReader<'a> {
    file: Option<std::io::Take<BufReader<&'a File>>>,
    memory: &'a [u8],
    path: &'a Path,
}

impl SpillReader<'_> {
    /// Fills `buffer`, or gives `false` when all bytes were read before its first.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Error> {
        if let Some(file) = &mut self.file {
            if file.limit() > 0 {
                // Records are flushed whole, so none straddles the end of the file.
                file.read_exact(buffer).map_err(Error::io(self.path))?;
                return Ok(true);
            }
            self.file = None;
        }
        if self.memory.is_empty() && !buffer.is_empty() {
            return Ok(false);
        }
        let bytes = self.memory.split_off(..buffer.len()).expect("records are whole");
        buffer.copy_from_slice(bytes);
        Ok(true)
    }

    /// Writes all remaining bytes to `out`.
    pub(crate) fn copy_to(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            std::io::copy(file, out)?;
        }
        out.write_all(self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_exists_is_never_taken_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let (_, first) = create_unique(|mark| dir.path().join(mark)).expect("a new file");
        let taken = std::cell::Cell::new(true);
        let second = create_unique(|mark| match taken.replace(false) {
            true => first.clone(),
            false => dir.path().join(mark),
        });
        assert_ne!(second.expect("another new file").1, first);
    }

    #[test]
    fn gives_back_records_at_every_limit_and_leaves_no_file() {
        let dir = tempfile::tempdir().expect("a folder");
        for limit in [0, 3, 10, 40, 1000] {
            let mut spill = Spill::new(dir.path(), limit);
            for value in 0u64..20 {
                spill.push(&value.to_le_bytes()).expect("room");
            }
            assert!(spill.memory.capacity() <= limit.max(8), "limit {limit}");
            for _ in 0..2 {
                let mut reader = spill.read().expect("readable");
                let (mut record, mut next) = ([0; 8], 0);
                while reader.fill(&mut record).expect("readable") {
                    assert_eq!(u64::from_le_bytes(record), next, "limit {limit}");
                    next += 1;
                }
                assert_eq!(next, 20);
            }
            let mut copy = Vec::new();
            spill.read().expect("readable").copy_to(&mut copy).expect("memory");
            assert_eq!(copy.len(), 160);
            assert_eq!(spill.stats().runs > 0, limit < 160);
        }
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}
