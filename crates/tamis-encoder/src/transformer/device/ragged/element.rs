//! The types of numbers that rows are computed in, and the few operations that differ between them.

use super::view::{HeadView, Norm, Start, View};
use crate::transformer::HiddenActivation;
use candle_core::WithDType;
use std::ops::Range;

/// The largest value of every column for every text, and the row that it is of.
#[derive(Clone, Debug)]
pub(super) struct Largest<E> {
    /// `[texts, columns]`; below every number for a text without rows.
    pub(super) values: Vec<E>,
    /// Of equal values the first row.
    pub(super) rows: Vec<u32>,
}

/// A type of numbers. Single precision computes with the kernels and all threads; double precision plainly, as the
/// reference that gradients are checked in.
pub(super) trait Element: WithDType {
    /// Buffers of [`Element::attend`].
    type Scratch: Default + Send;
    /// Buffers of [`Element::attend_backward`].
    type BackwardScratch: Default + Send;

    /// Writes `left * right` to `out`, row by row, added to `start`.
    fn multiply(left: View<'_, Self>, right: View<'_, Self>, start: Start<'_, Self>, out: &mut [Self]);

    /// Attention of one head over one text: `[tokens, size]`.
    fn attend(head: &HeadView<'_, Self>, scratch: &mut Self::Scratch, out: &mut [Self]);

    /// Adds the gradients of query, key and value to `out`, which lies as the rows of the head; `gradient` has that of
    /// token `i` at `gradient.0[i * gradient.1..]`.
    fn attend_backward(
        head: &HeadView<'_, Self>,
        gradient: (&[Self], usize),
        scratch: &mut Self::BackwardScratch,
        out: &mut [Self],
    );

    /// Turns pairs by angles of the given cosines and sines.
    fn rotate(pair: (&mut [Self], &mut [Self]), cosines: &[Self], sines: &[Self]);

    /// Applies `activation` to a row.
    fn activate(row: &mut [Self], activation: HiddenActivation);

    /// The same, and turns the gradient of the result into that of the row.
    fn activate_backward(row: &mut [Self], gradient: &mut [Self], activation: HiddenActivation);

    /// Normalises a row.
    fn normalise(row: &mut [Self], norm: &Norm<'_, Self>);

    /// Turns the gradient of the result into that of `row`, and adds to those of weight and bias.
    fn normalise_backward(row: &[Self], gradient: &mut [Self], norm: &Norm<'_, Self>, sums: [&mut [Self]; 2]);

    /// Adds `other` to `row`.
    fn add_row(row: &mut [Self], other: &[Self]);

    /// Adds `factor * other` to `row`.
    fn add_scaled(row: &mut [Self], factor: Self, other: &[Self]);

    /// Multiplies `row` with `other`.
    fn scale_by(row: &mut [Self], other: &[Self]);

    /// The largest product of the rows of every range with every row of `columns`; `rows` and `columns` are of one
    /// width.
    fn largest_products(rows: &[Self], columns: &[Self], width: usize, ranges: &[Range<usize>]) -> Largest<Self>;
}
