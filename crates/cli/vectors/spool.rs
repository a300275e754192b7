//! What an output needs before it can be written, kept on disk and not in memory.

use anyhow::Context;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::Path;

/// The folder of `path`.
pub fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// An unnamed file that is written once and then read.
pub struct Spool(BufWriter<File>);

impl Spool {
    /// Makes one in `folder`.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let file = tempfile::tempfile_in(folder).with_context(|| format!("cannot write in {}", folder.display()))?;
        Ok(Self(BufWriter::with_capacity(1 << 16, file)))
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Copies everything that was written.
    pub fn copy_to(&mut self, mut out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.0.flush()?;
        let file = self.0.get_mut();
        file.rewind()?;
        io::copy(&mut BufReader::with_capacity(1 << 16, file), &mut out)?;
        Ok(())
    }
}
