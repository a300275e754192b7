//! 512-bit vectors: 16 sums at a time, comparisons into mask registers.

use crate::kernels::{BLOCK_SUMS, Column, Found};
use crate::scalar;
use std::arch::x86_64::*;

const LANES: usize = 16;

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn load(sums: &[u32; LANES]) -> __m512i {
    // SAFETY: the array is 64 bytes long, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn store(sums: &mut [u32; LANES], value: __m512i) {
    // SAFETY: the array is 64 bytes long, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), value) }
}

/// 16 bytes as 32-bit lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn widen(bytes: &[u8; LANES]) -> __m512i {
    // SAFETY: the array is 16 bytes long, and the load needs no alignment.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Two columns as pairs of 16-bit lanes, so that one multiply-add serves both.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn widen_pair(even: &[u8; LANES], odd: &[u8; LANES]) -> __m512i {
    _mm512_or_si512(widen(even), _mm512_slli_epi32::<16>(widen(odd)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn weight_pair(even: u16, odd: u16) -> __m512i {
    _mm512_set1_epi32((u32::from(even) | u32::from(odd) << 16).cast_signed())
}

/// `2 * PAIRS` columns of exactly as many chunks as there are sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn accumulate_pairs<const PAIRS: usize>(sums: &mut [[u32; LANES]], columns: &[Column<'_>]) {
    let mut chunks = [([[0; LANES]; 0].as_slice(), [[0; LANES]; 0].as_slice()); PAIRS];
    let mut weights = [_mm512_setzero_si512(); PAIRS];
    for ((chunk, weight), pair) in chunks.iter_mut().zip(&mut weights).zip(columns.chunks_exact(2)) {
        *chunk = (
            &pair[0].bytes.as_chunks().0[..sums.len()],
            &pair[1].bytes.as_chunks().0[..sums.len()],
        );
        *weight = weight_pair(pair[0].weight, pair[1].weight);
    }
    for (at, sums) in sums.iter_mut().enumerate() {
        let mut total = load(sums);
        for (&(even, odd), &weight) in chunks.iter().zip(&weights) {
            let products = _mm512_madd_epi16(widen_pair(&even[at], &odd[at]), weight);
            total = _mm512_add_epi32(total, products);
        }
        store(sums, total);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn accumulate_one(sums: &mut [[u32; LANES]], column: &Column<'_>) {
    let weight = weight_pair(column.weight, 0);
    for (sums, bytes) in sums.iter_mut().zip(column.bytes.as_chunks().0) {
        let products = _mm512_madd_epi16(widen(bytes), weight);
        store(sums, _mm512_add_epi32(load(sums), products));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn accumulate_columns(sums: &mut [u32], columns: &[Column<'_>]) {
    let (chunks, tail) = sums.as_chunks_mut();
    let body = chunks.len() * LANES;
    for group in columns.chunks(8) {
        let (pairs, single) = group.split_at(group.len() & !1);
        match pairs.len() / 2 {
            4 => accumulate_pairs::<4>(chunks, pairs),
            3 => accumulate_pairs::<3>(chunks, pairs),
            2 => accumulate_pairs::<2>(chunks, pairs),
            1 => accumulate_pairs::<1>(chunks, pairs),
            _ => {}
        }
        for column in single {
            accumulate_one(chunks, column);
        }
    }
    for column in columns {
        let bytes = &column.bytes[body..];
        scalar::accumulate_columns(tail, &[Column { bytes, ..*column }]);
    }
}

/// Appends the lanes of `hits`, read from `sums`.
#[inline]
fn append(sums: &[u32; LANES], mut hits: __mmask16, base: u32, found: &mut Vec<Found>) {
    while hits != 0 {
        let lane = hits.trailing_zeros();
        let sum = sums[lane as usize & (LANES - 1)];
        found.push(Found {
            position: base.wrapping_add(lane),
            sum,
        });
        hits &= hits - 1;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn find_at_least(sums: &[u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
    let limit = _mm512_set1_epi32(threshold.cast_signed());
    let (chunks, tail) = sums.as_chunks();
    let mut at = base;
    for sums in chunks {
        append(sums, _mm512_cmpge_epu32_mask(load(sums), limit), at, found);
        at = at.wrapping_add(16);
    }
    scalar::find_at_least(tail, threshold, at, found);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn drain_at_least(sums: &mut [u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
    let limit = _mm512_set1_epi32(threshold.cast_signed());
    let (chunks, tail) = sums.as_chunks_mut();
    let mut at = base;
    for sums in chunks {
        append(sums, _mm512_cmpge_epu32_mask(load(sums), limit), at, found);
        store(sums, _mm512_setzero_si512());
        at = at.wrapping_add(16);
    }
    scalar::drain_at_least(tail, threshold, at, found);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
pub(crate) fn count_at_least(sums: &[u32], threshold: u32) -> usize {
    let limit = _mm512_set1_epi32(threshold.cast_signed());
    let (chunks, tail) = sums.as_chunks();
    let body: usize = chunks
        .iter()
        .map(|sums| _mm512_cmpge_epu32_mask(load(sums), limit).count_ones() as usize)
        .sum();
    body + scalar::count_at_least(tail, threshold)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn keep_masked(sums: &mut [u32], mask: &[u64]) {
    let (words, tail) = sums.as_chunks_mut::<64>();
    let body = words.len();
    for (sums, &word) in words.iter_mut().zip(mask) {
        if word == u64::MAX {
            continue;
        }
        for (quarter, sums) in (0..).zip(sums.as_chunks_mut().0) {
            let lanes = (word >> (16 * quarter) & 0xffff) as __mmask16;
            store(sums, _mm512_maskz_mov_epi32(lanes, load(sums)));
        }
    }
    scalar::keep_masked(tail, &mask[body..]);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn add_block_maxima(bounds: &mut [u32], blocks: &[[u32; BLOCK_SUMS]], at_least: u32) {
    for (bound, block) in bounds.iter_mut().zip(blocks) {
        if *bound >= at_least {
            let mut max = _mm512_setzero_si512();
            for sums in block.as_chunks().0 {
                max = _mm512_max_epu32(max, load(sums));
            }
            *bound = bound.wrapping_add(_mm512_reduce_max_epu32(max));
        }
    }
}
