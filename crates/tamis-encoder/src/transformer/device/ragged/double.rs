//! Double precision: every operation written out, the reference that gradients are checked in.

use super::element::{Element, Largest};
use super::view::{HeadView, Norm, Start, View};
use crate::transformer::HiddenActivation;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};
use std::ops::Range;

impl Element for f64 {
    type Scratch = ();
    type BackwardScratch = ();

    fn multiply(left: View<'_, Self>, right: View<'_, Self>, start: Start<'_, Self>, out: &mut [Self]) {
        let at = |view: &View<'_, f64>, row: usize, column: usize| match view.transposed {
            true => view.values[column * view.width + row],
            false => view.values[row * view.width + column],
        };
        let (outputs, inputs) = (right.columns(), left.columns());
        for (place, out) in out.iter_mut().enumerate() {
            let (row, column) = (place / outputs, place % outputs);
            let begun = match start {
                Start::Zero => 0.0,
                Start::Present => *out,
                Start::Bias(bias) => bias[column],
            };
            let products = (0..inputs).map(|input| at(&left, row, input) * at(&right, input, column));
            *out = begun + products.sum::<f64>();
        }
    }

    fn attend(head: &HeadView<'_, Self>, (): &mut (), out: &mut [Self]) {
        out.fill(0.0);
        for (query, out) in out.chunks_exact_mut(head.size).enumerate() {
            for (key, share) in shares(head, query) {
                Self::add_scaled(out, share, part(head, key, 2));
            }
        }
    }

    fn attend_backward(head: &HeadView<'_, Self>, gradient: (&[Self], usize), (): &mut (), out: &mut [Self]) {
        let scale = scale(head);
        for query in 0..head.rows.len() / head.stride {
            let gradient = &gradient.0[query * gradient.1..][..head.size];
            let shares = shares(head, query);
            let slopes: Vec<f64> = shares
                .iter()
                .map(|&(key, _)| dot(gradient, part(head, key, 2)))
                .collect();
            let mean: f64 = shares
                .iter()
                .zip(&slopes)
                .map(|(&(_, share), slope)| share * slope)
                .sum();
            for (&(key, share), slope) in shares.iter().zip(slopes) {
                let factor = share * (slope - mean) * scale;
                let column = |token: usize, which: usize| token * head.stride + head.columns[which];
                Self::add_scaled(&mut out[column(key, 2)..][..head.size], share, gradient);
                Self::add_scaled(&mut out[column(query, 0)..][..head.size], factor, part(head, key, 1));
                Self::add_scaled(&mut out[column(key, 1)..][..head.size], factor, part(head, query, 0));
            }
        }
    }

    fn rotate((first, second): (&mut [Self], &mut [Self]), cosines: &[Self], sines: &[Self]) {
        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cosines.iter().zip(sines)) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }

    fn activate(row: &mut [Self], activation: HiddenActivation) {
        row.iter_mut().for_each(|x| *x = value_and_slope(*x, activation).0);
    }

    fn activate_backward(row: &mut [Self], gradient: &mut [Self], activation: HiddenActivation) {
        for (x, gradient) in row.iter_mut().zip(gradient) {
            let (value, slope) = value_and_slope(*x, activation);
            *x = value;
            *gradient *= slope;
        }
    }

    fn normalise(row: &mut [Self], norm: &Norm<'_, Self>) {
        let (mean, factor) = moments(row, norm.epsilon);
        for ((x, weight), bias) in row.iter_mut().zip(norm.weight).zip(norm.bias) {
            *x = (*x - mean) * factor * weight + bias;
        }
    }

    fn normalise_backward(row: &[Self], gradient: &mut [Self], norm: &Norm<'_, Self>, sums: [&mut [Self]; 2]) {
        let (mean, factor) = moments(row, norm.epsilon);
        let normalised: Vec<f64> = row.iter().map(|x| (x - mean) * factor).collect();
        let [weight_sums, bias_sums] = sums;
        for at in 0..row.len() {
            weight_sums[at] += gradient[at] * normalised[at];
            bias_sums[at] += gradient[at];
            gradient[at] *= norm.weight[at];
        }
        let width = row.len() as f64;
        let plain = gradient.iter().sum::<f64>() / width;
        let along = dot(gradient, &normalised) / width;
        let pairs = gradient.iter_mut().zip(normalised);
        pairs.for_each(|(gradient, x)| *gradient = (*gradient - plain - x * along) * factor);
    }

    fn add_row(row: &mut [Self], other: &[Self]) {
        row.iter_mut().zip(other).for_each(|(x, y)| *x += y);
    }

    fn add_scaled(row: &mut [Self], factor: Self, other: &[Self]) {
        row.iter_mut().zip(other).for_each(|(x, y)| *x += factor * y);
    }

    fn scale_by(row: &mut [Self], other: &[Self]) {
        row.iter_mut().zip(other).for_each(|(x, y)| *x *= y);
    }

    fn largest_products(rows: &[Self], columns: &[Self], width: usize, ranges: &[Range<usize>]) -> Largest<Self> {
        let outputs = columns.len() / width;
        let mut largest = Largest {
            values: vec![f64::NEG_INFINITY; ranges.len() * outputs],
            rows: vec![0; ranges.len() * outputs],
        };
        for (text, range) in ranges.iter().enumerate() {
            for (output, column) in columns.chunks_exact(width).enumerate() {
                let at = text * outputs + output;
                for row in range.clone() {
                    let product = dot(&rows[row * width..][..width], column);
                    if product > largest.values[at] {
                        largest.values[at] = product;
                        largest.rows[at] = u32::try_from(row).expect("batches stay far below 2^32 rows");
                    }
                }
            }
        }
        largest
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn part<'a>(head: &HeadView<'a, f64>, token: usize, which: usize) -> &'a [f64] {
    &head.rows[token * head.stride + head.columns[which]..][..head.size]
}

fn scale(head: &HeadView<'_, f64>) -> f64 {
    1.0 / (head.size as f64).sqrt()
}

/// The tokens that `query` attends to, each with its share.
fn shares(head: &HeadView<'_, f64>, query: usize) -> Vec<(usize, f64)> {
    let length = head.rows.len() / head.stride;
    let keys = (0..length).filter(|key| head.window.is_none_or(|window| query.abs_diff(*key) <= window));
    let scores = keys.map(|key| (key, dot(part(head, query, 0), part(head, key, 1)) * scale(head)));
    let mut shares: Vec<(usize, f64)> = scores.collect();
    let largest = shares
        .iter()
        .fold(f64::NEG_INFINITY, |largest, &(_, score)| largest.max(score));
    shares.iter_mut().for_each(|(_, x)| *x = (*x - largest).exp());
    let total: f64 = shares.iter().map(|(_, x)| x).sum();
    shares.iter_mut().for_each(|(_, x)| *x /= total);
    shares
}

/// Mean, and one over the deviation.
fn moments(row: &[f64], epsilon: f32) -> (f64, f64) {
    let width = row.len() as f64;
    let mean = row.iter().sum::<f64>() / width;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
    (mean, 1.0 / (variance + f64::from(epsilon)).sqrt())
}

fn value_and_slope(x: f64, activation: HiddenActivation) -> (f64, f64) {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        HiddenActivation::Gelu => {
            let share = 0.5 * (1.0 + candle_core::cpu::erf::erf_f64(x * FRAC_1_SQRT_2));
            let density = (-0.5 * x * x).exp() * 0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI;
            (x * share, share + x * density)
        }
        HiddenActivation::GeluTanh => {
            let rate = 2.0 * (2.0 / PI).sqrt();
            let share = sigmoid(rate * (x + 0.044_715 * x.powi(3)));
            let slope = rate * (1.0 + 3.0 * 0.044_715 * x * x);
            (x * share, share + x * share * (1.0 - share) * slope)
        }
        // As PyTorch: nothing passes at 0.
        HiddenActivation::Relu if x <= 0.0 => (0.0, 0.0),
        HiddenActivation::Relu => (x, 1.0),
        HiddenActivation::Silu => {
            let share = sigmoid(x);
            (x * share, share + x * share * (1.0 - share))
        }
    }
}
