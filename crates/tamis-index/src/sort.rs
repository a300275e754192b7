//! Turns documents around: from postings by document to postings by term and position.
//!
//! A distribution sort. Document frequencies are known beforehand, so terms are cut into ranges whose
//! postings fit in memory; postings are dealt out to their range in one pass (to disk, when there is more
//! than one) and every range is then sorted by counting, with its exact places known. A term too frequent
//! for memory is cut into ranges of positions. The result does not depend on where the cuts are.

use crate::Error;
use crate::spill::{SpillStats, TempFile};
use rayon::prelude::*;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tamis_core::{Impact, TermId};

/// Bytes of a posting on disk: term, position, impact.
const RECORD_BYTES: usize = 9;

/// Where cuts may be made.
#[derive(Clone, Copy)]
pub(crate) struct SortLimits {
    /// Bytes that postings may take, at least 8 x 2^window_bits.
    pub bytes: usize,
    pub window_bits: u32,
    pub num_docs: u32,
}

/// Collects postings in any order and gives them back sorted.
pub(crate) struct TermSorter<'a> {
    document_frequencies: &'a [u32],
    /// The first range of each term.
    first_range: Vec<u32>,
    /// Positions of a range of a term that has several.
    span: u32,
    /// Postings that fit in memory.
    capacity: u64,
    ranges: Vec<TermRange>,
    store: Store,
}

#[derive(Clone, Copy)]
struct TermRange {
    first_term: u32,
    end_term: u32,
    num_postings: u64,
}

enum Store {
    Memory(SortedRange),
    Disk(Dealer),
}

/// Postings of consecutive terms, sorted by term and, once finished, position.
pub(crate) struct SortedRange {
    first_term: u32,
    /// Where each term's postings begin, and the end; while filling, where its next posting goes.
    starts: Vec<usize>,
    /// Position and impact, packed so that they sort by position.
    slots: Vec<u64>,
}

impl<'a> TermSorter<'a> {
    /// Plans ranges for terms with `document_frequencies`.
    pub(crate) fn new(document_frequencies: &'a [u32], limits: SortLimits, dir: &Path) -> Result<Self, Error> {
        let capacity = (limits.bytes / size_of::<u64>()) as u64;
        let windows = (capacity >> limits.window_bits).clamp(1, u64::from(u32::MAX >> limits.window_bits));
        let span = u32::try_from(windows << limits.window_bits).expect("clamped to 32 bits");
        let mut first_range = Vec::with_capacity(document_frequencies.len());
        let mut ranges: Vec<TermRange> = Vec::new();
        for (term, &df) in (0u32..).zip(document_frequencies) {
            let df = u64::from(df);
            let parts = if df > capacity {
                limits.num_docs.div_ceil(span)
            } else {
                0
            };
            let open = ranges
                .last_mut()
                .filter(|range| parts == 0 && range.num_postings + df <= capacity);
            if let Some(range) = open {
                range.end_term = term + 1;
                range.num_postings += df;
                first_range.push(num_ranges(&ranges) - 1);
                continue;
            }
            first_range.push(num_ranges(&ranges));
            // Parts of one term count as full, so that the next term opens a range of its own.
            let num_postings = if parts > 0 { capacity + 1 } else { df };
            ranges.extend((0..parts.max(1)).map(|_| TermRange {
                first_term: term,
                end_term: term + 1,
                num_postings,
            }));
        }
        let store = match ranges.as_slice() {
            [] => Store::Memory(SortedRange::new(0, &[])),
            [_] => Store::Memory(SortedRange::new(0, document_frequencies)),
            several => Store::Disk(Dealer::new(dir, several.len(), limits.bytes)?),
        };
        Ok(Self {
            document_frequencies,
            first_range,
            span,
            capacity,
            ranges,
            store,
        })
    }

    /// Takes one posting.
    #[inline]
    pub(crate) fn push(&mut self, term: TermId, position: u32, impact: Impact) -> Result<(), Error> {
        match &mut self.store {
            Store::Memory(range) => {
                range.push(term.get(), position, impact.get());
                Ok(())
            }
            Store::Disk(dealer) => {
                let split = u64::from(self.document_frequencies[term.index()]) > self.capacity;
                let part = if split { position / self.span } else { 0 };
                let range = (self.first_range[term.index()] + part) as usize;
                dealer.push(range, term.get(), position, impact.get())
            }
        }
    }

    /// Hands every range to `take`, sorted, in ascending order of term and position.
    ///
    /// A term may continue in the next range, at a later window.
    pub(crate) fn finish(
        self,
        ascending: bool,
        mut take: impl FnMut(&SortedRange) -> Result<(), Error>,
    ) -> Result<SpillStats, Error> {
        match self.store {
            Store::Memory(mut range) => {
                range.finish(ascending);
                take(&range)?;
                Ok(SpillStats::default())
            }
            Store::Disk(mut dealer) => {
                dealer.flush_all()?;
                for (at, range) in self.ranges.iter().enumerate() {
                    let counts = &self.document_frequencies[range.first_term as usize..range.end_term as usize];
                    let part = [u32::try_from(dealer.counts[at]).unwrap_or(u32::MAX)];
                    let split = range.num_postings > self.capacity;
                    let mut sorted = SortedRange::new(range.first_term, if split { &part } else { counts });
                    dealer.read(at, |term, position, impact| sorted.push(term, position, impact))?;
                    sorted.finish(ascending);
                    take(&sorted)?;
                }
                Ok(dealer.stats)
            }
        }
    }
}

fn num_ranges(ranges: &[TermRange]) -> u32 {
    u32::try_from(ranges.len()).expect("at most a range a term, or a window")
}

impl SortedRange {
    /// Room for `counts[i]` postings of term `first_term + i`.
    fn new(first_term: u32, counts: &[u32]) -> Self {
        let mut starts = Vec::with_capacity(counts.len() + 1);
        let mut next = 0;
        for &count in counts {
            starts.push(next);
            next += count as usize;
        }
        starts.push(next);
        Self {
            first_term,
            starts,
            slots: vec![0; next],
        }
    }

    #[inline]
    fn push(&mut self, term: u32, position: u32, impact: u8) {
        let next = &mut self.starts[(term - self.first_term) as usize];
        self.slots[*next] = u64::from(position) << 8 | u64::from(impact);
        *next += 1;
    }

    /// Turns next places back into first ones, and sorts by position where documents came in another order.
    fn finish(&mut self, ascending: bool) {
        self.starts.rotate_right(1);
        // The end of all, which was last, is the start of the first term.
        self.starts[0] = 0;
        if ascending {
            return;
        }
        let mut rest = self.slots.as_mut_slice();
        let mut parts = Vec::with_capacity(self.starts.len());
        for pair in self.starts.windows(2) {
            let (part, after) = rest.split_at_mut(pair[1] - pair[0]);
            parts.push(part);
            rest = after;
        }
        parts.into_par_iter().for_each(<[u64]>::sort_unstable);
    }

    /// Each term with its postings, packed as position x 256 + impact.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (u32, &[u64])> + '_ {
        let lists = self.starts.windows(2).map(|pair| &self.slots[pair[0]..pair[1]]);
        (self.first_term..).zip(lists)
    }
}

/// Deals postings out to ranges within one file: each range has a buffer, and a list of where its full ones went.
struct Dealer {
    temp: TempFile,
    buffers: Vec<Vec<u8>>,
    extents: Vec<Vec<(u64, usize)>>,
    counts: Vec<u64>,
    buffer_bytes: usize,
    stats: SpillStats,
}

impl Dealer {
    fn new(dir: &Path, num_ranges: usize, bytes: usize) -> Result<Self, Error> {
        Ok(Self {
            temp: TempFile::create(dir)?,
            buffers: vec![Vec::new(); num_ranges],
            extents: vec![Vec::new(); num_ranges],
            counts: vec![0; num_ranges],
            buffer_bytes: (bytes / num_ranges).clamp(64 * RECORD_BYTES, 1 << 20),
            stats: SpillStats::default(),
        })
    }

    fn push(&mut self, range: usize, term: u32, position: u32, impact: u8) -> Result<(), Error> {
        if self.buffers[range].len() + RECORD_BYTES > self.buffer_bytes {
            self.flush(range)?;
        }
        let buffer = &mut self.buffers[range];
        if buffer.capacity() == 0 {
            buffer.reserve_exact(self.buffer_bytes);
        }
        buffer.extend_from_slice(&term.to_le_bytes());
        buffer.extend_from_slice(&position.to_le_bytes());
        buffer.push(impact);
        self.counts[range] += 1;
        Ok(())
    }

    fn flush(&mut self, range: usize) -> Result<(), Error> {
        let buffer = &mut self.buffers[range];
        self.temp.file.write_all(buffer).map_err(Error::io(&self.temp.path))?;
        self.extents[range].push((self.stats.bytes, buffer.len()));
        self.stats.bytes += buffer.len() as u64;
        self.stats.runs += 1;
        buffer.clear();
        Ok(())
    }

    fn flush_all(&mut self) -> Result<(), Error> {
        for range in 0..self.buffers.len() {
            if !self.buffers[range].is_empty() {
                self.flush(range)?;
            }
        }
        self.buffers = Vec::new();
        Ok(())
    }

    /// Gives every posting of `range` in the order in which it came.
    fn read(&mut self, range: usize, mut take: impl FnMut(u32, u32, u8)) -> Result<(), Error> {
        let mut buffer = Vec::new();
        let path: &PathBuf = &self.temp.path;
        for &(offset, len) in &self.extents[range] {
            buffer.resize(len, 0);
            let file = &mut self.temp.file;
            file.seek(SeekFrom::Start(offset)).map_err(Error::io(path))?;
            file.read_exact(&mut buffer).map_err(Error::io(path))?;
            for record in buffer.chunks_exact(RECORD_BYTES) {
                let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
                take(word(0), word(4), record[8]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_the_same_within_any_memory(
            documents in prop::collection::vec(prop::collection::btree_map(0u32..6, 1u8..=255, 0..6), 0..600),
            bytes in 2048usize..8000,
            backwards in any::<bool>(),
        ) {
            let num_docs = u32::try_from(documents.len()).expect("few");
            let mut expected: Vec<(u32, u64)> = Vec::new();
            let mut frequencies = [0; 6];
            for (doc, document) in (0u32..).zip(&documents) {
                let position = if backwards { num_docs - 1 - doc } else { doc };
                for (&term, &impact) in document {
                    expected.push((term, u64::from(position) << 8 | u64::from(impact)));
                    frequencies[term as usize] += 1;
                }
            }
            let dir = tempfile::tempdir().expect("a folder");
            let limits = SortLimits { bytes, window_bits: 8, num_docs };
            let mut sorter = TermSorter::new(&frequencies, limits, dir.path()).expect("a plan");
            for &(term, slot) in &expected {
                let impact = Impact::new(slot.to_le_bytes()[0]).expect("positive");
                let position = u32::try_from(slot >> 8).expect("few");
                sorter.push(TermId::new(term), position, impact).expect("room");
            }
            let mut found = Vec::new();
            sorter.finish(!backwards, |range| {
                assert!(range.slots.len() * 8 <= bytes, "a range fits the limit");
                found.extend(range.terms().flat_map(|(term, slots)| slots.iter().map(move |&slot| (term, slot))));
                Ok(())
            }).expect("readable");
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
