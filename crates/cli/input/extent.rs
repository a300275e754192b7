//! How much there is to read, and how much has been read.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is known beforehand about the size of an input.
pub enum Extent {
    /// Nothing: it comes from a pipe.
    Unknown,
    /// The number of records.
    Records(u64),
    /// The number of bytes in the file, compressed or not, and those read so far.
    Bytes(Meter),
}

/// Counts the bytes read from a file.
#[derive(Clone)]
pub struct Meter {
    read: Arc<AtomicU64>,
    /// Size of the file.
    pub total: u64,
}

impl Meter {
    /// Wraps `file` of `total` bytes.
    pub fn wrap<R: Read>(file: R, total: u64) -> (Metered<R>, Self) {
        let read = Arc::new(AtomicU64::new(0));
        let meter = Self {
            read: Arc::clone(&read),
            total,
        };
        (Metered { file, read }, meter)
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// A reader that counts.
pub struct Metered<R> {
    file: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_passes() {
        let (mut reader, meter) = Meter::wrap(&b"twelve bytes"[..], 12);
        let mut buffer = [0; 5];
        assert_eq!(reader.read(&mut buffer).expect("memory"), 5);
        assert_eq!((meter.read(), meter.total), (5, 12));
    }
}
