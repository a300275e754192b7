//! The functions between the two halves of a feed-forward block.

use super::{fma, horner, softmax::exp};

/// A function of single values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)` with the exact error function (Hendrycks and Gimpel, 2016).
    Gelu,
    /// The same with their approximation by a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + e^-x)`.
    Silu,
}

#[inline(always)]
pub(super) fn activate<const FMA: bool>(row: &mut [f32], activation: Activation) {
    match activation {
        Activation::Gelu => row.iter_mut().for_each(|x| *x = gelu::<FMA>(*x)),
        Activation::GeluTanh => row.iter_mut().for_each(|x| *x = gelu_tanh::<FMA>(*x)),
        // NaN stays.
        Activation::Relu => row.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
        Activation::Silu => row.iter_mut().for_each(|x| *x *= sigmoid::<FMA>(*x)),
    }
}

/// Applies `activation` to every value of `row` and multiplies `gradient` with its slope there.
#[inline(always)]
pub(super) fn activate_backward<const FMA: bool>(row: &mut [f32], gradient: &mut [f32], activation: Activation) {
    match activation {
        Activation::Gelu => differentiate(row, gradient, gelu_with_slope::<FMA>),
        Activation::GeluTanh => differentiate(row, gradient, gelu_tanh_with_slope::<FMA>),
        Activation::Relu => differentiate(row, gradient, |x| match x {
            x if x <= 0.0 => (0.0, 0.0),
            x => (x, 1.0),
        }),
        Activation::Silu => differentiate(row, gradient, |x| {
            let share = sigmoid::<FMA>(x);
            (x * share, share + x * share * (1.0 - share))
        }),
    }
}

/// `function` gives value and slope.
#[inline(always)]
fn differentiate(row: &mut [f32], gradient: &mut [f32], function: impl Fn(f32) -> (f32, f32)) {
    for (x, gradient) in row.iter_mut().zip(gradient) {
        let (value, slope) = function(*x);
        *x = value;
        *gradient *= slope;
    }
}

/// The slope is `Phi(x) + x phi(x)`.
#[inline(always)]
fn gelu_with_slope<const FMA: bool>(x: f32) -> (f32, f32) {
    const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;
    let share = fma::<FMA>(0.5, erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2), 0.5);
    let density = FRAC_1_SQRT_TAU * exp::<FMA>(-0.5 * x * x);
    (x * share, fma::<FMA>(x, density, share))
}

#[inline(always)]
fn gelu_tanh_with_slope<const FMA: bool>(x: f32) -> (f32, f32) {
    const CUBIC: f32 = 0.044_715;
    let share = sigmoid::<FMA>(TWO_SQRT_2_OVER_PI * fma::<FMA>(CUBIC * x * x, x, x));
    let inner_slope = TWO_SQRT_2_OVER_PI * fma::<FMA>(3.0 * CUBIC * x, x, 1.0);
    (x * share, fma::<FMA>(x * share * (1.0 - share), inner_slope, share))
}

#[inline(always)]
fn gelu<const FMA: bool>(x: f32) -> f32 {
    let half = 0.5 * x;
    fma::<FMA>(half, erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2), half)
}

/// The error function to about 1e-7: an odd rational function of degree 13 over 8 on [-4, 4], +-1 outside.
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let over = [
        -2.726_142_3e-10,
        2.770_681_3e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_6e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let under = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329_2e-3,
        -1.426_473_9e-2,
    ];
    x * horner::<FMA, 7>(&over, square) / horner::<FMA, 5>(&under, square)
}

const TWO_SQRT_2_OVER_PI: f32 = 1.595_769;

/// `tanh y = 2 sigmoid(2 y) - 1`, so half of `1 + tanh y` is a sigmoid.
#[inline(always)]
fn gelu_tanh<const FMA: bool>(x: f32) -> f32 {
    let inner = TWO_SQRT_2_OVER_PI * fma::<FMA>(0.044_715 * x * x, x, x);
    x * sigmoid::<FMA>(inner)
}

/// From the exponential of a number below zero, which cannot overflow.
#[inline(always)]
fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let small = exp::<FMA>(-x.abs());
    let numerator = if x < 0.0 { small } else { 1.0 };
    // NaN compares as not below zero and is lost in `exp`: it comes back by the sum.
    numerator / (1.0 + small) + x * 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;

    /// Simpson's rule over the definition, in double precision.
    fn exact_erf(x: f64) -> f64 {
        let (steps, mut sum) = (2000, 0.0);
        for step in 0..=steps {
            let t = x * f64::from(step) / f64::from(steps);
            let factor = if step == 0 || step == steps {
                1.0
            } else {
                f64::from(2 + 2 * (step % 2))
            };
            sum += factor * (-t * t).exp();
        }
        sum * x / f64::from(steps) / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    fn exact(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Gelu => 0.5 * x * (1.0 + exact_erf(x / 2f64.sqrt())),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::Relu => x.max(0.0),
            Activation::Silu => x / (1.0 + (-x).exp()),
        }
    }

    const ALL: [Activation; 4] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
    ];

    #[test]
    fn slopes_are_differences_of_the_definitions() {
        for kernels in Kernels::available() {
            for activation in ALL {
                // No point lies where relu has a corner; 0 is looked at below.
                let grid: Vec<f32> = (-601i16..=601).step_by(2).map(|x| f32::from(x) / 90.0).collect();
                let (mut row, mut gradient) = (grid.clone(), vec![2.0; grid.len()]);
                kernels.activate_backward(&mut row, &mut gradient, activation);
                for ((x, value), slope) in grid.into_iter().map(f64::from).zip(row).zip(gradient) {
                    let error = (f64::from(value) - exact(activation, x)).abs();
                    assert!(error < 2e-6, "{kernels} {activation:?}({x}) is off by {error}");
                    let difference = (exact(activation, x + 1e-4) - exact(activation, x - 1e-4)) / 1e-4;
                    let error = (f64::from(slope) - difference).abs();
                    assert!(error < 4e-6, "{kernels} {activation:?}'({x}) is off by {error}");
                }
            }
            let (mut zero, mut gradient) = ([0.0], [1.0]);
            kernels.activate_backward(&mut zero, &mut gradient, Activation::Relu);
            assert_eq!((zero, gradient), ([0.0], [0.0]), "the slope of relu at 0 is PyTorch's");
        }
    }

    #[test]
    fn activations_agree_with_their_definitions() {
        for kernels in Kernels::available() {
            for activation in ALL {
                let grid: Vec<f32> = (-600i16..=600).map(|x| f32::from(x) / 90.0).collect();
                let mut row = grid.clone();
                kernels.activate(&mut row, activation);
                for (x, value) in grid.into_iter().map(f64::from).zip(row) {
                    let error = (f64::from(value) - exact(activation, x)).abs();
                    assert!(error < 2e-6, "{kernels} {activation:?}({x}) is off by {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for kernels in Kernels::available() {
            for activation in ALL {
                let mut row = [f32::NAN; 20];
                kernels.activate(&mut row, activation);
                assert!(row.iter().all(|x| x.is_nan()), "{kernels} {activation:?}");
                let (mut row, mut gradient) = ([f32::NAN; 20], [1.0; 20]);
                kernels.activate_backward(&mut row, &mut gradient, activation);
                let mut values = row.iter().chain(&gradient);
                assert!(
                    values.all(|x| x.is_nan()) || activation == Activation::Relu,
                    "{kernels} {activation:?}"
                );
                assert!(row.iter().all(|x| x.is_nan()), "{kernels} {activation:?}");
            }
        }
    }
}
