//! General products `C = A B` in single precision, for matrices that change with every product.
//!
//! Both sides are packed for the tiles that weights packed once use as well: B into panels of [`LANES`] columns, some
//! inputs at a time, and rows of A into tiles. The caller takes the inputs block by block ([`PackedColumns::blocks`]),
//! so that a tile and a panel stay in the caches nearest to the processor however many inputs there are (Goto and
//! van de Geijn, 2008), and may share out the rows of C: the sum of an element runs over the inputs in their order,
//! block by block, whoever computes it and whatever lies beside it.

use super::{LANES, Lanes, MAX_TILE_ROWS, MatrixView, NO_ENDS, PackedRows, Precision, RowScale, Step, Tile};
use crate::Kernels;
use std::ops::Range;

/// Inputs of a block at most: a panel of 96 kB, a tile of 42 kB.
const INPUTS_PER_BLOCK: usize = 768;

/// Inputs that are transposed at a time: a cache line of every row.
const INPUTS_PER_PASS: usize = 16;

/// Some inputs of the right side of a product, in panels; reused, it allocates nothing.
#[derive(Debug, Default)]
pub struct PackedColumns {
    inputs: Range<usize>,
    outputs: usize,
    steps: Vec<Step>,
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Nothing.
    Zero,
    /// What is there already.
    Present,
    /// One value a column.
    Bias(&'a [f32]),
}

impl PackedColumns {
    /// The blocks in which `inputs` are taken, in order, of nearly equal length.
    pub fn blocks(inputs: usize) -> impl Iterator<Item = Range<usize>> {
        let blocks = inputs.div_ceil(INPUTS_PER_BLOCK);
        (0..blocks).map(move |at| at * inputs / blocks..(at + 1) * inputs / blocks)
    }

    /// Makes room for rows `inputs` of a matrix of `outputs` columns, in place of what was there. Fill it with
    /// [`PackedColumns::panels_mut`] and [`Kernels::pack_panel`].
    ///
    /// # Panics
    /// When there is no input.
    pub fn lay_out(&mut self, inputs: Range<usize>, outputs: usize) {
        assert!(!inputs.is_empty(), "a product has an input");
        let steps = outputs.div_ceil(LANES) * inputs.len();
        self.steps.resize(steps, Step([0; LANES]));
        (self.inputs, self.outputs) = (inputs, outputs);
    }

    /// The panels, which may be filled in any order.
    pub fn panels_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [Step]> {
        self.steps.chunks_exact_mut(self.inputs.len().max(1))
    }

    /// Packs rows `inputs` of `right` on this thread.
    ///
    /// # Panics
    /// As [`PackedColumns::lay_out`] and [`Kernels::pack_panel`].
    pub fn pack(&mut self, kernels: Kernels, right: &MatrixView<'_>, inputs: Range<usize>) {
        self.lay_out(inputs.clone(), right.columns());
        for (panel, steps) in self.panels_mut().enumerate() {
            kernels.pack_panel(right, &inputs, panel, steps);
        }
    }

    /// Panels of [`LANES`] columns, the last one perhaps not full.
    #[must_use]
    pub fn num_panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    fn panel(&self, panel: usize) -> &[Step] {
        &self.steps[panel * self.inputs.len()..][..self.inputs.len()]
    }
}

impl Kernels {
    /// Fills one panel of [`PackedColumns`] with rows `inputs` of its columns of `right`; lanes beyond the last column
    /// are zero.
    ///
    /// # Panics
    /// When there is no such panel or row, or the panel has another length.
    pub fn pack_panel(self, right: &MatrixView<'_>, inputs: &Range<usize>, panel: usize, steps: &mut [Step]) {
        assert_eq!(steps.len(), inputs.len(), "a step an input");
        let start = panel * LANES;
        let columns = start..right.columns().min(start + LANES);
        assert!(!columns.is_empty(), "a panel of the matrix");
        if columns.len() < LANES {
            steps.fill(Step([0; LANES]));
        }
        if !right.columns_are_dense() {
            for (input, step) in inputs.clone().zip(steps) {
                let row = right.stored(input, &columns);
                step.0.iter_mut().zip(row).for_each(|(lane, x)| *lane = x.to_bits());
            }
            return;
        }
        for (pass, steps) in steps.chunks_mut(INPUTS_PER_PASS).enumerate() {
            let first = inputs.start + pass * INPUTS_PER_PASS;
            let inputs = first..first + steps.len();
            for (lane, column) in columns.clone().enumerate() {
                let column = right.stored(column, &inputs);
                steps
                    .iter_mut()
                    .zip(column)
                    .for_each(|(step, x)| step.0[lane] = x.to_bits());
            }
        }
    }

    /// Calls `sink(row, products)` for adjacent rows from `row` on, ascending, with their products with one panel of
    /// `right`.
    ///
    /// # Panics
    /// When rows and panel differ in their inputs, or there is no such panel.
    pub fn multiply_panel(
        self,
        rows: &PackedRows,
        right: &PackedColumns,
        panel: usize,
        sink: impl FnMut(usize, &[Lanes]),
    ) {
        assert_eq!(rows.inputs, right.inputs.len(), "as many inputs on both sides");
        multiply_panel(self, rows, right.panel(panel), sink);
    }
}

/// Some rows of a product, over the inputs that are packed.
#[derive(Clone, Debug)]
pub struct ProductRows<'a> {
    /// A.
    pub left: MatrixView<'a>,
    /// Rows of A and C.
    pub rows: Range<usize>,
    /// Some rows of B.
    pub right: &'a PackedColumns,
    /// What the product is added to. Of several blocks of inputs all but the first come to [`Start::Present`].
    pub start: Start<'a>,
}

impl ProductRows<'_> {
    /// Writes the product to `out`, row by row; `packed` is scratch.
    ///
    /// # Panics
    /// When there are no such rows or inputs, or `out` or the bias have another size.
    pub fn write(&self, kernels: Kernels, packed: &mut PackedRows, out: &mut [f32]) {
        let outputs = self.right.outputs;
        assert_eq!(out.len(), self.rows.len() * outputs, "a value for every row and column");
        if let Start::Bias(bias) = self.start {
            assert_eq!(bias.len(), outputs, "a bias for every column");
        }
        packed.pack_view(kernels, &self.left, self.rows.clone(), &self.right.inputs);
        for panel in 0..self.right.num_panels() {
            let columns = panel * LANES..outputs.min((panel + 1) * LANES);
            multiply_panel(kernels, packed, self.right.panel(panel), |first, products| {
                let rows = out.chunks_exact_mut(outputs).skip(first);
                for (row, product) in rows.zip(products) {
                    finish(&mut row[columns.clone()], product, self.start, &columns);
                }
            });
        }
    }
}

/// Calls `sink(row, products)` for adjacent rows from `row` on, ascending, with their products with one panel.
pub(crate) fn multiply_panel(
    kernels: Kernels,
    rows: &PackedRows,
    steps: &[Step],
    mut sink: impl FnMut(usize, &[Lanes]),
) {
    let mut product = [[0.0; LANES]; MAX_TILE_ROWS];
    let scales = [RowScale::default(); MAX_TILE_ROWS];
    rows.for_each_tile(|range, words| {
        let product = &mut product[..range.len()];
        let tile = Tile {
            words,
            scales: &scales[..range.len()],
            steps,
            ends: &NO_ENDS,
        };
        tile.multiply(kernels, Precision::F32, product);
        sink(range.start, product);
    });
}

fn finish(out: &mut [f32], product: &Lanes, start: Start<'_>, columns: &Range<usize>) {
    match start {
        Start::Zero => out.copy_from_slice(&product[..out.len()]),
        Start::Present => out.iter_mut().zip(product).for_each(|(out, x)| *out += x),
        Start::Bias(bias) => {
            let bias = &bias[columns.clone()];
            let sums = product.iter().zip(bias).map(|(x, bias)| x + bias);
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::tests::noise;
    use proptest::prelude::*;

    /// `[rows, inputs]` times `[inputs, columns]` with values as they would lie in either order.
    struct Case {
        size: [usize; 3],
        left: Vec<f32>,
        right: Vec<f32>,
    }

    impl Case {
        fn new(rows: usize, inputs: usize, columns: usize) -> Self {
            Self {
                size: [rows, inputs, columns],
                left: noise(1, rows * inputs),
                right: noise(2, inputs * columns),
            }
        }

        fn exact(&self, row: usize, column: usize) -> f64 {
            let [_, inputs, columns] = self.size;
            let left = &self.left[row * inputs..][..inputs];
            let right = self.right[column..].iter().step_by(columns);
            left.iter().zip(right).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        }

        fn product(&self, kernels: Kernels, transposed: [bool; 2], parts: usize, start: Start<'_>) -> Vec<f32> {
            let [rows, inputs, columns] = self.size;
            let sides = [(&self.left, rows, inputs), (&self.right, inputs, columns)];
            let stored = [0, 1].map(|side| {
                let (values, rows, columns) = sides[side];
                match transposed[side] {
                    false => values.clone(),
                    true => transpose(values, rows, columns),
                }
            });
            let [left, right] = [0, 1].map(|side| {
                let (_, rows, columns) = sides[side];
                match transposed[side] {
                    false => MatrixView::with_stride(&stored[side], rows, columns, columns),
                    true => MatrixView::with_stride(&stored[side], columns, rows, rows).transposed(),
                }
            });
            let mut out = vec![0.5; rows * columns];
            let (mut packed, mut rows_packed) = (PackedColumns::default(), PackedRows::default());
            for block in PackedColumns::blocks(inputs) {
                let start = if block.start == 0 { start } else { Start::Present };
                packed.pack(kernels, &right, block);
                for part in 0..parts {
                    let part = part * rows / parts..(part + 1) * rows / parts;
                    let out = &mut out[part.start * columns..part.end * columns];
                    let part = ProductRows {
                        left,
                        rows: part,
                        right: &packed,
                        start,
                    };
                    part.write(kernels, &mut rows_packed, out);
                }
            }
            out
        }
    }

    fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        let at = |at: usize| values[at % rows * columns + at / rows];
        (0..rows * columns).map(at).collect()
    }

    fn check(case: &Case, kernels: Kernels, transposed: [bool; 2]) {
        let [_, inputs, columns] = case.size;
        let bias = noise(3, columns);
        let tolerance = 2e-6 * (inputs as f64).sqrt() + 1e-6;
        for start in [Start::Zero, Start::Present, Start::Bias(&bias)] {
            for (at, value) in case.product(kernels, transposed, 1, start).into_iter().enumerate() {
                let begun = match start {
                    Start::Zero => 0.0,
                    Start::Present => 0.5,
                    Start::Bias(bias) => bias[at % columns],
                };
                let exact = case.exact(at / columns, at % columns) + f64::from(begun);
                let error = (f64::from(value) - exact).abs();
                assert!(
                    error <= tolerance,
                    "{kernels} {transposed:?} {start:?} at {at}: off by {error}"
                );
            }
        }
    }

    const BOTH: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

    #[test]
    fn products_are_sums_whatever_the_order_of_the_values() {
        for kernels in Kernels::available() {
            for transposed in BOTH {
                for (rows, inputs, columns) in [(1, 1, 1), (15, 40, 33), (30, 1700, 70), (0, 3, 5)] {
                    check(&Case::new(rows, inputs, columns), kernels, transposed);
                }
            }
        }
    }

    #[test]
    fn sharing_out_the_rows_changes_no_bit() {
        let case = Case::new(61, 900, 50);
        for kernels in Kernels::available() {
            for transposed in BOTH {
                let whole = case.product(kernels, transposed, 1, Start::Zero);
                assert_eq!(whole, case.product(kernels, transposed, 3, Start::Zero), "{kernels}");
                assert_eq!(whole, case.product(kernels, transposed, 61, Start::Zero), "{kernels}");
            }
        }
    }

    #[test]
    fn rows_may_lie_apart() {
        let values: Vec<f32> = (0u8..12).map(f32::from).collect();
        let left = MatrixView::with_stride(&values[1..], 3, 2, 4);
        let right = MatrixView::new(&[1.0, 10.0], 1);
        let (mut columns, mut out) = (PackedColumns::default(), [0.0; 3]);
        let kernels = crate::active();
        columns.pack(kernels, &right, 0..2);
        let product = ProductRows {
            left,
            rows: 0..3,
            right: &columns,
            start: Start::Zero,
        };
        product.write(kernels, &mut PackedRows::default(), &mut out);
        assert_eq!(out, [21.0, 65.0, 109.0]);
    }

    proptest! {
        #[test]
        fn any_shape(rows in 0..40usize, inputs in 1..60usize, columns in 1..80usize, order in 0..4usize) {
            for kernels in Kernels::available() {
                check(&Case::new(rows, inputs, columns), kernels, BOTH[order]);
            }
        }
    }
}
