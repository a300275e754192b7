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
pub(crate) use quantise::nearest;

use crate::dense::{Lanes, RowScale};
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

    /// Replaces every value `x` of a lane by `e^(x - largest)` of the lane, and gives the lanes' sums: their softmax
    /// but for the division.
    pub(crate) fn softmax_columns(rows: &mut [Lanes], sums: &mut Lanes) = softmax::softmax_columns;

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

    /// Quantises `row` to 16 bits, two values a word.
    pub(crate) fn quantise_int16(row: &[f32], words: &mut [u32]) -> RowScale = quantise::int16;

    /// Quantises `row` to 8 bits from 0 to `levels`, four values a word.
    pub(crate) fn quantise_int8(row: &[f32], words: &mut [u32], levels: u8) -> RowScale = quantise::int8;
}
