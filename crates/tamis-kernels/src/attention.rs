//! One head of scaled dot-product attention (Vaswani et al., NeurIPS 2017, section 3.2).
//!
//! Everything is laid out so that no matrix of length by length is ever transposed: 32 queries are the lanes of a
//! panel, keys the rows that meet it, so scores come out with a key a row and a query a lane. The softmax of all 32
//! queries then runs down the rows, a vector at a time, and its result is at once the panel that the values meet.

mod backward;

pub use backward::AttentionBackwardScratch;

use crate::Kernels;
use crate::dense::{LANES, Lanes, PackedRows, Precision, Step, multiply_panel};
use std::ops::Range;

/// Queries, keys and values of one head for the tokens of one text.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// One row a token, `stride` values each.
    pub rows: &'a [f32],
    /// Values of a row.
    pub stride: usize,
    /// The columns at which the head's query, key and value begin.
    pub columns: [usize; 3],
    /// Values of a query, a key and a value each.
    pub size: usize,
    /// A token attends to those at most this far away; to all without one.
    pub window: Option<usize>,
}

/// Buffers of [`Kernels::attend`]; reused, they allocate nothing.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    keys: PackedRows,
    values: PackedRows,
    gathered: Vec<f32>,
    queries: Vec<Step>,
    scores: Vec<Lanes>,
    weights: Vec<Step>,
    means: Vec<Lanes>,
    keys_held: Range<usize>,
}

impl Head<'_> {
    fn length(&self) -> usize {
        self.rows.len() / self.stride
    }

    fn scale(&self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "heads stay far below 2^24 wide")]
        let size = self.size as f32;
        1.0 / size.sqrt()
    }

    fn check(&self) {
        assert!(self.rows.len().is_multiple_of(self.stride), "rows are whole");
        let mut columns = self.columns.iter();
        assert!(
            columns.all(|column| column + self.size <= self.stride),
            "columns lie in a row"
        );
    }

    /// Part 0 (query), 1 (key) or 2 (value) of a token.
    fn part(&self, token: usize, part: usize) -> &[f32] {
        &self.rows[token * self.stride + self.columns[part]..][..self.size]
    }

    /// The tokens that any of `queries` attends to, and those that attend to any of them.
    fn seen(&self, queries: &Range<usize>) -> Range<usize> {
        let length = self.length();
        match self.window {
            None => 0..length,
            Some(window) => queries.start.saturating_sub(window)..(queries.end + window).min(length),
        }
    }
}

impl Kernels {
    /// Writes to `out`, `[tokens, size]`, for every token the mean of the values it attends to, weighted by the
    /// softmax of `query . key / sqrt(size)`.
    ///
    /// Cost: `4 size` operations for every pair of tokens that see each other. Memory: `256` bytes a token seen.
    ///
    /// # Panics
    /// When rows are not whole, columns lie outside them, or `out` is not `tokens * size` long.
    pub fn attend(self, head: &Head<'_>, scratch: &mut AttentionScratch, out: &mut [f32]) {
        let (length, size) = (head.length(), head.size);
        head.check();
        assert_eq!(out.len(), length * size, "a mean for every token");
        scratch.keys_held = 0..0;
        for start in (0..length).step_by(LANES) {
            let queries = start..(start + LANES).min(length);
            let seen = head.seen(&queries);
            if scratch.keys_held != seen {
                scratch.hold(self, head, seen.clone());
            }
            scratch.set_queries(head, &queries);
            scratch.score(self);
            if let Some(window) = head.window {
                scratch.mask(start, window);
            }
            let (mut largest, mut sums) = ([0.0; LANES], [0.0; LANES]);
            self.softmax_columns(&mut scratch.scores, &mut largest, &mut sums);
            scratch.mix(self, &sums);
            for (lane, token) in queries.enumerate() {
                let row = &mut out[token * size..][..size];
                row.iter_mut()
                    .zip(&scratch.means)
                    .for_each(|(x, means)| *x = means[lane]);
            }
        }
    }
}

impl AttentionScratch {
    /// Packs keys and values of the tokens in `seen`.
    fn hold(&mut self, kernels: Kernels, head: &Head<'_>, seen: Range<usize>) {
        let size = head.size;
        self.gathered.clear();
        seen.clone()
            .for_each(|token| self.gathered.extend_from_slice(head.part(token, 1)));
        self.keys.pack(kernels, Precision::F32, &self.gathered, size);
        // A row for every element of the values, an input for every token.
        self.values
            .pack_columns(kernels, seen.len(), size, |at| head.part(seen.start + at, 2));
        self.keys_held = seen;
    }

    /// Makes a panel of the scaled queries; lanes without one are zero.
    fn set_queries(&mut self, head: &Head<'_>, queries: &Range<usize>) {
        let queries = queries.clone().map(|token| head.part(token, 0));
        set_panel(&mut self.queries, head.size, queries, head.scale());
    }

    /// Keys times queries: a row a key, a lane a query.
    fn score(&mut self, kernels: Kernels) {
        multiply(kernels, &self.keys, &self.queries, &mut self.scores);
    }

    /// Takes out keys that are further away than `window` from the query of their lane, the first of which is `start`.
    fn mask(&mut self, start: usize, window: usize) {
        mask(&mut self.scores, self.keys_held.clone(), start, window);
    }

    /// Values times the weights in `scores`, over their sums: a row an element of the values, a lane a query.
    fn mix(&mut self, kernels: Kernels, sums: &Lanes) {
        set_steps(&mut self.weights, &self.scores);
        multiply(kernels, &self.values, &self.weights, &mut self.means);
        let factors = sums.map(|sum| 1.0 / sum);
        for means in &mut self.means {
            means.iter_mut().zip(&factors).for_each(|(x, factor)| *x *= factor);
        }
    }
}

/// `rows` times a panel: a row of lanes for every row.
fn multiply(kernels: Kernels, rows: &PackedRows, steps: &[Step], out: &mut Vec<Lanes>) {
    out.resize(rows.num_rows(), [0.0; LANES]);
    multiply_panel(kernels, rows, steps, |first, products| {
        out[first..first + products.len()].copy_from_slice(products);
    });
}

/// Makes a panel with a row a lane, times `factor`; lanes without one are zero.
fn set_panel<'a>(steps: &mut Vec<Step>, size: usize, rows: impl Iterator<Item = &'a [f32]>, factor: f32) {
    steps.clear();
    steps.resize(size, Step([0; LANES]));
    for (lane, row) in rows.enumerate() {
        for (step, x) in steps.iter_mut().zip(row) {
            step.0[lane] = (x * factor).to_bits();
        }
    }
}

/// Makes a panel with a step a row.
fn set_steps(steps: &mut Vec<Step>, rows: &[Lanes]) {
    steps.clear();
    steps.extend(rows.iter().map(|row| Step(row.map(f32::to_bits))));
}

/// Takes out the scores of pairs that are further apart than `window`: `tokens` are those of the rows, `start` that of
/// the first lane.
fn mask(scores: &mut [Lanes], tokens: Range<usize>, start: usize, window: usize) {
    for (token, scores) in tokens.zip(scores) {
        for (lane, score) in scores.iter_mut().enumerate() {
            if (start + lane).abs_diff(token) > window {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same written out, one score at a time, in double precision.
    fn naive(head: &Head<'_>) -> Vec<f64> {
        let (length, size) = (head.length(), head.size);
        let scale = 1.0 / f64::from(u32::try_from(size).expect("small")).sqrt();
        let mut means = Vec::new();
        for i in 0..length {
            let sees = |&j: &usize| head.window.is_none_or(|window| i.abs_diff(j) <= window);
            let weight = |j: usize| {
                let pairs = head.part(i, 0).iter().zip(head.part(j, 1));
                let score: f64 = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                (score * scale).exp()
            };
            let total: f64 = (0..length).filter(sees).map(weight).sum();
            means.extend((0..size).map(|c| {
                let weighted = |j: usize| weight(j) / total * f64::from(head.part(j, 2)[c]);
                (0..length).filter(sees).map(weighted).sum::<f64>()
            }));
        }
        means
    }

    #[test]
    fn attention_is_its_formula_at_any_length_size_and_window() {
        let values: Vec<f32> = (0u32..150 * 60)
            .map(|at| (f32::from(u16::try_from(at * 7919 % 9973).expect("below")) * 0.7).sin() * 2.0)
            .collect();
        for kernels in Kernels::available() {
            let mut scratch = AttentionScratch::default();
            for length in [1, 2, 13, 31, 32, 33, 64, 100, 150] {
                for (size, window) in [(3, None), (16, None), (20, Some(5)), (7, Some(40)), (1, Some(0))] {
                    let head = Head {
                        rows: &values[..length * 60],
                        stride: 60,
                        columns: [0, 20, 40],
                        size,
                        window,
                    };
                    let mut out = vec![f32::NAN; length * size];
                    kernels.attend(&head, &mut scratch, &mut out);
                    for (value, expected) in out.iter().zip(naive(&head)) {
                        let error = (f64::from(*value) - expected).abs();
                        assert!(error < 1e-5, "{kernels} {length}x{size} {window:?}: off by {error}");
                    }
                }
            }
        }
    }
}
