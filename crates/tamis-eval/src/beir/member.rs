//! One file of a folder or archive, and how to read it on its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::zip::{CheckedReader, ZipData};
use crate::text_file;

/// A regular file of a folder or archive.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name within the folder or archive, with `/` between steps.
    pub(super) name: String,
    pub(super) location: Location,
}

/// Where a member's bytes are.
#[derive(Debug)]
pub(super) enum Location {
    /// A file of its own.
    File,
    /// A range of the tar stream, after decompression.
    Tar { offset: u64, size: u64 },
    /// A range of a zip archive.
    Zip(ZipData),
}

impl Member {
    /// Reads the member from the start, decompressed; `path` is the folder or archive.
    pub(super) fn open(&self, path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
        match &self.location {
            Location::File => text_file::open(&path.join(&self.name)),
            Location::Tar { offset, size } => {
                let mut stream = text_file::open(path)?;
                let skipped = io::copy(&mut stream.by_ref().take(*offset), &mut io::sink())?;
                if skipped < *offset {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                text_file::decompressed(ExactReader {
                    input: stream,
                    remaining: *size,
                })
            }
            Location::Zip(data) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(data.offset))?;
                let stored = BufReader::new(file).take(data.stored_bytes);
                text_file::decompressed(CheckedReader::new(stored, data))
            }
        }
    }
}

/// The next `remaining` bytes of the input; an input that ends before is an error, not an end.
struct ExactReader<R> {
    input: R,
    remaining: u64,
}

impl<R: Read> Read for ExactReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let read = self.input.read(&mut buffer[..room])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends within this member",
            ));
        }
        self.remaining -= u64::try_from(read).unwrap_or(self.remaining);
        Ok(read)
    }
}
