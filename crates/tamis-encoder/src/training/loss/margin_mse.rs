//! Margins between scores as a teacher has them (Hofstätter et al., 2020).

use super::Candidates;
use super::scores::{BatchScores, PairMask};
use crate::Error;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// The mean squared difference between margins and the teacher's margins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarginMse {
    /// Which margins count.
    pub pairs: MarginPairs,
}

/// Pairs of a query's own documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginPairs {
    /// The positive and each negative: naver's first trainer, sentence-transformers, OpenSearch.
    #[default]
    PositiveNegatives,
    /// All pairs in both orders, each document with itself included: SPLADE-v3's code.
    All,
}

impl MarginMse {
    pub(super) fn compute(&self, scores: &BatchScores) -> Result<Tensor, Error> {
        scores.require_negatives("margin_mse")?;
        let student = scores.student(Candidates::Own)?;
        let teacher = scores.teacher(Candidates::Own, "margin_mse")?;
        let group = scores.group();
        // A difference of margins is a margin of differences.
        let excess = (student - teacher)?;
        match self.pairs {
            MarginPairs::PositiveNegatives => {
                let margins = excess.broadcast_sub(&scores.positives(&excess, Candidates::Own)?)?;
                let mask = scores.mask(Candidates::Own, |query, document| query * group != document);
                mask.mean(&margins.sqr()?)
            }
            MarginPairs::All => {
                let margins = excess.unsqueeze(2)?.broadcast_sub(&excess.unsqueeze(1)?)?;
                let margins = margins.reshape((scores.queries(), group * group))?;
                let own = scores.mask(Candidates::Own, |_, _| true);
                let mut counts = Vec::with_capacity(scores.queries() * group * group);
                for row in own.counts().chunks(group) {
                    counts.extend(
                        row.iter()
                            .flat_map(|first| row.iter().map(move |second| first * second)),
                    );
                }
                PairMask::new(group * group, counts).mean(&margins.sqr()?)
            }
        }
    }
}
