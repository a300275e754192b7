//! Rows of activations, quantised and packed into tiles.

use super::{Precision, RowScale};
use crate::Kernels;

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
        self.precision = precision;
        self.inputs = inputs;
        self.num_rows = rows.len() / inputs;
        self.words.resize(self.num_rows * steps, 0);
        self.row.resize(steps, 0);
        self.scales.clear();
        self.starts.clear();
        // Tiles of nearly equal height: a last tile of one row would take as long as a high one.
        let tiles = self.num_rows.div_ceil(kernels.tile_rows());
        self.starts
            .extend((0..=tiles).map(|tile| tile * self.num_rows / tiles.max(1)));
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

    /// Rows held.
    #[must_use]
    pub const fn num_rows(&self) -> usize {
        self.num_rows
    }
}
