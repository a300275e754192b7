//! uniCOIL's head: one weight per token, scattered onto the tokens of the text itself.
//!
//! Source: Lin and Ma (2021), "A Few Brief Notes on DeepImpact, COIL, and a Conceptual Framework for Information
//! Retrieval Techniques"; pooling as in pyserini: the first token is dropped, the last one kept.

/// `relu(w h + b)`.
#[derive(Debug)]
pub(crate) struct TokenHead {
    /// One number per hidden dimension.
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: f32,
}

impl TokenHead {
    /// The weight of each row of `hidden`. NaN stays NaN, for the caller to refuse.
    pub(crate) fn weigh(&self, hidden: &[f32]) -> Vec<f32> {
        let weight = |row: &[f32]| {
            let x = row.iter().zip(&self.weight).map(|(h, w)| h * w).sum::<f32>() + self.bias;
            if x <= 0.0 { 0.0 } else { x }
        };
        hidden.chunks_exact(self.weight.len()).map(weight).collect()
    }
}
