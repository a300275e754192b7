//! Documents as they were added, kept until the build is finished.

use crate::spill::{Spill, SpillReader, SpillStats};
use crate::{Error, Quantisation};
use std::path::Path;
use tamis_core::{Impact, Quantiser, TermId};

/// Documents in the order of adding. A record is its length in bytes (u32), then for each term the distance
/// from the one before (minus 1, as a LEB128 varint) and either its weight (f32) or its impact (u8).
pub(crate) struct Spool {
    spill: Spill,
    /// Raw weights are kept until the largest is known.
    raw: bool,
    record: Vec<u8>,
}

impl Spool {
    pub(crate) fn new(dir: &Path, limit: usize, quantisation: Quantisation) -> Self {
        Self {
            spill: Spill::new(dir, limit),
            raw: quantisation == Quantisation::Auto,
            record: Vec::new(),
        }
    }

    /// Appends a document with its raw weights.
    pub(crate) fn push_weights(&mut self, postings: impl Iterator<Item = (TermId, f32)>) -> Result<(), Error> {
        debug_assert!(self.raw, "the scale is not known yet");
        self.push(postings, |weight, record| {
            record.extend_from_slice(&weight.to_le_bytes())
        })
    }

    /// Appends a document with its impacts.
    pub(crate) fn push_impacts(&mut self, postings: impl Iterator<Item = (TermId, Impact)>) -> Result<(), Error> {
        debug_assert!(!self.raw, "the scale is known");
        self.push(postings, |impact, record| record.push(impact.get()))
    }

    fn push<T>(
        &mut self,
        postings: impl Iterator<Item = (TermId, T)>,
        encode: impl Fn(T, &mut Vec<u8>),
    ) -> Result<(), Error> {
        self.record.clear();
        self.record.extend_from_slice(&[0; 4]);
        let mut floor = 0;
        for (term, value) in postings {
            let mut gap = term.get() - floor;
            floor = term.get() + 1;
            while gap >= 0x80 {
                self.record.push(gap.to_le_bytes()[0] | 0x80);
                gap >>= 7;
            }
            self.record.push(gap.to_le_bytes()[0]);
            encode(value, &mut self.record);
        }
        let len = u32::try_from(self.record.len() - 4).expect("at most 2^26 terms of at most 8 bytes");
        self.record[..4].copy_from_slice(&len.to_le_bytes());
        self.spill.push(&self.record)
    }

    /// All documents from the first on, weights turned into impacts by `quantiser`.
    pub(crate) fn read(&mut self, quantiser: Quantiser) -> Result<SpoolReader<'_>, Error> {
        let raw = self.raw;
        Ok(SpoolReader {
            reader: self.spill.read()?,
            quantiser: raw.then_some(quantiser),
            record: Vec::new(),
        })
    }

    pub(crate) fn stats(&self) -> SpillStats {
        self.spill.stats()
    }
}

/// Reads documents one after the other.
pub(crate) struct SpoolReader<'a> {
    reader: SpillReader<'a>,
    /// Where weights are raw.
    quantiser: Option<Quantiser>,
    record: Vec<u8>,
}

impl SpoolReader<'_> {
    /// Puts the next document into `postings`, or gives `false` after the last.
    pub(crate) fn next(&mut self, postings: &mut Vec<(TermId, Impact)>) -> Result<bool, Error> {
        postings.clear();
        let mut len = [0; 4];
        if !self.reader.fill(&mut len)? {
            return Ok(false);
        }
        self.record.resize(u32::from_le_bytes(len) as usize, 0);
        self.reader.fill(&mut self.record)?;
        let mut bytes = self.record.as_slice();
        let mut floor = 0;
        while !bytes.is_empty() {
            let term = floor + varint(&mut bytes);
            floor = term + 1;
            let impact = match self.quantiser {
                Some(quantiser) => {
                    let weight = bytes.split_off(..4).expect("a weight follows its term");
                    quantiser.impact(f32::from_le_bytes(weight.try_into().expect("four bytes")))
                }
                None => Impact::new(*bytes.split_off_first().expect("an impact follows its term")).expect("above 0"),
            };
            postings.push((TermId::new(term), impact));
        }
        Ok(true)
    }
}

fn varint(bytes: &mut &[u8]) -> u32 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = *bytes.split_off_first().expect("records are whole");
        value |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}
