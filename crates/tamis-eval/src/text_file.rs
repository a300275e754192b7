//! Text files, plain or compressed: read by content, written by name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

const BUFFER_BYTES: usize = 128 << 10;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// How a stream of bytes is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// Told by the first bytes of a stream.
    pub(crate) fn of_bytes(start: &[u8]) -> Self {
        if start.starts_with(GZIP_MAGIC) {
            Self::Gzip
        } else if start.starts_with(ZSTD_MAGIC) {
            Self::Zstd
        } else {
            Self::Plain
        }
    }

    /// Told by the end of a file's name, for writing.
    fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Opens a file for reading, through gzip or zstd where its first bytes say so.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    decompressed(File::open(path)?)
}

/// Reads through gzip (all members) or zstd (all frames) where the first bytes say so.
pub(crate) fn decompressed<R: Read + Send + 'static>(mut input: R) -> io::Result<Box<dyn BufRead + Send>> {
    let start = first_bytes(&mut input)?;
    let compression = Compression::of_bytes(&start);
    let input = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(input));
    Ok(match compression {
        Compression::Plain => Box::new(input),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(input))),
        Compression::Zstd => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            zstd::stream::read::Decoder::with_buffer(input)?,
        )),
    })
}

/// As many bytes as it takes to tell the compression, fewer only at the end of the input.
fn first_bytes(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(ZSTD_MAGIC.len());
    let wanted = u64::try_from(ZSTD_MAGIC.len()).unwrap_or(u64::MAX);
    input.take(wanted).read_to_end(&mut start)?;
    Ok(start)
}

/// Creates or replaces a file, has `content` write it, compresses where its name ends in `.gz` or `.zst`, and
/// flushes it to the device.
///
/// # Errors
/// What the system or `content` says; the file then holds what was written so far.
pub fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    match Compression::of_name(path) {
        Compression::Plain => content(&mut file)?,
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::default());
            content(&mut encoder)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(&mut file, 0)?;
            content(&mut encoder)?;
            encoder.finish()?;
        }
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
