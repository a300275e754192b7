//! The stored form of one term's postings in one window.

use crate::layout::{BLOCK_BITS, BLOCK_LEN, BlockForm, COLUMN_ALIGNMENT, DENSE_FACTOR, ListRecord};

/// Shorter lists have no block maxima: probing them costs less than reading maxima.
const MIN_BLOCKED: usize = 32;

/// Block maxima are kept where blocks have at least this many postings on average.
const MIN_POSTINGS_PER_BLOCK: usize = 2;

/// Appends to section `postings`; keeps its buffers between lists.
#[derive(Default)]
pub(crate) struct ListEncoder {
    bytes: Vec<u8>,
    blocks: Vec<u16>,
    starts: Vec<u16>,
    maxima: Vec<u8>,
}

/// One list, encoded.
pub(crate) struct EncodedList<'a> {
    pub record: ListRecord,
    /// What follows in the section, alignment included.
    pub bytes: &'a [u8],
    pub num_block_bytes: usize,
}

impl ListEncoder {
    /// Encodes `slots` (position x 256 + impact, positions of window `window` ascending, at least one) for a
    /// section that is `offset` bytes long.
    pub(crate) fn encode(&mut self, slots: &[u64], window: Window, offset: u64) -> EncodedList<'_> {
        let num_docs = u32::try_from(slots.len()).expect("at most a window");
        let dense = u64::from(num_docs) * u64::from(DENSE_FACTOR) > u64::from(window.len);
        let alignment = if dense { COLUMN_ALIGNMENT } else { 2 };
        let start = offset.next_multiple_of(alignment);
        let padding = usize::try_from(start - offset).expect("below the alignment");
        self.bytes.clear();
        self.bytes.resize(padding, 0);
        self.find_blocks(slots, window);
        let (blocks, postings_end) = if dense {
            self.push_column(slots, window);
            let end = self.bytes.len();
            self.push_row(window, None);
            (BlockForm::Row, end)
        } else {
            self.push_list(slots, window);
            let end = self.bytes.len();
            let form = self.block_form(slots.len(), window);
            match form {
                BlockForm::None => {}
                BlockForm::Sparse => self.push_sparse_blocks(),
                BlockForm::Row => self.push_row(window, u16::try_from(slots.len()).ok()),
            }
            (form, end)
        };
        let num_blocks = if blocks == BlockForm::None {
            0
        } else {
            self.blocks.len()
        };
        let record = ListRecord {
            window: window.number,
            offset: start,
            num_docs,
            num_blocks: u16::try_from(num_blocks).expect("at most 1,024"),
            max_impact: self.maxima.iter().copied().max().unwrap_or(0),
            dense,
            blocks,
        };
        EncodedList {
            record,
            num_block_bytes: self.bytes.len() - postings_end,
            bytes: &self.bytes,
        }
    }

    fn find_blocks(&mut self, slots: &[u64], window: Window) {
        self.blocks.clear();
        self.starts.clear();
        self.maxima.clear();
        for (at, &slot) in slots.iter().enumerate() {
            let (id, impact) = window.local(slot);
            if self.blocks.last() == Some(&(id >> BLOCK_BITS)) {
                let maximum = self.maxima.last_mut().expect("as many maxima as blocks");
                *maximum = impact.max(*maximum);
            } else {
                self.blocks.push(id >> BLOCK_BITS);
                // Of a full dense window only the last start could be above 16 bits, and it has a block before it.
                self.starts
                    .push(u16::try_from(at).expect("a block starts below 65,536"));
                self.maxima.push(impact);
            }
        }
    }

    fn block_form(&self, num_postings: usize, window: Window) -> BlockForm {
        let num_blocks = self.blocks.len();
        if num_postings < MIN_BLOCKED || num_postings < MIN_POSTINGS_PER_BLOCK * num_blocks {
            return BlockForm::None;
        }
        // A row takes 3 bytes a block of the window, otherwise 5 a block with postings.
        let row_bytes = 3 * window.num_blocks() + 2;
        if row_bytes <= 5 * num_blocks {
            BlockForm::Row
        } else {
            BlockForm::Sparse
        }
    }

    fn push_column(&mut self, slots: &[u64], window: Window) {
        let start = self.bytes.len();
        self.bytes.resize(start + (window.num_blocks() << BLOCK_BITS), 0);
        for &slot in slots {
            let (id, impact) = window.local(slot);
            self.bytes[start + usize::from(id)] = impact;
        }
    }

    fn push_list(&mut self, slots: &[u64], window: Window) {
        for &slot in slots {
            self.bytes.extend_from_slice(&window.local(slot).0.to_le_bytes());
        }
        self.bytes.extend(slots.iter().map(|&slot| window.local(slot).1));
        if slots.len() % 2 == 1 {
            self.bytes.push(0);
        }
    }

    fn push_sparse_blocks(&mut self) {
        for word in self.blocks.iter().chain(&self.starts) {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(&self.maxima);
    }

    /// A maximum for every block of the window; before them the starts of a list of `num_listed` postings.
    fn push_row(&mut self, window: Window, num_listed: Option<u16>) {
        if let Some(num_listed) = num_listed {
            let mut found = self.blocks.iter().zip(&self.starts).peekable();
            for block in 0..=window.num_blocks() {
                // An empty block starts where the next one with postings does.
                while found.next_if(|&(&other, _)| usize::from(other) < block).is_some() {}
                let start = found.peek().map_or(num_listed, |&(_, &start)| start);
                self.bytes.extend_from_slice(&start.to_le_bytes());
            }
        }
        let first = self.bytes.len();
        self.bytes.resize(first + window.num_blocks(), 0);
        for (&block, &maximum) in self.blocks.iter().zip(&self.maxima) {
            self.bytes[first + usize::from(block)] = maximum;
        }
    }
}

/// One window of an index.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub number: u32,
    /// Its first position.
    pub start: u64,
    /// Number of its positions.
    pub len: u32,
}

impl Window {
    fn num_blocks(self) -> usize {
        self.len.div_ceil(BLOCK_LEN) as usize
    }

    /// A packed posting as position within the window and impact.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a window has at most 2^16 positions, impacts are 8 bits"
    )]
    fn local(self, slot: u64) -> (u16, u8) {
        (((slot >> 8) - self.start) as u16, slot as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postings::{Blocks, Postings, view};
    use crate::validate::check_window;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn encode(postings: &BTreeMap<u16, u8>, len: u32, offset: u64) -> (ListRecord, Vec<u8>) {
        let window = Window {
            number: 3,
            start: 1 << 20,
            len,
        };
        let slots: Vec<u64> = postings
            .iter()
            .map(|(&id, &impact)| (window.start + u64::from(id)) << 8 | u64::from(impact))
            .collect();
        let mut encoder = ListEncoder::default();
        let encoded = encoder.encode(&slots, window, offset);
        let mut section = vec![0; usize::try_from(offset).expect("small")];
        section.extend_from_slice(encoded.bytes);
        (encoded.record, section)
    }

    fn round_trip(postings: &BTreeMap<u16, u8>, len: u32, offset: u64) -> Blocks<'static> {
        let (record, section) = encode(postings, len, offset);
        let aligned: Vec<u64> = vec![0; section.len().div_ceil(8)];
        let mut aligned = aligned;
        bytemuck::cast_slice_mut::<u64, u8>(&mut aligned)[..section.len()].copy_from_slice(&section);
        let section: &'static [u64] = Vec::leak(aligned);
        let window = view(&record, len, bytemuck::cast_slice(section)).expect("inside");
        check_window(&window, len, &mut [0; 256]).expect("sound");
        let found: BTreeMap<u16, u8> = match window.postings {
            Postings::List { ids, impacts } => ids.iter().copied().zip(impacts.iter().copied()).collect(),
            Postings::Dense { column } => (0..=u16::MAX)
                .zip(column.iter().copied())
                .filter(|&(_, impact)| impact > 0)
                .collect(),
        };
        assert_eq!(&found, postings);
        assert_eq!(window.num_docs as usize, postings.len());
        window.blocks
    }

    #[test]
    fn chooses_the_form_that_pays() {
        let every = |step: u16, num: u16| (0..num).map(|at| (at * step, 7)).collect::<BTreeMap<u16, u8>>();
        assert!(matches!(round_trip(&every(1, 31), 65_536, 0), Blocks::None));
        assert!(matches!(
            round_trip(&every(1, 32), 65_536, 1),
            Blocks::Sparse { blocks: [0], .. }
        ));
        assert!(
            matches!(round_trip(&every(64, 1000), 65_536, 2), Blocks::None),
            "scattered"
        );
        assert!(matches!(
            round_trip(&every(10, 6500), 65_536, 3),
            Blocks::Dense { starts: [0, 7, ..], .. }
        ));
        assert!(matches!(
            round_trip(&every(7, 9000), 65_536, 3),
            Blocks::Dense { starts: [], .. }
        ));
        let full: BTreeMap<u16, u8> = (0..=u16::MAX).map(|id| (id, 255)).collect();
        assert!(matches!(round_trip(&full, 65_536, 5), Blocks::Dense { starts: [], .. }));
    }

    proptest! {
        #[test]
        fn gives_back_what_was_encoded(
            postings in prop::collection::btree_map(0u16..1000, 1u8..=255, 1..300),
            len in 1000u32..20_000,
            offset in 0u64..100,
        ) {
            round_trip(&postings, len, offset);
        }
    }
}
