//! One safetensors file: its header in memory, its numbers on disk.

use crate::Error;
use crate::files::PartialFile;
use safetensors::tensor::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The format's own limit of a header.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The length of a header is written in eight bytes before it.
const LENGTH_BYTES: u64 = 8;

/// A file whose header agrees with its length.
pub(super) struct SafetensorsFile {
    pub(super) path: PathBuf,
    pub(super) header: Metadata,
    /// Size of the file.
    pub(super) len: u64,
    /// Where the numbers begin.
    pub(super) data: u64,
    file: PartialFile,
}

impl SafetensorsFile {
    /// Opens `path` and checks its header.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let damaged = |reason: String| Error::Safetensors {
            path: path.to_owned(),
            reason,
        };
        let file = PartialFile::open(path).map_err(read)?;
        let len = file.len().map_err(read)?;
        let mut bytes = file.from(0).map_err(read)?;
        let mut length = [0; 8];
        if len < LENGTH_BYTES {
            return Err(damaged(format!("{len} bytes are too few for a header")));
        }
        bytes.read_exact(&mut length).map_err(read)?;
        let header_len = u64::from_le_bytes(length);
        let rest = len - LENGTH_BYTES;
        if header_len > rest.min(MAX_HEADER_BYTES) {
            return Err(damaged(format!(
                "the header should be {header_len} bytes long, {rest} bytes follow"
            )));
        }
        let mut header = Vec::new();
        bytes.by_ref().take(header_len).read_to_end(&mut header).map_err(read)?;
        drop(bytes);
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(format!("header: {error}")))?;
        let data = LENGTH_BYTES + header_len;
        let expected = data + header.data_len() as u64;
        if expected != len {
            return Err(damaged(format!("{expected} bytes expected by the header, {len} found")));
        }
        Ok(Self {
            path: path.to_owned(),
            header,
            len,
            data,
            file,
        })
    }

    /// Hands `len` bytes from `start` to `each`, at most `piece` at a time.
    pub(super) fn read_pieces(
        &self,
        start: u64,
        len: u64,
        piece: usize,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        let mut file = self.file.from(start).map_err(failed)?;
        let mut rest = len;
        let mut buffer = vec![0; piece.min(usize::try_from(len).unwrap_or(piece))];
        while rest > 0 {
            let now = buffer.len().min(usize::try_from(rest).unwrap_or(buffer.len()));
            file.read_exact(&mut buffer[..now]).map_err(failed)?;
            each(&buffer[..now])?;
            rest -= now as u64;
        }
        Ok(())
    }
}
