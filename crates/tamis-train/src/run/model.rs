//! The model of a run: a checkpoint, or a lifted model.

use std::path::Path;

use tamis_encoder::training::{StepOutcome, TextBatch, TrainableLift, Trainer, TrainerConfig};
use tamis_encoder::{CheckpointOptions, LiftedEncoder};

use crate::error::Error;

/// A trainer over either kind of model; which, the directory that it starts from decides.
pub(super) enum ModelTrainer {
    /// Of a checkpoint.
    Checkpoint(Box<Trainer>),
    /// Of a lifted model: its gate and its dense encoder.
    Lifted(Box<Trainer<TrainableLift>>),
}

impl ModelTrainer {
    /// Opens the model in `dir` and a run over it that begins at step 0.
    pub(super) fn open(dir: &Path, checkpoint: &CheckpointOptions, config: TrainerConfig) -> Result<Self, Error> {
        if !LiftedEncoder::is_in(dir) {
            return Ok(Self::Checkpoint(Box::new(Trainer::open(dir, checkpoint, config)?)));
        }
        if *checkpoint != CheckpointOptions::default() {
            return Err(Error::RecipeOption {
                option: "model.checkpoint".to_owned(),
                value: "given".to_owned(),
                allowed: "nothing for a lifted model, whose directory decides everything",
            });
        }
        let model = TrainableLift::open(dir, &config.model)?;
        Ok(Self::Lifted(Box::new(Trainer::new(model, config)?)))
    }

    /// Goes on from the state in `dir`; `base` is what the run started from.
    pub(super) fn resume(dir: &Path, base: &Path) -> Result<Self, Error> {
        match LiftedEncoder::is_in(base) {
            true => Ok(Self::Lifted(Box::new(Trainer::resume_with(dir, TrainableLift::open)?))),
            false => Ok(Self::Checkpoint(Box::new(Trainer::resume(dir)?))),
        }
    }

    /// Takes a step.
    pub(super) fn step(&mut self, batch: &TextBatch<'_>) -> Result<StepOutcome, Error> {
        Ok(match self {
            Self::Checkpoint(trainer) => trainer.step(batch)?,
            Self::Lifted(trainer) => trainer.step(batch)?,
        })
    }

    /// Writes the state to `dir`.
    pub(super) fn save(&self, dir: &Path) -> Result<(), Error> {
        let saved = match self {
            Self::Checkpoint(trainer) => trainer.save(dir),
            Self::Lifted(trainer) => trainer.save(dir),
        };
        Ok(saved?)
    }

    /// Writes the model as it stands to `dir`, as a directory that opens by itself.
    pub(super) fn export(&self, dir: &Path) -> Result<(), Error> {
        let exported = match self {
            Self::Checkpoint(trainer) => trainer.export(dir),
            Self::Lifted(trainer) => trainer.model().export(dir),
        };
        Ok(exported?)
    }
}
