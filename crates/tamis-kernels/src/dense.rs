//! Dense matrix products `X W^T + b` over weights that are packed once, in single precision, 16 and 8 bits.
//!
//! W is cut into panels of [`LANES`] outputs, and a panel into steps: one step holds, for every lane, the four bytes
//! that the narrowest vector instruction consumes at once (one `f32`, two `i16`, four `i8`). X is packed into tiles of
//! as many rows as the registers hold sums for. A kernel then walks one tile and one panel step by step and keeps all
//! sums in registers (after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 2008;
//! without their blocking over the inputs, which are few here).
//!
//! Every sum is taken over the inputs in their order, whatever the other rows and panels: a row has the same product
//! alone and among others, to the bit.
//!
//! Integers: a row of X is quantised when it is packed, with a scale of its own (8 bits: also a zero point, as
//! activations are lopsided behind a gelu); a row of W has a scale of its own, too. No sum can overflow: 8-bit products
//! stay below 2^15 and there are at most [`MAX_INPUTS`]; 16-bit weights are scaled so that the sum of their magnitudes
//! times the largest activation stays below 2^31.

mod matrix;
mod multiply;
mod product;
mod rows;
pub(crate) mod scalar;
#[cfg(test)]
mod tests;
mod view;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

pub use matrix::{PackedMatrix, Precision, quantise_row};
pub(crate) use multiply::{MAX_TILE_ROWS, Tile};
pub(crate) use product::multiply_panel;
pub use product::{PackedColumns, ProductRows, Start};
pub use rows::PackedRows;
pub use view::MatrixView;

/// Outputs of one panel.
pub const LANES: usize = 32;

/// The most inputs that a product may have.
pub const MAX_INPUTS: usize = 1 << 16;

/// The largest magnitude of a quantised activation in 16 bits.
pub(crate) const INT16_ACTIVATION: i32 = 4095;

/// One value a lane: a row of a panel's product.
pub type Lanes = [f32; LANES];

/// What one step of a panel holds: four bytes for every lane.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Step(pub(crate) [u32; LANES]);

/// What turns the integer sums of a panel into its product, a value a lane; bias alone in single precision.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct PanelEnds {
    pub(crate) bias: Lanes,
    pub(crate) scale: Lanes,
    /// Sum of the quantised weights, which the zero point of a row is multiplied with.
    pub(crate) sums: [i32; LANES],
}

/// Of a product without bias in single precision.
pub(crate) const NO_ENDS: PanelEnds = PanelEnds {
    bias: [0.0; LANES],
    scale: [0.0; LANES],
    sums: [0; LANES],
};

/// How the integers of a row stand for numbers: `(q - zero) * scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowScale {
    /// What a step of one is worth; NaN for a row that is not finite.
    pub(crate) scale: f32,
    /// The integer that stands for zero.
    pub(crate) zero: i32,
}
