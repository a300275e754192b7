//! Writing a container to any [`Write`].

use super::{CONTAINER_VERSION, ENTRY_BYTES, FileKind, HEADER_BYTES, MAGIC, NAME_BYTES, SECTION_ALIGNMENT};
use crc32fast::Hasher;
use std::io::{self, Write};

struct Entry {
    name: String,
    offset: u64,
    len: u64,
    crc: u32,
}

/// Writes a container front to back; needs no seeking, so it also writes into other writers.
pub struct ContainerWriter<W: Write> {
    out: W,
    position: u64,
    entries: Vec<Entry>,
}

/// Counts and checksums what passes through.
struct Section<'a, W: Write> {
    out: &'a mut W,
    len: u64,
    crc: Hasher,
}

impl<W: Write> Write for Section<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc.update(&bytes[..written]);
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> ContainerWriter<W> {
    /// Starts a file of `kind` by writing its header.
    ///
    /// # Errors
    /// Whatever `out` returns.
    pub fn new(mut out: W, kind: FileKind) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&kind.name);
        header[16..20].copy_from_slice(&CONTAINER_VERSION.to_le_bytes());
        header[20..24].copy_from_slice(&kind.version.to_le_bytes());
        let crc = crc32fast::hash(&header[..24]);
        header[24..28].copy_from_slice(&crc.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self {
            out,
            position: HEADER_BYTES as u64,
            entries: Vec::new(),
        })
    }

    /// Appends a section of known content.
    ///
    /// # Errors
    /// Whatever the output returns; `InvalidInput` for a name that is empty, repeated or above 24 bytes.
    pub fn section(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.section_with(name, |out| out.write_all(bytes))
    }

    /// Appends a section whose content `fill` writes.
    ///
    /// # Errors
    /// As [`ContainerWriter::section`], and whatever `fill` returns.
    pub fn section_with(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        if name.is_empty() || name.len() > NAME_BYTES || self.entries.iter().any(|entry| entry.name == name) {
            let message = format!("section name {name:?} is empty, repeated or above {NAME_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.pad()?;
        let offset = self.position;
        let mut section = Section {
            out: &mut self.out,
            len: 0,
            crc: Hasher::new(),
        };
        fill(&mut section)?;
        let (len, crc) = (section.len, section.crc.finalize());
        self.position += len;
        self.entries.push(Entry {
            name: name.to_owned(),
            offset,
            len,
            crc,
        });
        Ok(())
    }

    /// Writes table and trailer and hands the output back, flushed.
    ///
    /// # Errors
    /// Whatever the output returns.
    pub fn finish(mut self) -> io::Result<W> {
        self.pad()?;
        let mut table = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            let mut name = [0; NAME_BYTES];
            name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
            table.extend_from_slice(&name);
            table.extend_from_slice(&entry.offset.to_le_bytes());
            table.extend_from_slice(&entry.len.to_le_bytes());
            table.extend_from_slice(&u64::from(entry.crc).to_le_bytes());
        }
        let mut trailer = Vec::with_capacity(super::TRAILER_BYTES);
        trailer.extend_from_slice(&self.position.to_le_bytes());
        trailer.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        trailer.extend_from_slice(&crc32fast::hash(&table).to_le_bytes());
        trailer.extend_from_slice(&crc32fast::hash(&trailer).to_le_bytes());
        trailer.extend_from_slice(&MAGIC);
        self.out.write_all(&table)?;
        self.out.write_all(&trailer)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn pad(&mut self) -> io::Result<()> {
        let over = self.position % SECTION_ALIGNMENT as u64;
        if over > 0 {
            let zeros = [0; SECTION_ALIGNMENT];
            let missing = SECTION_ALIGNMENT as u64 - over;
            self.out
                .write_all(&zeros[..usize::try_from(missing).expect("below the alignment")])?;
            self.position += missing;
        }
        Ok(())
    }
}
