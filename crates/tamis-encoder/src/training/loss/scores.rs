//! Scores of queries for documents of a batch, and which of them count.

use super::{Candidates, LossInput};
use crate::Error;
use candle_core::{D, Tensor};

/// What stands where a pair does not count: its power is 0 in either precision.
const NEVER: f64 = -1e30;

/// A batch whose shapes fit each other.
pub(super) struct BatchScores<'a> {
    input: &'a LossInput<'a>,
    queries: usize,
    group: usize,
}

impl<'a> BatchScores<'a> {
    /// Checks shapes and exclusions.
    pub(super) fn new(input: &'a LossInput<'a>) -> Result<Self, Error> {
        let shape = |name: &str, tensor: &Tensor, expected: String| Error::TrainingShape {
            input: name.to_owned(),
            found: tensor.dims().to_vec(),
            expected,
        };
        let (queries, group) = (input.queries.dims().first().copied().unwrap_or(0), input.group);
        if input.queries.rank() != 2 || queries == 0 {
            return Err(shape(
                "queries",
                input.queries,
                "[queries, V] with a query at least".to_owned(),
            ));
        }
        let documents = [queries * group, input.queries.dims()[1]];
        if group == 0 || input.documents.dims() != documents {
            let expected = format!("{documents:?} ({queries} queries with {group} documents each)");
            return Err(shape("documents", input.documents, expected));
        }
        if let Some(teacher) = input.teacher {
            let (own, all) = ([queries, group], [queries, queries * group]);
            if teacher.dims() != own && teacher.dims() != all {
                return Err(shape("teacher", teacher, format!("{own:?} or {all:?}")));
            }
        }
        for &(query, document) in input.excluded {
            let reason = match (query as usize, document as usize) {
                (q, _) if q >= queries => "the batch has fewer queries",
                (_, d) if d >= queries * group => "the batch has fewer documents",
                (q, d) if q * group == d => "it is the query's own positive",
                _ => continue,
            };
            return Err(Error::ExcludedPair {
                query,
                document,
                reason,
            });
        }
        Ok(Self { input, queries, group })
    }

    pub(super) fn input(&self) -> &'a LossInput<'a> {
        self.input
    }

    pub(super) fn queries(&self) -> usize {
        self.queries
    }

    pub(super) fn group(&self) -> usize {
        self.group
    }

    /// Refuses batches without negatives, for `loss`.
    pub(super) fn require_negatives(&self, loss: &str) -> Result<(), Error> {
        match self.group {
            1 => Err(Error::TrainingInput {
                objective: loss.to_owned(),
                needed: "negatives: a group of at least 2 documents",
            }),
            _ => Ok(()),
        }
    }

    /// Scores for `candidates`: `[b, group]`, or `[b, b * group]`.
    pub(super) fn student(&self, candidates: Candidates) -> Result<Tensor, Error> {
        let (queries, documents) = (self.input.queries, self.input.documents);
        Ok(match candidates {
            Candidates::Batch => queries.matmul(&documents.t()?)?,
            Candidates::Own => {
                let documents = documents.reshape((self.queries, self.group, ()))?;
                let products = queries.unsqueeze(1)?.matmul(&documents.transpose(1, 2)?)?;
                products.squeeze(1)?
            }
        })
    }

    /// The teacher's scores for `candidates`, without graph, in the type of the representations.
    pub(super) fn teacher(&self, candidates: Candidates, loss: &str) -> Result<Tensor, Error> {
        let missing = |needed| Error::TrainingInput {
            objective: loss.to_owned(),
            needed,
        };
        let teacher = self
            .input
            .teacher
            .ok_or_else(|| missing("a teacher's scores, and the batch has none"))?;
        let teacher = teacher.detach().to_dtype(self.input.queries.dtype())?;
        let width = teacher.dims()[1];
        // One query: its own documents are all documents.
        match candidates {
            Candidates::Batch if width == self.queries * self.group => Ok(teacher),
            Candidates::Batch => Err(missing(
                "a teacher's scores for all documents of the batch, not for own ones",
            )),
            Candidates::Own if width == self.group => Ok(teacher),
            Candidates::Own => Ok(teacher.gather(&self.columns(|row, at| row * self.group + at)?, 1)?),
        }
    }

    /// `[b, group]` columns of a `[b, b * group]` matrix.
    fn columns(&self, column: impl Fn(usize, usize) -> usize) -> Result<Tensor, Error> {
        let mut columns = Vec::with_capacity(self.queries * self.group);
        for row in 0..self.queries {
            columns.extend((0..self.group).map(|at| index(column(row, at))));
        }
        Ok(Tensor::from_vec(
            columns,
            (self.queries, self.group),
            self.input.queries.device(),
        )?)
    }

    /// The scores of the positives, `[b, 1]`, from scores for `candidates`.
    pub(super) fn positives(&self, scores: &Tensor, candidates: Candidates) -> Result<Tensor, Error> {
        match candidates {
            Candidates::Own => Ok(scores.narrow(1, 0, 1)?),
            Candidates::Batch => {
                let columns: Vec<u32> = (0..self.queries).map(|row| index(row * self.group)).collect();
                let columns = Tensor::from_vec(columns, (self.queries, 1), scores.device())?;
                Ok(scores.gather(&columns, 1)?)
            }
        }
    }

    /// Which of the pairs with `candidates` count: those that `allowed` lets (query, document of the batch) pass and
    /// that are not excluded.
    pub(super) fn mask(&self, candidates: Candidates, allowed: impl Fn(usize, usize) -> bool) -> PairMask {
        let columns = match candidates {
            Candidates::Own => self.group,
            Candidates::Batch => self.queries * self.group,
        };
        let first = |query: usize| match candidates {
            Candidates::Own => query * self.group,
            Candidates::Batch => 0,
        };
        let mut counts = Vec::with_capacity(self.queries * columns);
        for query in 0..self.queries {
            let documents = first(query)..first(query) + columns;
            counts.extend(documents.map(|document| u8::from(allowed(query, document))));
        }
        for &(query, document) in self.input.excluded {
            let (query, document) = (query as usize, document as usize);
            if (first(query)..first(query) + columns).contains(&document) {
                counts[query * columns + document - first(query)] = 0;
            }
        }
        PairMask { columns, counts }
    }
}

/// A place in a batch; a batch never has 2^32 texts.
fn index(place: usize) -> u32 {
    u32::try_from(place).expect("a batch of fewer than 2^32 texts")
}

/// Pairs of queries (rows) and candidates (columns) that count.
pub(super) struct PairMask {
    columns: usize,
    counts: Vec<u8>,
}

impl PairMask {
    /// Pairs of rows of `columns` values: 1 where a pair counts.
    pub(super) fn new(columns: usize, counts: Vec<u8>) -> Self {
        Self { columns, counts }
    }

    /// The counts, row by row.
    pub(super) fn counts(&self) -> &[u8] {
        &self.counts
    }

    /// `scores` where pairs count; elsewhere so low that no softmax sees them. No gradient goes there.
    pub(super) fn hide(&self, scores: &Tensor) -> Result<Tensor, Error> {
        if self.counts.iter().all(|&counts| counts == 1) {
            return Ok(scores.clone());
        }
        let shape = (self.counts.len() / self.columns, self.columns);
        let counts = Tensor::from_slice(&self.counts, shape, scores.device())?;
        let never = Tensor::full(NEVER, shape, scores.device())?.to_dtype(scores.dtype())?;
        Ok(counts.where_cond(scores, &never)?)
    }

    /// The mean of `values` over the pairs that count; 0 where none does.
    pub(super) fn mean(&self, values: &Tensor) -> Result<Tensor, Error> {
        if self.counts.iter().all(|&counts| counts == 1) {
            return Ok(values.mean_all()?);
        }
        let shape = (self.counts.len() / self.columns, self.columns);
        let counts = Tensor::from_slice(&self.counts, shape, values.device())?.to_dtype(values.dtype())?;
        let number = self.counts.iter().filter(|&&counts| counts == 1).count().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^53 pairs")]
        let share = 1.0 / number as f64;
        Ok(((values * counts)?.sum_all()? * share)?)
    }
}

/// `log sum exp` of each row, `[rows, 1]`.
pub(super) fn log_sum_exp(scores: &Tensor) -> Result<Tensor, Error> {
    // Subtracting any constant changes nothing, so the largest needs no gradient.
    let largest = scores.detach().max_keepdim(D::Minus1)?;
    let sum = scores.broadcast_sub(&largest)?.exp()?.sum_keepdim(D::Minus1)?;
    Ok((sum.log()? + largest)?)
}

/// The logarithm of the softmax of each row.
pub(super) fn log_softmax(scores: &Tensor) -> Result<Tensor, Error> {
    Ok(scores.broadcast_sub(&log_sum_exp(scores)?)?)
}

/// `log(1 + e^x)`, never overflowing.
pub(super) fn softplus(x: &Tensor) -> Result<Tensor, Error> {
    let positive = x.relu()?;
    // -|x|
    let falling = (x - (&positive * 2.0)?)?;
    Ok((positive + (falling.exp()? + 1.0)?.log()?)?)
}
