//! Weights of vocabulary entries by the share of documents that have them: DF-FLOPS (Porco et al., 2025).
//!
//! The paper estimates frequencies on validation documents; here whoever trains chooses what is counted, the documents
//! of the steps since the last refresh if nothing else is at hand.

use crate::Error;
use crate::training::{positive, refused};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// How document frequencies become weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DocumentFrequencyOptions {
    /// The share of documents at which an entry weighs one half, above 0 and below 1. Default 0.1.
    pub half_share: f64,
    /// How steep the weight rises around it, above 0. Default 10.
    pub steepness: f64,
    /// Weights are computed anew every so many steps, 1 or more. Default 100.
    pub refresh_every: u64,
}

impl Default for DocumentFrequencyOptions {
    fn default() -> Self {
        Self {
            half_share: 0.1,
            steepness: 10.0,
            refresh_every: 100,
        }
    }
}

impl DocumentFrequencyOptions {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        if !(self.half_share > 0.0 && self.half_share < 1.0) {
            let option = "document_frequency.half_share";
            return Err(refused(option, self.half_share, "a number above 0 and below 1"));
        }
        positive("document_frequency.steepness", self.steepness)?;
        match self.refresh_every {
            0 => Err(refused("document_frequency.refresh_every", 0, "1 or more")),
            _ => Ok(()),
        }
    }

    /// The weight of an entry that a share `x` of documents has: `1 / (1 + (x^(log 2 / log half) - 1)^steepness)`, from
    /// 0 for no document over 1/2 at `half_share` to 1 for all.
    pub fn weight(&self, x: f64) -> f64 {
        let power = x.powf(2.0f64.ln() / self.half_share.ln());
        (1.0 + (power - 1.0).powf(self.steepness)).recip()
    }
}

/// Counted documents and the weights of the last refresh. Saved and restored through serde.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentFrequencies {
    options: DocumentFrequencyOptions,
    /// Documents with each entry since the last refresh.
    counts: Vec<u64>,
    documents: u64,
    weights: Option<Vec<f64>>,
}

impl DocumentFrequencies {
    /// Nothing counted yet, for a vocabulary of `entries`.
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn new(options: DocumentFrequencyOptions, entries: usize) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self {
            options,
            counts: vec![0; entries],
            documents: 0,
            weights: None,
        })
    }

    /// Counts the documents of `step` and, where it is time (or none were computed yet), computes the weights anew;
    /// says whether it did. Call it before the step's penalties.
    ///
    /// # Errors
    /// When the representations are not `[documents, entries]`.
    pub fn update(&mut self, step: u64, documents: &Tensor) -> Result<bool, Error> {
        self.count(documents)?;
        let due = self.weights.is_none() || step.is_multiple_of(self.options.refresh_every);
        if due {
            self.refresh();
        }
        Ok(due)
    }

    /// Counts documents without computing weights.
    ///
    /// # Errors
    /// When the representations are not `[documents, entries]`.
    pub fn count(&mut self, documents: &Tensor) -> Result<(), Error> {
        if documents.rank() != 2 || documents.dims()[1] != self.counts.len() {
            return Err(Error::TrainingShape {
                input: "documents".to_owned(),
                found: documents.dims().to_vec(),
                expected: format!("[documents, {}]", self.counts.len()),
            });
        }
        let active = documents
            .detach()
            .ne(0.0)?
            .to_dtype(DType::U32)?
            .sum(0)?
            .to_vec1::<u32>()?;
        for (count, active) in self.counts.iter_mut().zip(active) {
            *count += u64::from(active);
        }
        self.documents += documents.dims()[0] as u64;
        Ok(())
    }

    /// Computes the weights from what was counted since the last time, and begins to count anew.
    pub fn refresh(&mut self) {
        if self.documents == 0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let share = |count: &u64| *count as f64 / self.documents as f64;
        self.weights = Some(
            self.counts
                .iter()
                .map(|count| self.options.weight(share(count)))
                .collect(),
        );
        self.counts.fill(0);
        self.documents = 0;
    }

    /// The weights of the last refresh.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn weights_rise_from_nothing_over_a_half_to_one() {
        let options = DocumentFrequencyOptions::default();
        assert_eq!(options.refresh_every, 100);
        assert_eq!(options.weight(0.0), 0.0);
        assert_eq!(options.weight(1.0), 1.0);
        assert!((options.weight(0.1) - 0.5).abs() < 1e-12);
        // By hand: .2^(log 2 / log .1) = 1.62335, .62335^10 = .0088570, 1 / 1.0088570.
        assert!(
            (options.weight(0.2) - 0.991_221).abs() < 1e-5,
            "{}",
            options.weight(0.2)
        );
        let steep = DocumentFrequencyOptions {
            half_share: 0.25,
            steepness: 2.0,
            ..options
        };
        // x^(-1/2): 1/16 -> 4, 1 / (1 + 9).
        assert!((steep.weight(0.0625) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn counts_are_of_the_steps_since_the_last_refresh() {
        let options = DocumentFrequencyOptions {
            half_share: 0.25,
            steepness: 2.0,
            refresh_every: 2,
        };
        let mut frequencies = DocumentFrequencies::new(options, 2).expect("valid");
        let documents =
            |rows: &[[f32; 2]]| Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).expect("small");
        let quarter = documents(&[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 3.0]]);
        assert!(frequencies.update(0, &quarter).expect("fits"));
        assert_eq!(frequencies.weights(), Some([0.5, 0.5].as_slice()));
        let all = documents(&[[1.0, 0.0], [2.0, 0.0]]);
        assert!(!frequencies.update(1, &all).expect("fits"));
        let saved = serde_json::to_string(&frequencies).expect("JSON");
        let mut restored: DocumentFrequencies = serde_json::from_str(&saved).expect("own text");
        assert_eq!(restored, frequencies);
        assert!(restored.update(2, &all).expect("fits"));
        assert_eq!(restored.weights(), Some([1.0, 0.0].as_slice()));
        let message = frequencies
            .count(&documents(&[[0.0; 2]; 1]).t().expect("2-d"))
            .expect_err("refused");
        assert!(message.to_string().contains("[documents, 2]"), "{message}");
    }
}
