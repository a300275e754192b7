//! Attention within each text, head by head, and the rotation of queries and keys before it.

use super::parameters::{LayerParameters, Rotary};
use super::rows::{Rows, Workers};
use std::ops::Range;
use tamis_kernels::{AttentionScratch, Head, Kernels};

/// How the tokens of a text look at each other.
#[derive(Debug)]
pub(super) struct Attention {
    heads: usize,
    rotary: Option<Rotary>,
    window: Option<usize>,
}

impl Attention {
    pub(super) fn new(layer: &LayerParameters, heads: usize) -> Self {
        Self {
            heads,
            rotary: layer.rotary.clone(),
            window: layer.window,
        }
    }

    /// Writes to `mixed`, `[rows, width]`, what attention makes of `qkv`, `[rows, 3 width]`: queries, keys and values
    /// side by side, each with its heads side by side. Queries and keys are rotated in place.
    pub(super) fn forward(&self, workers: Workers, rows: &Rows, qkv: &mut [f32], mixed: &mut Vec<f32>) {
        let num_rows = rows.ids.len();
        mixed.resize(qkv.len() / 3, 0.0);
        if num_rows == 0 {
            return;
        }
        let width = qkv.len() / num_rows / 3;
        if let Some(rotary) = &self.rotary {
            self.rotate(workers, rotary, rows, qkv);
        }
        let pairs = rows.ranges.len() * self.heads;
        let parts = workers.in_parts(pairs, |part| self.means(workers.kernels, rows, qkv, part));
        let mut means = parts.iter().flatten().copied();
        let size = width / self.heads;
        for pair in 0..pairs {
            let (range, column) = (&rows.ranges[pair / self.heads], pair % self.heads * size);
            for row in range.clone() {
                let target = &mut mixed[row * width + column..][..size];
                target.iter_mut().zip(&mut means).for_each(|(x, mean)| *x = mean);
            }
        }
    }

    /// The means of some pairs of text and head, `[tokens, size]` each.
    fn means(&self, kernels: Kernels, rows: &Rows, qkv: &[f32], pairs: Range<usize>) -> Vec<f32> {
        let stride = qkv.len() / rows.ids.len();
        let width = stride / 3;
        let size = width / self.heads;
        let mut scratch = AttentionScratch::default();
        let mut means = Vec::new();
        for pair in pairs {
            let (range, column) = (&rows.ranges[pair / self.heads], pair % self.heads * size);
            let start = means.len();
            means.resize(start + range.len() * size, 0.0);
            let head = Head {
                rows: &qkv[range.start * stride..range.end * stride],
                stride,
                columns: [column, width + column, 2 * width + column],
                size,
                window: self.window,
            };
            kernels.attend(&head, &mut scratch, &mut means[start..]);
        }
        means
    }

    /// Turns queries and keys by their position.
    fn rotate(&self, workers: Workers, rotary: &Rotary, rows: &Rows, qkv: &mut [f32]) {
        let stride = qkv.len() / rows.ids.len();
        let width = stride / 3;
        let (size, half) = (width / self.heads, rotary.inverse_frequencies.len());
        let positions: Vec<usize> = rows.ranges.iter().flat_map(|range| 0..range.len()).collect();
        workers.for_each_row(qkv, stride, |at, row| {
            #[expect(clippy::cast_precision_loss, reason = "positions stay below 2^24")]
            let position = positions[at] as f32;
            let angles = rotary.inverse_frequencies.iter().map(|frequency| position * frequency);
            let (cosines, sines): (Vec<f32>, Vec<f32>) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
            for head in row[..2 * width].chunks_exact_mut(size) {
                let (first, second) = head.split_at_mut(half);
                workers.kernels.rotate(first, second, &cosines, &sines);
            }
        });
    }
}
