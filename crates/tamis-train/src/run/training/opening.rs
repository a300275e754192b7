//! What a run needs from outside, opened before anything is written.

use std::path::Path;

use tamis_encoder::Compute;

use crate::data::TrainingData;
use crate::error::Error;
use crate::evaluation::DevCollection;
use crate::recipe::Recipe;
use crate::run::model::ModelTrainer;
use crate::run::observer::Observer;
use crate::teacher::Teacher;

/// What a run needs from outside.
pub(super) struct Opened {
    pub(super) data: TrainingData,
    pub(super) teacher: Option<Teacher>,
    pub(super) dev: Vec<DevCollection>,
    pub(super) trainer: ModelTrainer,
}

/// What the run starts from.
pub(super) fn base(recipe: &Recipe) -> Result<&Path, Error> {
    recipe.model.base.as_deref().ok_or_else(|| Error::RecipeOption {
        option: "model.base".to_owned(),
        value: "missing".to_owned(),
        allowed: "the directory of a checkpoint (--model DIR)",
    })
}

/// Opens collections and model and reads the data, in the order in which mistakes are cheap.
pub(super) fn open(
    recipe: &Recipe,
    compute: Compute,
    observer: &mut dyn Observer,
    trainer: impl FnOnce() -> Result<ModelTrainer, Error>,
) -> Result<Opened, Error> {
    let evaluation = &recipe.evaluation;
    let collections = evaluation.collections.iter();
    let dev = collections.map(|path| DevCollection::open(path, &evaluation.split));
    let dev = dev.collect::<Result<_, _>>()?;
    let trainer = trainer()?;
    let data = TrainingData::read(&recipe.data, &mut |rows| observer.read(rows))?;
    let teacher = Teacher::open(&recipe.teacher, &data, compute)?;
    Ok(Opened {
        data,
        teacher,
        dev,
        trainer,
    })
}
