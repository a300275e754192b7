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

/// `tanh y = 2 sigmoid(2 y) - 1`, so half of `1 + tanh y` is a sigmoid.
#[inline(always)]
fn gelu_tanh<const FMA: bool>(x: f32) -> f32 {
    const TWO_SQRT_2_OVER_PI: f32 = 1.595_769;
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

    #[test]
    fn activations_agree_with_their_definitions() {
        let all = [
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Relu,
            Activation::Silu,
        ];
        for kernels in Kernels::available() {
            for activation in all {
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
            for activation in [
                Activation::Gelu,
                Activation::GeluTanh,
                Activation::Relu,
                Activation::Silu,
            ] {
                let mut row = [f32::NAN; 20];
                kernels.activate(&mut row, activation);
                assert!(row.iter().all(|x| x.is_nan()), "{kernels} {activation:?}");
            }
        }
    }
}
