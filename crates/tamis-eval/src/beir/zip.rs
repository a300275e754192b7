//! The members of a zip archive, and their bytes checked against the sums it stores.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use ::zip::CompressionMethod;
use ::zip::read::ZipArchive;
use ::zip::result::ZipError;
use flate2::CrcReader;
use flate2::read::DeflateDecoder;

use super::member::{Location, Member};
use crate::error::Error;

/// Where a zip member's stored bytes are, and what must come out of them.
#[derive(Clone, Debug)]
pub(super) struct ZipData {
    pub(super) offset: u64,
    pub(super) stored_bytes: u64,
    deflated: bool,
    crc32: u32,
}

/// Lists the regular files of a zip archive.
pub(super) fn members(path: &Path) -> Result<Vec<Member>, Error> {
    let damaged = |error: ZipError| Error::DamagedArchive {
        path: path.to_owned(),
        source: error.into(),
    };
    let file = File::open(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        if !entry.is_file() {
            continue;
        }
        let name = entry.name().map_err(damaged)?.into_owned();
        let deflated = entry.compression() == CompressionMethod::Deflated;
        let form = if entry.encrypted() {
            Some("encrypted")
        } else if deflated || entry.compression() == CompressionMethod::Stored {
            None
        } else {
            Some("compressed by a method other than deflate")
        };
        if let Some(form) = form {
            return Err(Error::UnreadableMember {
                path: path.to_owned(),
                member: name,
                form,
            });
        }
        let offset = entry.data_start().ok_or_else(|| damaged(ZipError::FileNotFound))?;
        let (stored_bytes, crc32) = (entry.compressed_size(), entry.crc32());
        members.push(Member {
            name,
            location: Location::Zip(ZipData {
                offset,
                stored_bytes,
                deflated,
                crc32,
            }),
        });
    }
    Ok(members)
}

/// Inflates a member and compares its CRC-32 at the end.
pub(super) struct CheckedReader<R> {
    input: CrcReader<Inflated<R>>,
    crc32: u32,
}

enum Inflated<R> {
    Stored(R),
    Deflated(DeflateDecoder<R>),
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(input) => input.read(buffer),
            Self::Deflated(input) => input.read(buffer),
        }
    }
}

impl<R: Read> CheckedReader<R> {
    pub(super) fn new(stored: R, data: &ZipData) -> Self {
        let inflated = if data.deflated {
            Inflated::Deflated(DeflateDecoder::new(stored))
        } else {
            Inflated::Stored(stored)
        };
        Self {
            input: CrcReader::new(inflated),
            crc32: data.crc32,
        }
    }
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let found = self.input.crc().sum();
        if read == 0 && !buffer.is_empty() && found != self.crc32 {
            let message = format!(
                "the member is damaged: CRC-32 is {found:08x}, should be {:08x}",
                self.crc32
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}
