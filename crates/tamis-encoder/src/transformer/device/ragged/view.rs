//! Matrices, heads and norms over plain slices of any type of numbers.

use tamis_kernels as kernels;

/// Whole rows, perhaps seen with rows and columns exchanged.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a, E> {
    pub(super) values: &'a [E],
    /// Of a row as stored.
    pub(super) width: usize,
    pub(super) transposed: bool,
}

impl<'a, E> View<'a, E> {
    pub(super) const fn new(values: &'a [E], width: usize) -> Self {
        Self {
            values,
            width,
            transposed: false,
        }
    }

    /// Rows and columns exchanged.
    pub(super) const fn t(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    pub(super) const fn rows(&self) -> usize {
        match self.transposed {
            true => self.width,
            false => self.values.len() / self.width,
        }
    }

    pub(super) const fn columns(&self) -> usize {
        match self.transposed {
            true => self.values.len() / self.width,
            false => self.width,
        }
    }
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a, E> {
    Zero,
    /// What is there already.
    Present,
    /// One value a column.
    Bias(&'a [E]),
}

impl<'a> Start<'a, f32> {
    pub(super) const fn kernel(self) -> kernels::Start<'a> {
        match self {
            Self::Zero => kernels::Start::Zero,
            Self::Present => kernels::Start::Present,
            Self::Bias(bias) => kernels::Start::Bias(bias),
        }
    }
}

/// Queries, keys and values of one head for the tokens of one text, as [`kernels::Head`] has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadView<'a, E> {
    pub(super) rows: &'a [E],
    pub(super) stride: usize,
    pub(super) columns: [usize; 3],
    pub(super) size: usize,
    pub(super) window: Option<usize>,
}

/// A layer normalisation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm<'a, E> {
    pub(super) weight: &'a [E],
    pub(super) bias: &'a [E],
    pub(super) epsilon: f32,
}
