//! The positive against negatives: every code base's convention.
//!
//! They differ in whose documents are negatives. InfoNCE: van den Oord, Li and Vinyals, 2018; in-batch negatives as in
//! SPLADE (Formal, Piwowarski and Clinchant, SIGIR 2021) and COIL (Gao, Dai and Callan, NAACL 2021); BPR: Rendle et
//! al., UAI 2009; negative likelihood as in EPIC (MacAvaney et al., SIGIR 2020); hardness weighting: Lan et al., 2025.

use super::Candidates;
use super::scores::{BatchScores, PairMask, log_softmax, log_sum_exp, softplus};
use crate::Error;
use crate::training::{not_negative, positive};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// A contrastive loss. Unless said otherwise it is the mean over queries of `-log softmax` of the positive's score
/// among those of the candidates named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contrastive {
    /// The query's own documents: naver's PairwiseNLL with one negative, DeepImpact, SPARTA.
    Pairwise,
    /// All positives of the batch and the query's own negatives: naver's InBatchPairwiseNLL.
    InBatchPairwise,
    /// All documents of the batch: the LSR framework, COIL, Tevatron.
    InBatch,
    /// The query's positive and all negatives of the batch; positives of other queries do not count: naver's trainer on
    /// Hugging Face.
    OtherNegatives,
    /// OpenSearch's. It has a temperature and ignores it.
    OpenSearch(OpenSearchRanking),
    /// sentence-transformers': all documents of the batch, scores scaled.
    SentenceTransformers(SentenceTransformersRanking),
    /// `-log sigmoid(positive - negative)`, the mean over all own negatives.
    Bpr,
    /// Binary cross-entropy of each own document: 1 for the positive, 0 for the others; the mean over all.
    Bce,
    /// `1 - softmax` of the positive among the query's own documents: EPIC.
    NegativeLikelihood,
}

/// OpenSearch's InfoNCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSearchRanking {
    /// Whether negatives of other queries count too.
    pub in_batch_negatives: bool,
}

/// sentence-transformers' ranking loss with its options.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SentenceTransformersRanking {
    /// A factor of all scores, above 0. Default 1, as for sparse encoders.
    pub scale: f64,
    /// Whether positives also rank queries. Default: not.
    pub symmetric: Symmetric,
    /// Which negatives are made harder: `hardness_strength` times their unscaled score is added to their logit, without
    /// gradient. Default: none.
    pub hardness: Hardness,
    /// By how much, 0 or more. Default 0.
    pub hardness_strength: f64,
}

impl Default for SentenceTransformersRanking {
    fn default() -> Self {
        Self {
            scale: 1.0,
            symmetric: Symmetric::None,
            hardness: Hardness::None,
            hardness_strength: 0.0,
        }
    }
}

/// Whether each positive also ranks the queries of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Symmetric {
    /// It does not.
    #[default]
    None,
    /// Documents and queries stand in one softmax (the positive pair twice).
    Joint,
    /// The mean of two losses, one for each direction.
    PerDirection,
}

/// Negatives that are made harder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hardness {
    /// None.
    #[default]
    None,
    /// Documents of other queries.
    InBatchNegatives,
    /// The query's own negatives.
    HardNegatives,
    /// Both.
    AllNegatives,
}

impl Contrastive {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let Self::SentenceTransformers(ranking) = self else {
            return Ok(());
        };
        let place = "loss.contrastive.sentence_transformers";
        positive(format!("{place}.scale"), ranking.scale)?;
        not_negative(format!("{place}.hardness_strength"), ranking.hardness_strength)
    }

    pub(super) fn compute(&self, scores: &BatchScores) -> Result<Tensor, Error> {
        let group = scores.group();
        match self {
            Self::Pairwise => {
                scores.require_negatives("contrastive pairwise")?;
                cross_entropy(scores, Candidates::Own, |_, _| true)
            }
            Self::InBatchPairwise => cross_entropy(scores, Candidates::Batch, |query, document| {
                document.is_multiple_of(group) || document / group == query
            }),
            Self::InBatch => cross_entropy(scores, Candidates::Batch, |_, _| true),
            Self::OtherNegatives => other_negatives(scores),
            Self::OpenSearch(ranking) if ranking.in_batch_negatives => other_negatives(scores),
            Self::OpenSearch(_) => Self::Pairwise.compute(scores),
            Self::SentenceTransformers(ranking) => ranking.compute(scores),
            Self::Bpr => {
                scores.require_negatives("contrastive bpr")?;
                let own = scores.student(Candidates::Own)?;
                let falls = own.broadcast_sub(&scores.positives(&own, Candidates::Own)?)?;
                let mask = scores.mask(Candidates::Own, |query, document| query * group != document);
                mask.mean(&softplus(&falls)?)
            }
            Self::Bce => {
                let own = scores.student(Candidates::Own)?;
                let positives = scores
                    .positives(&own, Candidates::Own)?
                    .pad_with_zeros(1, 0, group - 1)?;
                let mask = scores.mask(Candidates::Own, |_, _| true);
                mask.mean(&(softplus(&own)? - positives)?)
            }
            Self::NegativeLikelihood => {
                scores.require_negatives("contrastive negative_likelihood")?;
                let own = scores.student(Candidates::Own)?;
                let own = scores.mask(Candidates::Own, |_, _| true).hide(&own)?;
                let likelihood = scores.positives(&log_softmax(&own)?, Candidates::Own)?.exp()?;
                Ok((1.0 - likelihood.mean_all()?)?)
            }
        }
    }
}

fn other_negatives(scores: &BatchScores) -> Result<Tensor, Error> {
    scores.require_negatives("contrastive other_negatives")?;
    let group = scores.group();
    cross_entropy(scores, Candidates::Batch, |query, document| {
        !document.is_multiple_of(group) || document / group == query
    })
}

/// The mean of `-log softmax` of positives among the candidates that `allowed` lets pass.
fn cross_entropy(
    scores: &BatchScores,
    candidates: Candidates,
    allowed: impl Fn(usize, usize) -> bool,
) -> Result<Tensor, Error> {
    let all = scores.student(candidates)?;
    let positives = scores.positives(&all, candidates)?;
    let visible = scores.mask(candidates, allowed).hide(&all)?;
    Ok((log_sum_exp(&visible)? - positives)?.mean_all()?)
}

impl SentenceTransformersRanking {
    fn compute(&self, scores: &BatchScores) -> Result<Tensor, Error> {
        let all = scores.student(Candidates::Batch)?;
        let mut forward = (&all * self.scale)?;
        if self.hardness != Hardness::None && self.hardness_strength > 0.0 {
            forward = (forward + self.harder(scores, &all)?)?;
        }
        let positives = scores.positives(&forward, Candidates::Batch)?;
        let forward = scores.mask(Candidates::Batch, |_, _| true).hide(&forward)?;
        let normaliser = match self.symmetric {
            Symmetric::None => log_sum_exp(&forward)?,
            Symmetric::Joint => log_sum_exp(&Tensor::cat(&[forward, self.backward(scores, &all)?], D::Minus1)?)?,
            Symmetric::PerDirection => {
                let both = (log_sum_exp(&forward)? + log_sum_exp(&self.backward(scores, &all)?)?)?;
                (both * 0.5)?
            }
        };
        Ok((normaliser - positives)?.mean_all()?)
    }

    /// What is added to the logits, without graph.
    fn harder(&self, scores: &BatchScores, all: &Tensor) -> Result<Tensor, Error> {
        let group = scores.group();
        let mask = scores.mask(Candidates::Batch, |query, document| {
            let own = document / group == query;
            match self.hardness {
                Hardness::None => false,
                Hardness::InBatchNegatives => !own,
                Hardness::HardNegatives => own && document != query * group,
                Hardness::AllNegatives => document != query * group,
            }
        });
        let counts = Tensor::from_slice(mask.counts(), all.dims(), all.device())?.to_dtype(all.dtype())?;
        Ok(((all.detach() * counts)? * self.hardness_strength)?)
    }

    /// Scaled scores of each positive for all queries, `[b, b]`, excluded pairs hidden.
    fn backward(&self, scores: &BatchScores, all: &Tensor) -> Result<Tensor, Error> {
        let (queries, group) = (scores.queries(), scores.group());
        let positives = all.reshape((queries, queries, group))?.narrow(2, 0, 1)?.squeeze(2)?;
        let mask = scores.mask(Candidates::Batch, |_, _| true);
        let mut counts = Vec::with_capacity(queries * queries);
        for positive in 0..queries {
            counts.extend((0..queries).map(|query| mask.counts()[(query * queries + positive) * group]));
        }
        PairMask::new(queries, counts).hide(&(positives.t()? * self.scale)?)
    }
}
