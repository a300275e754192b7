//! Question: how many multiply-adds a second do the dense products reach, by precision and instruction set?
//!
//! Shapes are those of a 6-layer, 384-wide encoder, 252 rows (a whole number of tiles) on one thread. Packing the rows
//! is part of a product, packing the weights is not. Correctness is the test suite's: `cargo test -p tamis-kernels`.
//!
//! `cargo bench -p tamis-kernels --bench dense`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tamis_kernels::{Kernels, PackedMatrix, PackedRows, Precision};

const ROWS: usize = 252;

fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|at| f32::from(u16::try_from(at * 7919 % 1000).expect("below 1000")) / 500.0 - 1.0)
        .collect()
}

fn dense(criterion: &mut Criterion) {
    for (inputs, outputs) in [(384, 1152), (384, 1536), (1536, 384), (384, 4096)] {
        let mut group = criterion.benchmark_group(format!("{inputs}x{outputs}"));
        group.throughput(Throughput::Elements((ROWS * inputs * outputs) as u64));
        let (rows, weights) = (values(ROWS * inputs), values(inputs * outputs));
        for precision in [Precision::F32, Precision::Int16, Precision::Int8] {
            let matrix = PackedMatrix::pack(precision, &weights, inputs, None);
            for kernels in Kernels::available().skip(1) {
                let mut packed = PackedRows::default();
                group.bench_function(format!("{precision:?}/{kernels}"), |bencher| {
                    bencher.iter(|| {
                        packed.pack(kernels, precision, &rows, inputs);
                        matrix.multiply(kernels, &packed, 0..matrix.num_panels(), |_, _, product| {
                            black_box(product);
                        });
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, dense);
criterion_main!(benches);
