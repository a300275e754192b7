//! Rows of activations, quantised and packed into tiles.

use super::{MatrixView, Precision, RowScale};
use crate::Kernels;
use std::ops::Range;

/// Inputs of a tile that are packed at a time, row by row.
const INPUTS_PER_PASS: usize = 64;

/// Some rows of X, packed for products with matrices of one precision; reused, it allocates nothing.
#[derive(Debug, Default)]
pub struct PackedRows {
    pub(crate) precision: Precision,
    pub(crate) inputs: usize,
    pub(crate) num_rows: usize,
    /// Tile after tile; in a tile step after step; in a step one word for every row of the tile.
    pub(crate) words: Vec<u32>,
    pub(crate) scales: Vec<RowScale>,
    /// The first row of each tile, and the end.
    pub(crate) starts: Vec<usize>,
    /// One row between quantisation and its place in a tile.
    row: Vec<u32>,
}

impl PackedRows {
    /// Packs `rows`, each of `inputs` values, in place of what was there.
    ///
    /// A row with a value that is not finite gives a product that is NaN throughout.
    ///
    /// # Panics
    /// When `rows` are not whole rows.
    pub fn pack(&mut self, kernels: Kernels, precision: Precision, rows: &[f32], inputs: usize) {
        assert!(rows.len().is_multiple_of(inputs), "rows are whole");
        let steps = precision.steps(inputs);
        self.lay_out(kernels, precision, rows.len() / inputs, inputs);
        self.row.resize(steps, 0);
        for bounds in self.starts.windows(2) {
            let (start, height) = (bounds[0], bounds[1] - bounds[0]);
            let words = &mut self.words[start * steps..][..height * steps];
            let tile = &rows[start * inputs..][..height * inputs];
            for (at, row) in tile.chunks_exact(inputs).enumerate() {
                let words = words[at..].iter_mut().step_by(height);
                if precision == Precision::F32 {
                    words.zip(row).for_each(|(word, x)| *word = x.to_bits());
                    continue;
                }
                self.scales.push(match precision {
                    Precision::Int8 => kernels.quantise_int8(row, &mut self.row, kernels.int8_levels()),
                    _ => kernels.quantise_int16(row, &mut self.row),
                });
                words.zip(&self.row).for_each(|(word, &quantised)| *word = quantised);
            }
        }
        if precision == Precision::F32 {
            self.scales.resize(self.num_rows, RowScale::default());
        }
    }

    /// Packs `num_rows` rows that are given by their columns: `column(i)` has input `i` of every row. In single
    /// precision, in place of what was there.
    pub(crate) fn pack_columns<'a>(
        &mut self,
        kernels: Kernels,
        inputs: usize,
        num_rows: usize,
        column: impl Fn(usize) -> &'a [f32],
    ) {
        self.lay_out(kernels, Precision::F32, num_rows, inputs);
        for bounds in self.starts.windows(2) {
            let (start, height) = (bounds[0], bounds[1] - bounds[0]);
            let words = &mut self.words[start * inputs..][..height * inputs];
            for (input, words) in words.chunks_exact_mut(height).enumerate() {
                let column = &column(input)[start..start + height];
                words.iter_mut().zip(column).for_each(|(word, x)| *word = x.to_bits());
            }
        }
        self.scales.resize(num_rows, RowScale::default());
    }

    /// Packs columns `inputs` of rows `rows` of `left`, in single precision, in place of what was there.
    pub(super) fn pack_view(
        &mut self,
        kernels: Kernels,
        left: &MatrixView<'_>,
        rows: Range<usize>,
        inputs: &Range<usize>,
    ) {
        assert!(
            rows.end <= left.rows() && inputs.end <= left.columns(),
            "rows and inputs of the matrix"
        );
        if left.columns_are_dense() {
            let column = |input| left.stored(inputs.start + input, &rows);
            return self.pack_columns(kernels, inputs.len(), rows.len(), column);
        }
        self.lay_out(kernels, Precision::F32, rows.len(), inputs.len());
        for bounds in self.starts.windows(2) {
            let (start, height) = (bounds[0], bounds[1] - bounds[0]);
            let words = &mut self.words[start * inputs.len()..][..height * inputs.len()];
            // Pass by pass, so that the part of the tile that all its rows are written to stays in the nearest cache.
            for (pass, words) in words.chunks_mut(INPUTS_PER_PASS * height).enumerate() {
                let first = inputs.start + pass * INPUTS_PER_PASS;
                let inputs = first..first + words.len() / height;
                for at in 0..height {
                    let row = left.stored(rows.start + start + at, &inputs);
                    let words = words[at..].iter_mut().step_by(height);
                    words.zip(row).for_each(|(word, x)| *word = x.to_bits());
                }
            }
        }
        self.scales.resize(rows.len(), RowScale::default());
    }

    /// Makes room, and tiles of nearly equal height: a last tile of one row would take as long as a high one.
    fn lay_out(&mut self, kernels: Kernels, precision: Precision, num_rows: usize, inputs: usize) {
        self.precision = precision;
        self.inputs = inputs;
        self.num_rows = num_rows;
        self.words.resize(num_rows * precision.steps(inputs), 0);
        self.scales.clear();
        self.starts.clear();
        let tiles = num_rows.div_ceil(kernels.tile_rows());
        let starts = (0..=tiles).map(|tile| tile * num_rows / tiles.max(1));
        self.starts.extend(starts);
    }

    /// Calls `visit` with the rows and words of every tile, in order.
    pub(crate) fn for_each_tile(&self, mut visit: impl FnMut(Range<usize>, &[u32])) {
        let steps = self.precision.steps(self.inputs);
        for bounds in self.starts.windows(2) {
            let (start, end) = (bounds[0], bounds[1]);
            visit(start..end, &self.words[start * steps..end * steps]);
        }
    }

    /// Rows held.
    #[must_use]
    pub const fn num_rows(&self) -> usize {
        self.num_rows
    }
}
