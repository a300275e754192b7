//! The two parametric row operations: linear maps over packed weights, and layer normalisation.

use super::parameters::{LinearParameters, NormParameters};
use super::rows::Workers;
use candle_core::{Result, Tensor};
use tamis_kernels::{Kernels, LANES, PackedMatrix, PackedRows, Precision};

/// All values of a tensor, row by row.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// `x W^T + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    matrix: PackedMatrix,
}

/// Rows packed at a time: as many as stay in the second-level cache beside a panel of weights.
const BYTES_PER_BLOCK: usize = 1 << 18;

impl Linear {
    pub(crate) fn new(parameters: &LinearParameters, precision: Precision) -> Result<Self> {
        let bias = parameters.bias.as_ref().map(values).transpose()?;
        let inputs = parameters.weight.dim(1)?;
        let matrix = PackedMatrix::pack(precision, &values(&parameters.weight)?, inputs, bias.as_deref());
        Ok(Self { matrix })
    }

    pub(crate) const fn outputs(&self) -> usize {
        self.matrix.outputs()
    }

    /// Writes `x W^T + b` of every row of `x` to `out`, which is resized.
    pub(crate) fn forward(&self, workers: Workers, x: &[f32], out: &mut Vec<f32>, packed: &mut PackedRows) {
        let (inputs, outputs) = (self.matrix.inputs(), self.matrix.outputs());
        out.resize(x.len() / inputs * outputs, 0.0);
        let rows_per_block = (BYTES_PER_BLOCK / (size_of::<f32>() * inputs)).max(LANES);
        let blocks = x.chunks(rows_per_block * inputs);
        for (x, out) in blocks.zip(out.chunks_mut(rows_per_block * outputs)) {
            packed.pack(workers.kernels, self.matrix.precision(), x, inputs);
            if workers.shared {
                self.multiply_shared(workers, packed, out);
            } else {
                let panels = 0..self.matrix.num_panels();
                self.matrix
                    .multiply(workers.kernels, packed, panels, |panel, first, product| {
                        let (start, rows) = (panel * LANES, out.chunks_exact_mut(outputs).skip(first));
                        let len = LANES.min(outputs - start);
                        for (row, values) in rows.zip(product) {
                            row[start..start + len].copy_from_slice(&values[..len]);
                        }
                    });
            }
        }
    }

    /// Each thread takes some of the panels; their columns are put together afterwards.
    fn multiply_shared(&self, workers: Workers, packed: &PackedRows, out: &mut [f32]) {
        let outputs = self.matrix.outputs();
        let parts = workers.in_parts(self.matrix.num_panels(), |panels| {
            let mut products = Vec::with_capacity(panels.len() * packed.num_rows());
            let start = panels.start * LANES;
            self.matrix.multiply(workers.kernels, packed, panels, |_, _, product| {
                products.extend_from_slice(product);
            });
            (start, products)
        });
        for (start, products) in parts {
            for (panel, products) in products.chunks_exact(packed.num_rows()).enumerate() {
                let start = start + panel * LANES;
                let len = LANES.min(outputs - start);
                for (row, values) in out.chunks_exact_mut(outputs).zip(products) {
                    row[start..start + len].copy_from_slice(&values[..len]);
                }
            }
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over each row (Ba, Kiros and Hinton, 2016).
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    pub(crate) fn new(parameters: &NormParameters) -> Result<Self> {
        let weight = values(&parameters.weight)?;
        let bias = parameters.bias.as_ref().map(values).transpose()?;
        Ok(Self {
            bias: bias.unwrap_or_else(|| vec![0.0; weight.len()]),
            weight,
            epsilon: parameters.epsilon,
        })
    }

    pub(super) fn apply(&self, kernels: Kernels, row: &mut [f32]) {
        kernels.layer_norm(row, &self.weight, &self.bias, self.epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Rows that fill several blocks, shared out or not: the same to the bit, and a sum written out.
    #[test]
    fn sharing_out_changes_nothing() {
        let number = |at: usize| f32::from(u16::try_from(at * 7919 % 1009).expect("below")) / 500.0 - 1.0;
        let (rows, inputs, outputs) = (700, 100, 75);
        let tensor = |len: usize, shape: &[usize]| {
            let values: Vec<f32> = (0..len).map(number).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).expect("fits")
        };
        let linear = Linear::new(
            &LinearParameters {
                weight: tensor(inputs * outputs, &[outputs, inputs]),
                bias: Some(tensor(outputs, &[outputs])),
            },
            Precision::F32,
        );
        let linear = linear.expect("a matrix");
        let x: Vec<f32> = (0..rows * inputs).map(number).collect();
        let forward = |shared| {
            let mut out = Vec::new();
            let kernels = tamis_kernels::active();
            linear.forward(Workers { kernels, shared }, &x, &mut out, &mut PackedRows::default());
            out
        };
        let alone = forward(false);
        assert_eq!(alone, forward(true));
        for (row, output) in [(0, 0), (1, 74), (699, 33), (660, 64)] {
            let products = (0..inputs).map(|at| x[row * inputs + at] * number(output * inputs + at));
            let expected = products.sum::<f32>() + number(output);
            let value = alone[row * outputs + output];
            assert!((value - expected).abs() < 1e-4, "{value}, {expected} expected");
        }
    }
}
