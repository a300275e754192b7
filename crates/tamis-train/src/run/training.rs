//! The loop of a run: steps, records, evaluations, checkpoints, and going on after a kill.

mod negatives;
mod opening;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tamis_encoder::training::{StepOutcome, TextBatch};
use tamis_encoder::{CheckpointOptions, Compute, Encoder};

use super::card::{self, Source};
use super::folder::{self, RunFolder};
use super::log::{EndReason, EndRecord, EvaluationRecord, LogRecord, LogWriter, StartRecord, StepRecord};
use super::model::ModelTrainer;
use super::observer::{Observer, StepView};
use super::state::{Best, RunState};
use crate::batches::{Batch, Batcher};
use crate::curves;
use crate::data::TrainingData;
use crate::error::Error;
use crate::evaluation::{DevCollection, mean_over};
use crate::recipe::Recipe;
use crate::teacher::{Scored, Teacher, passage_text};
use opening::{Opened, base, open};

/// How a run was left.
#[derive(Clone, Debug, PartialEq)]
pub enum Finished {
    /// It ended; the model is there.
    Ended {
        /// Why.
        reason: EndReason,
        /// The directory of the model.
        model: PathBuf,
        /// The step whose model was kept.
        model_step: u64,
        /// The mean of the first metric over the development collections, where there are any.
        mean: Option<f64>,
    },
    /// It was stopped and can be resumed.
    Stopped {
        /// Steps done.
        step: u64,
    },
}

/// A run that is ready to take steps.
pub struct TrainingRun {
    recipe: Recipe,
    folder: RunFolder,
    data: TrainingData,
    /// Planned when the first batch is asked for, and anew for new negatives: rows without any may take no part.
    batcher: Option<Batcher>,
    teacher: Option<Teacher>,
    dev: Vec<DevCollection>,
    trainer: ModelTrainer,
    log: LogWriter,
    state: RunState,
    compute: Compute,
    /// The last step, for the record that closes its window.
    last: StepRecord,
    done_here: u64,
    /// The checkpoint that this process began with: the trainer copies configurations and vocabularies from there.
    resumed_from: Option<u64>,
}

impl TrainingRun {
    /// Starts a run in `dir`, which must not be there yet or be empty.
    ///
    /// Nothing is written before data, model and development collections have been opened. Training computes on the
    /// device of `compute`, and always in single precision; evaluation in its precision.
    ///
    /// # Errors
    /// A recipe that does not fit together, whatever cannot be opened, a place that is taken.
    pub fn start(recipe: Recipe, dir: &Path, compute: Compute, observer: &mut dyn Observer) -> Result<Self, Error> {
        recipe.validate()?;
        let folder = RunFolder::free(dir)?;
        Self::begin(recipe, folder, compute, observer)
    }

    fn begin(recipe: Recipe, folder: RunFolder, compute: Compute, observer: &mut dyn Observer) -> Result<Self, Error> {
        let opened = open(&recipe, compute, observer, || {
            let mut config = recipe.trainer.clone();
            config.model.device = compute.device;
            ModelTrainer::open(base(&recipe)?, &recipe.model.checkpoint, config)
        })?;
        // Too few rows are said before anything is written; negatives that are still to be mined change nothing in that.
        Batcher::new(&opened.data, &recipe.data, &recipe.batch, recipe.teacher.is_stored())?;
        let state = RunState::new(opened.data.fingerprint().to_string());
        folder.create()?;
        folder::write_file(&folder.recipe(), recipe.to_toml().as_bytes())?;
        let mut run = Self::assemble(recipe, folder, opened, state, compute)?;
        run.find_first_negatives(observer)?;
        let batcher = planned(&mut run.batcher, &run.recipe, &run.data)?;
        let start = LogRecord::Start(StartRecord {
            version: 1,
            recipe: run.recipe.name.clone(),
            data: run.state.data.clone(),
            rows: batcher.num_rows(),
            epoch_steps: batcher.num_batches(),
            steps: run.recipe.trainer.steps,
        });
        run.record(start, observer)?;
        if run.recipe.evaluation.at_start && !run.dev.is_empty() {
            run.judge(observer)?;
        }
        Ok(run)
    }

    /// Goes on with the run in `dir` from its newest checkpoint, or from the start where it has none. What it logged
    /// after that is done again, to the same bytes. Training goes on where it computed before.
    ///
    /// # Errors
    /// When there is no run, its files are damaged, or the data is no longer what it was.
    pub fn resume(dir: &Path, compute: Compute, observer: &mut dyn Observer) -> Result<Self, Error> {
        let folder = RunFolder::open(dir)?;
        let recipe = Recipe::open(&folder.recipe())?;
        let Some(step) = folder.newest_checkpoint()? else {
            folder.remove_old(&[], None, None)?;
            return Self::begin(recipe, folder, compute, observer);
        };
        let checkpoint = folder.checkpoint(step);
        let state = RunState::read(&checkpoint)?;
        let mut opened = open(&recipe, compute, observer, || {
            ModelTrainer::resume(&checkpoint.join("trainer"), base(&recipe)?)
        })?;
        if state.data != opened.data.fingerprint().to_string() {
            return Err(Error::DataChanged { path: checkpoint });
        }
        if let Some(step) = state.negatives {
            crate::negatives::restore(&mut opened.data, &folder.negatives(step))?;
        }
        let mut run = Self::assemble(recipe, folder, opened, state, compute)?;
        run.resumed_from = Some(step);
        Ok(run)
    }

    fn assemble(
        recipe: Recipe,
        folder: RunFolder,
        opened: Opened,
        state: RunState,
        compute: Compute,
    ) -> Result<Self, Error> {
        let log = LogWriter::open(&folder.log(), state.log_bytes)?;
        Ok(Self {
            recipe,
            folder,
            data: opened.data,
            batcher: None,
            teacher: opened.teacher,
            dev: opened.dev,
            trainer: opened.trainer,
            log,
            state,
            compute,
            last: StepRecord::default(),
            done_here: 0,
            resumed_from: None,
        })
    }

    /// Takes steps until the run ends or is stopped.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, whatever cannot be read or written, a failing teacher.
    pub fn finish(mut self, observer: &mut dyn Observer) -> Result<Finished, Error> {
        while self.state.ended.is_none() {
            if observer.is_stopped() {
                self.checkpoint()?;
                return Ok(Finished::Stopped { step: self.state.step });
            }
            self.refresh_negatives(observer)?;
            self.step(observer)?;
            self.judge_if_due(observer)?;
            if self.state.step == self.recipe.trainer.steps && self.state.ended.is_none() {
                self.state.ended = Some(EndReason::Steps);
            }
            if self.state.ended.is_some() || self.state.step.is_multiple_of(self.recipe.run.checkpoint_every) {
                self.checkpoint()?;
            }
        }
        self.end(observer)
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let batch = planned(&mut self.batcher, &self.recipe, &self.data)?.batch(&self.data, self.state.step);
        let teacher = self.teacher_scores(&batch)?;
        let documents = batch.texts(&self.data);
        let outcome = self.trainer.step(&TextBatch {
            queries: batch.queries(&self.data),
            documents: documents.iter().map(AsRef::as_ref).collect(),
            group: batch.group,
            teacher,
            excluded: batch.excluded,
        })?;
        self.state.step += 1;
        self.done_here += 1;
        self.last = record_of(self.state.step, outcome);
        self.state.window.add(&self.last);
        let steps = self.recipe.trainer.steps;
        observer.stepped(&StepView {
            steps,
            done_here: self.done_here,
            last: &self.last,
        });
        if self.state.step.is_multiple_of(self.recipe.run.log_every) || self.state.step == steps {
            let record = LogRecord::Step(self.state.window.take(&self.last));
            self.record(record, observer)?;
        }
        Ok(())
    }

    /// What the teacher scores the documents of a batch, row by row, where the loss distils.
    fn teacher_scores(&self, batch: &Batch) -> Result<Option<Vec<f32>>, Error> {
        if self.recipe.trainer.loss.teacher().is_none() {
            return Ok(None);
        }
        if self.recipe.teacher.is_by_row() {
            let scores = batch.scores.iter().copied().collect::<Option<Vec<f32>>>();
            return Ok(Some(scores.expect("only scored rows and candidates are drawn")));
        }
        let Some(teacher) = &self.teacher else { return Ok(None) };
        let passages = batch.documents.iter().map(|&number| self.data.set().passage(number));
        let texts: Vec<_> = passages
            .map(|passage| passage_text(passage, self.recipe.teacher.with_titles))
            .collect();
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let scored = match self.recipe.teacher.in_batch {
            true => Scored::All,
            false => Scored::Own { group: batch.group },
        };
        let scores = teacher.score(&batch.queries(&self.data), &texts, &scored)?;
        Ok(Some(scores.concat()))
    }

    fn judge_if_due(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let step = self.state.step;
        let is_due = step.is_multiple_of(self.recipe.evaluation.every) || step == self.recipe.trainer.steps;
        match is_due && !self.dev.is_empty() {
            true => self.judge(observer),
            false => Ok(()),
        }
    }

    /// Writes the model as it is to `dir`, and opens it from there as any other.
    fn exported(&self, dir: &Path) -> Result<Arc<dyn Encoder>, Error> {
        self.trainer.export(dir)?;
        let spec = dir.display().to_string();
        Ok(tamis_encoder::open_with(
            &spec,
            &CheckpointOptions::default(),
            self.compute,
        )?)
    }

    /// Judges the model as it is; keeps it where it is the best so far.
    fn judge(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let step = self.state.step;
        observer.stage("evaluating");
        let unfinished = self.folder.unfinished("evaluated")?;
        let encoder = self.exported(&unfinished)?;
        let options = &self.recipe.evaluation;
        let judge = |set: &DevCollection| set.judge(encoder.as_ref(), &options.metrics, self.folder.dir());
        let figures = self.dev.iter().map(judge).collect::<Result<Vec<_>, _>>()?;
        let metric = options.metrics[0];
        let mean = mean_over(&figures, metric);
        let is_best = self.state.best.is_none_or(|best| mean > best.mean() + options.min_gain);
        if is_best {
            self.folder.complete(&unfinished, &self.folder.best(step))?;
            self.state.best = Some(Best::new(step, mean));
            self.state.stale = 0;
        } else {
            self.folder.discard(&unfinished)?;
            self.state.stale += 1;
        }
        if options.patience.is_some_and(|patience| self.state.stale >= patience) {
            self.state.ended = Some(EndReason::Patience);
        }
        let record = LogRecord::Evaluation(EvaluationRecord {
            step,
            figures,
            metric: metric.to_string(),
            mean,
            best: is_best,
        });
        self.record(record, observer)
    }

    fn record(&mut self, record: LogRecord, observer: &mut dyn Observer) -> Result<(), Error> {
        self.log.write(&record)?;
        observer.logged(&record);
        Ok(())
    }

    /// Keeps the state; the one before goes once the new one is whole.
    fn checkpoint(&mut self) -> Result<(), Error> {
        self.state.log_bytes = self.log.sync()?;
        let step = self.state.step;
        let unfinished = self.folder.unfinished("checkpoint")?;
        folder::create(&unfinished)?;
        self.trainer.save(&unfinished.join("trainer"))?;
        self.state.write(&unfinished)?;
        self.folder.complete(&unfinished, &self.folder.checkpoint(step))?;
        let kept: Vec<u64> = self.resumed_from.into_iter().chain([step]).collect();
        self.remove_old(&kept)
    }

    fn remove_old(&self, checkpoints: &[u64]) -> Result<(), Error> {
        let best = self.state.best.map(|best| best.step);
        self.folder.remove_old(checkpoints, best, self.state.negatives)
    }

    /// Puts the model in its place, with its card and the curves.
    fn end(mut self, observer: &mut dyn Observer) -> Result<Finished, Error> {
        let reason = self.state.ended.expect("it has ended");
        let model_step = self.state.best.map_or(self.state.step, |best| best.step);
        let unfinished = self.folder.unfinished("model")?;
        match self.state.best {
            Some(best) => folder::copy(&self.folder.best(best.step), &unfinished)?,
            None => self.trainer.export(&unfinished)?,
        }
        let end = LogRecord::End(EndRecord {
            step: self.state.step,
            reason,
            model_step,
        });
        self.record(end, observer)?;
        self.log.sync()?;
        let records = super::log::read_log(&self.folder.log())?;
        let source = Source {
            recipe: &self.recipe,
            data: &self.data,
            records: &records,
            model_step,
        };
        folder::write_file(&unfinished.join("README.md"), card::text(&source).as_bytes())?;
        folder::sync(&unfinished)?;
        self.folder.complete(&unfinished, &self.folder.model())?;
        curves::draw_run(&records, &self.folder.curves())?;
        self.remove_old(&[self.state.step])?;
        Ok(Finished::Ended {
            reason,
            model: self.folder.model(),
            model_step,
            mean: self.state.best.map(Best::mean),
        })
    }
}

/// The batches of a recipe, planned where they are not yet.
fn planned<'a>(
    batcher: &'a mut Option<Batcher>,
    recipe: &Recipe,
    data: &TrainingData,
) -> Result<&'a mut Batcher, Error> {
    if batcher.is_none() {
        let distils = recipe.trainer.loss.teacher().is_some();
        let scored_only = distils && recipe.teacher.is_by_row();
        *batcher = Some(Batcher::new(data, &recipe.data, &recipe.batch, scored_only)?);
    }
    Ok(batcher.as_mut().expect("it was planned above"))
}

fn record_of(step: u64, outcome: StepOutcome) -> StepRecord {
    #[expect(clippy::cast_precision_loss, reason = "tokens of a batch")]
    let tokens = outcome.tokens as f64;
    StepRecord {
        step,
        loss: outcome.loss,
        terms: outcome.terms.into_iter().collect(),
        query_length: outcome.query_length,
        document_length: outcome.document_length,
        flops: outcome.flops,
        gradient_norm: outcome.gradient_norm,
        tokens,
        learning_rate: outcome.learning_rate,
        lambdas: outcome.penalty_weights.into_iter().collect(),
    }
}
