//! The softmax down the lanes of rows, and the exponential under it.

use super::arithmetic::max_of_rows;
use super::{fma, horner};
use crate::dense::{LANES, Lanes};

#[inline(always)]
pub(super) fn softmax_columns<const FMA: bool>(rows: &mut [Lanes], largest: &mut Lanes, sums: &mut Lanes) {
    *largest = [f32::NEG_INFINITY; LANES];
    max_of_rows::<FMA>(largest, rows);
    *sums = [0.0; LANES];
    for row in rows {
        for ((x, largest), sum) in row.iter_mut().zip(largest.iter()).zip(sums.iter_mut()) {
            *x = exp::<FMA>(*x - largest);
            *sum += *x;
        }
    }
}

#[inline(always)]
pub(super) fn softmax_columns_backward<const FMA: bool>(
    shares: &mut [Lanes],
    gradients: &mut [Lanes],
    sums: &Lanes,
    means: &mut Lanes,
) {
    let factors = sums.map(|sum| 1.0 / sum);
    *means = [0.0; LANES];
    for (shares, gradients) in shares.iter_mut().zip(gradients.iter()) {
        let lanes = shares.iter_mut().zip(gradients).zip(means.iter_mut().zip(&factors));
        for ((share, &gradient), (mean, factor)) in lanes {
            *share *= factor;
            *mean = fma::<FMA>(*share, gradient, *mean);
        }
    }
    for (shares, gradients) in shares.iter().zip(gradients) {
        let lanes = shares.iter().zip(gradients).zip(means.iter());
        lanes.for_each(|((share, gradient), mean)| *gradient = share * (*gradient - mean));
    }
}

/// What a softmax and its gradient need of scores that are elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Softmax {
    pub(crate) largest: f32,
    /// One over the sum of the powers.
    pub(crate) factor: f32,
    /// The mean gradient of the shares, weighted by them.
    pub(crate) mean: f32,
}

#[inline(always)]
pub(super) fn softmax_row_backward<const FMA: bool>(scores: &mut Lanes, gradients: &mut Lanes, softmax: Softmax) {
    for (score, gradient) in scores.iter_mut().zip(gradients) {
        let share = exp::<FMA>(*score - softmax.largest) * softmax.factor;
        *score = share;
        *gradient = share * (*gradient - softmax.mean);
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
            let (mut largest, mut sums) = ([0.0; LANES], [0.0; LANES]);
            kernels.softmax_columns(&mut rows, &mut largest, &mut sums);
            assert_eq!((largest[0], largest[1]), (4.5, 3.5));
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

    #[test]
    fn the_gradient_of_a_softmax_is_its_formula_by_columns_and_by_rows() {
        for kernels in Kernels::available() {
            let mut scores: Vec<Lanes> = [0.5, -1.0, 2.0].map(|x| [x; LANES]).to_vec();
            let upstream: [f32; 3] = [1.0, -2.0, 0.25];
            let mut gradients: Vec<Lanes> = upstream.map(|x| [x; LANES]).to_vec();
            let total: f32 = [0.5f32, -1.0, 2.0].iter().map(|x| x.exp()).sum();
            let shares = [0.5f32, -1.0, 2.0].map(|x| x.exp() / total);
            let mean: f32 = shares.iter().zip(upstream).map(|(share, x)| share * x).sum();
            let expected = [0, 1, 2].map(|at| shares[at] * (upstream[at] - mean));
            let (mut largest, mut sums, mut means) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            let mut by_row = scores.clone();
            kernels.softmax_columns(&mut scores, &mut largest, &mut sums);
            kernels.softmax_columns_backward(&mut scores, &mut gradients, &sums, &mut means);
            for at in 0..3 {
                assert!((scores[at][5] - shares[at]).abs() < 1e-6, "{kernels}");
                assert!((gradients[at][31] - expected[at]).abs() < 1e-6, "{kernels}");
                let mut gradient = [upstream[at]; LANES];
                let softmax = Softmax {
                    largest: largest[0],
                    factor: 1.0 / sums[0],
                    mean: means[0],
                };
                kernels.softmax_row_backward(&mut by_row[at], &mut gradient, softmax);
                assert!((by_row[at][9] - shares[at]).abs() < 1e-6, "{kernels}");
                assert!((gradient[0] - expected[at]).abs() < 1e-6, "{kernels}");
            }
        }
    }
}
