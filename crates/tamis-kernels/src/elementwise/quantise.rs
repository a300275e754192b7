//! Rows of activations as integers with a scale of their own.

use super::{fold, maximum, sum_of};
use crate::dense::{INT16_ACTIVATION, RowScale};

/// The scale of a row that cannot be quantised: it makes the whole product NaN.
const BROKEN: RowScale = RowScale {
    scale: f32::NAN,
    zero: 0,
};

/// Added to a number of magnitude below 2^22, it leaves the nearest whole number (ties to even) in the low bits.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// `x * factor` as the nearest whole number; never fused, so that all instruction sets quantise alike.
#[inline(always)]
pub(crate) fn nearest(x: f32, factor: f32) -> i32 {
    let bits = (x * factor + ROUND).to_bits();
    bits.wrapping_sub(ROUND.to_bits()).cast_signed()
}

/// Two signed values a word, the largest magnitude at [`INT16_ACTIVATION`].
#[inline(always)]
pub(super) fn int16<const FMA: bool>(row: &[f32], words: &mut [u32]) -> RowScale {
    if !is_finite(row) {
        return BROKEN;
    }
    let largest = maximum(row).max(-minimum(row));
    #[expect(clippy::cast_precision_loss, reason = "a small whole number")]
    let top = INT16_ACTIVATION as f32;
    let factor = top / largest;
    if !factor.is_finite() {
        // All values are zero, or so small that their products vanish.
        words.fill(0);
        return RowScale::default();
    }
    let low_half = |x: f32| nearest(x, factor).cast_unsigned() & 0xffff;
    let (pairs, rest) = row.as_chunks::<2>();
    for (word, pair) in words.iter_mut().zip(pairs) {
        *word = low_half(pair[0]) | low_half(pair[1]) << 16;
    }
    if let [last] = rest {
        words[pairs.len()] = low_half(*last);
    }
    RowScale {
        scale: largest / top,
        zero: 0,
    }
}

/// Four unsigned values a word, from 0 for the smallest (or for zero, if that is less) to `levels` for the largest.
#[inline(always)]
pub(super) fn int8<const FMA: bool>(row: &[f32], words: &mut [u32], levels: u8) -> RowScale {
    if !is_finite(row) {
        return BROKEN;
    }
    let (low, high) = (minimum(row).min(0.0), maximum(row).max(0.0));
    let scale = (high - low) / f32::from(levels);
    let factor = 1.0 / scale;
    if !factor.is_finite() {
        words.fill(0);
        return RowScale::default();
    }
    let zero = nearest(-low, factor);
    let level = |x: f32| {
        let shifted = nearest(x, factor) + zero;
        shifted.clamp(0, i32::from(levels)).cast_unsigned()
    };
    let (quads, rest) = row.as_chunks::<4>();
    for (word, quad) in words.iter_mut().zip(quads) {
        *word = level(quad[0]) | level(quad[1]) << 8 | level(quad[2]) << 16 | level(quad[3]) << 24;
    }
    if !rest.is_empty() {
        let bytes = rest.iter().enumerate();
        words[quads.len()] = bytes.fold(0, |word, (at, &x)| word | level(x) << (8 * at));
    }
    RowScale { scale, zero }
}

/// A product with zero is zero for every number, and for nothing else.
#[inline(always)]
fn is_finite(row: &[f32]) -> bool {
    sum_of(row, |x| x * 0.0) == 0.0
}

#[inline(always)]
fn minimum(row: &[f32]) -> f32 {
    let smaller = |a: f32, b: f32| if b < a { b } else { a };
    fold(row, f32::INFINITY, smaller, smaller)
}
