//! Reading a container from bytes, mapped or in memory.

use super::{
    CONTAINER_VERSION, ENTRY_BYTES, FileKind, HEADER_BYTES, MAGIC, NAME_BYTES, SECTION_ALIGNMENT, TRAILER_BYTES,
};
use std::ops::Range;

/// The table of contents of a container; the bytes stay with whoever owns them.
#[derive(Clone, Debug)]
pub struct Container {
    version: u32,
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    name: String,
    range: Range<usize>,
    crc: u32,
}

/// Why bytes are not the container that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Header or trailer are missing: another kind of file, or one cut short.
    #[error("not a complete Tamis file: {part} is missing or damaged ({len} bytes)")]
    NotAContainer {
        /// "header" or "trailer".
        part: &'static str,
        /// Length of the whole file.
        len: usize,
    },
    /// The container itself is of a version this program does not know.
    #[error("container version {found}, this program reads version {CONTAINER_VERSION}: use a newer tamis")]
    ContainerVersion {
        /// The version in the file.
        found: u32,
    },
    /// A file of another kind.
    #[error("file holds `{found}`, expected `{expected}`")]
    WrongKind {
        /// The kind that was asked for.
        expected: String,
        /// The kind in the file.
        found: String,
    },
    /// A file written by a newer program.
    #[error("`{kind}` version {found}, this program reads up to version {known}: use a newer tamis")]
    NewerVersion {
        /// The kind of file.
        kind: String,
        /// The version in the file.
        found: u32,
        /// The newest version that is known.
        known: u32,
    },
    /// The table of sections contradicts itself or the file.
    #[error("section table damaged: {0}")]
    BadTable(String),
    /// A section that should be there is not.
    #[error("section `{name}` is missing")]
    MissingSection {
        /// Its name.
        name: String,
    },
    /// A section's bytes are not those that were written.
    #[error("section `{name}` damaged: checksum {expected:08x} expected, {found:08x} found")]
    Checksum {
        /// Its name.
        name: String,
        /// CRC-32 in the table.
        expected: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Container {
    /// Reads header, trailer and table of `bytes` and checks them; section contents are not read.
    ///
    /// # Errors
    /// When the bytes are no container, of another kind, of a newer version, or the table is damaged.
    pub fn open(bytes: &[u8], kind: FileKind) -> Result<Self, ContainerError> {
        let version = check_header(bytes, kind)?;
        let sections = read_table(bytes)?;
        Ok(Self { version, sections })
    }

    /// Version of the kind's layout, at most the one that was asked for.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Section names in file order.
    pub fn names(&self) -> impl Iterator<Item = &str> + '_ {
        self.sections.iter().map(|section| section.name.as_str())
    }

    /// Whether there is a section `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Where section `name` lies in the file; starts at a multiple of [`SECTION_ALIGNMENT`].
    ///
    /// # Errors
    /// [`ContainerError::MissingSection`].
    pub fn range(&self, name: &str) -> Result<Range<usize>, ContainerError> {
        let section = self.sections.iter().find(|section| section.name == name);
        section
            .map(|section| section.range.clone())
            .ok_or_else(|| ContainerError::MissingSection { name: name.to_owned() })
    }

    /// The content of section `name` within the `bytes` that were opened.
    ///
    /// # Errors
    /// [`ContainerError::MissingSection`], also when `bytes` are shorter than those that were opened.
    pub fn section<'a>(&self, bytes: &'a [u8], name: &str) -> Result<&'a [u8], ContainerError> {
        bytes
            .get(self.range(name)?)
            .ok_or_else(|| ContainerError::MissingSection { name: name.to_owned() })
    }

    /// Reads every section once and compares checksums.
    ///
    /// # Errors
    /// [`ContainerError::Checksum`] for the first damaged section.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), ContainerError> {
        for section in &self.sections {
            let found = crc32fast::hash(self.section(bytes, &section.name)?);
            if found != section.crc {
                return Err(ContainerError::Checksum {
                    name: section.name.clone(),
                    expected: section.crc,
                    found,
                });
            }
        }
        Ok(())
    }
}

fn check_header(bytes: &[u8], kind: FileKind) -> Result<u32, ContainerError> {
    let damaged = ContainerError::NotAContainer {
        part: "header",
        len: bytes.len(),
    };
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Err(damaged);
    };
    if header[..8] != MAGIC || u32_at(header, 24) != crc32fast::hash(&header[..24]) || header[28..] != [0; 36] {
        return Err(damaged);
    }
    let container_version = u32_at(header, 16);
    if container_version != CONTAINER_VERSION {
        return Err(ContainerError::ContainerVersion {
            found: container_version,
        });
    }
    let text = |name: &[u8]| String::from_utf8_lossy(name).trim_end().to_owned();
    if header[8..16] != kind.name {
        return Err(ContainerError::WrongKind {
            expected: text(&kind.name),
            found: text(&header[8..16]),
        });
    }
    let version = u32_at(header, 20);
    if version > kind.version {
        return Err(ContainerError::NewerVersion {
            kind: text(&kind.name),
            found: version,
            known: kind.version,
        });
    }
    Ok(version)
}

fn read_table(bytes: &[u8]) -> Result<Vec<Section>, ContainerError> {
    let damaged = ContainerError::NotAContainer {
        part: "trailer",
        len: bytes.len(),
    };
    let Some(start) = bytes
        .len()
        .checked_sub(TRAILER_BYTES)
        .filter(|&start| start >= HEADER_BYTES)
    else {
        return Err(damaged);
    };
    let trailer = &bytes[start..];
    if trailer[24..] != MAGIC || u32_at(trailer, 20) != crc32fast::hash(&trailer[..20]) {
        return Err(damaged);
    }
    let bad = |what: String| ContainerError::BadTable(what);
    let range = |offset: u64, len: u64| -> Option<Range<usize>> {
        let (offset, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
        let end = offset.checked_add(len).filter(|&end| end <= start)?;
        (offset >= HEADER_BYTES && offset.is_multiple_of(SECTION_ALIGNMENT)).then_some(offset..end)
    };
    let (offset, count) = (u64_at(trailer, 0), u64_at(trailer, 8));
    let table = count
        .checked_mul(ENTRY_BYTES as u64)
        .and_then(|len| range(offset, len))
        .filter(|table| table.end == start)
        .ok_or_else(|| bad(format!("{count} entries at {offset} do not fit {start} bytes")))?;
    let table = &bytes[table];
    if crc32fast::hash(table) != u32_at(trailer, 16) {
        return Err(bad("checksum differs".to_owned()));
    }
    let mut sections: Vec<Section> = Vec::with_capacity(table.len() / ENTRY_BYTES);
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let name = entry[..NAME_BYTES].split(|&byte| byte == 0).next().unwrap_or_default();
        let name = String::from_utf8(name.to_vec()).map_err(|_| bad("a name is not UTF-8".to_owned()))?;
        let (offset, len) = (u64_at(entry, 24), u64_at(entry, 32));
        let range = range(offset, len)
            .ok_or_else(|| bad(format!("`{name}` ({len} bytes at {offset}) lies outside the file")))?;
        let crc = u32_at(entry, 40);
        sections.push(Section { name, range, crc });
    }
    Ok(sections)
}
