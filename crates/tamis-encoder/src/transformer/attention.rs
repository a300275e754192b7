//! Scaled dot-product attention, text by text and head by head (Vaswani et al., NeurIPS 2017, section 3.2).

use super::functions::softmax;
use super::rows::{Rows, for_each_row, read};
use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// Mixes the rows of each text: `qkv` is `[rows, 3 width]`, queries, keys and values side by side, each with its heads
/// side by side; the result is `[rows, width]`. Costs `4 length^2 width` operations a text; the scores of one head of
/// one text are held at a time in each thread.
pub(super) fn attend(qkv: &Tensor, rows: &Rows, heads: usize) -> Result<Tensor> {
    let (num_rows, triple) = qkv.dims2()?;
    let (width, size) = (triple / 3, triple / 3 / heads);
    let texts = 0..rows.ranges.len();
    let pairs: Vec<_> = texts
        .flat_map(|text| (0..heads).map(move |head| (text, head)))
        .collect();
    let parts = pairs
        .par_iter()
        .map(|&(text, head)| attend_one(qkv, rows, text, head * size, size));
    let parts = parts.collect::<Result<Vec<Tensor>>>()?;

    let mut mixed = vec![0.0; num_rows * width];
    for (part, &(text, head)) in parts.iter().zip(&pairs) {
        let target = &mut mixed[rows.ranges[text].start * width..rows.ranges[text].end * width];
        read(part, |part| {
            for (row, part) in target.chunks_exact_mut(width).zip(part.chunks_exact(size)) {
                row[head * size..(head + 1) * size].copy_from_slice(part);
            }
        })?;
    }
    Tensor::from_vec(mixed, (num_rows, width), qkv.device())
}

/// One head of one text, `[length, size]`; the head's columns begin at `column` of each third of `qkv`.
fn attend_one(qkv: &Tensor, rows: &Rows, text: usize, column: usize, size: usize) -> Result<Tensor> {
    let range = &rows.ranges[text];
    let width = qkv.dim(1)? / 3;
    let third = |which: usize| {
        qkv.narrow(0, range.start, range.len())?
            .narrow(1, which * width + column, size)
    };
    let scores = third(0)?.matmul(&third(1)?.t()?)?;
    #[expect(clippy::cast_precision_loss, reason = "heads stay far below 2^24 wide")]
    let scale = 1.0 / (size as f32).sqrt();
    for_each_row(&scores, |_, row| softmax(row, scale))?;
    scores.matmul(&third(2)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// The same written out, one score at a time.
    fn naive(qkv: &[Vec<f32>], rows: &Rows, heads: usize) -> Vec<Vec<f32>> {
        let width = qkv[0].len() / 3;
        let size = width / heads;
        let mut mixed = vec![vec![0.0; width]; qkv.len()];
        for range in &rows.ranges {
            for (i, head) in range.clone().flat_map(|i| (0..heads).map(move |head| (i, head))) {
                let at = |part: usize, j: usize, c: usize| qkv[j][part * width + head * size + c];
                let score = |j| (0..size).map(|c| at(0, i, c) * at(1, j, c)).sum::<f32>() / (size as f32).sqrt();
                let total: f32 = range.clone().map(|j| score(j).exp()).sum();
                for (j, c) in range.clone().flat_map(|j| (0..size).map(move |c| (j, c))) {
                    mixed[i][head * size + c] += score(j).exp() / total * at(2, j, c);
                }
            }
        }
        mixed
    }

    #[test]
    fn texts_and_heads_stay_apart() {
        let (heads, width) = (2, 6);
        let mut rows = Rows::default();
        [3, 1, 9].into_iter().for_each(|length| rows.push(&vec![0; length]));
        let values: Vec<Vec<f32>> = (0..13u16)
            .map(|i| (0..18u16).map(|j| (f32::from(i * 18 + j) * 0.7).sin() * 2.0).collect())
            .collect();
        let qkv = Tensor::new(values.clone(), &Device::Cpu).expect("matrix");
        let mixed = attend(&qkv, &rows, heads)
            .expect("fits")
            .to_vec2::<f32>()
            .expect("matrix");
        assert_eq!(mixed[0].len(), width);
        for (row, expected) in mixed
            .iter()
            .flatten()
            .zip(naive(&values, &rows, heads).iter().flatten())
        {
            assert!((row - expected).abs() < 1e-5, "{row}, {expected} expected");
        }
    }
}
