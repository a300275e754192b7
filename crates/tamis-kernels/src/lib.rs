//! The few hot loops of Tamis, scalar and SIMD, chosen once at run time.
//!
//! Plain slices in, plain slices out: this crate knows no type of the project. Every kernel exists as
//! a readable scalar reference and, where it pays, for AVX2 and AVX-512 under the same name;
//! [`active`] picks the widest the processor has when it is first called. The environment variable
//! `TAMIS_KERNELS` (`scalar`, `avx2`, `avx512`, `avx512vnni`) asks for a narrower one; what the processor lacks or
//! what is misspelt is ignored.
//!
//! Sums are `u32` and wrap on overflow; callers prove that they do not (for scores, the bounds on
//! query terms, query weights and impacts do).

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "vector loads and stores, prefetching, and the one call that enters a target feature"
    )
)]

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dense;
mod elementwise;
mod kernels;
mod scalar;
#[cfg(test)]
mod tests;

pub use attention::{AttentionBackwardScratch, AttentionScratch, Head};
pub use dense::{
    LANES, Lanes, MAX_INPUTS, MatrixView, PackedColumns, PackedMatrix, PackedRows, Precision, ProductRows, Start, Step,
    quantise_row,
};
pub use elementwise::{Activation, NormBackward};
pub use kernels::{BLOCK_SUMS, Column, Found, Isa, Kernels, active, prefetch};
