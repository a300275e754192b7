//! A set of blocks of one window.

use crate::scratch::WINDOW_BLOCKS;

/// log2 of the positions in a block.
pub(crate) const BLOCK_BITS: u32 = 6;

/// Positions in a block: one word of a mask.
pub(crate) const BLOCK_POSITIONS: usize = 1 << BLOCK_BITS;

/// A set of blocks of one window: 1,024 bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockSet {
    words: [u64; WINDOW_BLOCKS / 64],
}

impl BlockSet {
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    pub(crate) fn insert(&mut self, block: u16) {
        self.words[usize::from(block >> 6) % (WINDOW_BLOCKS / 64)] |= 1 << (block & 63);
    }

    pub(crate) fn contains(&self, block: u16) -> bool {
        self.words[usize::from(block >> 6) % (WINDOW_BLOCKS / 64)] >> (block & 63) & 1 == 1
    }

    /// The blocks from `64 * word` on, as bits.
    pub(crate) fn word(&self, word: usize) -> u64 {
        self.words[word]
    }

    /// The blocks, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words
            .iter()
            .enumerate()
            .flat_map(|(at, &word)| bits(word).map(move |bit| at * 64 + bit))
    }
}

/// The places of the set bits, ascending.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            bit
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_first_and_the_last_block() {
        let mut set = BlockSet::default();
        for block in [0, 63, 64, 1023] {
            set.insert(block);
        }
        assert!(set.iter().eq([0, 63, 64, 1023]));
        assert!(set.contains(64) && !set.contains(65));
        assert_eq!(set.word(15), 1 << 63);
        set.clear();
        assert_eq!(set.iter().count(), 0);
    }
}
