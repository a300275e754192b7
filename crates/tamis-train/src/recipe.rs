//! A recipe: everything that decides what a training run does, as one TOML file.

mod overrides;
mod preset;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tamis_encoder::CheckpointOptions;
use tamis_encoder::training::{Candidates, TrainerConfig};

use crate::batches::BatchOptions;
use crate::data::DataOptions;
use crate::error::Error;
use crate::evaluation::EvaluationOptions;
use crate::negatives::NegativeOptions;
use crate::run::RunOptions;
use crate::teacher::TeacherOptions;

pub use preset::{PresetSummary, preset_summaries, preset_text, recipe_names};

/// A recipe. Fields that are left out have the defaults of their tables; unknown ones are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What it trains, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Who published it, with the year.
    #[serde(default)]
    pub source: String,
    /// What the model is.
    #[serde(default)]
    pub model: ModelOptions,
    /// What is minimised, how, for how long, and what of the model is trained.
    pub trainer: TrainerConfig,
    /// How rows become batches.
    #[serde(default)]
    pub batch: BatchOptions,
    /// Which texts are trained on.
    #[serde(default)]
    pub data: DataOptions,
    /// Who scores them.
    #[serde(default)]
    pub teacher: TeacherOptions,
    /// Where hard negatives come from.
    #[serde(default)]
    pub negatives: NegativeOptions,
    /// What a run logs and keeps.
    #[serde(default)]
    pub run: RunOptions,
    /// What it is watched on.
    #[serde(default)]
    pub evaluation: EvaluationOptions,
}

/// What the model is: the table `[model]` of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// The directory of the checkpoint that the run starts from; the command line gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// How it encodes, as in `tamis.json`.
    pub checkpoint: CheckpointOptions,
}

impl Recipe {
    /// Reads a recipe; `origin` names it in errors.
    ///
    /// # Errors
    /// When the text is no TOML, a field is unknown or of another type; the error names line and column.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|source| Error::Recipe {
            origin: origin.to_owned(),
            problem: source.to_string(),
        })
    }

    /// Reads the recipe in a file.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`Recipe::parse`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| tamis_eval::Error::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// A recipe of this program by its name.
    ///
    /// # Errors
    /// [`Error::UnknownPreset`] when there is none of the name.
    pub fn preset(name: &str) -> Result<Self, Error> {
        Self::parse(preset_text(name)?, &format!("preset {name}"))
    }

    /// Sets fields by their names: `trainer.learning_rate.peak=1e-5`, `teacher.members.0.weight=2`. A value is TOML,
    /// and where it is not, the text itself.
    ///
    /// # Errors
    /// When an assignment has no `=`, names no field, or its value is of another type; the error quotes it.
    pub fn with(self, assignments: &[String]) -> Result<Self, Error> {
        overrides::apply(self, assignments)
    }

    /// The recipe as TOML, with every default written out.
    ///
    /// # Panics
    /// Never: a recipe is plain values.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe is plain values")
    }

    /// Checks every range, and what fits together across tables.
    ///
    /// # Errors
    /// Names the first field that does not fit.
    pub fn validate(&self) -> Result<(), Error> {
        self.data.validate()?;
        self.batch.validate()?;
        self.teacher.validate()?;
        self.negatives.validate(!self.teacher.members.is_empty())?;
        self.run.validate()?;
        self.evaluation.validate()?;
        self.trainer.validate()?;
        let wants = self.trainer.loss.teacher();
        let bad = |option: &str, value: &str, allowed| {
            Err(Error::RecipeOption {
                option: option.to_owned(),
                value: value.to_owned(),
                allowed,
            })
        };
        if wants.is_some() && self.teacher.members.is_empty() {
            return bad("teacher.members", "empty", "at least one teacher for this loss");
        }
        if wants == Some(Candidates::Batch) && !self.teacher.in_batch {
            return bad(
                "teacher.in_batch",
                "false",
                "true for a loss over all documents of the batch",
            );
        }
        Ok(())
    }
}
