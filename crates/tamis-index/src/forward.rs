//! The forward index: the terms and impacts of each document, by document id.
//!
//! A record is the number of terms as a LEB128 varint and, unless that is 0, a byte with two Rice
//! parameters (five bits for terms, three for impacts) followed by one bit stream: for each term in
//! ascending order its distance from the one before (minus 1; the first one as it is), then its impact
//! minus 1. Records are found by `bases[doc >> 10] + starts[doc]`.

use crate::bits::{BitReader, BitWriter, MAX_PARAMETER, best_parameter};
use std::iter::FusedIterator;
use tamis_core::{Impact, TermId};

/// Documents that share a base offset, as a shift.
pub(crate) const BASE_BITS: u32 = 10;

/// The largest Rice parameter of impacts.
const MAX_IMPACT_PARAMETER: u32 = 7;

/// Zero bytes after the last record, so that loads of 8 bytes stay inside the section.
pub(crate) const TAIL_BYTES: usize = 8;

/// The terms of one document with their impacts, by ascending term.
#[derive(Clone, Debug)]
pub struct ForwardDoc<'a> {
    bits: BitReader<'a>,
    /// The smallest term that the next one can be.
    floor: u32,
    remaining: u32,
    term_parameter: u32,
    impact_parameter: u32,
    num_header_bytes: u8,
}

impl<'a> ForwardDoc<'a> {
    /// Starts reading the record at the front of `bytes`; `None` when they end too early for it.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (mut remaining, mut at) = (0u32, 0usize);
        loop {
            let byte = *bytes.get(at)?;
            let part = u32::from(byte & 0x7f);
            remaining |= part.checked_shl(7 * u32::try_from(at).ok()?)?;
            at += 1;
            if byte < 0x80 {
                break;
            }
        }
        let parameters = if remaining == 0 { 0 } else { *bytes.get(at)? };
        at += usize::from(remaining > 0);
        // Every posting takes two bits at least, so a count cannot promise more than the bytes can hold.
        if remaining as usize > (bytes.len() - at) * 4 {
            return None;
        }
        Some(Self {
            bits: BitReader::new(&bytes[at..]),
            floor: 0,
            remaining,
            term_parameter: u32::from(parameters) & MAX_PARAMETER,
            impact_parameter: u32::from(parameters >> 5),
            num_header_bytes: u8::try_from(at).ok()?,
        })
    }

    /// Bytes of the record that were begun.
    pub(crate) fn num_bytes(&self) -> usize {
        usize::from(self.num_header_bytes) + self.bits.num_bytes()
    }
}

impl Iterator for ForwardDoc<'_> {
    type Item = (TermId, Impact);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let (gap, impact) = self.bits.rice_pair(self.term_parameter, self.impact_parameter)?;
        let term = self.floor.checked_add(gap)?;
        let impact = u8::try_from(impact).ok()?.checked_add(1)?;
        self.floor = term.checked_add(1)?;
        self.remaining -= 1;
        Some((TermId::new(term), Impact::new(impact)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining as usize, Some(self.remaining as usize))
    }
}

// The length is right because opening an index reads every record once to its end.
impl ExactSizeIterator for ForwardDoc<'_> {}
impl FusedIterator for ForwardDoc<'_> {}

/// Encodes records; keeps its buffers between documents.
#[derive(Default)]
pub(crate) struct ForwardEncoder {
    gaps: Vec<u32>,
    impacts: Vec<u32>,
}

impl ForwardEncoder {
    /// Appends the record of `postings`, whose terms are strictly ascending.
    pub(crate) fn encode(&mut self, postings: &[(TermId, Impact)], out: &mut Vec<u8>) {
        let mut count = postings.len();
        while count >= 0x80 {
            out.push(u8::try_from(count & 0x7f).expect("seven bits") | 0x80);
            count >>= 7;
        }
        out.push(u8::try_from(count).expect("seven bits"));
        if postings.is_empty() {
            return;
        }
        self.gaps.clear();
        self.impacts.clear();
        let mut floor = 0;
        for &(term, impact) in postings {
            self.gaps.push(term.get() - floor);
            self.impacts.push(u32::from(impact.get()) - 1);
            floor = term.get() + 1;
        }
        let term_parameter = best_parameter(&self.gaps, MAX_PARAMETER);
        let impact_parameter = best_parameter(&self.impacts, MAX_IMPACT_PARAMETER);
        out.push(u8::try_from(term_parameter | impact_parameter << 5).expect("five bits and three"));
        let mut bits = BitWriter::new(out);
        for (&gap, &impact) in self.gaps.iter().zip(&self.impacts) {
            bits.rice(gap, term_parameter);
            bits.rice(impact, impact_parameter);
        }
        bits.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn gives_back_what_was_encoded(document in prop::collection::btree_map(0u32..1 << 20, 1u8..=255, 0..200)) {
            let postings: Vec<_> = document
                .iter()
                .map(|(&term, &impact)| (TermId::new(term), Impact::new(impact).expect("positive")))
                .collect();
            let mut bytes = Vec::new();
            ForwardEncoder::default().encode(&postings, &mut bytes);
            let read = ForwardDoc::new(&bytes).expect("own bytes");
            prop_assert_eq!(read.len(), postings.len());
            prop_assert_eq!(read.collect::<Vec<_>>(), postings);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(document) = ForwardDoc::new(&bytes) {
                let terms: BTreeMap<_, _> = document.clone().collect();
                prop_assert_eq!(terms.len(), document.count(), "terms ascend");
            }
        }
    }
}
