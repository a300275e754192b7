//! Weighted sums of the absolute values of rows, the one operation behind all mean-based penalties.

use crate::Error;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;
use std::sync::Arc;

/// Columns that one thread sums at a time.
const BLOCK: usize = 2048;

/// Which sums each row enters and with which weight.
#[derive(Clone, Debug)]
pub(super) struct RowWeights {
    sums: usize,
    rows: Vec<Vec<(usize, f64)>>,
}

impl RowWeights {
    /// For each row the sums (from 0 to `sums - 1`) that it enters, with weights.
    pub(super) fn new(sums: usize, rows: Vec<Vec<(usize, f64)>>) -> Self {
        Self { sums, rows }
    }

    /// Leaves out the rows whose fact does not pass; other rows keep their weights.
    pub(super) fn keep<T: Copy>(&mut self, facts: &[T], passes: impl Fn(T) -> bool) {
        for (row, &fact) in self.rows.iter_mut().zip(facts) {
            if !passes(fact) {
                row.clear();
            }
        }
    }

    /// As a matrix, `[sums, rows]`.
    fn matrix(&self, like: &Tensor) -> Result<Tensor> {
        let mut weights = vec![0.0; self.sums * self.rows.len()];
        for (at, row) in self.rows.iter().enumerate() {
            for &(sum, weight) in row {
                weights[sum * self.rows.len() + at] += weight;
            }
        }
        Tensor::from_vec(weights, (self.sums, self.rows.len()), &like.device().clone())?.to_dtype(like.dtype())
    }
}

/// `weights` times the absolute values of `rows`, `[n, V]`, giving `[sums, V]`. The gradient at 0 is 0, as in PyTorch.
///
/// Each column is summed in the order of rows, whatever the number of threads.
pub(super) fn row_means(rows: &Tensor, weights: RowWeights) -> std::result::Result<Tensor, Error> {
    if rows.device().is_cpu() {
        return Ok(rows.contiguous()?.apply_op1(RowMeans(Arc::new(weights)))?);
    }
    let absolute = (rows * rows.detach().sign()?)?;
    Ok(weights.matrix(rows)?.matmul(&absolute)?)
}

struct RowMeans(Arc<RowWeights>);

/// The gradient of [`RowMeans`] for given gradients of the sums.
struct RowMeansGradient {
    weights: Arc<RowWeights>,
    sums: Tensor,
}

impl CustomOp1 for RowMeans {
    fn name(&self) -> &'static str {
        "row-means"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match storage {
            CpuStorage::F32(values) => self.forward(values, layout),
            CpuStorage::F64(values) => self.forward(values, layout),
            _ => candle_core::bail!("row-means: single or double precision expected"),
        }
    }

    fn bwd(&self, rows: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let operation = RowMeansGradient {
            weights: self.0.clone(),
            sums: gradient.contiguous()?,
        };
        rows.contiguous()?.apply_op1_no_bwd(&operation).map(Some)
    }
}

/// The values that a contiguous layout covers.
fn covered<'a, T>(values: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => candle_core::bail!("row-means: contiguous values expected"),
    }
}

impl RowMeans {
    fn forward<T: WithDType>(&self, values: &[T], layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = covered(values, layout)?;
        let (rows, width) = layout.shape().dims2()?;
        let RowWeights { sums, rows: weights } = &*self.0;
        if weights.len() != rows {
            candle_core::bail!("row-means: weights of {} rows for {rows}", weights.len());
        }
        let blocks: Vec<Vec<T>> = (0..width.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let (start, end) = (block * BLOCK, width.min((block + 1) * BLOCK));
                let mut result = vec![T::zero(); sums * (end - start)];
                for (row, weights) in values.chunks_exact(width).zip(weights) {
                    for &(sum, weight) in weights {
                        let weight = T::from_f64(weight);
                        let result = &mut result[sum * (end - start)..(sum + 1) * (end - start)];
                        for (result, &value) in result.iter_mut().zip(&row[start..end]) {
                            *result += if value < T::zero() { T::zero() - value } else { value } * weight;
                        }
                    }
                }
                result
            })
            .collect();
        let mut result = Vec::with_capacity(sums * width);
        for sum in 0..*sums {
            for block in &blocks {
                let length = block.len() / sums;
                result.extend_from_slice(&block[sum * length..(sum + 1) * length]);
            }
        }
        Ok((T::to_cpu_storage_owned(result), Shape::from((*sums, width))))
    }
}

impl CustomOp1 for RowMeansGradient {
    fn name(&self) -> &'static str {
        "row-means-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match storage {
            CpuStorage::F32(values) => self.backward(values, layout),
            CpuStorage::F64(values) => self.backward(values, layout),
            _ => candle_core::bail!("row-means: single or double precision expected"),
        }
    }
}

impl RowMeansGradient {
    fn backward<T: WithDType>(&self, values: &[T], layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = covered(values, layout)?;
        let (_, width) = layout.shape().dims2()?;
        let sums = self.sums.flatten_all()?.to_vec1::<T>()?;
        let mut result = vec![T::zero(); values.len()];
        let rows = result
            .par_chunks_mut(width)
            .zip(values.par_chunks(width))
            .zip(&self.weights.rows);
        rows.for_each(|((result, values), weights)| {
            for &(sum, weight) in weights {
                let (weight, sums) = (T::from_f64(weight), &sums[sum * width..(sum + 1) * width]);
                for ((result, &value), &gradient) in result.iter_mut().zip(values).zip(sums) {
                    if value > T::zero() {
                        *result += gradient * weight;
                    } else if value < T::zero() {
                        *result -= gradient * weight;
                    }
                }
            }
        });
        Ok((T::to_cpu_storage_owned(result), layout.shape().clone()))
    }
}
