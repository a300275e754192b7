//! Hard negatives of a run: mined before it starts and again with the model as it then is.

use std::collections::BTreeSet;
use std::sync::Arc;

use tamis_encoder::Encoder;

use super::TrainingRun;
use crate::batches::Batcher;
use crate::data::TrainingData;
use crate::error::Error;
use crate::negatives::{self, FirstSearch};
use crate::recipe::Recipe;
use crate::run::log::{LogRecord, NegativesRecord};
use crate::run::observer::Observer;
use crate::teacher::{TeacherCache, fill_scores};

impl TrainingRun {
    /// Mines and scores what the recipe wants before the first step.
    pub(super) fn find_first_negatives(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let Some(search) = self.recipe.negatives.start else {
            return self.score_negatives(0, None, observer);
        };
        observer.stage("mining negatives");
        let encoder = match search {
            FirstSearch::Bm25 => crate::teacher::bm25(&self.data, self.recipe.negatives.mining.with_titles)?,
            FirstSearch::Model => self.current_model()?,
        };
        self.mine_negatives(0, encoder.as_ref(), observer)
    }

    /// Mines again with the model as it is, where it is time.
    pub(super) fn refresh_negatives(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let (step, every) = (self.state.step, self.recipe.negatives.refresh_every);
        if every == 0 || step == 0 || !step.is_multiple_of(every) {
            return Ok(());
        }
        observer.stage("mining negatives");
        let encoder = self.current_model()?;
        self.mine_negatives(step, encoder.as_ref(), observer)
    }

    fn mine_negatives(&mut self, step: u64, encoder: &dyn Encoder, observer: &mut dyn Observer) -> Result<(), Error> {
        let num = negatives::mine_into(&mut self.data, encoder, &self.recipe.negatives, self.folder.dir())?;
        self.score_negatives(step, Some(num), observer)
    }

    /// Has the teacher score rows and their negatives, drops those that it takes for answers, and keeps the result for
    /// whoever resumes. `mined` is how many were just found.
    fn score_negatives(&mut self, step: u64, mined: Option<u64>, observer: &mut dyn Observer) -> Result<(), Error> {
        let options = &self.recipe.teacher;
        let is_scored = options.cache.is_some() || self.recipe.negatives.has_filter();
        if let Some(teacher) = self.teacher.as_ref().filter(|_| is_scored) {
            observer.stage("scoring rows");
            let pairs = pairs_to_come(&self.recipe, &self.data, step)?;
            let mut each = |rows| observer.scored(rows);
            match &options.cache {
                Some(path) => TeacherCache::fill(path, &mut self.data, &pairs, (teacher, options), &mut each)?,
                None => fill_scores(&mut self.data, &pairs, (teacher, options), &mut each)?,
            }
        }
        let filtered = match self.recipe.negatives.has_filter() {
            true => negatives::filter(&mut self.data, &self.recipe.negatives),
            false => 0,
        };
        if mined.is_none() && !is_scored {
            return Ok(());
        }
        negatives::save(&self.data, &self.folder.negatives(step))?;
        self.state.negatives = Some(step);
        let left: usize = self.data.rows().iter().map(|row| row.candidates.len()).sum();
        let record = LogRecord::Negatives(NegativesRecord {
            step,
            negatives: left as u64,
            filtered,
        });
        self.batcher = None;
        self.record(record, observer)
    }

    /// The model as it is, as an encoder.
    fn current_model(&self) -> Result<Arc<dyn Encoder>, Error> {
        let unfinished = self.folder.unfinished("searched")?;
        let encoder = self.exported(&unfinished)?;
        // Weights are in memory once it is open.
        self.folder.discard(&unfinished)?;
        Ok(encoder)
    }
}

/// The rows whose turn comes from `step` on, until negatives are mined again: nobody else needs scores.
fn pairs_to_come(recipe: &Recipe, data: &TrainingData, step: u64) -> Result<Vec<u32>, Error> {
    let end = match recipe.negatives.refresh_every {
        0 => recipe.trainer.steps,
        every => recipe.trainer.steps.min(step + every),
    };
    let mut batcher = Batcher::new(data, &recipe.data, &recipe.batch, false)?;
    let mut pairs = BTreeSet::new();
    for step in step..end {
        pairs.extend(batcher.pairs(data, step));
        if pairs.len() == data.rows().len() {
            break;
        }
    }
    Ok(pairs.into_iter().collect())
}
