//! Matrices as they lie in memory, for products that pack both of their sides.

use std::ops::Range;

/// A matrix in single precision: rows of values at equal distances, perhaps seen with rows and columns exchanged.
#[derive(Clone, Copy, Debug)]
pub struct MatrixView<'a> {
    values: &'a [f32],
    stride: usize,
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> MatrixView<'a> {
    /// Whole rows of `columns` values, one after the other.
    ///
    /// # Panics
    /// When there are no columns or the values are not whole rows.
    #[must_use]
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "rows are whole");
        Self::with_stride(values, values.len() / columns, columns, columns)
    }

    /// `rows` rows of `columns` values, `stride` values from the start of one to that of the next.
    ///
    /// # Panics
    /// When rows overlap or do not lie within `values`.
    #[must_use]
    pub fn with_stride(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride, "rows do not overlap");
        let end = rows.checked_sub(1).map_or(0, |last| last * stride + columns);
        assert!(end <= values.len(), "rows lie within the values");
        Self {
            values,
            stride,
            rows,
            columns,
            transposed: false,
        }
    }

    /// The same values with rows and columns exchanged; nothing is moved.
    #[must_use]
    pub const fn transposed(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// Number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        if self.transposed { self.columns } else { self.rows }
    }

    /// Number of columns.
    #[must_use]
    pub const fn columns(&self) -> usize {
        if self.transposed { self.rows } else { self.columns }
    }

    /// Whether the values of a column, not those of a row, lie side by side.
    pub(super) const fn columns_are_dense(&self) -> bool {
        self.transposed
    }

    /// Part of row `at` as stored: a row, or a column of a transposed matrix.
    pub(super) fn stored(&self, at: usize, part: &Range<usize>) -> &'a [f32] {
        &self.values[at * self.stride..][part.clone()]
    }
}
