//! The softmax of a row, and the exponential under it.

use super::{fma, horner, maximum, sum_of};

#[inline(always)]
pub(super) fn softmax<const FMA: bool>(row: &mut [f32], scale: f32) {
    let largest = scale * maximum(row);
    row.iter_mut().for_each(|x| *x = exp::<FMA>(*x * scale - largest));
    let factor = 1.0 / sum_of(row, |x| x);
    row.iter_mut().for_each(|x| *x *= factor);
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
    fn softmax_sums_to_one_and_keeps_ratios() {
        for kernels in Kernels::available() {
            for len in [1u8, 2, 15, 16, 19, 64] {
                let mut row: Vec<f32> = (0..len).map(|x| f32::from(x) / 4.0).collect();
                kernels.softmax(&mut row, 0.5);
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{kernels}");
                for pair in row.windows(2) {
                    assert!((pair[1] / pair[0] - 0.125f32.exp()).abs() < 1e-5, "{kernels}");
                }
            }
        }
    }
}
