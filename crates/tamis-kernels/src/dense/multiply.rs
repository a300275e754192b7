//! Packed rows times packed panels: the loop over tiles, and the choice of the kernel for one.

use super::{LANES, Lanes, PackedMatrix, PackedRows, PanelEnds, Precision, RowScale, Step, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::{Isa, Kernels};
use std::ops::Range;

/// Rows of the highest tile of any instruction set.
pub(crate) const MAX_TILE_ROWS: usize = 14;

impl PackedMatrix {
    /// Multiplies all of `rows` with the outputs of `panels` and adds the bias.
    ///
    /// Calls `sink(panel, row, product)` panel by panel, in a panel for adjacent rows from `row` on, ascending: each
    /// of `product` is a row's values for the outputs from `panel * LANES` on (in the last panel those beyond the
    /// last output are zero).
    ///
    /// # Panics
    /// When rows and matrix are packed in different precisions or differ in their inputs, or there is no such panel.
    pub fn multiply(
        &self,
        kernels: Kernels,
        rows: &PackedRows,
        panels: Range<usize>,
        mut sink: impl FnMut(usize, usize, &[Lanes]),
    ) {
        assert_eq!(rows.precision, self.precision(), "one precision on both sides");
        assert_eq!(rows.inputs, self.inputs(), "as many inputs on both sides");
        let mut product = [[0.0; LANES]; MAX_TILE_ROWS];
        for panel in panels {
            let (steps, ends) = self.panel(panel);
            rows.for_each_tile(|range, words| {
                let product = &mut product[..range.len()];
                let start = range.start;
                let tile = Tile {
                    words,
                    scales: &rows.scales[range],
                    steps,
                    ends,
                };
                tile.multiply(kernels, self.precision(), product);
                sink(panel, start, product);
            });
        }
    }
}

impl Kernels {
    /// Rows that one tile holds at most.
    pub(crate) const fn tile_rows(self) -> usize {
        match self.isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx512 => avx512::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::TILE_ROWS,
            _ => scalar::TILE_ROWS,
        }
    }

    /// The largest quantised activation in 8 bits: without VNNI two products must fit into 16 bits.
    pub(crate) const fn int8_levels(self) -> u8 {
        match self.isa() {
            Isa::Avx512Vnni | Isa::Scalar => 255,
            Isa::Avx512 | Isa::Avx2 => 127,
        }
    }
}

/// One tile of rows and the panel that it meets.
pub(crate) struct Tile<'a> {
    /// Step after step, in a step a word for every row.
    pub(crate) words: &'a [u32],
    /// One for every row.
    pub(crate) scales: &'a [RowScale],
    pub(crate) steps: &'a [Step],
    pub(crate) ends: &'a PanelEnds,
}

/// Calls `kernel` with the height of the tile as its constant.
macro_rules! by_height {
    ($tile:expr, $product:expr, $kernel:path) => {
        by_height!($tile, $product, $kernel, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    ($tile:expr, $product:expr, $kernel:path, $($height:literal)*) => {
        match $product.len() {
            $($height => {
                let scales = $tile.scales.first_chunk::<$height>().expect("a scale for every row");
                let product = $product.first_chunk_mut::<$height>().expect("as matched");
                // SAFETY: `Kernels` of an instruction set are made only after the processor reported it.
                #[allow(unused_unsafe, reason = "the scalar kernel is no unsafe call")]
                unsafe { $kernel($tile.words, $tile.steps, $tile.ends, scales, product) }
            })*
            height => unreachable!("a tile of {height} rows"),
        }
    };
}

impl Tile<'_> {
    /// Writes one row of `product` for every row of the tile, of which there are at most as many as
    /// [`Kernels::tile_rows`].
    pub(crate) fn multiply(&self, kernels: Kernels, precision: Precision, product: &mut [Lanes]) {
        match (kernels.isa(), precision) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Vnni | Isa::Avx512, Precision::F32) => by_height!(self, product, avx512::tile_f32),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Vnni, Precision::Int16) => by_height!(self, product, avx512::tile_int16_vnni),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Vnni, Precision::Int8) => by_height!(self, product, avx512::tile_int8_vnni),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Precision::Int16) => by_height!(self, product, avx512::tile_int16),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Precision::Int8) => by_height!(self, product, avx512::tile_int8),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, Precision::F32) => by_height!(self, product, avx2::tile_f32, 1 2 3 4 5 6),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, Precision::Int16) => by_height!(self, product, avx2::tile_int16, 1 2 3 4 5 6),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, Precision::Int8) => by_height!(self, product, avx2::tile_int8, 1 2 3 4 5 6),
            (_, Precision::F32) => by_height!(self, product, scalar::tile_f32, 1 2 3 4),
            (_, Precision::Int16) => by_height!(self, product, scalar::tile_int16, 1 2 3 4),
            (_, Precision::Int8) => by_height!(self, product, scalar::tile_int8, 1 2 3 4),
        }
    }
}
