//! Names and records of the sections: what `index/README.md` specifies, in one place.

use tamis_core::container::FileKind;

/// The kind of a stand-alone index file.
pub const FILE_KIND: FileKind = FileKind {
    name: *b"tamisidx",
    version: 1,
};

/// A block is `2^BLOCK_BITS` consecutive positions.
pub const BLOCK_BITS: u32 = 6;

/// Positions of a block.
pub const BLOCK_LEN: u32 = 1 << BLOCK_BITS;

/// The values of `k` for which the k-th largest impact of every term is stored.
pub const KTH_STORED: [usize; 3] = [10, 100, 1000];

/// Term ids are below this, so that the directory (12 bytes a term) stays below 1 GiB.
pub const MAX_TERMS: u32 = 1 << 26;

/// Documents of an index are fewer than this.
pub const MAX_DOCS: u32 = u32::MAX;

pub(crate) const META: &str = "meta";
pub(crate) const ORDER_DOCS: &str = "order.docs";
pub(crate) const ORDER_POSITIONS: &str = "order.positions";
pub(crate) const FORWARD: &str = "forward";
pub(crate) const FORWARD_BASES: &str = "forward.bases";
pub(crate) const FORWARD_STARTS: &str = "forward.starts";
pub(crate) const POSTINGS: &str = "postings";
pub(crate) const LISTS: &str = "lists";
pub(crate) const TERMS: &str = "terms";
pub(crate) const VOCABULARY: &str = "vocabulary";
pub(crate) const ID_ENDS: &str = "ids.ends";
pub(crate) const ID_TEXT: &str = "ids.text";

/// A window's share of a term is a dense column where `postings * DENSE_FACTOR` is above its positions.
pub(crate) const DENSE_FACTOR: u32 = 8;

/// Dense columns start at multiples of this in section `postings`.
pub(crate) const COLUMN_ALIGNMENT: u64 = 64;

/// Section `meta`: 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Meta {
    pub num_docs: u32,
    pub num_terms: u32,
    pub num_postings: u64,
    pub num_saturated: u64,
    pub window_bits: u32,
    pub step: f32,
    pub reordered: bool,
}

impl Meta {
    pub(crate) const BYTES: usize = 48;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.num_docs.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.num_terms.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.num_postings.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.num_saturated.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.window_bits.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.step.to_le_bytes());
        bytes[32..36].copy_from_slice(&u32::from(self.reordered).to_le_bytes());
        bytes[36..40].copy_from_slice(&BLOCK_BITS.to_le_bytes());
        bytes
    }

    /// Reads the record; `None` of another block size, an unknown flag or a non-zero reserve.
    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        (word(32) <= 1 && word(36) == BLOCK_BITS && long(40) == 0).then(|| Self {
            num_docs: word(0),
            num_terms: word(4),
            num_postings: long(8),
            num_saturated: long(16),
            window_bits: word(24),
            step: f32::from_bits(word(28)),
            reordered: word(32) == 1,
        })
    }
}

/// One of section `terms`, 12 bytes: a term's summary, and where its lists begin in section `lists`.
///
/// The record after the last term has only `first_list`, so a term's lists end where the next one's begin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TermRecord {
    pub first_list: u32,
    pub num_docs: u32,
    pub max_impact: u8,
    /// The 10th, 100th and 1000th largest impact, 0 where there are fewer postings.
    pub kth: [u8; 3],
}

pub(crate) type TermWords = [u32; 3];

impl TermRecord {
    pub(crate) fn to_words(self) -> TermWords {
        let [a, b, c] = self.kth;
        let maxima = u32::from_le_bytes([self.max_impact, a, b, c]);
        [self.first_list, self.num_docs, maxima]
    }

    #[inline]
    pub(crate) fn from_words([first_list, num_docs, maxima]: TermWords) -> Self {
        let [max_impact, a, b, c] = maxima.to_le_bytes();
        Self {
            first_list,
            num_docs,
            max_impact,
            kth: [a, b, c],
        }
    }
}

/// How the block maxima of a list are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockForm {
    None,
    Sparse,
    Row,
}

/// One of section `lists`, 16 bytes: what a term has in one window, and where in section `postings`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ListRecord {
    pub window: u32,
    /// Byte offset in section `postings`, below 2^48.
    pub offset: u64,
    /// 1 to 65,536.
    pub num_docs: u32,
    /// Blocks with a posting; 0 where none are stored.
    pub num_blocks: u16,
    pub max_impact: u8,
    pub dense: bool,
    pub blocks: BlockForm,
}

pub(crate) type ListWords = [u32; 4];

impl ListRecord {
    #[expect(clippy::cast_possible_truncation, reason = "the offset is cut into 32 and 16 bits")]
    pub(crate) fn to_words(self) -> ListWords {
        let form = match self.blocks {
            BlockForm::None => 0,
            BlockForm::Sparse => 1,
            BlockForm::Row => 2,
        };
        let kind = u32::from(self.dense) | form << 1;
        let high = (self.offset >> 32) as u32 & 0xffff;
        [
            self.window,
            self.offset as u32,
            high | (self.num_docs - 1) << 16,
            u32::from(self.num_blocks) | u32::from(self.max_impact) << 16 | kind << 24,
        ]
    }

    /// Reads a record; `None` of an unknown kind.
    #[inline]
    pub(crate) fn from_words([window, low, mid, high]: ListWords) -> Option<Self> {
        let kind = high >> 24;
        let blocks = match kind >> 1 {
            0 => BlockForm::None,
            1 => BlockForm::Sparse,
            2 => BlockForm::Row,
            _ => return None,
        };
        Some(Self {
            window,
            offset: u64::from(low) | u64::from(mid & 0xffff) << 32,
            num_docs: (mid >> 16) + 1,
            num_blocks: (high & 0xffff) as u16,
            max_impact: (high >> 16 & 0xff) as u8,
            dense: kind & 1 == 1,
            blocks,
        })
    }
}

/// Number of positions of window `window` in a collection of `num_docs`.
pub(crate) fn window_len(num_docs: u32, window_bits: u32, window: u32) -> u32 {
    let start = u64::from(window) << window_bits;
    let len = u64::from(num_docs).saturating_sub(start).min(1 << window_bits);
    u32::try_from(len).expect("at most 2^16")
}

/// Number of windows of `num_docs` documents.
pub(crate) fn num_windows(num_docs: u32, window_bits: u32) -> u32 {
    num_docs.div_ceil(1 << window_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip() {
        let meta = Meta {
            num_docs: 7,
            num_terms: 9,
            num_postings: 1 << 40,
            num_saturated: 3,
            window_bits: 12,
            step: 0.25,
            reordered: true,
        };
        assert_eq!(Meta::from_bytes(&meta.to_bytes()), Some(meta));
        let term = TermRecord {
            first_list: 5,
            num_docs: 1 << 30,
            max_impact: 255,
            kth: [9, 8, 7],
        };
        assert_eq!(TermRecord::from_words(term.to_words()), term);
        for (dense, blocks) in [
            (true, BlockForm::Row),
            (false, BlockForm::None),
            (false, BlockForm::Sparse),
        ] {
            let list = ListRecord {
                window: u32::MAX,
                offset: (1 << 48) - 1,
                num_docs: 65_536,
                num_blocks: 1024,
                max_impact: 200,
                dense,
                blocks,
            };
            assert_eq!(ListRecord::from_words(list.to_words()), Some(list));
        }
        assert_eq!(ListRecord::from_words([0, 0, 0, 6 << 24]), None);
    }

    #[test]
    fn the_last_window_is_short() {
        assert_eq!(num_windows(0, 8), 0);
        assert_eq!(num_windows(256, 8), 1);
        assert_eq!(num_windows(257, 8), 2);
        assert_eq!([0, 1, 2].map(|w| window_len(257, 8, w)), [256, 1, 0]);
        assert_eq!(num_windows(u32::MAX, 16), 65_536);
    }
}
