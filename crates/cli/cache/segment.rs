//! A file of the cache: frames one after the other, only ever added to, by one run.
//!
//! It begins with eight bytes of magic. A frame is a key (32 bytes), the length of its payload (u32), a checksum of
//! these two (CRC-32), a checksum of the payload, and the payload. Reading stops at the first frame that is cut short or
//! whose head fails its checksum: a run was killed there. Little endian throughout.

use super::store::Key;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"TAMISEC1";
const KEY_BYTES: usize = 32;
const HEAD_BYTES: usize = KEY_BYTES + 12;

/// Largest payload that is believed.
const MAX_PAYLOAD_BYTES: u32 = 1 << 28;

/// A segment that is read.
pub(super) struct Segment {
    file: File,
}

impl Segment {
    /// Opens `path` and hands key and place of every whole frame to `each`; `None` when it is no segment.
    pub(super) fn open(path: &Path, mut each: impl FnMut(&Key, u64)) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut magic = [0; 8];
        if len < 8 {
            return Ok(None);
        }
        reader.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Ok(None);
        }
        let mut at = 8;
        while len - at >= HEAD_BYTES as u64 {
            let mut head = [0; HEAD_BYTES];
            reader.read_exact(&mut head)?;
            let Some(head) = Head::read(&head) else { break };
            let end = at + HEAD_BYTES as u64 + u64::from(head.len);
            if end > len {
                break;
            }
            each(&head.key, at);
            reader.seek_relative(i64::from(head.len))?;
            at = end;
        }
        Ok(Some(Self {
            file: reader.into_inner(),
        }))
    }

    /// The payload of the frame at `at`, if it is whole and of `key`.
    pub(super) fn read(&self, key: &Key, at: u64) -> io::Result<Option<Vec<u8>>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head)?;
        let Some(head) = Head::read(&head).filter(|head| head.key == *key) else {
            return Ok(None);
        };
        let mut payload = Vec::new();
        file.take(head.len.into()).read_to_end(&mut payload)?;
        Ok(Some(payload).filter(|payload| crc32fast::hash(payload) == head.payload_crc))
    }
}

struct Head {
    key: Key,
    len: u32,
    payload_crc: u32,
}

impl Head {
    fn read(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (checked, rest) = bytes.split_at(KEY_BYTES + 4);
        let (key, len) = checked.split_first_chunk::<KEY_BYTES>()?;
        let (crc, payload_crc) = rest.split_first_chunk::<4>()?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
        let (len, payload_crc) = (number(len)?, number(payload_crc)?);
        let whole = u32::from_le_bytes(*crc) == crc32fast::hash(checked) && len <= MAX_PAYLOAD_BYTES;
        whole.then_some(Self {
            key: *key,
            len,
            payload_crc,
        })
    }
}

/// A new segment that is written.
pub(super) struct SegmentWriter {
    out: BufWriter<File>,
}

impl SegmentWriter {
    /// Makes `path`, which must not exist.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        out.write_all(MAGIC)?;
        Ok(Self { out })
    }

    /// Adds a frame.
    pub(super) fn add(&mut self, key: &Key, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len())
            .ok()
            .filter(|&len| len <= MAX_PAYLOAD_BYTES);
        let len = len.ok_or_else(|| io::Error::other("a vector of more than 256 MiB"))?;
        let mut head = [0; HEAD_BYTES];
        head[..KEY_BYTES].copy_from_slice(key);
        head[KEY_BYTES..KEY_BYTES + 4].copy_from_slice(&len.to_le_bytes());
        let crc = crc32fast::hash(&head[..KEY_BYTES + 4]);
        head[KEY_BYTES + 4..KEY_BYTES + 8].copy_from_slice(&crc.to_le_bytes());
        head[KEY_BYTES + 8..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(payload)
    }

    /// Hands everything to the system: it outlives this process.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Has everything on the device.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }
}
