//! Texts as dense vectors: encoded batch by batch, centred, scaled.

use crate::error::Error;
use tamis_encoder::{DenseEncoder, InputKind};

/// Texts encoded between two calls of who counts them.
const BATCH: usize = 512;

/// The vectors of `texts`, row by row. `each` is called with the number of texts encoded since it was last called.
pub(super) fn encode<T: AsRef<str>>(
    dense: &DenseEncoder,
    kind: InputKind,
    texts: &[T],
    mut each: impl FnMut(usize),
) -> Result<Vec<f32>, Error> {
    let mut values = Vec::with_capacity(texts.len() * dense.width());
    for batch in texts.chunks(BATCH) {
        let batch: Vec<&str> = batch.iter().map(AsRef::as_ref).collect();
        for encoding in dense.encode(kind, &batch)? {
            values.extend(encoding.values);
        }
        each(batch.len());
    }
    Ok(values)
}

/// The mean of the rows, summed in double precision in their order; zeros where there is none.
pub(super) fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    #[expect(clippy::cast_precision_loss, reason = "row counts stay far below 2^53")]
    let count = (rows.len() / width).max(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a mean, rounded to the precision of its values"
    )]
    let mean = sums.into_iter().map(|sum| (sum / count) as f32);
    mean.collect()
}

/// Takes `mean` from every row.
pub(super) fn centre(rows: &mut [f32], mean: &[f32]) {
    for row in rows.chunks_exact_mut(mean.len()) {
        row.iter_mut().zip(mean).for_each(|(x, mean)| *x -= mean);
    }
}

/// Scales every row to length 1; a row of zeros stays.
pub(super) fn normalise(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let length = dot(row, row).sqrt();
        if length > 0.0 {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a length, rounded to the precision of its values"
            )]
            let length = length as f32;
            row.iter_mut().for_each(|x| *x /= length);
        }
    }
}

/// The inner product in double precision.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_centred_and_scaled() {
        let mut rows = [1.0, 2.0, 3.0, 6.0];
        let average = mean(&rows, 2);
        assert_eq!(average, [2.0, 4.0]);
        centre(&mut rows, &average);
        assert_eq!(rows, [-1.0, -2.0, 1.0, 2.0]);
        let mut rows = [3.0, 4.0, 0.0, 0.0];
        normalise(&mut rows, 2);
        assert_eq!(rows, [0.6, 0.8, 0.0, 0.0]);
        assert_eq!(mean(&[], 2), [0.0, 0.0]);
    }
}
