//! Checkpoints as functions of their weights: what training differentiates.
//!
//! A model is opened as for encoding, by the same layouts, names, presets and settings; then its transformers are computed
//! from variables ([`crate::checkpoint::weights::VariableStore`]) by the tensor operations that also serve GPUs, and the
//! settings of each side are applied to matrices `[texts, columns]` ([`side`]). A test holds these matrices equal to the
//! vectors of the encoder. What the base lacks is made first ([`start`]), and a trained model is written in the layout it
//! came in, or in one that other libraries read ([`export`]).

mod cache;
mod dense;
mod export;
mod lifted;
mod opening;
mod options;
mod prune;
mod scatter;
mod side;
mod start;
#[cfg(test)]
mod tests;
mod texts;
mod transformer;
mod writing;

pub use dense::{DenseTexts, TextStates, TrainableDense};
pub use lifted::{LiftedTexts, TrainableLift};
pub use options::{StartOptions, TableStart, TrainableOptions};
pub use texts::StepTexts;

use super::layout::Side;
use super::policy::{HeadKind, TermUnit};
use crate::training::{NamedVariable, Randomness, Site, dropout};
use crate::{Error, InputKind};
use candle_core::{DType, Device, Tensor};
use side::{Table, TrainableSide, Weigher, Work};
use start::Base;
use std::ops::Range;
use std::path::PathBuf;
use texts::WordColumns;
use transformer::TrainableTransformer;

/// A model whose representations can be differentiated.
///
/// Queries and documents may share a transformer, have one each, or have none (tables, counts).
pub struct TrainableModel {
    /// The directory that it was opened from, or one made of it.
    base: Base,
    preset: Option<String>,
    /// The directory of a query encoder that the settings name.
    query_root: Option<PathBuf>,
    query_files: Side,
    transformers: Vec<TrainableTransformer>,
    document: TrainableSide,
    query: TrainableSide,
    /// Of a representation, where terms are pieces.
    columns: usize,
    dtype: DType,
    device: Device,
}

/// How representations are computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pass {
    /// Whether the result can be differentiated; otherwise nothing is kept for that.
    pub tracked: bool,
    /// What dropout is drawn from; nothing is dropped without it.
    pub randomness: Option<Randomness>,
}

impl TrainableModel {
    /// The variables, sorted by name. A name is `shared`, `document` or `query`, a point, and the tensor's name as it is
    /// stored; a learned query table is `query.table`, a learned factor `query.scale` or `document.scale`.
    #[must_use]
    pub fn variables(&self) -> Vec<NamedVariable> {
        let mut variables: Vec<NamedVariable> = self
            .transformers
            .iter()
            .flat_map(TrainableTransformer::variables)
            .map(|(name, var)| NamedVariable { name, var })
            .collect();
        for (label, side) in [("document", &self.document), ("query", &self.query)] {
            let (part, var) = match &side.weigher {
                Weigher::Table(Table::Learned(var)) => ("table", var),
                Weigher::Binary(Some(var)) => ("scale", var),
                _ => continue,
            };
            variables.push(NamedVariable {
                name: format!("{label}.{part}"),
                var: var.clone(),
            });
        }
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        variables
    }

    /// Whether terms are whole words, so that columns are those of a step's texts alone.
    #[must_use]
    pub fn weighs_words(&self) -> bool {
        self.document.rules.settings.terms == TermUnit::Words
    }

    /// Columns of a representation where they are the entries of the vocabulary; `None` where they are words.
    #[must_use]
    pub fn vocabulary(&self) -> Option<usize> {
        (!self.weighs_words()).then_some(self.columns)
    }

    /// Whether documents are weighed without an activation, so that a weight may be below zero.
    #[must_use]
    pub fn has_negative_weights(&self) -> bool {
        let settings = &self.document.rules.settings;
        let learned = matches!(settings.head, HeadKind::Mlm | HeadKind::Token | HeadKind::Embeddings);
        learned && settings.weighting.activation == crate::SpladeActivation::Identity
    }

    /// Splits the texts of one step, all on common columns.
    ///
    /// # Errors
    /// When a text cannot be split; its number counts queries first, then documents.
    pub fn read(&self, queries: &[&str], documents: &[&str]) -> Result<StepTexts, Error> {
        let mut words = WordColumns::default();
        let num_queries = queries.len();
        let queries = texts::read(&self.query.rules, queries, &mut words)?;
        let documents = texts::read(&self.document.rules, documents, &mut words);
        let documents = documents.map_err(|error| match error {
            Error::Tokenise { text, reason } => Error::Tokenise {
                text: num_queries + text,
                reason,
            },
            other => other,
        })?;
        let words = words.into_words();
        let columns = match self.weighs_words() {
            // A matrix without columns would be none.
            true => words.len().max(1),
            false => self.columns,
        };
        Ok(StepTexts::new([queries, documents], (columns, words)))
    }

    /// Representations of some texts of one kind, `[texts, columns]`: those that the encoder would give, but for dropout
    /// and for weights below zero, which are kept here.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn represent_part(
        &self,
        texts: &StepTexts,
        kind: InputKind,
        range: Range<usize>,
        pass: Pass,
    ) -> Result<Tensor, Error> {
        let start = range.start;
        let (side, part) = (self.side(kind), texts.part(kind, range));
        if part.is_empty() {
            return Ok(Tensor::zeros((0, texts.columns), self.dtype, &self.device)?);
        }
        let transformer = match side.weigher {
            Weigher::Transformer(at) | Weigher::Static(at) => Some(&self.transformers[at]),
            Weigher::Table(_) | Weigher::Binary(_) => None,
        };
        let graph = transformer
            .map(|transformer| transformer.graph(pass.tracked))
            .transpose()?;
        let rate = transformer.map_or(0.0, |transformer| transformer.dropout);
        let drop = pass.randomness.filter(|_| rate > 0.0).map(|randomness| {
            move |x: &Tensor, rows: &[usize], site: usize| {
                let site = place(kind, site).map_err(candle_core::Error::wrap)?;
                dropout(x, rate, site, rows, from(randomness, start)?).map_err(candle_core::Error::wrap)
            }
        });
        let work = Work {
            graph: transformer.zip(graph.as_ref()),
            dropout: drop.as_ref().map(|drop| drop as _),
            tracked: pass.tracked,
            columns: texts.columns,
            place: (self.dtype, &self.device),
        };
        side.represent(part, &work)
    }

    /// Representations of `texts` of one kind, `[texts, columns]`, as [`TrainableModel::represent_part`] with gradients.
    /// Where terms are words, columns are those of these texts.
    ///
    /// # Errors
    /// When a text cannot be split or a tensor operation fails.
    pub fn represent(&self, kind: InputKind, texts: &[&str], randomness: Option<Randomness>) -> Result<Tensor, Error> {
        let read = match kind {
            InputKind::Query => self.read(texts, &[])?,
            InputKind::Document => self.read(&[], texts)?,
        };
        let pass = Pass {
            tracked: true,
            randomness,
        };
        self.represent_part(&read, kind, 0..texts.len(), pass)
    }

    fn side(&self, kind: InputKind) -> &TrainableSide {
        match kind {
            InputKind::Document => &self.document,
            InputKind::Query => &self.query,
        }
    }
}

/// The site of dropout that a transformer numbers `site`.
fn place(kind: InputKind, site: usize) -> Result<Site, std::num::TryFromIntError> {
    let part = u8::try_from(site % 2)?;
    Ok(Site::new(kind, u16::try_from(site / 2)?, part))
}

/// `randomness` for texts of which the first is text `start` of the step.
fn from(randomness: Randomness, start: usize) -> candle_core::Result<Randomness> {
    let start = u32::try_from(start).map_err(candle_core::Error::wrap)?;
    Ok(Randomness {
        first_text: randomness.first_text + start,
        ..randomness
    })
}
