//! What a training step minimises, as a function of the representations of its texts.
//!
//! Losses of different code bases that share a name are not equal; each variant here says whose it is.

mod contrastive;
mod kl;
mod margin_mse;
mod scores;
mod term_mse;

pub use contrastive::{Contrastive, Hardness, OpenSearchRanking, SentenceTransformersRanking, Symmetric};
pub use kl::Kl;
pub use margin_mse::{MarginMse, MarginPairs};

use super::refused;
use crate::Error;
use candle_core::Tensor;
use scores::BatchScores;
use serde::{Deserialize, Serialize};

/// A ranking loss, as a preset writes it: `{ contrastive = "in_batch" }`, `{ kl = { student_temperature = 2.0 } }`,
/// `{ sum = [{ weight = 0.99, loss = { kl = {} } }, { weight = 0.05, loss = { margin_mse = {} } }] }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// The positive against negatives.
    Contrastive(Contrastive),
    /// Score margins as a teacher has them.
    MarginMse(MarginMse),
    /// The distribution over candidates as a teacher has it.
    Kl(Kl),
    /// Given weights of terms: DeepCT.
    TermMse,
    /// A weighted sum. SPLADE-v3 takes .99 of KL and .05 of MarginMSE.
    Sum(Vec<Weighted>),
}

/// A term of a sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// What it counts, a finite number of 0 or more.
    pub weight: f64,
    /// What is summed; no sum again.
    pub loss: Loss,
    /// Its name in the log. Default: that of the loss, as `kl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which documents of a batch are compared with a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidates {
    /// Its own: the positive and its negatives.
    #[default]
    Own,
    /// All documents of the batch.
    Batch,
}

/// What a loss sees of a batch. Query i's documents are rows `i * group ..` of `documents`, its positive first.
#[derive(Clone, Copy, Debug)]
pub struct LossInput<'a> {
    /// Representations of the queries, `[b, V]`.
    pub queries: &'a Tensor,
    /// Representations of the documents, `[b * group, V]`.
    pub documents: &'a Tensor,
    /// Documents a query.
    pub group: usize,
    /// A teacher's scores, `[b, group]` for each query's own documents or `[b, b * group]` for all.
    pub teacher: Option<&'a Tensor>,
    /// Pairs of a query and a document (a row of `documents`) that are not compared: the document may well answer the
    /// query. A query's own positive cannot be excluded.
    pub excluded: &'a [(u32, u32)],
    /// What term weights of queries should be.
    pub query_targets: Option<TermTargets<'a>>,
    /// What term weights of documents should be.
    pub document_targets: Option<TermTargets<'a>>,
}

/// What the weights of some texts should be.
#[derive(Clone, Copy, Debug)]
pub struct TermTargets<'a> {
    /// The weights, `[texts, V]`.
    pub weights: &'a Tensor,
    /// 1 where a weight counts and 0 where not, `[texts, V]`. Without it all count, as in the LSR framework; DeepCT
    /// counts the first pieces of a text's words.
    pub mask: Option<&'a Tensor>,
}

impl<'a> LossInput<'a> {
    /// Representations alone, without a teacher, exclusions or targets.
    pub fn new(queries: &'a Tensor, documents: &'a Tensor, group: usize) -> Self {
        Self {
            queries,
            documents,
            group,
            teacher: None,
            excluded: &[],
            query_targets: None,
            document_targets: None,
        }
    }
}

/// A value to minimise and what it is made of.
#[derive(Clone, Debug)]
pub struct LossValue {
    /// The weighted sum: a scalar with its graph.
    pub total: Tensor,
    /// The terms before weighting, by name, in the order of the configuration: scalars, for the log.
    pub terms: Vec<(String, Tensor)>,
}

impl LossValue {
    /// Both summed, the terms of `self` first.
    ///
    /// # Errors
    /// When the two are not of the same type or device.
    pub fn plus(mut self, other: Self) -> Result<Self, Error> {
        self.total = (self.total + other.total)?;
        self.terms.extend(other.terms);
        Ok(self)
    }
}

impl Loss {
    /// The loss of a batch: a mean over its queries.
    ///
    /// Pairs that are excluded take part in nothing: softmax, means and margins are over the others. Costs one product
    /// of all queries with all documents where documents of other queries count, else one of each query with its own.
    ///
    /// # Errors
    /// When shapes do not fit each other, an excluded pair is out of range or a query's own positive, or the loss
    /// needs what the batch does not have (a teacher, negatives, targets).
    pub fn compute(&self, input: &LossInput) -> Result<LossValue, Error> {
        let scores = BatchScores::new(input)?;
        match self {
            Self::Sum(parts) => {
                let zero = Tensor::zeros((), input.queries.dtype(), input.queries.device())?;
                let mut value = LossValue {
                    total: zero,
                    terms: Vec::with_capacity(parts.len()),
                };
                for part in parts {
                    let term = part.loss.term(&scores)?;
                    value.total = (value.total + (&term * part.weight)?)?;
                    value.terms.push((part.name().to_owned(), term));
                }
                Ok(value)
            }
            alone => {
                let total = alone.term(&scores)?;
                let terms = vec![(alone.name().to_owned(), total.clone())];
                Ok(LossValue { total, terms })
            }
        }
    }

    fn term(&self, scores: &BatchScores) -> Result<Tensor, Error> {
        match self {
            Self::Contrastive(contrastive) => contrastive.compute(scores),
            Self::MarginMse(margin) => margin.compute(scores),
            Self::Kl(kl) => kl.compute(scores),
            Self::TermMse => term_mse::compute(scores.input()),
            Self::Sum(_) => Err(refused("loss.sum", "a sum in a sum", "a loss that is no sum")),
        }
    }

    /// The name in the log; sums have the names of their terms.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Contrastive(_) => "contrastive",
            Self::MarginMse(_) => "margin_mse",
            Self::Kl(_) => "kl",
            Self::TermMse => "term_mse",
            Self::Sum(_) => "sum",
        }
    }

    /// Whether a teacher's scores are needed, and for which candidates.
    pub fn teacher(&self) -> Option<Candidates> {
        match self {
            Self::Contrastive(_) | Self::TermMse => None,
            Self::MarginMse(_) => Some(Candidates::Own),
            Self::Kl(kl) => Some(kl.candidates),
            Self::Sum(parts) => {
                let needs: Vec<_> = parts.iter().filter_map(|part| part.loss.teacher()).collect();
                needs
                    .contains(&Candidates::Batch)
                    .then_some(Candidates::Batch)
                    .or(needs.first().copied())
            }
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Contrastive(contrastive) => contrastive.validate(),
            Self::Kl(kl) => kl.validate(),
            Self::MarginMse(_) | Self::TermMse => Ok(()),
            Self::Sum(parts) => {
                if parts.is_empty() {
                    return Err(refused("loss.sum", "empty", "at least one term"));
                }
                for (at, part) in parts.iter().enumerate() {
                    super::not_negative(format!("loss.sum[{at}].weight"), part.weight)?;
                    if matches!(part.loss, Self::Sum(_)) {
                        return Err(refused(
                            format!("loss.sum[{at}].loss"),
                            "a sum",
                            "a loss that is no sum",
                        ));
                    }
                    let name = part.name();
                    if parts[..at].iter().any(|before| before.name() == name) {
                        return Err(refused(
                            format!("loss.sum[{at}].name"),
                            name,
                            "a name of its own for each term",
                        ));
                    }
                    part.loss.validate()?;
                }
                Ok(())
            }
        }
    }
}

impl Weighted {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.loss.name())
    }
}
