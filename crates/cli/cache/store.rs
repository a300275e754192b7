//! The folder of the cache: segments, and where each key is in them.

use super::segment::{Segment, SegmentWriter};
use crate::vectors::{read_tokens, write_tokens};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tamis_encoder::SparseEncoding;

/// A digest of text, kind, model and how exactly it computes.
pub(super) type Key = [u8; 32];

const ENDING: &str = "vectors";

/// An open cache. Takes about 32 bytes of memory an entry, whatever its size.
pub(super) struct Store {
    folder: PathBuf,
    segments: Vec<Segment>,
    /// Segment and offset by the first half of the key; the frame itself has all of it.
    places: HashMap<[u8; 8], (u32, u64)>,
    /// Keys added by this run: they are read only by later ones.
    added: HashSet<[u8; 8]>,
    writer: Option<SegmentWriter>,
    /// The first error of writing; nothing is written after it.
    failed: Option<io::Error>,
}

impl Store {
    /// Opens the cache in `folder`, which is made where there is none.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == ENDING) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut store = Self {
            folder: folder.to_owned(),
            segments: Vec::new(),
            places: HashMap::new(),
            added: HashSet::new(),
            writer: None,
            failed: None,
        };
        for path in paths {
            let number = u32::try_from(store.segments.len()).map_err(io::Error::other)?;
            let place = |key: &Key, at| {
                store.places.insert(short(key), (number, at));
            };
            let segment = Segment::open(&path, place)?;
            store.segments.extend(segment);
        }
        Ok(store)
    }

    /// The vector of `key`. What cannot be read is as good as not there.
    pub(super) fn get(&mut self, key: &Key) -> Option<SparseEncoding> {
        let &(segment, at) = self.places.get(&short(key))?;
        let payload = self.segments[segment as usize].read(key, at).ok()??;
        decoded(&payload)
    }

    /// Adds a vector, to be found by later runs.
    pub(super) fn insert(&mut self, key: &Key, encoding: &SparseEncoding) {
        if self.failed.is_none() && self.added.insert(short(key)) {
            let outcome = self.write(key, encoding);
            self.failed = outcome.err();
        }
    }

    fn write(&mut self, key: &Key, encoding: &SparseEncoding) -> io::Result<()> {
        if self.writer.is_none() {
            self.writer = Some(new_segment(&self.folder)?);
        }
        self.writer
            .as_mut()
            .map_or(Ok(()), |writer| writer.add(key, &encoded(encoding)))
    }

    /// Hands what was added to the system.
    pub(super) fn flush(&mut self) {
        if let Some(writer) = self.writer.as_mut().filter(|_| self.failed.is_none()) {
            self.failed = writer.flush().err();
        }
    }

    /// Has what was added on the device.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match (self.failed.take(), self.writer.as_mut()) {
            (Some(error), _) => Err(error),
            (None, Some(writer)) => writer.sync(),
            (None, None) => Ok(()),
        }
    }
}

/// A segment under a number that no other run has.
fn new_segment(folder: &Path) -> io::Result<SegmentWriter> {
    let mut number = fs::read_dir(folder)?.count();
    loop {
        match SegmentWriter::create(&folder.join(format!("{number:08}.{ENDING}"))) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            outcome => return outcome,
        }
    }
}

fn short(key: &Key) -> [u8; 8] {
    let (short, _) = key.split_first_chunk().expect("a key has 32 bytes");
    *short
}

fn encoded(encoding: &SparseEncoding) -> Vec<u8> {
    let mut bytes = Vec::new();
    for count in [encoding.num_tokens, encoding.num_windows] {
        bytes.extend((count as u64).to_le_bytes());
    }
    bytes.push(encoding.truncated.into());
    write_tokens(&encoding.tokens, &mut bytes);
    bytes
}

fn decoded(bytes: &[u8]) -> Option<SparseEncoding> {
    let (num_tokens, rest) = bytes.split_first_chunk()?;
    let (num_windows, rest) = rest.split_first_chunk()?;
    let (&truncated, mut rest) = rest.split_first()?;
    let tokens = read_tokens(&mut rest)?;
    let count = |bytes: &[u8; 8]| usize::try_from(u64::from_le_bytes(*bytes)).ok();
    let (num_tokens, num_windows) = (count(num_tokens)?, count(num_windows)?);
    rest.is_empty().then_some(SparseEncoding {
        tokens,
        num_tokens,
        num_windows,
        truncated: truncated != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(number: u16) -> SparseEncoding {
        SparseEncoding {
            tokens: vec![(format!("t{number}"), f32::from(number) + 0.25)],
            num_tokens: number.into(),
            num_windows: usize::from(number % 3),
            truncated: number.is_multiple_of(2),
        }
    }

    fn key(number: u16) -> Key {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    fn filled(folder: &Path, numbers: std::ops::Range<u16>) {
        let mut store = Store::open(folder).expect("writable");
        numbers.for_each(|number| store.insert(&key(number), &encoding(number)));
        store.sync().expect("writable");
    }

    fn found(folder: &Path) -> Vec<u16> {
        let mut store = Store::open(folder).expect("readable");
        let is_right = |number: &u16| match store.get(&key(*number)) {
            None => false,
            Some(found) => {
                assert_eq!(found, encoding(*number));
                true
            }
        };
        (0..40).filter(is_right).collect()
    }

    #[test]
    fn runs_add_up_and_write_nothing_twice() {
        let folder = tempfile::tempdir().expect("temporary folder");
        filled(folder.path(), 0..5);
        filled(folder.path(), 5..9);
        assert_eq!(found(folder.path()), (0..9).collect::<Vec<_>>());
        let files = fs::read_dir(folder.path()).expect("readable").count();
        assert_eq!(files, 2, "a run that only reads leaves nothing");
    }

    #[test]
    fn a_torn_tail_is_dropped_wherever_it_is_torn() {
        let folder = tempfile::tempdir().expect("temporary folder");
        filled(folder.path(), 0..6);
        let path = folder.path().join("00000000.vectors");
        let whole = fs::read(&path).expect("written");
        let frame = (whole.len() - 8) / 6;
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).expect("writable");
            let kept = u16::try_from(len.saturating_sub(8) / frame).expect("few");
            assert_eq!(found(folder.path()), (0..kept).collect::<Vec<_>>(), "{len} bytes");
        }
    }

    #[test]
    fn a_flipped_byte_never_gives_another_vector() {
        let folder = tempfile::tempdir().expect("temporary folder");
        filled(folder.path(), 0..4);
        let path = folder.path().join("00000000.vectors");
        let whole = fs::read(&path).expect("written");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, bytes).expect("writable");
            assert!(found(folder.path()).len() < 4, "byte {at}");
        }
    }
}
