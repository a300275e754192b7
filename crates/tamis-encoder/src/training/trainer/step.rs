//! A step: representations, loss, gradients, update.
//!
//! Where a step has more texts than `micro_batch`, its representations are computed in parts that leave no trace, the loss
//! gives the gradient of each representation, and every part is computed again and its gradients pushed on (Gao et al.,
//! 2021, gradient caching): the loss sees the whole batch, memory holds one part.

use super::{StepOutcome, TextBatch, Trainer};
use crate::training::{
    Gradients, Loss, LossInput, LossValue, Pass, PenaltyInput, Randomness, Sparsity, TermTargets, TextModel, refused,
};
use crate::{Error, InputKind};
use candle_core::{DType, Tensor, Var};
use std::ops::Range;

/// Of the parts of a step, summed.
#[derive(Default)]
pub(super) struct Tally {
    loss: f64,
    terms: Vec<(String, f64)>,
    sparsity: [f64; 3],
    tokens: usize,
}

/// The representations of one part of a step.
struct Representations {
    queries: Tensor,
    documents: Tensor,
}

impl<M: TextModel> Trainer<M> {
    /// Takes one optimiser step on `batch`.
    ///
    /// # Errors
    /// When the parts of the batch do not fit each other or the loss needs what it does not have, a text cannot be split,
    /// or a gradient is not finite; variables, optimiser and step number are then as they were.
    pub fn step(&mut self, batch: &TextBatch<'_>) -> Result<StepOutcome, Error> {
        batch.check()?;
        let parts = self.config.accumulation;
        if !batch.queries.len().is_multiple_of(parts) {
            let value = format!("{} queries in {parts} parts", batch.queries.len());
            return Err(refused(
                "accumulation",
                value,
                "a divisor of the number of queries of a step",
            ));
        }
        let size = batch.queries.len() / parts;
        let mut gradients = Gradients::new(&self.variables);
        let mut tally = Tally::default();
        for part in 0..parts {
            let start = part * size;
            self.part(&batch.part(start..start + size), part, &mut gradients, &mut tally)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of parts")]
        let share = 1.0 / parts as f64;
        gradients.scale(share);
        let gradient_norm = match self.config.max_gradient_norm {
            0.0 => gradients.finite_norm()?,
            limit => gradients.clip(limit)?,
        };
        let learning_rate = self.config.learning_rate.at(self.step, self.config.steps);
        let [query_length, document_length, flops] = tally.sparsity.map(|sum| sum * share);
        let outcome = StepOutcome {
            step: self.step,
            loss: tally.loss * share,
            terms: tally.terms.into_iter().map(|(name, sum)| (name, sum * share)).collect(),
            penalty_weights: self.penalties.weights(self.step),
            query_length,
            document_length,
            flops,
            gradient_norm,
            learning_rate,
            tokens: tally.tokens,
        };
        self.optimiser.step(&gradients, learning_rate)?;
        if let Some(controller) = &mut self.controller {
            controller.observe(&Sparsity {
                query_length,
                document_length,
                flops,
            });
        }
        self.steer();
        self.step += 1;
        Ok(outcome)
    }

    /// Gradients of `batch`, which is part `number` of the step, into `gradients`.
    pub(super) fn part(
        &mut self,
        batch: &TextBatch<'_>,
        number: usize,
        gradients: &mut Gradients,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let texts = self.model.read(&batch.queries, &batch.documents)?;
        let first_text = u32::try_from(number * batch.documents.len()).map_err(candle_core::Error::wrap)?;
        let pass = Pass {
            tracked: true,
            randomness: Some(Randomness {
                seed: self.config.seed,
                step: self.step,
                first_text,
            }),
        };
        let (queries, documents) = (batch.queries.len(), batch.documents.len());
        let whole = self.config.micro_batch == 0 || queries + documents <= self.config.micro_batch;
        let represented = match whole {
            true => Representations {
                queries: self.model.represent(&texts, InputKind::Query, 0..queries, pass)?,
                documents: self.model.represent(&texts, InputKind::Document, 0..documents, pass)?,
            },
            false => self.leaves(&texts, [queries, documents], pass)?,
        };
        if let Some(frequencies) = &mut self.frequencies
            && frequencies.update(self.step, &represented.documents)?
        {
            let weights = frequencies.weights().unwrap_or_default();
            self.columns.set_document_frequency(weights);
        }
        let value = self.objective(batch, &texts, &represented)?;
        tally.add(&value, &represented, self.model.term_columns(&texts))?;
        tally.tokens += self.model.tokens(&texts);
        let mut store = value.total.backward()?;
        if whole {
            return gradients.accumulate(&mut store, &self.variables);
        }
        let of = [
            (InputKind::Query, &represented.queries),
            (InputKind::Document, &represented.documents),
        ];
        for (kind, representations) in of {
            // No gradient: nothing of this side is learned, or nothing depends on it.
            let Some(pushed) = store.remove(representations) else {
                continue;
            };
            for range in ranges(representations.dim(0)?, self.config.micro_batch) {
                let again = self.model.represent(&texts, kind, range.clone(), pass)?;
                let pushed = pushed.narrow(0, range.start, range.len())?;
                let mut store = (again * pushed.detach())?.sum_all()?.backward()?;
                gradients.accumulate(&mut store, &self.variables)?;
            }
        }
        Ok(())
    }

    /// Representations as variables of their own, computed in parts.
    fn leaves(&self, texts: &M::Texts, [queries, documents]: [usize; 2], pass: Pass) -> Result<Representations, Error> {
        let untracked = Pass { tracked: false, ..pass };
        let leaf = |kind, len| {
            let parts = ranges(len, self.config.micro_batch);
            let parts = parts.map(|range| self.model.represent(texts, kind, range, untracked));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            let leaf = Var::from_tensor(&Tensor::cat(&parts, 0)?)?;
            Ok::<_, Error>(leaf.into_inner())
        };
        Ok(Representations {
            queries: leaf(InputKind::Query, queries)?,
            documents: leaf(InputKind::Document, documents)?,
        })
    }

    /// The loss and the penalties of representations.
    fn objective(&self, batch: &TextBatch<'_>, texts: &M::Texts, of: &Representations) -> Result<LossValue, Error> {
        let (device, dtype) = (of.documents.device(), of.documents.dtype());
        let teacher = batch.teacher.as_ref().map(|scores| {
            let shape = (batch.queries.len(), batch.scores_a_query());
            Tensor::from_slice(scores, shape, device)?.to_dtype(dtype)
        });
        let teacher = teacher.transpose()?;
        let recall = match needs_terms(&self.config.loss) {
            true => self.model.term_recall(texts, batch.group)?,
            false => None,
        };
        let input = LossInput {
            teacher: teacher.as_ref(),
            excluded: &batch.excluded,
            document_targets: recall.as_ref().map(|(weights, mask)| TermTargets {
                weights,
                mask: Some(mask),
            }),
            ..LossInput::new(&of.queries, &of.documents, batch.group)
        };
        let loss = self.config.loss.compute(&input)?;
        let penalties = self.penalties.compute(
            self.step,
            &PenaltyInput {
                queries: &of.queries,
                documents: &of.documents,
                group: batch.group,
                columns: &self.columns,
            },
        )?;
        loss.plus(penalties)
    }
}

impl Tally {
    /// Lengths are counted over the first `term_columns`, or all.
    fn add(&mut self, value: &LossValue, of: &Representations, term_columns: Option<usize>) -> Result<(), Error> {
        let number = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.to_scalar::<f64>();
        self.loss += number(&value.total)?;
        let terms = value.terms.iter().map(|(name, term)| Ok((name.clone(), number(term)?)));
        let terms = terms.collect::<Result<Vec<_>, Error>>()?;
        match self.terms.is_empty() {
            true => self.terms = terms,
            false => self
                .terms
                .iter_mut()
                .zip(terms)
                .for_each(|(sum, (_, term))| sum.1 += term),
        }
        // Weights below zero, which the encoder drops, are none.
        let terms = |of: &Tensor| match term_columns {
            Some(columns) => of.detach().narrow(1, 0, columns)?.relu(),
            None => of.detach().relu(),
        };
        let sparsity = Sparsity::measure(&terms(&of.queries)?, &terms(&of.documents)?)?;
        let measured = [sparsity.query_length, sparsity.document_length, sparsity.flops];
        self.sparsity
            .iter_mut()
            .zip(measured)
            .for_each(|(sum, measured)| *sum += measured);
        Ok(())
    }
}

/// Whether a loss is of given weights of terms.
fn needs_terms(loss: &Loss) -> bool {
    match loss {
        Loss::TermMse => true,
        Loss::Sum(parts) => parts.iter().any(|part| needs_terms(&part.loss)),
        Loss::Contrastive(_) | Loss::MarginMse(_) | Loss::Kl(_) => false,
    }
}

/// `0..len` in parts of at most `size`.
fn ranges(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..len).step_by(size.max(1));
    starts.map(move |start| start..len.min(start + size))
}
