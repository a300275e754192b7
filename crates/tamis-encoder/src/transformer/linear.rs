//! The two parametric row operations: linear maps and layer normalisation.

use super::functions::{HiddenActivation, sum, sum_of_squares};
use super::parameters::{LinearParameters, NormParameters};
use super::rows::{for_each_row, read};
use candle_core::{Result, Tensor};

/// `x W^T + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `[inputs, outputs]`: W transposed once, as the matrix product reads it fastest.
    weight: Tensor,
    bias: Vec<f32>,
}

impl Linear {
    pub(crate) fn new(parameters: &LinearParameters) -> Result<Self> {
        let weight = parameters.weight.t()?.contiguous()?;
        let bias = match &parameters.bias {
            Some(bias) => bias.to_vec1()?,
            None => vec![0.0; parameters.weight.dim(0)?],
        };
        Ok(Self { weight, bias })
    }

    /// `x W^T + b` for the rows of `x`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = x.matmul(&self.weight)?;
        for_each_row(&product, |_, row| {
            row.iter_mut().zip(&self.bias).for_each(|(x, b)| *x += b)
        })?;
        Ok(product)
    }

    /// `activation(x W^T + b)`.
    pub(crate) fn forward_activated(&self, x: &Tensor, activation: HiddenActivation) -> Result<Tensor> {
        let product = x.matmul(&self.weight)?;
        for_each_row(&product, |_, row| activation.apply(row, &self.bias))?;
        Ok(product)
    }

    /// `norm(x W^T + b + residual)`.
    pub(crate) fn forward_residual(&self, x: &Tensor, residual: &Tensor, norm: &LayerNorm) -> Result<Tensor> {
        let product = x.matmul(&self.weight)?;
        let width = self.bias.len();
        read(residual, |residual| {
            for_each_row(&product, |at, row| {
                let residual = &residual[at * width..(at + 1) * width];
                row.iter_mut()
                    .zip(&self.bias)
                    .zip(residual)
                    .for_each(|((x, b), r)| *x += b + r);
                norm.apply(row);
            })
        })??;
        Ok(product)
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over each row (Ba, Kiros and Hinton, 2016).
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl LayerNorm {
    pub(crate) fn new(parameters: &NormParameters) -> Result<Self> {
        Ok(Self {
            weight: parameters.weight.to_vec1()?,
            bias: match &parameters.bias {
                Some(bias) => bias.to_vec1()?,
                None => vec![0.0; parameters.weight.dim(0)?],
            },
            epsilon: parameters.epsilon,
        })
    }

    pub(super) fn apply(&self, row: &mut [f32]) {
        #[expect(clippy::cast_precision_loss, reason = "widths stay far below 2^24")]
        let width = row.len() as f32;
        let mean = sum(row) / width;
        let variance = sum_of_squares(row, mean) / width;
        let factor = 1.0 / (variance + self.epsilon).sqrt();
        for ((x, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
            *x = (*x - mean) * factor * weight + bias;
        }
    }

    /// Normalises all rows of `x` in place.
    pub(super) fn apply_rows(&self, x: &Tensor) -> Result<()> {
        for_each_row(x, |_, row| self.apply(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn layer_norm_is_its_formula() {
        let norm = LayerNorm {
            weight: vec![1.0, 2.0, 1.0, 1.0],
            bias: vec![0.0, 0.0, 0.5, 0.0],
            epsilon: 0.0,
        };
        let mut row = [1.0, 3.0, 1.0, 3.0];
        norm.apply(&mut row);
        assert_eq!(row, [-1.0, 2.0, -0.5, 1.0]);
    }

    #[test]
    fn residual_comes_before_the_norm() {
        let eye = Tensor::new(&[[1.0f32, 0.0], [0.0, 1.0]], &Device::Cpu).expect("small");
        let linear = Linear::new(&LinearParameters {
            weight: eye,
            bias: Some(Tensor::new(&[1.0f32, 0.0], &Device::Cpu).expect("small")),
        })
        .expect("square");
        let norm = LayerNorm {
            weight: vec![1.0; 2],
            bias: vec![0.0; 2],
            epsilon: 0.0,
        };
        let x = Tensor::new(&[[1.0f32, 2.0], [5.0, 5.0]], &Device::Cpu).expect("small");
        let residual = Tensor::new(&[[1.0f32, 3.0], [0.0, 7.0]], &Device::Cpu).expect("small");
        let out = linear
            .forward_residual(&x, &residual, &norm)
            .expect("fits")
            .to_vec2::<f32>()
            .expect("matrix");
        assert_eq!(out, [[-1.0, 1.0], [-1.0, 1.0]]);
    }
}
