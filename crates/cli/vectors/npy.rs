//! NumPy's array files, by themselves (.npy) or in an archive (.npz).

use anyhow::Context;
use std::io::{Seek, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Writes an archive of arrays, uncompressed and the same bytes each time.
pub struct Npz<W: Write + Seek> {
    zip: ZipWriter<W>,
}

impl<W: Write + Seek> Npz<W> {
    /// Starts an archive in `out`.
    pub fn new(out: W) -> Self {
        Self {
            zip: ZipWriter::new(out),
        }
    }

    /// Adds the array `name` of type `descr` (`<f4`, `<i4`, `<i8`, `|S3`); `fill` writes its bytes.
    pub fn array(
        &mut self,
        name: &str,
        descr: &str,
        shape: &str,
        fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let options = SimpleFileOptions::DEFAULT
            .compression_method(CompressionMethod::Stored)
            .large_file(true);
        let name = format!("{name}.npy");
        self.zip
            .start_file(&*name, options)
            .with_context(|| format!("cannot write {name}"))?;
        self.zip.write_all(&header(descr, shape))?;
        fill(&mut self.zip).with_context(|| format!("cannot write {name}"))
    }

    /// Completes the archive.
    pub fn finish(self) -> anyhow::Result<W> {
        self.zip.finish().context("cannot write the archive")
    }
}

/// Magic, version 1.0, length, and a description padded to 64 bytes.
pub fn header(descr: &str, shape: &str) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let used = 10 + text.len() + 1;
    text.push_str(&" ".repeat(used.next_multiple_of(64) - used));
    text.push('\n');
    let len = u16::try_from(text.len()).expect("a description is a line");
    [&b"\x93NUMPY\x01\x00"[..], &len.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn headers_are_aligned() {
        for shape in ["()", "(1,)", "(1234567890,)", "(1234567890, 384)"] {
            let header = header("<f4", shape);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(usize::from(header[8]), header.len() - 10);
            assert!(header.ends_with(b"\n") && header.starts_with(b"\x93NUMPY"));
        }
    }
}
