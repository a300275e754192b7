//! Embeddings of ragged rows: words, places and the first token type, added and normalised.
//!
//! The gradient of a table is added up from the rows that were looked up, in their order; no other row is touched.

use super::block::Block;
use super::element::Element;
use super::loan::{Loan, with_values};
use super::norm::LayerNorm;
use super::rows::{add_rows, for_each_row, scale_all};
use candle_core::{Result, Shape, Tensor};

/// The tables with what is looked up in them.
#[derive(Debug)]
pub(super) struct Embeddings {
    pub(super) words: Loan,
    pub(super) ids: Vec<u32>,
    /// The table, and the row that each token takes.
    pub(super) positions: Option<(Loan, Vec<usize>)>,
    pub(super) token_type: Option<Loan>,
    pub(super) norm: LayerNorm,
    /// What the result is multiplied with, `[rows, width]`.
    pub(super) dropout: Option<Tensor>,
}

impl Embeddings {
    fn width(&self) -> usize {
        self.words.dims()[1]
    }

    /// The sums before they are normalised.
    fn sums<E: Element>(&self) -> Result<Vec<E>> {
        let width = self.width();
        let mut rows = vec![E::zero(); self.ids.len() * width];
        self.words.read(|words: &[E]| {
            for_each_row(&mut rows, width, |at, row| {
                row.copy_from_slice(&words[self.ids[at] as usize * width..][..width]);
            });
            Ok(())
        })?;
        if let Some((table, places)) = &self.positions {
            table.read(|table: &[E]| {
                for_each_row(&mut rows, width, |at, row| {
                    E::add_row(row, &table[places[at] * width..][..width])
                });
                Ok(())
            })?;
        }
        if let Some(token_type) = &self.token_type {
            token_type.read(|offset: &[E]| {
                for_each_row(&mut rows, width, |_, row| E::add_row(row, offset));
                Ok(())
            })?;
        }
        Ok(rows)
    }

    fn drop<E: Element>(&self, rows: &mut [E]) -> Result<()> {
        match &self.dropout {
            Some(factors) => with_values(factors, |factors| {
                scale_all(rows, factors);
                Ok(())
            }),
            None => Ok(()),
        }
    }
}

impl<E: Element> Block<E> for Embeddings {
    type Saved = Vec<E>;

    const NAME: &'static str = "embeddings";

    fn loans(&self) -> Vec<&Loan> {
        let tables = [
            Some(&self.words),
            self.positions.as_ref().map(|(table, _)| table),
            self.token_type.as_ref(),
        ];
        tables.into_iter().flatten().chain(self.norm.loans()).collect()
    }

    /// Of whatever input, which nobody reads.
    fn shape(&self, _: &Shape) -> Result<Shape> {
        Ok(Shape::from((self.ids.len(), self.width())))
    }

    fn forward(&self, _: &[E]) -> Result<(Vec<E>, Vec<E>)> {
        let sums = self.sums()?;
        let mut rows = self.norm.normalised(&sums)?;
        self.drop(&mut rows)?;
        Ok((rows, sums))
    }

    fn backward(&self, _: &[E], sums: Vec<E>, gradient: &[E], _: bool) -> Result<Vec<E>> {
        let width = self.width();
        let mut gradient = gradient.to_vec();
        self.drop(&mut gradient)?;
        self.norm.turn_back(&sums, &mut gradient)?;
        let scatter = |table: &mut [E], place: &dyn Fn(usize) -> usize| {
            for (at, row) in gradient.chunks_exact(width).enumerate() {
                E::add_row(&mut table[place(at) * width..][..width], row);
            }
        };
        self.words
            .add_gradient(|table| scatter(table, &|at| self.ids[at] as usize))?;
        if let Some((table, places)) = &self.positions {
            table.add_gradient(|table| scatter(table, &|at| places[at]))?;
        }
        if let Some(token_type) = &self.token_type {
            token_type.add_gradient(|sum| add_rows(&gradient, sum))?;
        }
        Ok(Vec::new())
    }
}
