//! What a trainer asks of a model.

use super::{NamedVariable, Pass, StepTexts, TrainableModel};
use crate::convert::Target;
use crate::{Error, InputKind};
use candle_core::Tensor;
use std::ops::Range;
use std::path::Path;

/// A model whose representations of texts can be differentiated with respect to its variables.
///
/// [`TrainableModel`] is one; other heads over the same transformers can be trained by implementing it.
pub trait TextModel {
    /// The texts of a step as the model reads them.
    type Texts;

    /// What is learned, in an order that does not change.
    fn variables(&self) -> Vec<NamedVariable>;

    /// Reads the texts of one step.
    ///
    /// # Errors
    /// When a text cannot be read.
    fn read(&self, queries: &[&str], documents: &[&str]) -> Result<Self::Texts, Error>;

    /// Representations of the texts at `range` of one kind, `[texts, columns]`, the same whatever the range.
    ///
    /// # Errors
    /// When a tensor operation fails.
    fn represent(&self, texts: &Self::Texts, kind: InputKind, range: Range<usize>, pass: Pass)
    -> Result<Tensor, Error>;

    /// Tokens of all texts.
    fn tokens(&self, texts: &Self::Texts) -> usize;

    /// For each document the columns that it has of its own, and which of them stand in the query that it answers, as
    /// `([texts, columns] of 0 and 1, the same)`: what DeepCT learns. `None` where the model has no such notion.
    ///
    /// # Errors
    /// When a tensor operation fails.
    fn term_recall(&self, texts: &Self::Texts, group: usize) -> Result<Option<(Tensor, Tensor)>, Error>;

    /// Columns of every representation, where that is one number.
    fn vocabulary(&self) -> Option<usize>;

    /// The IDF of each column, where queries are weighed by a fixed table.
    fn idf(&self) -> Option<Vec<f32>>;

    /// How many columns of `texts`, from the first, are weights of terms, whose number is what lengths and costs are
    /// measured by. Default: all.
    fn term_columns(&self, texts: &Self::Texts) -> Option<usize> {
        let _ = texts;
        None
    }

    /// Writes everything that opening it again needs to the new directory `dir`, with all values as they are.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    fn save(&self, dir: &Path) -> Result<(), Error>;
}

impl TextModel for TrainableModel {
    type Texts = StepTexts;

    fn variables(&self) -> Vec<NamedVariable> {
        self.variables()
    }

    fn read(&self, queries: &[&str], documents: &[&str]) -> Result<StepTexts, Error> {
        self.read(queries, documents)
    }

    fn represent(&self, texts: &StepTexts, kind: InputKind, range: Range<usize>, pass: Pass) -> Result<Tensor, Error> {
        self.represent_part(texts, kind, range, pass)
    }

    fn tokens(&self, texts: &StepTexts) -> usize {
        texts.tokens()
    }

    fn term_recall(&self, texts: &StepTexts, group: usize) -> Result<Option<(Tensor, Tensor)>, Error> {
        self.term_recall(texts, group).map(Some)
    }

    fn vocabulary(&self) -> Option<usize> {
        self.vocabulary()
    }

    fn idf(&self) -> Option<Vec<f32>> {
        self.query_table()
    }

    fn save(&self, dir: &Path) -> Result<(), Error> {
        let target = Target::replace(dir)?;
        self.save_into(&target)?;
        target.finish()
    }
}
