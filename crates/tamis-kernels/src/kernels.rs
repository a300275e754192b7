//! The choice of an instruction set, and the kernels under their one name each.

use crate::scalar;
#[cfg(target_arch = "x86_64")]
use crate::{avx2, avx512};
use std::fmt;
use std::sync::OnceLock;

/// An instruction set that kernels are written for, narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust: the reference.
    Scalar,
    /// 256-bit vectors, with fused multiply-add.
    Avx2,
    /// 512-bit vectors (F, BW, DQ and VL) with mask registers.
    Avx512,
    /// The same with VNNI: products of 8 and 16 bits added to sums of 32 in one instruction.
    Avx512Vnni,
}

impl Isa {
    const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Avx512Vnni];

    /// The name that `TAMIS_KERNELS` knows it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
        }
    }

    fn is_supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            match self {
                Self::Scalar => true,
                Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
                Self::Avx512 => {
                    is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vl")
                        && Self::Avx2.is_supported()
                }
                Self::Avx512Vnni => Self::Avx512.is_supported() && is_x86_feature_detected!("avx512vnni"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Scalar
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernels of one instruction set that this processor has: a value of this type exists only for
/// those, which is what makes its methods safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    isa: Isa,
}

/// A column of bytes that is added to sums, times a weight.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// One byte for every sum; more are ignored.
    pub bytes: &'a [u8],
    /// At most 32,767.
    pub weight: u16,
}

/// A sum that reached a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where it stood in the slice, plus the caller's base.
    pub position: u32,
    /// The sum.
    pub sum: u32,
}

/// Sums that share a bound.
pub const BLOCK_SUMS: usize = 64;

/// Asks the processor to fetch the first `max_lines` cache lines of `slice`; does nothing else.
#[inline]
pub fn prefetch<T>(slice: &[T], max_lines: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = slice.as_ptr().cast::<i8>();
        for line in 0..size_of_val(slice).div_ceil(LINE_BYTES).min(max_lines) {
            // SAFETY: a prefetch reads nothing and never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line * LINE_BYTES)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, max_lines);
}

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// The kernels to use in this process.
pub fn active() -> Kernels {
    static ACTIVE: OnceLock<Kernels> = OnceLock::new();
    *ACTIVE.get_or_init(|| Kernels::choose(std::env::var("TAMIS_KERNELS").ok().as_deref()))
}

macro_rules! dispatch {
    ($kernels:expr, $name:ident($($argument:expr),*)) => {
        match $kernels.isa {
            // SAFETY: `Kernels` of this instruction set are made only after the processor reported it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx512 => unsafe { avx512::$name($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::$name($($argument),*) },
            _ => scalar::$name($($argument),*),
        }
    };
}

impl Kernels {
    /// The kernels of every instruction set that this processor has, narrowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Isa::ALL
            .into_iter()
            .filter(|isa| isa.is_supported())
            .map(|isa| Self { isa })
    }

    /// The widest available, or the one asked for by name if it is available.
    fn choose(asked: Option<&str>) -> Self {
        let named = Self::available().find(|kernels| Some(kernels.isa.name()) == asked);
        named
            .or_else(|| Self::available().last())
            .unwrap_or(Self { isa: Isa::Scalar })
    }

    /// The instruction set.
    #[must_use]
    pub const fn isa(self) -> Isa {
        self.isa
    }

    /// Adds `impacts[i] * weight` to `sums[ids[i]]` for every `i`: one posting list.
    ///
    /// `N` is a power of two; ids are taken modulo `N`, so every id has a sum and none is checked.
    /// Where one of the lists is longer its rest is ignored. One implementation serves every
    /// instruction set: the sums lie apart, and are loaded and stored one by one.
    pub fn accumulate_list<const N: usize>(self, sums: &mut [u32; N], ids: &[u16], impacts: &[u8], weight: u32) {
        scalar::accumulate_list(sums, ids, impacts, weight);
    }

    /// Adds `bytes[i] * weight` of every column to `sums[i]`, reading and writing each sum once for
    /// up to eight columns.
    ///
    /// # Panics
    /// When a column is shorter than `sums` or its weight is above 32,767.
    pub fn accumulate_columns(self, sums: &mut [u32], columns: &[Column<'_>]) {
        for column in columns {
            assert!(column.bytes.len() >= sums.len(), "a column has a byte for every sum");
            assert!(column.weight <= i16::MAX.unsigned_abs(), "weights fit in 15 bits");
        }
        dispatch!(self, accumulate_columns(sums, columns));
    }

    /// Appends to `found`, in order, every sum of at least `threshold`; positions count from `base`.
    pub fn find_at_least(self, sums: &[u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
        dispatch!(self, find_at_least(sums, threshold, base, found));
    }

    /// As [`Kernels::find_at_least`], and sets all sums to zero on the way.
    pub fn drain_at_least(self, sums: &mut [u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
        dispatch!(self, drain_at_least(sums, threshold, base, found));
    }

    /// How many sums are at least `threshold`.
    #[must_use]
    pub fn count_at_least(self, sums: &[u32], threshold: u32) -> usize {
        dispatch!(self, count_at_least(sums, threshold))
    }

    /// Adds to every bound of at least `at_least` the largest of its [`BLOCK_SUMS`] sums; bound `i` owns
    /// the sums from `i * BLOCK_SUMS` on.
    ///
    /// # Panics
    /// When there are fewer sums than the bounds own.
    pub fn add_block_maxima(self, bounds: &mut [u32], sums: &[u32], at_least: u32) {
        let blocks = &sums.as_chunks().0[..bounds.len()];
        dispatch!(self, add_block_maxima(bounds, blocks, at_least));
    }

    /// Sets to zero every sum whose bit in `mask` is not set (bit `i % 64` of word `i / 64`).
    ///
    /// # Panics
    /// When the mask has fewer bits than there are sums.
    pub fn keep_masked(self, sums: &mut [u32], mask: &[u64]) {
        assert!(mask.len() * 64 >= sums.len(), "the mask has a bit for every sum");
        dispatch!(self, keep_masked(sums, mask));
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.isa.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice_follows_the_name_and_falls_back_to_the_widest() {
        let widest = Kernels::available().last().expect("scalar is always there");
        assert_eq!(Kernels::choose(Some("scalar")).isa(), Isa::Scalar);
        assert_eq!(Kernels::choose(Some("nonsense")), widest);
        assert_eq!(Kernels::choose(None), widest);
        assert!(Kernels::available().any(|kernels| kernels == active()));
    }
}
