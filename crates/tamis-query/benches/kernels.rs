//! What one posting, one column byte and one scanned sum cost, per instruction set.
//!
//! Corpus: one window of 65,536 positions; lists of one posting for 16, 64 and 512 positions at random;
//! columns in which one byte of four is not zero; thresholds that almost nothing reaches. Sums are in
//! the second-level cache, lists and columns in whatever cache holds them after a first pass.
//!
//! ```text
//! cargo bench -p tamis-query --bench kernels
//! ```

use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use tamis_kernels::{Column, Kernels};

const POSITIONS: u32 = 1 << 16;

/// Numbers that are random enough for a bench.
fn scrambled(number: u32) -> u32 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b1);
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b) >> 8
}

fn low_byte(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

fn list(one_of: u32) -> (Vec<u16>, Vec<u8>) {
    (0..=u16::MAX)
        .filter(|&position| scrambled(position.into()).is_multiple_of(one_of))
        .map(|position| (position, low_byte(scrambled(position.into()) >> 10) | 1))
        .unzip()
}

fn column(seed: u32) -> Vec<u8> {
    let byte = |position| match scrambled(position ^ seed << 20) {
        number if number.is_multiple_of(4) => low_byte(number >> 10),
        _ => 0,
    };
    (0..POSITIONS).map(byte).collect()
}

fn sums() -> Box<[u32; POSITIONS as usize]> {
    vec![0; POSITIONS as usize]
        .into_boxed_slice()
        .try_into()
        .expect("as many")
}

fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accumulate_list");
    for one_of in [16, 64, 512] {
        let (ids, impacts) = list(one_of);
        let mut sums = sums();
        group.throughput(Throughput::Elements(ids.len() as u64));
        for kernels in Kernels::available() {
            group.bench_function(BenchmarkId::new(kernels.to_string(), one_of), |bencher| {
                bencher.iter(|| kernels.accumulate_list(&mut sums, black_box(&ids), &impacts, 17));
            });
        }
    }
    group.finish();
}

fn columns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accumulate_columns");
    let bytes: Vec<Vec<u8>> = (0..8).map(column).collect();
    let columns: Vec<Column<'_>> = bytes.iter().map(|bytes| Column { bytes, weight: 900 }).collect();
    for count in [1, 2, 8] {
        let mut sums = sums();
        group.throughput(Throughput::Elements(u64::from(POSITIONS) * count));
        for kernels in Kernels::available() {
            group.bench_function(BenchmarkId::new(kernels.to_string(), count), |bencher| {
                let columns = &columns[..usize::try_from(count).expect("at most 8")];
                bencher.iter(|| kernels.accumulate_columns(sums.as_mut_slice(), black_box(columns)));
            });
        }
    }
    group.finish();
}

fn scans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(u64::from(POSITIONS)));
    let mut sums = sums();
    for (position, sum) in (0..).zip(sums.iter_mut()) {
        *sum = scrambled(position) & 0xffff;
    }
    let mask: Vec<u64> = (0..POSITIONS / 64)
        .map(|word| u64::from(scrambled(word)) << 32 | u64::from(scrambled(word + 7)))
        .collect();
    let mut found = Vec::new();
    for kernels in Kernels::available() {
        let name = kernels.to_string();
        group.bench_function(BenchmarkId::new("find_at_least", &name), |bencher| {
            bencher.iter(|| {
                found.clear();
                kernels.find_at_least(black_box(sums.as_slice()), 0xfff0, 0, &mut found);
            });
        });
        group.bench_function(BenchmarkId::new("count_at_least", &name), |bencher| {
            bencher.iter(|| kernels.count_at_least(black_box(sums.as_slice()), 0xfff0));
        });
        let mut other = sums.clone();
        group.bench_function(BenchmarkId::new("keep_masked", &name), |bencher| {
            bencher.iter(|| kernels.keep_masked(black_box(other.as_mut_slice()), &mask));
        });
        group.bench_function(BenchmarkId::new("drain_at_least", &name), |bencher| {
            bencher.iter(|| {
                found.clear();
                kernels.drain_at_least(black_box(other.as_mut_slice()), 0xfff0, 0, &mut found);
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lists(&mut criterion);
    columns(&mut criterion);
    scans(&mut criterion);
    criterion.final_summary();
}
