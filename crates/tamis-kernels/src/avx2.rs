//! 256-bit vectors: 8 sums at a time, unsigned comparison through the maximum.

use crate::kernels::{BLOCK_SUMS, Column, Found};
use crate::scalar;
use std::arch::x86_64::*;

const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx2")]
fn load(sums: &[u32; LANES]) -> __m256i {
    // SAFETY: the array is 32 bytes long, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(sums: &mut [u32; LANES], value: __m256i) {
    // SAFETY: the array is 32 bytes long, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), value) }
}

/// 8 bytes as 32-bit lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(bytes: &[u8; LANES]) -> __m256i {
    // SAFETY: the array is 8 bytes long, and the load needs no alignment.
    _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) })
}

/// Two columns as pairs of 16-bit lanes, so that one multiply-add serves both.
#[inline]
#[target_feature(enable = "avx2")]
fn widen_pair(even: &[u8; LANES], odd: &[u8; LANES]) -> __m256i {
    _mm256_or_si256(widen(even), _mm256_slli_epi32::<16>(widen(odd)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn weight_pair(even: u16, odd: u16) -> __m256i {
    _mm256_set1_epi32((u32::from(even) | u32::from(odd) << 16).cast_signed())
}

/// The lanes of at least `limit`, one bit each.
#[inline]
#[target_feature(enable = "avx2")]
fn at_least(sums: __m256i, limit: __m256i) -> u32 {
    let equal = _mm256_cmpeq_epi32(_mm256_max_epu32(sums, limit), sums);
    _mm256_movemask_ps(_mm256_castsi256_ps(equal)).cast_unsigned()
}

/// `2 * PAIRS` columns of exactly as many chunks as there are sums.
#[target_feature(enable = "avx2")]
fn accumulate_pairs<const PAIRS: usize>(sums: &mut [[u32; LANES]], columns: &[Column<'_>]) {
    let mut chunks = [([[0; LANES]; 0].as_slice(), [[0; LANES]; 0].as_slice()); PAIRS];
    let mut weights = [_mm256_setzero_si256(); PAIRS];
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
            let products = _mm256_madd_epi16(widen_pair(&even[at], &odd[at]), weight);
            total = _mm256_add_epi32(total, products);
        }
        store(sums, total);
    }
}

#[target_feature(enable = "avx2")]
fn accumulate_one(sums: &mut [[u32; LANES]], column: &Column<'_>) {
    let weight = weight_pair(column.weight, 0);
    for (sums, bytes) in sums.iter_mut().zip(column.bytes.as_chunks().0) {
        let products = _mm256_madd_epi16(widen(bytes), weight);
        store(sums, _mm256_add_epi32(load(sums), products));
    }
}

#[target_feature(enable = "avx2")]
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
fn append(sums: &[u32; LANES], mut hits: u32, base: u32, found: &mut Vec<Found>) {
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

#[target_feature(enable = "avx2")]
pub(crate) fn find_at_least(sums: &[u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
    let limit = _mm256_set1_epi32(threshold.cast_signed());
    let (chunks, tail) = sums.as_chunks();
    let mut at = base;
    for sums in chunks {
        append(sums, at_least(load(sums), limit), at, found);
        at = at.wrapping_add(8);
    }
    scalar::find_at_least(tail, threshold, at, found);
}

#[target_feature(enable = "avx2")]
pub(crate) fn drain_at_least(sums: &mut [u32], threshold: u32, base: u32, found: &mut Vec<Found>) {
    let limit = _mm256_set1_epi32(threshold.cast_signed());
    let (chunks, tail) = sums.as_chunks_mut();
    let mut at = base;
    for sums in chunks {
        append(sums, at_least(load(sums), limit), at, found);
        store(sums, _mm256_setzero_si256());
        at = at.wrapping_add(8);
    }
    scalar::drain_at_least(tail, threshold, at, found);
}

#[target_feature(enable = "avx2,popcnt")]
pub(crate) fn count_at_least(sums: &[u32], threshold: u32) -> usize {
    let limit = _mm256_set1_epi32(threshold.cast_signed());
    let (chunks, tail) = sums.as_chunks();
    let body: usize = chunks
        .iter()
        .map(|sums| at_least(load(sums), limit).count_ones() as usize)
        .sum();
    body + scalar::count_at_least(tail, threshold)
}

#[target_feature(enable = "avx2")]
pub(crate) fn keep_masked(sums: &mut [u32], mask: &[u64]) {
    let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    let (words, tail) = sums.as_chunks_mut::<64>();
    let body = words.len();
    for (sums, &word) in words.iter_mut().zip(mask) {
        if word == u64::MAX {
            continue;
        }
        for (sums, byte) in sums.as_chunks_mut().0.iter_mut().zip(word.to_le_bytes()) {
            let set = _mm256_and_si256(_mm256_set1_epi32(i32::from(byte)), bits);
            let kept = _mm256_cmpeq_epi32(set, bits);
            store(sums, _mm256_and_si256(kept, load(sums)));
        }
    }
    scalar::keep_masked(tail, &mask[body..]);
}

#[target_feature(enable = "avx2")]
pub(crate) fn add_block_maxima(bounds: &mut [u32], blocks: &[[u32; BLOCK_SUMS]], at_least: u32) {
    for (bound, block) in bounds.iter_mut().zip(blocks) {
        if *bound >= at_least {
            let mut max = _mm256_setzero_si256();
            for sums in block.as_chunks().0 {
                max = _mm256_max_epu32(max, load(sums));
            }
            let mut lanes = [0; LANES];
            store(&mut lanes, max);
            *bound = bound.wrapping_add(lanes.into_iter().fold(0, u32::max));
        }
    }
}
