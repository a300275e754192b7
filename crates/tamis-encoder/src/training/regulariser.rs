//! What keeps representations sparse: penalties with their weights and schedules.

mod column_weights;
mod document_frequency;
mod flops;
mod row_means;

pub use column_weights::ColumnWeights;
pub use document_frequency::{DocumentFrequencies, DocumentFrequencyOptions};
pub use flops::{ColumnWeighting, Flops, Grouping};

use super::{Controlled, Controller, LossValue, Schedule, not_negative, refused};
use crate::Error;
use candle_core::Tensor;
use row_means::row_means;
use serde::{Deserialize, Serialize};

/// What is penalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regulariser {
    /// The squares of the mean weights of vocabulary entries.
    Flops(Flops),
    /// The mean over rows of the sum of weights.
    L1,
    /// The sum over vocabulary entries of the mean query weight times the mean document weight: what a search is
    /// expected to cost. Takes both sides.
    JointFlops,
    /// `1 / (sum of all weights)^2`, against representations that die out: naver's trainer on Hugging Face.
    AntiZero,
}

/// Whose representations a penalty sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Those of queries.
    Query,
    /// Those of documents.
    Document,
    /// Both: the sum of two penalties, or one of the pair.
    Both,
}

/// A penalty as a preset writes it:
/// `{ side = "document", regulariser = { flops = {} }, weight = 0.08, schedule = { quadratic = { length = { steps = 50000 } } } }`.
///
/// A weight means the same only at the same number of texts a batch: FLOPS squares a mean over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// Whose representations it sees.
    pub side: Side,
    /// What is penalised.
    pub regulariser: Regulariser,
    /// Its weight lambda, a finite number of 0 or more.
    pub weight: f64,
    /// How the weight comes to its full height. Default: it is constant.
    #[serde(default)]
    pub schedule: Schedule,
    /// Its name in the log. Default: side and regulariser, as `document_flops`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What penalties see of a batch.
#[derive(Clone, Copy, Debug)]
pub struct PenaltyInput<'a> {
    /// Representations of the queries, `[b, V]`.
    pub queries: &'a Tensor,
    /// Representations of the documents, `[b * group, V]`, each query's positive first.
    pub documents: &'a Tensor,
    /// Documents a query.
    pub group: usize,
    /// Weights of vocabulary entries, for penalties that use them.
    pub columns: &'a ColumnWeights,
}

/// The penalties of a run.
#[derive(Clone, Debug)]
pub struct Penalties {
    penalties: Vec<Penalty>,
    total_steps: u64,
    /// What a controller multiplies weights by, one for each penalty.
    factors: Vec<f64>,
}

impl Penalties {
    /// Penalties of a run of `total_steps` steps.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn new(penalties: Vec<Penalty>, total_steps: u64) -> Result<Self, Error> {
        for (at, penalty) in penalties.iter().enumerate() {
            penalty.validate(&format!("penalties[{at}]"))?;
            let name = penalty.name();
            if penalties[..at].iter().any(|before| before.name() == name) {
                let option = format!("penalties[{at}].name");
                return Err(refused(option, name, "a name of its own for each penalty"));
            }
        }
        let factors = vec![1.0; penalties.len()];
        Ok(Self {
            penalties,
            total_steps,
            factors,
        })
    }

    /// Multiplies the weights of all penalties of `side` by `factor` from now on; anti-zero, which makes nothing sparser,
    /// keeps its weight.
    pub fn steer(&mut self, side: Side, factor: f64) {
        for (penalty, current) in self.penalties.iter().zip(&mut self.factors) {
            if penalty.side == side && penalty.regulariser != Regulariser::AntiZero {
                *current = factor;
            }
        }
    }

    /// Takes on a controller's factor: for documents where it steers their length, for queries likewise, for all
    /// penalties where it steers FLOPS.
    pub fn follow(&mut self, controller: &Controller) {
        let sides = match controller.measure() {
            Controlled::DocumentLength => &[Side::Document][..],
            Controlled::QueryLength => &[Side::Query],
            Controlled::Flops => &[Side::Query, Side::Document, Side::Both],
        };
        for &side in sides {
            self.steer(side, controller.factor());
        }
    }

    /// The weights in force at `step` (completed steps before it), by name.
    pub fn weights(&self, step: u64) -> Vec<(String, f64)> {
        let weights = self.penalties.iter().zip(&self.factors).map(|(penalty, factor)| {
            let share = penalty.schedule.factor(step, self.total_steps);
            (penalty.name(), penalty.weight * share * factor)
        });
        weights.collect()
    }

    /// Whether a penalty weighs columns by document frequencies, which then have to be counted.
    pub fn use_document_frequencies(&self) -> bool {
        let weighting = |penalty: &Penalty| match &penalty.regulariser {
            Regulariser::Flops(flops) => flops.columns.uses_document_frequencies(),
            _ => false,
        };
        self.penalties.iter().any(weighting)
    }

    /// All penalties of a batch at `step` (completed steps before it), weighted and summed; the terms are unweighted.
    ///
    /// A penalty whose weight is 0 adds nothing, not even to the graph.
    ///
    /// # Errors
    /// When the shapes do not fit each other, or column weights are missing.
    pub fn compute(&self, step: u64, input: &PenaltyInput) -> Result<LossValue, Error> {
        let (queries, width) = input.queries.dims2()?;
        let expected = [queries * input.group, width];
        if input.group == 0 || input.documents.dims() != expected {
            return Err(Error::TrainingShape {
                input: "documents".to_owned(),
                found: input.documents.dims().to_vec(),
                expected: format!("{expected:?} ({queries} queries with {} documents each)", input.group),
            });
        }
        let mut total = Tensor::zeros((), input.queries.dtype(), input.queries.device())?;
        let mut terms = Vec::with_capacity(self.penalties.len());
        for (penalty, (name, weight)) in self.penalties.iter().zip(self.weights(step)) {
            let mut term = penalty.value(input)?;
            if weight == 0.0 {
                term = term.detach();
            } else {
                total = (total + (&term * weight)?)?;
            }
            terms.push((name, term));
        }
        Ok(LossValue { total, terms })
    }
}

impl Penalty {
    /// The name in the log.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let side = match self.side {
            Side::Query => "query_",
            Side::Document => "document_",
            Side::Both => "",
        };
        let regulariser = match self.regulariser {
            Regulariser::Flops(_) => "flops",
            Regulariser::L1 => "l1",
            Regulariser::JointFlops => "joint_flops",
            Regulariser::AntiZero => "anti_zero",
        };
        format!("{side}{regulariser}")
    }

    fn validate(&self, place: &str) -> Result<(), Error> {
        not_negative(format!("{place}.weight"), self.weight)?;
        self.schedule.validate(&format!("{place}.schedule"))?;
        if self.regulariser == Regulariser::JointFlops && self.side != Side::Both {
            return Err(refused(format!("{place}.side"), "one side", "\"both\" for joint_flops"));
        }
        Ok(())
    }

    fn value(&self, input: &PenaltyInput) -> Result<Tensor, Error> {
        if self.regulariser == Regulariser::JointFlops {
            let queries = row_means(input.queries, flops::flat(input.queries.dims()[0]))?;
            let documents = row_means(input.documents, flops::flat(input.documents.dims()[0]))?;
            return Ok((queries * documents)?.sum_all()?);
        }
        let side = |rows: &Tensor, group: usize| match &self.regulariser {
            Regulariser::Flops(flops) => flops.compute(rows, group, input.columns),
            Regulariser::L1 => Ok(row_means(rows, flops::flat(rows.dims()[0]))?.sum_all()?),
            // Joint FLOPS came before.
            Regulariser::AntiZero | Regulariser::JointFlops => Ok(rows.sum_all()?.sqr()?.recip()?),
        };
        match self.side {
            Side::Query => side(input.queries, 1),
            Side::Document => side(input.documents, input.group),
            Side::Both => Ok((side(input.queries, 1)? + side(input.documents, input.group)?)?),
        }
    }
}
