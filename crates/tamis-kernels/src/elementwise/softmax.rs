//! The softmax down the lanes of rows, and the exponential under it.

use super::arithmetic::max_of_rows;
use super::{fma, horner};
use crate::dense::{LANES, Lanes};

#[inline(always)]
pub(super) fn softmax_columns<const FMA: bool>(rows: &mut [Lanes], sums: &mut Lanes) {
    let mut largest = [f32::NEG_INFINITY; LANES];
    max_of_rows::<FMA>(&mut largest, rows);
    *sums = [0.0; LANES];
    for row in rows {
        for ((x, largest), sum) in row.iter_mut().zip(&largest).zip(sums.iter_mut()) {
            *x = exp::<FMA>(*x - largest);
            *sum += *x;
        }
    }
}

/// `e^x` for `x` of at most 0, to a relative 1e-6; 0 to within 1e-37 below -87.
///
/// `x = n ln 2 + r`: n is rounded by adding a number whose last mantissa bit is worth 1, e^r is a polynomial, 2^n is
/// written into the exponent bits.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 8] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let x = x.max(-87.0);
    let rounded = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = fma::<FMA>(-n, LN_2_LOW, fma::<FMA>(-n, LN_2_HIGH, x));
    let exponent = rounded.to_bits().wrapping_add(127) << 23;
    horner::<FMA, 8>(&POLYNOMIAL, r) * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;

    #[test]
    fn exp_agrees_with_the_library() {
        let grid = |from: f32| (0u16..=2000).map(move |step| from * f32::from(step) / 2000.0);
        for x in grid(-86.0).chain(grid(-1.0)) {
            let exact = f64::from(x).exp();
            for value in [exp::<true>(x), exp::<false>(x)] {
                let error = (f64::from(value) - exact).abs() / exact;
                assert!(error < 1e-6, "exp({x}) is off by a relative {error}");
            }
        }
        assert!(exp::<true>(-1e9) < 1e-37 && exp::<true>(f32::NEG_INFINITY) >= 0.0);
    }

    #[test]
    fn softmax_keeps_ratios_down_every_lane() {
        for kernels in Kernels::available() {
            let at = |row: u8, lane: u8| f32::from(row) / 4.0 - f32::from(lane);
            let mut rows: Vec<Lanes> = (0u8..19)
                .map(|row| std::array::from_fn(|lane| at(row, u8::try_from(lane).expect("32 lanes"))))
                .collect();
            let mut sums = [0.0; LANES];
            kernels.softmax_columns(&mut rows, &mut sums);
            for (lane, sum) in sums.into_iter().enumerate() {
                let expected: f32 = (0u8..19).map(|row| (f32::from(row) / 4.0 - 4.5).exp()).sum();
                assert!((sum - expected).abs() < 1e-5, "{kernels}: {sum}, {expected} expected");
                for pair in rows.windows(2) {
                    assert!(
                        (pair[1][lane] / pair[0][lane] - 0.25f32.exp()).abs() < 1e-5,
                        "{kernels}"
                    );
                }
            }
        }
    }
}
