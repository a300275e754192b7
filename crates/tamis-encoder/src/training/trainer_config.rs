//! What a run is told: one place for its defaults.

use super::{
    AdamWOptions, ControllerOptions, DocumentFrequencyOptions, LearningRate, Loss, Penalty, TrainableOptions,
    not_negative, refused,
};
use crate::Error;
use serde::{Deserialize, Serialize};

/// How a model is trained, but for its texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerConfig {
    /// Optimiser steps of the whole run, which schedules go by; at least 1.
    pub steps: u64,
    /// What is minimised.
    pub loss: Loss,
    /// What keeps representations sparse. Default: nothing.
    #[serde(default)]
    pub penalties: Vec<Penalty>,
    /// Steers the weights of the penalties of documents, or of queries where it is their length. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerOptions>,
    /// How document frequencies become column weights, for penalties that use them.
    #[serde(default)]
    pub document_frequency: DocumentFrequencyOptions,
    /// The optimiser.
    #[serde(default)]
    pub optimiser: AdamWOptions,
    /// The learning rate over the run.
    #[serde(default)]
    pub learning_rate: LearningRate,
    /// The largest norm that gradients keep; 0 for any. Default 1, as Hugging Face's trainer has it.
    #[serde(default = "default_max_norm")]
    pub max_gradient_norm: f64,
    /// The most texts whose computation is kept for the backward pass; a step of more is computed twice, in parts
    /// (Gao et al., 2021), with the same result within rounding and the memory of one part. 0, the default, for any.
    #[serde(default)]
    pub micro_batch: usize,
    /// Parts into which the queries of a step are divided, each with a loss of its own; gradients are their mean.
    /// Default 1.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// What dropout is drawn from. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// What of the model is trained, and how parts begin that it lacks.
    #[serde(default)]
    pub model: TrainableOptions,
}

fn default_max_norm() -> f64 {
    1.0
}

fn one() -> usize {
    1
}

impl TrainerConfig {
    /// A run of `steps` steps with `loss` and defaults.
    #[must_use]
    pub fn new(steps: u64, loss: Loss) -> Self {
        Self {
            steps,
            loss,
            penalties: Vec::new(),
            controller: None,
            document_frequency: DocumentFrequencyOptions::default(),
            optimiser: AdamWOptions::default(),
            learning_rate: LearningRate::default(),
            max_gradient_norm: default_max_norm(),
            micro_batch: 0,
            accumulation: one(),
            seed: 0,
            model: TrainableOptions::default(),
        }
    }

    /// Checks every range that can be checked without a model.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.steps == 0 {
            return Err(refused("steps", 0, "at least 1"));
        }
        if self.accumulation == 0 {
            return Err(refused("accumulation", 0, "at least 1"));
        }
        not_negative("max_gradient_norm", self.max_gradient_norm)?;
        self.loss.validate()?;
        self.document_frequency.validate()?;
        self.optimiser.validate()?;
        self.learning_rate.validate()?;
        match &self.controller {
            Some(controller) => controller.validate(),
            None => Ok(()),
        }
    }
}
