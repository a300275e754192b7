//! Layer normalisation (Ba, Kiros and Hinton, 2016).

use super::{fma, sum_of};

#[inline(always)]
pub(super) fn layer_norm<const FMA: bool>(row: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    #[expect(clippy::cast_precision_loss, reason = "widths stay far below 2^24")]
    let width = row.len() as f32;
    let mean = sum_of(row, |x| x) / width;
    let variance = sum_of(row, |x| (x - mean) * (x - mean)) / width;
    let factor = 1.0 / (variance + epsilon).sqrt();
    for ((x, &weight), &bias) in row.iter_mut().zip(weight).zip(bias) {
        *x = fma::<FMA>((*x - mean) * factor, weight, bias);
    }
}

#[cfg(test)]
mod tests {
    use crate::Kernels;

    #[test]
    fn layer_norm_is_its_formula() {
        for kernels in Kernels::available() {
            let mut row = [1.0, 3.0, 1.0, 3.0];
            kernels.layer_norm(&mut row, &[1.0, 2.0, 1.0, 1.0], &[0.0, 0.0, 0.5, 0.0], 0.0);
            assert_eq!(row, [-1.0, 2.0, -0.5, 1.0], "{kernels}");

            let long: Vec<f32> = (0u16..77).map(|x| f32::from(x * 31 % 77)).collect();
            let mean = long.iter().sum::<f32>() / 77.0;
            let variance = long.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 77.0;
            let mut row = long.clone();
            kernels.layer_norm(&mut row, &[2.0; 77], &[1.0; 77], 0.5);
            for (value, x) in row.iter().zip(&long) {
                let expected = (x - mean) / (variance + 0.5).sqrt() * 2.0 + 1.0;
                assert!(
                    (value - expected).abs() < 1e-5,
                    "{kernels}: {value}, {expected} expected"
                );
            }
        }
    }
}
