//! Given weights of terms: DeepCT (Dai and Callan, 2019).

use super::{LossInput, TermTargets};
use crate::Error;
use candle_core::Tensor;

/// The mean squared error of the weights that count, summed over the sides that have targets.
pub(super) fn compute(input: &LossInput) -> Result<Tensor, Error> {
    let sides = [
        ("query targets", input.queries, input.query_targets),
        ("document targets", input.documents, input.document_targets),
    ];
    let mut sum: Option<Tensor> = None;
    for (name, weights, targets) in sides {
        let Some(targets) = targets else { continue };
        let error = squared_error(name, weights, targets)?;
        sum = Some(match sum {
            Some(before) => (before + error)?,
            None => error,
        });
    }
    sum.ok_or_else(|| Error::TrainingInput {
        objective: "term_mse".to_owned(),
        needed: "target weights of queries or documents, and the batch has none",
    })
}

fn squared_error(name: &str, weights: &Tensor, targets: TermTargets) -> Result<Tensor, Error> {
    for tensor in [Some(targets.weights), targets.mask].into_iter().flatten() {
        if tensor.dims() != weights.dims() {
            return Err(Error::TrainingShape {
                input: name.to_owned(),
                found: tensor.dims().to_vec(),
                expected: format!("{:?}", weights.dims()),
            });
        }
    }
    let errors = (weights - targets.weights.to_dtype(weights.dtype())?)?.sqr()?;
    match targets.mask {
        None => Ok(errors.mean_all()?),
        Some(mask) => {
            let mask = mask.to_dtype(weights.dtype())?;
            // No weight that counts: the sum is 0 and stays so.
            let number = mask.sum_all()?.maximum(1.0)?;
            Ok(((errors * mask)?.sum_all()? / number)?)
        }
    }
}
