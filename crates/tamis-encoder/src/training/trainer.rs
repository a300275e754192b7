//! One optimiser step after another over a model, everything that a step changes in one place.

mod state;
mod step;
#[cfg(test)]
mod tests;

use super::{
    AdamW, ColumnWeighting, ColumnWeights, Controlled, Controller, DocumentFrequencies, NamedVariable, Penalties,
    Regulariser, Side, TextBatch, TextModel, TrainableModel, TrainerConfig, refused,
};
use crate::{CheckpointOptions, Error};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A run: a model and all that changes it.
///
/// The same texts in the same order give the same bytes, for any number of threads, and however often the run was saved
/// and resumed.
pub struct Trainer<M: TextModel = TrainableModel> {
    config: TrainerConfig,
    model: M,
    variables: Vec<NamedVariable>,
    penalties: Penalties,
    columns: ColumnWeights,
    frequencies: Option<DocumentFrequencies>,
    controller: Option<Controller>,
    optimiser: AdamW,
    /// Completed optimiser steps.
    step: u64,
}

/// What a step did, all measured before it changed the variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// The step, counted from 0.
    pub step: u64,
    /// The loss and the penalties as weighted.
    pub loss: f64,
    /// Terms of the loss, then penalties, before they are weighted, by name.
    pub terms: Vec<(String, f64)>,
    /// The weights of the penalties that were in force, by name.
    pub penalty_weights: Vec<(String, f64)>,
    /// The mean number of weights of a query.
    pub query_length: f64,
    /// The mean number of weights of a document.
    pub document_length: f64,
    /// The expected products of a query with a document.
    pub flops: f64,
    /// The norm of all gradients before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Tokens of all texts, special ones included.
    pub tokens: usize,
}

impl Trainer {
    /// Opens the checkpoint in `dir` with what `checkpoint` decides, and a run over it.
    ///
    /// # Errors
    /// As [`TrainableModel::open`], and when an option of `config` is out of its range or does not fit the model.
    pub fn open(dir: &Path, checkpoint: &CheckpointOptions, config: TrainerConfig) -> Result<Self, Error> {
        config.validate()?;
        let model = TrainableModel::open(dir, checkpoint, &config.model)?;
        Self::new(model, config)
    }

    /// Writes the model as it stands to `dir`, which appears complete or not at all and takes the place of a directory
    /// of that name: as Hugging Face and sentence-transformers write it where they have a layout for it, with a
    /// `tamis.json` that decides the rest.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn export(&self, dir: &Path) -> Result<(), Error> {
        self.model.export(dir)
    }
}

impl<M: TextModel> Trainer<M> {
    /// A run over `model` that begins at step 0.
    ///
    /// # Errors
    /// When an option of `config` is out of its range or does not fit the model.
    pub fn new(model: M, config: TrainerConfig) -> Result<Self, Error> {
        config.validate()?;
        let variables = model.variables();
        let penalties = Penalties::new(config.penalties.clone(), config.steps)?;
        let mut columns = ColumnWeights::default();
        let frequencies = match (penalties.use_document_frequencies(), model.vocabulary()) {
            (false, _) => None,
            (true, Some(entries)) => Some(DocumentFrequencies::new(config.document_frequency, entries)?),
            (true, None) => return Err(refused("penalties", "document frequencies of words", WORDS)),
        };
        if uses_idf(&config) {
            if model.vocabulary().is_none() {
                return Err(refused("penalties", "the IDF of words", WORDS));
            }
            let idf = model.idf();
            let idf = idf.ok_or_else(|| refused("penalties", "inverse_idf", "a model with a query table"))?;
            // What weighs nothing in queries costs nothing.
            let idf: Vec<f32> = idf
                .into_iter()
                .map(|idf| if idf > 0.0 { idf } else { f32::MAX })
                .collect();
            columns.set_idf(&idf)?;
        }
        let controller = config.controller.map(Controller::new).transpose()?;
        let optimiser = AdamW::new(variables.clone(), config.optimiser.clone())?;
        let mut trainer = Self {
            config,
            model,
            variables,
            penalties,
            columns,
            frequencies,
            controller,
            optimiser,
            step: 0,
        };
        trainer.steer();
        Ok(trainer)
    }

    /// Completed optimiser steps.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// What the run is told.
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// The model as it stands.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Has the controller's factor on its penalties.
    fn steer(&mut self) {
        let Some(controller) = &self.controller else { return };
        let side = match controller.measure() {
            Controlled::QueryLength => Side::Query,
            Controlled::DocumentLength | Controlled::Flops => Side::Document,
        };
        self.penalties.steer(side, controller.factor());
        if controller.measure() == Controlled::Flops {
            self.penalties.steer(Side::Both, controller.factor());
        }
    }
}

const WORDS: &str = "a penalty of all columns alike, as the columns of this model are the words of a step";

fn uses_idf(config: &TrainerConfig) -> bool {
    config.penalties.iter().any(|penalty| match &penalty.regulariser {
        Regulariser::Flops(flops) => flops.columns == ColumnWeighting::InverseIdf,
        _ => false,
    })
}
