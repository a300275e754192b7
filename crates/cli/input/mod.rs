//! Input files: JSON lines of texts or vectors, CSR matrices; plain, gzip or zstd, or stdin.

mod broken;
mod csr;
mod extent;
mod record;

pub use broken::Broken;
pub use csr::CsrFile;
pub use extent::{Extent, Meter};
pub use record::{Body, Record, RecordError, Records};

use crate::exit::{Exit, failure};
use anyhow::Context;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use tamis_eval::BeirCollection;

/// Opens `path` (`-` is stdin), unpacking gzip and zstd, which are told by their first bytes.
pub fn open(path: &Path) -> anyhow::Result<(Box<dyn BufRead>, Extent)> {
    let (raw, extent): (Box<dyn Read>, Extent) = if path == Path::new("-") {
        (Box::new(io::stdin()), Extent::Unknown)
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(failure(
                Exit::Usage,
                format!("{} is a folder, a file is needed here", path.display()),
            ));
        }
        let (file, meter) = Meter::wrap(file, metadata.len());
        (Box::new(file), Extent::Bytes(meter))
    };
    let mut raw = BufReader::with_capacity(1 << 16, raw);
    let start = raw
        .fill_buf()
        .with_context(|| format!("cannot read {}", path.display()))?;
    let text: Box<dyn BufRead> = match start {
        [0x1f, 0x8b, ..] => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(raw))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(BufReader::new(zstd::Decoder::with_buffer(raw)?)),
        _ => Box::new(raw),
    };
    Ok((text, extent))
}

/// Records one by one; reading can go on after a broken one.
pub type RecordIter = Box<dyn Iterator<Item = Result<Record, RecordError>>>;

/// The documents of `path`, and how much there is: JSON lines, or the corpus of a BEIR folder or archive.
pub fn documents(path: &Path) -> anyhow::Result<(RecordIter, Extent)> {
    if !is_collection(path) {
        let (records, extent) = Records::open(path)?;
        return Ok((Box::new(records), extent));
    }
    let collection = BeirCollection::open(path)?;
    Ok((corpus(&collection)?, corpus_extent(&collection)?))
}

/// As [`documents`] for who shows no progress: a corpus is then not counted first.
pub fn documents_only(path: &Path) -> anyhow::Result<RecordIter> {
    if is_collection(path) {
        return corpus(&BeirCollection::open(path)?);
    }
    Ok(Box::new(Records::open(path)?.0))
}

/// The documents of `collection`.
pub fn corpus(collection: &BeirCollection) -> anyhow::Result<RecordIter> {
    let records = collection.documents()?;
    Ok(Box::new(
        records.map(|document| document.map(Record::from).map_err(RecordError::from)),
    ))
}

/// How many documents `collection` has; reads the corpus once.
pub fn corpus_extent(collection: &BeirCollection) -> anyhow::Result<Extent> {
    Ok(Extent::Records(collection.documents()?.count() as u64))
}

/// Whether `path` is a folder or an archive, hence a BEIR collection.
fn is_collection(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.is_dir()
        || [".tar", ".tar.zst", ".tar.gz", ".tgz", ".zip"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Hands `records` to `each`, at most `size` at a time.
pub fn in_batches(
    records: impl Iterator<Item = Result<Record, RecordError>>,
    broken: &mut Broken,
    size: usize,
    mut each: impl FnMut(Vec<Record>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(size);
    for record in records {
        batch.extend(broken.filter(record)?);
        if batch.len() == size {
            each(std::mem::replace(&mut batch, Vec::with_capacity(size)))?;
        }
    }
    if batch.is_empty() { Ok(()) } else { each(batch) }
}
