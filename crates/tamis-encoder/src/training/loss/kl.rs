//! A teacher's distribution over candidates (Hinton, Vinyals and Dean, 2015; Lin, Yang and Lin, 2020).

use super::Candidates;
use super::scores::{BatchScores, log_softmax};
use crate::Error;
use crate::training::positive;
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// The Kullback-Leibler divergence from the teacher's softmax to the student's, a mean over queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kl {
    /// What the student's scores are divided by, above 0. Default 1 (naver, OpenSearch; sentence-transformers: 2).
    pub student_temperature: f64,
    /// What the teacher's scores are divided by, above 0. Default 1.
    pub teacher_temperature: f64,
    /// Whether the loss is multiplied by the square of the student's temperature, so that gradients keep their size:
    /// sentence-transformers. Default no.
    pub squared_temperature: bool,
    /// What the distributions are over. Default: a query's own documents.
    pub candidates: Candidates,
}

impl Default for Kl {
    fn default() -> Self {
        Self {
            student_temperature: 1.0,
            teacher_temperature: 1.0,
            squared_temperature: false,
            candidates: Candidates::Own,
        }
    }
}

impl Kl {
    pub(super) fn validate(&self) -> Result<(), Error> {
        positive("loss.kl.student_temperature", self.student_temperature)?;
        positive("loss.kl.teacher_temperature", self.teacher_temperature)
    }

    pub(super) fn compute(&self, scores: &BatchScores) -> Result<Tensor, Error> {
        if self.candidates == Candidates::Own || scores.queries() == 1 {
            scores.require_negatives("kl")?;
        }
        let mask = scores.mask(self.candidates, |_, _| true);
        let student = (scores.student(self.candidates)? / self.student_temperature)?;
        let student = log_softmax(&mask.hide(&student)?)?;
        let teacher = (scores.teacher(self.candidates, "kl")? / self.teacher_temperature)?;
        let teacher = log_softmax(&mask.hide(&teacher)?)?;
        let divergence = (teacher.exp()? * (teacher - student)?)?.sum(D::Minus1)?.mean_all()?;
        Ok(match self.squared_temperature {
            true => (divergence * self.student_temperature.powi(2))?,
            false => divergence,
        })
    }
}
