//! 512-bit tiles: 14 rows by two vectors of sums in registers.

use super::{Lanes, PanelEnds, RowScale, Step};
use std::arch::x86_64::*;

/// Rows of a tile: 28 of 32 registers hold sums.
pub(crate) const TILE_ROWS: usize = 14;

#[inline]
#[target_feature(enable = "avx512f")]
fn load(step: &Step) -> [__m512i; 2] {
    // SAFETY: a step is 128 bytes long and aligned to 64.
    unsafe {
        let at = step.0.as_ptr();
        [_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(16).cast())]
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(lanes: &Lanes) -> [__m512; 2] {
    // SAFETY: the array is 128 bytes long, and the loads need no alignment.
    unsafe { [_mm512_loadu_ps(lanes.as_ptr()), _mm512_loadu_ps(lanes.as_ptr().add(16))] }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(lanes: &mut Lanes, values: [__m512; 2]) {
    // SAFETY: the array is 128 bytes long, and the stores need no alignment.
    unsafe {
        _mm512_storeu_ps(lanes.as_mut_ptr(), values[0]);
        _mm512_storeu_ps(lanes.as_mut_ptr().add(16), values[1]);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn tile_f32<const M: usize>(
    words: &[u32],
    panel: &[Step],
    ends: &PanelEnds,
    _scales: &[RowScale; M],
    out: &mut [Lanes; M],
) {
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    for (group, step) in words.as_chunks::<M>().0.iter().zip(panel) {
        let weights = load(step).map(|half| _mm512_castsi512_ps(half));
        for (sums, &word) in sums.iter_mut().zip(group) {
            let x = _mm512_set1_ps(f32::from_bits(word));
            sums[0] = _mm512_fmadd_ps(x, weights[0], sums[0]);
            sums[1] = _mm512_fmadd_ps(x, weights[1], sums[1]);
        }
    }
    let bias = lanes(&ends.bias);
    for (out, sums) in out.iter_mut().zip(sums) {
        store(out, [_mm512_add_ps(sums[0], bias[0]), _mm512_add_ps(sums[1], bias[1])]);
    }
}

/// Integer tiles differ only in the instructions that multiply and add one step.
macro_rules! integer_tile {
    ($name:ident, $features:literal, $add:ident) => {
        #[target_feature(enable = $features)]
        pub(crate) fn $name<const M: usize>(
            words: &[u32],
            panel: &[Step],
            ends: &PanelEnds,
            scales: &[RowScale; M],
            out: &mut [Lanes; M],
        ) {
            let mut sums = [[_mm512_setzero_si512(); 2]; M];
            for (group, step) in words.as_chunks::<M>().0.iter().zip(panel) {
                let weights = load(step);
                for (sums, &word) in sums.iter_mut().zip(group) {
                    let x = _mm512_set1_epi32(word.cast_signed());
                    sums[0] = $add(sums[0], x, weights[0]);
                    sums[1] = $add(sums[1], x, weights[1]);
                }
            }
            for ((out, sums), scale) in out.iter_mut().zip(sums).zip(scales) {
                finish(out, sums, scale, ends);
            }
        }
    };
}

integer_tile!(
    tile_int16_vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    _mm512_dpwssd_epi32
);
integer_tile!(
    tile_int8_vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    _mm512_dpbusd_epi32
);
integer_tile!(tile_int16, "avx512f,avx512bw,avx512dq,avx512vl", add_pairs);
integer_tile!(tile_int8, "avx512f,avx512bw,avx512dq,avx512vl", add_quads);

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_pairs(sums: __m512i, x: __m512i, weights: __m512i) -> __m512i {
    _mm512_add_epi32(sums, _mm512_madd_epi16(x, weights))
}

/// `x` of at most 127, so that no pair of products saturates.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_quads(sums: __m512i, x: __m512i, weights: __m512i) -> __m512i {
    let pairs = _mm512_maddubs_epi16(x, weights);
    _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
}

/// `(sum - zero * sum of weights) * scales + bias`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn finish(out: &mut Lanes, sums: [__m512i; 2], scale: &RowScale, ends: &PanelEnds) {
    let zero = _mm512_set1_epi32(scale.zero);
    let row_scale = _mm512_set1_ps(scale.scale);
    let (bias, scales) = (lanes(&ends.bias), lanes(&ends.scale));
    // SAFETY: the array is 128 bytes long, and the loads need no alignment.
    let weights = unsafe {
        let at = ends.sums.as_ptr();
        [_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(16).cast())]
    };
    let half = |at: usize| {
        let sum = _mm512_sub_epi32(sums[at], _mm512_mullo_epi32(zero, weights[at]));
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(row_scale, scales[at]), bias[at])
    };
    store(out, [half(0), half(1)]);
}
