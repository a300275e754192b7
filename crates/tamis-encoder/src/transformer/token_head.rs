//! One number per token: the heads of uniCOIL, TILDEv2, DeepImpact, DeepCT and the MLP of the LSR framework, and the
//! importance and quality of EPIC.
//!
//! Sources: Lin and Ma (2021), "A Few Brief Notes on DeepImpact, COIL, and a Conceptual Framework for Information
//! Retrieval Techniques"; Zhuang and Zuccon (2021), TILDEv2; Mallia et al. (SIGIR 2021), DeepImpact, whose head has a
//! layer between; Dai and Callan (2020), DeepCT; MacAvaney et al. (SIGIR 2020), EPIC.

use rayon::prelude::*;

/// `w h + b`, or `w relu(W h + c) + b`.
#[derive(Debug)]
pub(crate) struct TokenHead {
    /// The layer between, where there is one.
    pub(crate) inner: Option<InnerLayer>,
    /// One number per dimension of what it is applied to.
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: f32,
}

/// `relu(W h + c)`.
#[derive(Debug)]
pub(crate) struct InnerLayer {
    /// W row by row, one row an output.
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl TokenHead {
    /// The number of each row of `hidden`, which lie one after the other, `width` numbers each. NaN stays NaN, for the
    /// caller to refuse.
    pub(crate) fn weigh(&self, hidden: &[f32], width: usize) -> Vec<f32> {
        hidden
            .par_chunks_exact(width)
            .map(|row| match &self.inner {
                None => dot(row, &self.weight) + self.bias,
                Some(inner) => dot(&inner.forward(row), &self.weight) + self.bias,
            })
            .collect()
    }
}

impl InnerLayer {
    fn forward(&self, row: &[f32]) -> Vec<f32> {
        let output = |(weight, bias): (&[f32], &f32)| {
            let x = dot(row, weight) + bias;
            if x <= 0.0 { 0.0 } else { x }
        };
        self.weight
            .chunks_exact(row.len())
            .zip(&self.bias)
            .map(output)
            .collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_between_is_rectified() {
        let plain = TokenHead {
            inner: None,
            weight: vec![1.0, -1.0],
            bias: 0.5,
        };
        assert_eq!(plain.weigh(&[1.0, 3.0, 3.0, 1.0], 2), [-1.5, 2.5]);
        let inner = InnerLayer {
            weight: vec![1.0, -1.0, -1.0, 1.0],
            bias: vec![0.0, 1.0],
        };
        let deep = TokenHead {
            inner: Some(inner),
            ..plain
        };
        assert_eq!(deep.weigh(&[1.0, 3.0, 3.0, 1.0], 2), [-2.5, 2.5]);
    }
}
