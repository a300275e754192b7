//! The members of a tar archive, and where in the decompressed stream their bytes are.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use super::member::{Location, Member};
use crate::error::Error;
use crate::text_file;

/// The most bytes read to get from one member to the next: padding, header, long names. Without a
/// bound, a name record of endless size would be read into memory.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Lists the regular files of a tar archive, through gzip or zstd, in one pass.
pub(super) fn members(path: &Path) -> Result<Vec<Member>, Error> {
    let damaged = |source| Error::DamagedArchive {
        path: path.to_owned(),
        source,
    };
    let input = text_file::open(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    let allowance = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let mut archive = ::tar::Archive::new(AllowedReader {
        input,
        allowance: Rc::clone(&allowance),
    });
    let members = read_members(&mut archive, &allowance).map_err(damaged)?;
    // What follows the last member is padding, and the sums by which gzip and zstd find damage.
    allowance.set(u64::MAX);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(members)
}

fn read_members(archive: &mut ::tar::Archive<impl Read>, allowance: &Cell<u64>) -> io::Result<Vec<Member>> {
    let mut entries = archive.entries()?;
    let mut members = Vec::new();
    loop {
        allowance.set(MAX_HEADER_BYTES);
        let Some(entry) = entries.next() else {
            return Ok(members);
        };
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            members.push(Member {
                name: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
                location: Location::Tar {
                    offset: entry.raw_file_position(),
                    size: entry.size(),
                },
            });
        }
        allowance.set(u64::MAX);
        io::copy(&mut entry, &mut io::sink())?;
    }
}

/// Reads no more than the allowance, which its owner renews.
struct AllowedReader<R> {
    input: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for AllowedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let read_bytes = u64::try_from(read).unwrap_or(u64::MAX);
        let left = self.allowance.get().checked_sub(read_bytes).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a member's name or extended header is longer than 1 MiB",
            )
        })?;
        self.allowance.set(left);
        Ok(read)
    }
}
