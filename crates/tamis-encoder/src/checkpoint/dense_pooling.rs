//! Hidden states to one vector, over all parts of a text.

use super::dense_layout::DensePooling;

/// The states of one part of a text, pooled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pooled {
    values: Vec<f32>,
    num_rows: usize,
}

impl Pooled {
    /// One vector of the rows of a part, of which there is at least one unless its tokenizer puts nothing around it.
    pub(super) fn of(pooling: DensePooling, rows: &[f32], width: usize) -> Self {
        let num_rows = rows.len() / width;
        let row = |at: usize| rows[at * width..][..width].to_vec();
        let values = match pooling {
            _ if num_rows == 0 => vec![0.0; width],
            DensePooling::Cls => row(0),
            DensePooling::LastToken => row(num_rows - 1),
            DensePooling::Max => {
                let larger = |mut best: Vec<f32>, row: &[f32]| {
                    best.iter_mut().zip(row).for_each(|(best, x)| *best = best.max(*x));
                    best
                };
                rows.chunks_exact(width).fold(vec![f32::NEG_INFINITY; width], larger)
            }
            DensePooling::Mean | DensePooling::MeanSqrtLen => {
                let mut sum = vec![0.0; width];
                for row in rows.chunks_exact(width) {
                    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
                let divisor = divisor(pooling, num_rows);
                sum.iter_mut().for_each(|sum| *sum /= divisor);
                sum
            }
        };
        Self { values, num_rows }
    }

    /// The vector of a text of its parts, of which there is at least one: that of all their rows where rows are summed or
    /// compared, and where each part has one row of its own (the first, the last) their mean by length.
    pub(super) fn joined(pooling: DensePooling, parts: Vec<Self>) -> Vec<f32> {
        let num_rows = parts.iter().map(|part| part.num_rows).sum();
        let several = parts.len() > 1;
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else {
            return Vec::new();
        };
        if !several {
            return first.values;
        }
        let weight = |part: &Self| match pooling {
            DensePooling::Max => 1.0,
            _ => divisor(pooling, part.num_rows),
        };
        let scale = weight(&first);
        let mut values = first.values;
        values.iter_mut().for_each(|value| *value *= scale);
        for part in parts {
            let scale = weight(&part);
            let pairs = values.iter_mut().zip(&part.values);
            match pooling {
                DensePooling::Max => pairs.for_each(|(value, x)| *value = value.max(*x)),
                _ => pairs.for_each(|(value, x)| *value += scale * x),
            }
        }
        if pooling != DensePooling::Max {
            let divisor = divisor(pooling, num_rows);
            values.iter_mut().for_each(|value| *value /= divisor);
        }
        values
    }
}

/// What the sum of so many rows is divided by.
fn divisor(pooling: DensePooling, num_rows: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "texts stay far below 2^24 tokens")]
    let count = num_rows as f32;
    match pooling {
        DensePooling::MeanSqrtLen => count.sqrt(),
        _ => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [f32; 6] = [1.0, -2.0, 3.0, 4.0, 5.0, -5.0];

    fn joined(pooling: DensePooling, parts: &[&[f32]]) -> Vec<f32> {
        let parts = parts.iter().map(|rows| Pooled::of(pooling, rows, 2));
        Pooled::joined(pooling, parts.collect())
    }

    #[test]
    fn poolings_are_their_definitions() {
        let of = |pooling| joined(pooling, &[&ROWS]);
        assert_eq!(of(DensePooling::Mean), [3.0, -1.0]);
        assert_eq!(of(DensePooling::Cls), [1.0, -2.0]);
        assert_eq!(of(DensePooling::LastToken), [5.0, -5.0]);
        assert_eq!(of(DensePooling::Max), [5.0, 4.0]);
        assert_eq!(of(DensePooling::MeanSqrtLen)[0], 9.0 / 3f32.sqrt());
        assert_eq!(joined(DensePooling::Max, &[&[]]), [0.0, 0.0]);
    }

    #[test]
    fn parts_join_to_what_they_are_as_one() {
        let of = |pooling| joined(pooling, &[&ROWS[..4], &ROWS[4..]]);
        for pooling in [DensePooling::Mean, DensePooling::Max, DensePooling::MeanSqrtLen] {
            let whole = joined(pooling, &[&ROWS]);
            for (found, expected) in of(pooling).iter().zip(whole) {
                assert!((found - expected).abs() < 1e-6, "{pooling:?}: {found}, {expected}");
            }
        }
        let near = |found: Vec<f32>, expected: [f32; 2]| {
            let pairs = found.iter().zip(expected);
            assert!(
                pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6),
                "{found:?}, {expected:?}"
            );
        };
        near(of(DensePooling::Cls), [7.0 / 3.0, -3.0]);
        near(of(DensePooling::LastToken), [11.0 / 3.0, 1.0]);
    }
}
