//! 256-bit tiles: 6 rows by two vectors of sums in registers, the halves of a panel one after the other.

use super::{LANES, Lanes, PanelEnds, RowScale, Step};
use std::arch::x86_64::*;

/// Rows of a tile: 12 of 16 registers hold sums.
pub(crate) const TILE_ROWS: usize = 6;

/// Lanes of half a panel.
const HALF: usize = LANES / 2;

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u32; HALF]) -> [__m256i; 2] {
    // SAFETY: the array is 64 bytes long, and the loads need no alignment.
    unsafe {
        let at = words.as_ptr();
        [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(8).cast())]
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(values: &[f32; HALF]) -> [__m256; 2] {
    // SAFETY: the array is 64 bytes long, and the loads need no alignment.
    unsafe {
        [
            _mm256_loadu_ps(values.as_ptr()),
            _mm256_loadu_ps(values.as_ptr().add(8)),
        ]
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: &mut [f32; HALF], values: [__m256; 2]) {
    // SAFETY: the array is 64 bytes long, and the stores need no alignment.
    unsafe {
        _mm256_storeu_ps(lanes.as_mut_ptr(), values[0]);
        _mm256_storeu_ps(lanes.as_mut_ptr().add(8), values[1]);
    }
}

/// The halves of an array of all lanes.
#[inline]
fn halves<T>(lanes: &[T; LANES]) -> &[[T; HALF]] {
    lanes.as_chunks().0
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn tile_f32<const M: usize>(
    words: &[u32],
    panel: &[Step],
    ends: &PanelEnds,
    _scales: &[RowScale; M],
    out: &mut [Lanes; M],
) {
    for half in 0..2 {
        let mut sums = [[_mm256_setzero_ps(); 2]; M];
        for (group, step) in words.as_chunks::<M>().0.iter().zip(panel) {
            let weights = load(&halves(&step.0)[half]).map(|part| _mm256_castsi256_ps(part));
            for (sums, &word) in sums.iter_mut().zip(group) {
                let x = _mm256_set1_ps(f32::from_bits(word));
                sums[0] = _mm256_fmadd_ps(x, weights[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(x, weights[1], sums[1]);
            }
        }
        let bias = lanes(&halves(&ends.bias)[half]);
        for (out, sums) in out.iter_mut().zip(sums) {
            let out = &mut out.as_chunks_mut().0[half];
            store(out, [_mm256_add_ps(sums[0], bias[0]), _mm256_add_ps(sums[1], bias[1])]);
        }
    }
}

/// Integer tiles differ only in the instructions that multiply and add one step.
macro_rules! integer_tile {
    ($name:ident, $add:ident) => {
        #[target_feature(enable = "avx2,fma")]
        pub(crate) fn $name<const M: usize>(
            words: &[u32],
            panel: &[Step],
            ends: &PanelEnds,
            scales: &[RowScale; M],
            out: &mut [Lanes; M],
        ) {
            for half in 0..2 {
                let mut sums = [[_mm256_setzero_si256(); 2]; M];
                for (group, step) in words.as_chunks::<M>().0.iter().zip(panel) {
                    let weights = load(&halves(&step.0)[half]);
                    for (sums, &word) in sums.iter_mut().zip(group) {
                        let x = _mm256_set1_epi32(word.cast_signed());
                        sums[0] = $add(sums[0], x, weights[0]);
                        sums[1] = $add(sums[1], x, weights[1]);
                    }
                }
                for ((out, sums), scale) in out.iter_mut().zip(sums).zip(scales) {
                    finish(&mut out.as_chunks_mut().0[half], sums, scale, ends, half);
                }
            }
        }
    };
}

integer_tile!(tile_int16, add_pairs);
integer_tile!(tile_int8, add_quads);

#[inline]
#[target_feature(enable = "avx2")]
fn add_pairs(sums: __m256i, x: __m256i, weights: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(x, weights))
}

/// `x` of at most 127, so that no pair of products saturates.
#[inline]
#[target_feature(enable = "avx2")]
fn add_quads(sums: __m256i, x: __m256i, weights: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(x, weights);
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// `(sum - zero * sum of weights) * scales + bias`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn finish(out: &mut [f32; HALF], sums: [__m256i; 2], scale: &RowScale, ends: &PanelEnds, half: usize) {
    let zero = _mm256_set1_epi32(scale.zero);
    let row_scale = _mm256_set1_ps(scale.scale);
    let (bias, scales) = (lanes(&halves(&ends.bias)[half]), lanes(&halves(&ends.scale)[half]));
    let weights = load(&halves(&ends.sums)[half].map(i32::cast_unsigned));
    let part = |at: usize| {
        let sum = _mm256_sub_epi32(sums[at], _mm256_mullo_epi32(zero, weights[at]));
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(row_scale, scales[at]), bias[at])
    };
    store(out, [part(0), part(1)]);
}
