//! Products of every instruction set and precision against sums in double precision.

use super::{LANES, PackedMatrix, PackedRows, Precision, quantise_row};
use crate::Kernels;
use proptest::prelude::*;

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Int16, Precision::Int8];

/// Values of about unit size, the same for a seed.
pub(super) fn noise(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0
    };
    #[expect(clippy::cast_possible_truncation, reason = "test values")]
    (0..len).map(|_| next() as f32).collect()
}

struct Case {
    outputs: usize,
    inputs: usize,
    rows: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(num_rows: usize, outputs: usize, inputs: usize) -> Self {
        Self {
            outputs,
            inputs,
            rows: noise(1, num_rows * inputs),
            weights: noise(2, outputs * inputs),
            bias: noise(3, outputs),
        }
    }

    fn exact(&self, row: usize, output: usize) -> f64 {
        let row = &self.rows[row * self.inputs..][..self.inputs];
        let weights = &self.weights[output * self.inputs..][..self.inputs];
        let products = row.iter().zip(weights).map(|(&x, &w)| f64::from(x) * f64::from(w));
        products.sum::<f64>() + f64::from(self.bias[output])
    }

    /// The product row by row, `[rows, outputs]`.
    fn product(&self, kernels: Kernels, precision: Precision) -> Vec<f32> {
        let matrix = PackedMatrix::pack(precision, &self.weights, self.inputs, Some(&self.bias));
        let mut rows = PackedRows::default();
        rows.pack(kernels, precision, &self.rows, self.inputs);
        let mut product = vec![f32::NAN; rows.num_rows() * self.outputs];
        matrix.multiply(kernels, &rows, 0..matrix.num_panels(), |panel, first, values| {
            for (row, values) in (first..).zip(values) {
                let start = panel * LANES;
                let len = LANES.min(self.outputs - start);
                product[row * self.outputs + start..][..len].copy_from_slice(&values[..len]);
                let rest = &values[len..];
                assert!(
                    rest.iter().all(|&x| x == 0.0 || !values[0].is_finite()),
                    "nothing beyond the last output"
                );
            }
        });
        product
    }
}

/// The error that rounding may bring to a product of `inputs` values of at most 1.
fn tolerance(precision: Precision, inputs: usize) -> f64 {
    let inputs = f64::from(u32::try_from(inputs).expect("small"));
    match precision {
        Precision::F32 => 1e-6 * inputs.sqrt() + 1e-6,
        Precision::Int16 => 1e-3 * inputs.sqrt(),
        // A step is 2/127 for activations without VNNI and 1/127 for weights; errors of half a step add up like noise.
        Precision::Int8 => 0.05 * inputs.sqrt(),
    }
}

fn check(case: &Case, kernels: Kernels, precision: Precision) {
    for (at, &value) in case.product(kernels, precision).iter().enumerate() {
        let exact = case.exact(at / case.outputs, at % case.outputs);
        let error = (f64::from(value) - exact).abs();
        let allowed = tolerance(precision, case.inputs);
        assert!(error <= allowed, "{kernels} {precision:?}: {value}, {exact} expected");
    }
}

#[test]
fn every_height_of_a_tile_and_every_rest_is_right() {
    for kernels in Kernels::available() {
        for precision in PRECISIONS {
            for num_rows in 1..=30 {
                check(&Case::new(num_rows, 70, 37), kernels, precision);
            }
            for (outputs, inputs) in [(1, 1), (31, 2), (32, 3), (33, 4), (5, 129)] {
                check(&Case::new(3, outputs, inputs), kernels, precision);
            }
        }
    }
}

#[test]
fn a_row_alone_has_the_same_product_to_the_bit() {
    let many = Case::new(37, 40, 50);
    for kernels in Kernels::available() {
        for precision in PRECISIONS {
            let together = many.product(kernels, precision);
            for row in 0..37 {
                let alone = Case {
                    rows: many.rows[row * 50..][..50].to_vec(),
                    ..Case::new(0, 40, 50)
                };
                assert_eq!(
                    alone.product(kernels, precision),
                    together[row * 40..][..40],
                    "{kernels} row {row}"
                );
            }
        }
    }
}

#[test]
fn integers_agree_between_instruction_sets_that_quantise_alike() {
    let case = Case::new(9, 45, 301);
    let scalar = Kernels::available().next().expect("scalar is always there");
    for kernels in Kernels::available() {
        for precision in [Precision::Int16, Precision::Int8] {
            if precision == Precision::Int16 || kernels.int8_levels() == scalar.int8_levels() {
                let pairs = case
                    .product(kernels, precision)
                    .into_iter()
                    .zip(case.product(scalar, precision));
                for (value, expected) in pairs {
                    assert!(
                        (value - expected).abs() <= 1e-5,
                        "{kernels} {precision:?}: {value}, {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    let inputs = 4096;
    for kernels in Kernels::available() {
        for precision in PRECISIONS {
            for sign in [1.0, -1.0] {
                let case = Case {
                    outputs: 2,
                    inputs,
                    rows: vec![1.0; inputs],
                    weights: [vec![sign; inputs], vec![0.5; inputs]].concat(),
                    bias: vec![0.0; 2],
                };
                let product = case.product(kernels, precision);
                for (value, expected) in product.into_iter().zip([4096.0 * sign, 2048.0]) {
                    assert!(
                        (value - expected).abs() < 2.0,
                        "{kernels} {precision:?}: {value}, {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_that_cannot_be_quantised_stay_visible() {
    for kernels in Kernels::available() {
        for precision in PRECISIONS {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut case = Case::new(3, 4, 8);
                case.rows[9] = bad;
                let product = case.product(kernels, precision);
                assert!(product[..4].iter().all(|x| x.is_finite()));
                assert!(product[4..8].iter().all(|x| !x.is_finite()), "{kernels} {precision:?}");
                assert!(product[8..].iter().all(|x| x.is_finite()));
            }
            let zeros = Case {
                rows: vec![0.0; 16],
                ..Case::new(2, 4, 8)
            };
            let bias = [zeros.bias.clone(), zeros.bias.clone()].concat();
            assert_eq!(zeros.product(kernels, precision), bias);
        }
    }
}

#[test]
fn packing_what_was_stored_in_8_bits_gives_the_same_integers() {
    let inputs = 37;
    let mut weights = noise(4, 50 * inputs);
    weights[..inputs].fill(0.0);
    weights[inputs..2 * inputs].iter_mut().for_each(|w| *w *= 1e-44);
    weights[2 * inputs] = -3e38;
    let (mut stored, mut again) = (Vec::new(), Vec::new());
    let mut scales = Vec::new();
    for row in weights.chunks_exact(inputs) {
        scales.push(quantise_row(row, &mut stored));
    }
    let rows = stored.chunks_exact(inputs).zip(&scales);
    let read: Vec<f32> = rows
        .flat_map(|(row, scale)| row.iter().map(move |&q| f32::from(q) * scale))
        .collect();
    for row in read.chunks_exact(inputs) {
        quantise_row(row, &mut again);
    }
    assert_eq!(stored, again);
    assert_eq!((scales[0], scales[1]), (0.0, 0.0));
    assert_eq!(stored[2 * inputs], -127);
    let of = |weights: &[f32]| PackedMatrix::pack(Precision::Int8, weights, inputs, None);
    let (packed, repacked) = (of(&weights), of(&read));
    let [mut one, mut other] = [vec![0.0; inputs], vec![0.0; inputs]];
    for row in 0..50 {
        packed.read_row(row, &mut one);
        repacked.read_row(row, &mut other);
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * a.abs();
        assert!(one.iter().zip(&other).all(close), "row {row}");
        assert!(one.iter().zip(&read[row * inputs..]).all(close), "row {row} as stored");
    }
}

#[test]
fn rows_of_the_matrix_are_read_back() {
    let case = Case::new(1, 70, 37);
    for (precision, step) in [
        (Precision::F32, 0.0),
        (Precision::Int16, 1.0 / 4000.0),
        (Precision::Int8, 1.0 / 127.0),
    ] {
        let matrix = PackedMatrix::pack(precision, &case.weights, 37, None);
        let mut row = vec![0.0; 37];
        for (output, weights) in case.weights.chunks_exact(37).enumerate() {
            matrix.read_row(output, &mut row);
            for (value, weight) in row.iter().zip(weights) {
                assert!(
                    (value - weight).abs() <= step * 0.51,
                    "{precision:?}: {value}, {weight}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn any_shape_and_spread(
        num_rows in 0..20usize,
        outputs in 1..80usize,
        inputs in 1..90usize,
        spread in 1e-3..1e3f32,
    ) {
        let mut case = Case::new(num_rows, outputs, inputs);
        case.rows.iter_mut().for_each(|x| *x *= spread);
        case.bias.fill(0.0);
        for kernels in Kernels::available() {
            for precision in PRECISIONS {
                for (at, &value) in case.product(kernels, precision).iter().enumerate() {
                    let exact = case.exact(at / outputs, at % outputs);
                    let allowed = tolerance(precision, inputs) * f64::from(spread);
                    prop_assert!((f64::from(value) - exact).abs() <= allowed, "{kernels} {precision:?}");
                }
            }
        }
    }
}
