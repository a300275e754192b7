//! Functions of single rows between matrix products: activations, normalisation, softmax, quantisation.
//!
//! Each is written once, in plain Rust that the compiler turns into vector instructions, and compiled for every
//! instruction set; `FMA` says whether a fused multiply-add is one instruction there or a call that is never worth it.
//! Sums run over [`PARTS`] interleaved partial sums: a fixed order, so a fixed result for an instruction set.

mod activation;
mod arithmetic;
mod norm;
mod quantise;
mod softmax;

pub use activation::Activation;
pub use norm::NormBackward;
pub(crate) use quantise::nearest;
pub(crate) use softmax::Softmax;

use crate::dense::{LANES, Lanes, RowScale};
use crate::{Isa, Kernels};

/// Partial sums of one row.
const PARTS: usize = 16;

/// `a * b + c`.
#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn horner<const FMA: bool, const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    coefficients
        .iter()
        .fold(0.0, |sum, &coefficient| fma::<FMA>(sum, x, coefficient))
}

/// `term` of every value, added up.
#[inline(always)]
fn sum_of(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    fold(row, 0.0, |sum, x| sum + term(x), |a, b| a + b)
}

/// The largest value, or what `f32::max` makes of nothing.
#[inline(always)]
fn maximum(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    fold(row, f32::NEG_INFINITY, larger, larger)
}

/// Folds [`PARTS`] interleaved parts of `row` from `start` on, then the parts in order, then the rest.
#[inline(always)]
fn fold(row: &[f32], start: f32, step: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<PARTS>();
    let mut parts = [start; PARTS];
    for chunk in chunks {
        parts
            .iter_mut()
            .zip(chunk)
            .for_each(|(part, &x)| *part = step(*part, x));
    }
    let tail = rest.iter().fold(start, |tail, &x| step(tail, x));
    parts.into_iter().fold(tail, join)
}

/// Compiles functions for every instruction set, under one name each.
macro_rules! for_every_isa {
    ($(
        $(#[$doc:meta])*
        $vis:vis fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $module:ident::$generic:ident;
    )*) => {
        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::*;
            $(#[target_feature(enable = "avx2,fma")]
            pub(super) fn $name($($argument: $type),*) $(-> $result)? {
                $module::$generic::<true>($($argument),*)
            })*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            use super::*;
            $(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            pub(super) fn $name($($argument: $type),*) $(-> $result)? {
                $module::$generic::<true>($($argument),*)
            })*
        }

        impl Kernels {
            $($(#[$doc])*
            $vis fn $name(self, $($argument: $type),*) $(-> $result)? {
                match self.isa() {
                    // SAFETY: `Kernels` of an instruction set are made only after the processor reported it.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512Vnni | Isa::Avx512 => unsafe { avx512::$name($($argument),*) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => unsafe { avx2::$name($($argument),*) },
                    _ => $module::$generic::<false>($($argument),*),
                }
            })*
        }
    };
}

for_every_isa! {
    /// Applies `activation` to every value.
    pub fn activate(row: &mut [f32], activation: Activation) = activation::activate;

    /// Applies `activation` to every value of `row`, and multiplies `gradient`, that of the result, with the slope: it
    /// becomes that of `row` as it was. The slope of relu at 0 is 0.
    pub fn activate_backward(row: &mut [f32], gradient: &mut [f32], activation: Activation)
        = activation::activate_backward;

    /// Replaces every value `x` of a lane by `e^(x - largest)` of the lane, and gives the lanes' largest values and the
    /// sums: their softmax but for the division.
    pub(crate) fn softmax_columns(rows: &mut [Lanes], largest: &mut Lanes, sums: &mut Lanes)
        = softmax::softmax_columns;

    /// Goes on from [`Kernels::softmax_columns`]: divides by the sums, turns the gradients of the shares into those of
    /// the scores, and gives the mean gradient of every lane, weighted by its shares.
    pub(crate) fn softmax_columns_backward(
        shares: &mut [Lanes],
        gradients: &mut [Lanes],
        sums: &Lanes,
        means: &mut Lanes
    ) = softmax::softmax_columns_backward;

    /// The same for one row of scores that share their softmax with rows elsewhere: turns scores into shares, gradients
    /// of the shares into those of the scores.
    pub(crate) fn softmax_row_backward(scores: &mut Lanes, gradients: &mut Lanes, softmax: Softmax)
        = softmax::softmax_row_backward;

    /// The gradient of [`Kernels::layer_norm`] at `row`: turns that of the result into that of the row, and adds to
    /// those of weight and bias.
    pub fn layer_norm_backward(row: &[f32], gradient: &mut [f32], norm: &mut NormBackward<'_>)
        = norm::layer_norm_backward;

    /// Replaces `row` by `(row - mean) / sqrt(variance + epsilon) * weight + bias` (Ba, Kiros and Hinton, 2016).
    pub fn layer_norm(row: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) = norm::layer_norm;

    /// Adds `other` to `row`; what one is longer than the other is left alone.
    pub fn add(row: &mut [f32], other: &[f32]) = arithmetic::add;

    /// Multiplies `row` with `other`, value by value.
    pub fn scale_by(row: &mut [f32], other: &[f32]) = arithmetic::scale_by;

    /// Turns the pairs `(first[i], second[i])` by angles of the given cosines and sines.
    pub fn rotate(first: &mut [f32], second: &mut [f32], cosines: &[f32], sines: &[f32]) = arithmetic::rotate;

    /// Raises each lane of `best` to the largest of `rows`.
    pub fn max_of_rows(best: &mut Lanes, rows: &[Lanes]) = arithmetic::max_of_rows;

    /// The same, and notes in `places` the row that a lane was raised by, of equal ones the first; rows count from
    /// `first`.
    pub fn first_max_of_rows(best: &mut Lanes, places: &mut [u32; LANES], rows: &[Lanes], first: u32)
        = arithmetic::first_max_of_rows;

    /// Adds `factor * other` to `row`.
    pub fn add_scaled(row: &mut [f32], factor: f32, other: &[f32]) = arithmetic::add_scaled;

    /// Quantises `row` to 16 bits, two values a word.
    pub(crate) fn quantise_int16(row: &[f32], words: &mut [u32]) -> RowScale = quantise::int16;

    /// Quantises `row` to 8 bits from 0 to `levels`, four values a word.
    pub(crate) fn quantise_int8(row: &[f32], words: &mut [u32], levels: u8) -> RowScale = quantise::int8;
}
