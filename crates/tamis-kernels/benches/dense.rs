//! Question: how many multiply-adds a second do the dense products reach, by precision and instruction set?
//!
//! Shapes are those of a 6-layer, 384-wide encoder, 252 rows (a whole number of tiles) on one thread. Packing the rows
//! is part of a product, packing the weights is not. Products for training (`general`) pack both sides: a linear map of
//! 1,536 rows, its gradient for the rows, and that for the weights, whose sums are as long as there are rows.
//! Correctness is the test suite's: `cargo test -p tamis-kernels`.
//!
//! `cargo bench -p tamis-kernels --bench dense`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tamis_kernels::{Kernels, MatrixView, PackedColumns, PackedMatrix, PackedRows, Precision, ProductRows, Start};

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

/// `left * right` on one thread, as the encoder's training shares it out.
fn multiply(kernels: Kernels, left: MatrixView<'_>, right: MatrixView<'_>, out: &mut [f32]) {
    let (mut columns, mut packed) = (PackedColumns::default(), PackedRows::default());
    let rows_per_part = 168;
    for block in PackedColumns::blocks(left.columns()) {
        let start = if block.start == 0 { Start::Zero } else { Start::Present };
        columns.pack(kernels, &right, block);
        let outputs = right.columns();
        for (part, out) in out.chunks_mut(rows_per_part * outputs).enumerate() {
            let first = part * rows_per_part;
            let product = ProductRows {
                left,
                rows: first..first + out.len() / outputs,
                right: &columns,
                start,
            };
            product.write(kernels, &mut packed, out);
        }
    }
}

fn general(criterion: &mut Criterion) {
    const ROWS: usize = 1536;
    let mut group = criterion.benchmark_group("general");
    group.sample_size(10);
    for (inputs, outputs) in [(384, 1536), (1536, 384)] {
        group.throughput(Throughput::Elements((ROWS * inputs * outputs) as u64));
        let (x, weight, gradient) = (values(ROWS * inputs), values(inputs * outputs), values(ROWS * outputs));
        let (x, weight) = (MatrixView::new(&x, inputs), MatrixView::new(&weight, inputs));
        let gradient = MatrixView::new(&gradient, outputs);
        let products = [
            ("x W^T", x, weight.transposed()),
            ("g W", gradient, weight),
            ("g^T x", gradient.transposed(), x),
        ];
        for (name, left, right) in products {
            for kernels in Kernels::available().skip(1).take(2) {
                let mut out = vec![0.0; left.rows() * right.columns()];
                group.bench_function(format!("{inputs}x{outputs} {name}/{kernels}"), |bencher| {
                    bencher.iter(|| multiply(kernels, left, right, &mut out));
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, dense, general);
criterion_main!(benches);
