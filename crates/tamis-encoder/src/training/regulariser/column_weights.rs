//! Weights of vocabulary entries in penalties.

use super::ColumnWeighting;
use crate::Error;
use crate::training::refused;
use candle_core::Tensor;

/// Weights of vocabulary entries that penalties may use; none at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnWeights {
    inverse_idf: Option<Vec<f64>>,
    document_frequency: Option<Vec<f64>>,
}

impl ColumnWeights {
    /// Sets the IDF of each vocabulary entry, for [`ColumnWeighting::InverseIdf`].
    ///
    /// # Errors
    /// When one is not a finite number above 0.
    pub fn set_idf(&mut self, idf: &[f32]) -> Result<(), Error> {
        for (entry, &value) in idf.iter().enumerate() {
            if !(value.is_finite() && value > 0.0) {
                return Err(refused(format!("idf[{entry}]"), value, "a finite number above 0"));
            }
        }
        self.inverse_idf = Some(idf.iter().map(|&idf| f64::from(idf).recip()).collect());
        Ok(())
    }

    /// Sets the document-frequency weight of each vocabulary entry, for [`ColumnWeighting::DocumentFrequency`].
    pub fn set_document_frequency(&mut self, weights: &[f64]) {
        self.document_frequency = Some(weights.to_vec());
    }

    /// What squared means of `rows` are multiplied by, `[V]`; `None` where all weigh alike.
    pub(super) fn squared(&self, weighting: ColumnWeighting, rows: &Tensor) -> Result<Option<Tensor>, Error> {
        let missing = |needed| Error::TrainingInput {
            objective: "penalty flops".to_owned(),
            needed,
        };
        let weights: Vec<f64> = match weighting {
            ColumnWeighting::Uniform => return Ok(None),
            ColumnWeighting::InverseIdf => {
                let weights = self
                    .inverse_idf
                    .as_ref()
                    .ok_or_else(|| missing("the IDF of each vocabulary entry"))?;
                weights.iter().map(|weight| weight * weight).collect()
            }
            ColumnWeighting::DocumentFrequency | ColumnWeighting::DocumentFrequencySquared => {
                let weights = self
                    .document_frequency
                    .as_ref()
                    .ok_or_else(|| missing("document frequencies, counted before the penalty"))?;
                match weighting {
                    ColumnWeighting::DocumentFrequencySquared => weights.iter().map(|weight| weight * weight).collect(),
                    _ => weights.clone(),
                }
            }
        };
        let width = rows.dims()[1];
        if weights.len() != width {
            return Err(Error::TrainingShape {
                input: "column weights".to_owned(),
                found: vec![weights.len()],
                expected: format!("[{width}]"),
            });
        }
        Ok(Some(
            Tensor::from_vec(weights, width, rows.device())?.to_dtype(rows.dtype())?,
        ))
    }
}
