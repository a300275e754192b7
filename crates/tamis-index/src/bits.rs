//! Golomb-Rice codes in a stream of bits, least significant first.
//!
//! A value `v` with parameter `k` is `v >> k` zeros, a one, and the low `k` bits of `v` (Rice, "Some
//! practical universal noiseless coding techniques", JPL 79-22, 1979).

/// The largest Rice parameter, so that a remainder and its marker fit one load.
pub(crate) const MAX_PARAMETER: u32 = 31;

/// Bits that one load is sure to hold.
const LOADED: u32 = 56;

/// Number of bits of `values` under parameter `k`.
pub(crate) fn rice_len(values: &[u32], k: u32) -> u64 {
    let unary: u64 = values.iter().map(|&value| u64::from(value >> k)).sum();
    unary + values.len() as u64 * u64::from(k + 1)
}

/// The parameter up to `max` that codes `values` shortest, the smallest of equals.
pub(crate) fn best_parameter(values: &[u32], max: u32) -> u32 {
    let sum: u64 = values.iter().map(|&value| u64::from(value)).sum();
    let mean = sum / (values.len() as u64).max(1);
    // The best parameter of geometric values is log2(0.69 mean); skewed ones want less.
    let near = mean.checked_ilog2().unwrap_or(0);
    (near.saturating_sub(3).min(max)..=near.min(max))
        .min_by_key(|&k| rice_len(values, k))
        .unwrap_or(0)
}

/// Appends codes to bytes.
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    num_pending: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            pending: 0,
            num_pending: 0,
        }
    }

    pub(crate) fn rice(&mut self, value: u32, k: u32) {
        let mut zeros = value >> k;
        while zeros > 0 {
            let step = zeros.min(32);
            self.bits(0, step);
            zeros -= step;
        }
        self.bits(1, 1);
        self.bits(u64::from(value) & ((1 << k) - 1), k);
    }

    /// Appends the low `num` bits of `bits`, at most 32; the others are zero.
    fn bits(&mut self, bits: u64, num: u32) {
        self.pending |= bits << self.num_pending;
        self.num_pending += num;
        if self.num_pending >= 32 {
            let word = self.pending.to_le_bytes();
            self.out.extend_from_slice(&word[..4]);
            self.pending >>= 32;
            self.num_pending -= 32;
        }
    }

    /// Pads with zeros to a whole byte.
    pub(crate) fn finish(self) {
        let num_bytes = self.num_pending.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..num_bytes]);
    }
}

/// Reads codes; total: any bytes give values or the end, never a panic.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    bit: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, bit: 0 }
    }

    /// Bytes that were begun.
    pub(crate) fn num_bytes(&self) -> usize {
        self.bit.div_ceil(8)
    }

    /// At least 56 bits from the cursor on, zeros after the end.
    #[inline]
    fn load(&self) -> u64 {
        let at = self.bit / 8;
        let word = match self.bytes.get(at..at + 8) {
            Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("eight bytes")),
            None => self.load_tail(at),
        };
        word >> (self.bit % 8)
    }

    #[cold]
    fn load_tail(&self, at: usize) -> u64 {
        let tail = self.bytes.get(at..).unwrap_or_default();
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        u64::from_le_bytes(word)
    }

    /// The next value of parameter `first`, and the one of parameter `second` behind it; `None` as for [`Self::rice`].
    #[inline]
    pub(crate) fn rice_pair(&mut self, first: u32, second: u32) -> Option<(u32, u32)> {
        // Nearly always one load holds both codes.
        let word = self.load();
        let first_zeros = word.trailing_zeros();
        let first_len = first_zeros + 1 + first;
        if first_len < LOADED {
            let rest = word >> first_len;
            let second_zeros = rest.trailing_zeros();
            let len = first_len + second_zeros + 1 + second;
            if len <= LOADED {
                self.bit += len as usize;
                let value =
                    |zeros: u32, code: u64, k: u32| u64::from(zeros) << k | (code >> (zeros + 1) & ((1 << k) - 1));
                let values = (value(first_zeros, word, first), value(second_zeros, rest, second));
                return Some((u32::try_from(values.0).ok()?, u32::try_from(values.1).ok()?));
            }
        }
        Some((self.rice(first)?, self.rice(second)?))
    }

    /// The next value of parameter `k`; `None` when the bytes end before its marker, or it is above 32 bits.
    #[inline]
    pub(crate) fn rice(&mut self, k: u32) -> Option<u32> {
        let mut quotient = 0u64;
        let mut word = self.load();
        let mut zeros = word.trailing_zeros();
        while zeros >= LOADED {
            if self.bit >= self.bytes.len() * 8 {
                return None;
            }
            quotient += u64::from(LOADED);
            self.bit += LOADED as usize;
            word = self.load();
            zeros = word.trailing_zeros();
        }
        quotient += u64::from(zeros);
        let marked = zeros + 1;
        let remainder = if marked + k <= LOADED {
            self.bit += (marked + k) as usize;
            word >> marked
        } else {
            self.bit += marked as usize;
            let word = self.load();
            self.bit += k as usize;
            word
        };
        let high = u32::try_from(quotient).ok().filter(|&high| high <= u32::MAX >> k)?;
        let low = u32::try_from(remainder & ((1 << k) - 1)).expect("below 2^31");
        Some(high << k | low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gives_back_what_was_written(codes in prop::collection::vec((0u32..5000, 0u32..=12), 0..80), big in any::<u32>()) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for &(value, k) in &codes {
                writer.rice(value, k);
            }
            writer.rice(big, 24);
            writer.finish();
            let expected: u64 = codes.iter().map(|&(value, k)| rice_len(&[value], k)).sum::<u64>() + rice_len(&[big], 24);
            prop_assert_eq!(bytes.len() as u64, expected.div_ceil(8));
            let mut reader = BitReader::new(&bytes);
            for &(value, k) in &codes {
                prop_assert_eq!(reader.rice(k), Some(value));
            }
            prop_assert_eq!(reader.rice(24), Some(big));
            prop_assert_eq!(reader.num_bytes(), bytes.len());
        }

        #[test]
        fn pairs_are_two_values(bytes in prop::collection::vec(any::<u8>(), 0..60), k in (0u32..=31, 0u32..=7)) {
            let (mut paired, mut single) = (BitReader::new(&bytes), BitReader::new(&bytes));
            loop {
                let expected = single.rice(k.0).and_then(|first| Some((first, single.rice(k.1)?)));
                prop_assert_eq!(paired.rice_pair(k.0, k.1), expected);
                if expected.is_none() {
                    break;
                }
                prop_assert_eq!(paired.bit, single.bit);
            }
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..40), k in 0..=MAX_PARAMETER) {
            let mut reader = BitReader::new(&bytes);
            let num = std::iter::from_fn(|| reader.rice(k)).count();
            prop_assert!(num <= bytes.len() * 8);
        }

        #[test]
        fn the_chosen_parameter_is_hardly_beaten(values in prop::collection::vec(0u32..3000, 1..50)) {
            let chosen = rice_len(&values, best_parameter(&values, 20));
            let best = (0..=20).map(|k| rice_len(&values, k)).min().expect("not empty");
            prop_assert!(chosen <= best + best / 4, "{} against {}", chosen, best);
        }
    }
}
