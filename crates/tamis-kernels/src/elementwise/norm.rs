//! Layer normalisation (Ba, Kiros and Hinton, 2016).

use super::{PARTS, fma, sum_of};

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

/// What the backward half of a layer norm needs beside the row and its gradient, and what it adds to.
#[derive(Debug)]
pub struct NormBackward<'a> {
    /// As in the forward pass.
    pub weight: &'a [f32],
    /// As in the forward pass.
    pub epsilon: f32,
    /// Gradient of the weight, which is added to.
    pub weight_gradient: &'a mut [f32],
    /// Gradient of the bias, which is added to.
    pub bias_gradient: &'a mut [f32],
}

/// With `n = (x - mean) / s` and `g = gradient * weight`: `(g - mean(g) - n mean(g n)) / s`.
#[inline(always)]
pub(super) fn layer_norm_backward<const FMA: bool>(row: &[f32], gradient: &mut [f32], norm: &mut NormBackward<'_>) {
    #[expect(clippy::cast_precision_loss, reason = "widths stay far below 2^24")]
    let width = row.len() as f32;
    let mean = sum_of(row, |x| x) / width;
    let variance = sum_of(row, |x| (x - mean) * (x - mean)) / width;
    let factor = 1.0 / (variance + norm.epsilon).sqrt();
    let sums = norm.weight_gradient.iter_mut().zip(norm.bias_gradient.iter_mut());
    for ((sums, &x), &gradient) in sums.zip(row).zip(gradient.iter()) {
        *sums.0 = fma::<FMA>((x - mean) * factor, gradient, *sums.0);
        *sums.1 += gradient;
    }
    let (mut plain, mut along) = ([0.0; PARTS], [0.0; PARTS]);
    let chunks = gradient.chunks_mut(PARTS).zip(row.chunks(PARTS));
    for ((gradient, row), weight) in chunks.zip(norm.weight.chunks(PARTS)) {
        let sums = plain.iter_mut().zip(&mut along);
        for (((sums, gradient), &x), &weight) in sums.zip(gradient).zip(row).zip(weight) {
            *gradient *= weight;
            *sums.0 += *gradient;
            *sums.1 = fma::<FMA>((x - mean) * factor, *gradient, *sums.1);
        }
    }
    let [plain, along] = [plain, along].map(|parts| parts.into_iter().sum::<f32>() / width);
    for (gradient, &x) in gradient.iter_mut().zip(row) {
        let normalised = (x - mean) * factor;
        *gradient = (fma::<FMA>(-normalised, along, *gradient - plain)) * factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;

    #[test]
    fn the_gradient_is_a_difference() {
        const WIDTH: usize = 37;
        let wave = |at: usize, pace: f64| (at as f64 * pace).sin();
        let [x, weight, bias, gradient]: [Vec<f64>; 4] =
            [1.3, 0.7, 2.1, 0.9].map(|pace| (0..WIDTH).map(|at| wave(at, pace)).collect());
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
            let mean = x.iter().sum::<f64>() / WIDTH as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / WIDTH as f64;
            let normalised = |at: usize| (x[at] - mean) / (variance + 0.1).sqrt() * weight[at] + bias[at];
            (0..WIDTH).map(|at| normalised(at) * gradient[at]).sum::<f64>()
        };
        let difference = |which: usize, at: usize| {
            let [up, down] = [1e-5, -1e-5].map(|offset| {
                let mut parts = [x.clone(), weight.clone(), bias.clone()];
                parts[which][at] += offset;
                loss(&parts[0], &parts[1], &parts[2])
            });
            (up - down) / 2e-5
        };
        #[expect(clippy::cast_possible_truncation, reason = "test values")]
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        for kernels in Kernels::available() {
            let (row, weight) = (single(&x), single(&weight));
            let (mut gradient, mut weight_gradient, mut bias_gradient) =
                (single(&gradient), vec![1.0; WIDTH], vec![2.0; WIDTH]);
            let mut norm = NormBackward {
                weight: &weight,
                epsilon: 0.1,
                weight_gradient: &mut weight_gradient,
                bias_gradient: &mut bias_gradient,
            };
            kernels.layer_norm_backward(&row, &mut gradient, &mut norm);
            for at in 0..WIDTH {
                let found = [gradient[at], weight_gradient[at] - 1.0, bias_gradient[at] - 2.0];
                for (which, found) in found.into_iter().enumerate() {
                    let error = (f64::from(found) - difference(which, at)).abs();
                    assert!(error < 1e-5, "{kernels}: argument {which} is off by {error} at {at}");
                }
            }
        }
    }

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
