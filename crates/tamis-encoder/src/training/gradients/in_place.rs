//! Sums over gradients without copies, on all threads.

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Storage, Tensor, WithDType};
use rayon::prelude::*;

/// Elements that one thread takes at a time: the same for any number of threads, so sums are too.
const CHUNK: usize = 1 << 15;

/// `sum += gradient`, where `sum` is contiguous and its memory nobody else's.
pub(super) fn add_in_place(sum: &Tensor, gradient: &Tensor) -> Result<()> {
    if sum.device().is_cpu() {
        return sum.inplace_op2(&gradient.contiguous()?, &Add);
    }
    // `slice_set` copies into the memory of `sum`.
    let total = (sum + gradient)?;
    match sum.rank() {
        0 => sum.reshape(1)?.slice_set(&total.reshape(1)?, 0, 0),
        _ => sum.slice_set(&total, 0, 0),
    }
}

/// The sum of squares of all elements, in double precision.
pub(super) fn sum_of_squares(gradient: &Tensor) -> Result<f64> {
    let gradient = gradient.contiguous()?;
    let (storage, layout) = gradient.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => squares(values, layout, f64::from),
        Storage::Cpu(CpuStorage::F64(values)) => squares(values, layout, |value| value),
        _ => gradient.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar(),
    }
}

fn squares<T: Copy + Sync>(values: &[T], layout: &Layout, wide: impl Fn(T) -> f64 + Sync) -> Result<f64> {
    let chunks = covered(layout, values.len())?;
    let sums: Vec<f64> = values[chunks]
        .par_chunks(CHUNK)
        .map(|chunk| chunk.iter().map(|&value| wide(value)).map(|value| value * value).sum())
        .collect();
    Ok(sums.into_iter().sum())
}

/// The range of a contiguous layout.
fn covered(layout: &Layout, length: usize) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) if end <= length => Ok(start..end),
        _ => candle_core::bail!("contiguous values expected"),
    }
}

struct Add;

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add-in-place"
    }

    fn cpu_fwd(&self, sum: &mut CpuStorage, to: &Layout, gradient: &CpuStorage, from: &Layout) -> Result<()> {
        match (sum, gradient) {
            (CpuStorage::F32(sum), CpuStorage::F32(gradient)) => add(sum, to, gradient, from),
            (CpuStorage::F64(sum), CpuStorage::F64(gradient)) => add(sum, to, gradient, from),
            _ => candle_core::bail!("add-in-place: two gradients of single or of double precision expected"),
        }
    }
}

fn add<T: WithDType>(sum: &mut [T], to: &Layout, gradient: &[T], from: &Layout) -> Result<()> {
    let to = covered(to, sum.len())?;
    let from = covered(from, gradient.len())?;
    let sums = sum[to].par_chunks_mut(CHUNK);
    sums.zip(gradient[from].par_chunks(CHUNK))
        .for_each(|(sums, gradients)| {
            for (sum, &gradient) in sums.iter_mut().zip(gradients) {
                *sum += gradient;
            }
        });
    Ok(())
}
