//! The gradient of attention, from queries, keys and values alone: its weights are computed again.
//!
//! As in the forward pass no matrix of length by length is kept or transposed. A first pass has 32 queries as lanes and
//! meets keys as rows, which gives the queries' gradients and what their softmax took; a second has 32 keys as lanes and
//! meets queries as rows, which gives the gradients of keys and values. Two of seven products are computed twice for
//! that. Recomputation from the largest score and the sum of every query: Dao et al., "FlashAttention" (NeurIPS 2022).

use super::{Head, mask, multiply, set_panel, set_steps};
use crate::Kernels;
use crate::dense::{LANES, Lanes, PackedRows, Precision, Step};
use crate::elementwise::Softmax;
use std::ops::Range;

/// Buffers of [`Kernels::attend_backward`]; reused, they allocate nothing.
#[derive(Debug, Default)]
pub struct AttentionBackwardScratch {
    gathered: Vec<f32>,
    /// Keys or queries by token: rows that scores are products with.
    scored: PackedRows,
    /// Values or gradients by token: rows that gradients of weights are products with.
    weighed: PackedRows,
    /// Keys or queries by element: rows that gradients of scores are multiplied with.
    elements: PackedRows,
    /// Gradients by element: rows that weights are multiplied with.
    gradient_elements: PackedRows,
    panel: Vec<Step>,
    scores: Vec<Lanes>,
    gradients: Vec<Lanes>,
    products: Vec<Lanes>,
    /// Of every query, by the first pass.
    softmaxes: Vec<Softmax>,
    held: Range<usize>,
}

impl Kernels {
    /// Adds to the columns of `out`, which lie as those of `head.rows`, the gradients of query, key and value of every
    /// token; `gradient` is that of [`Kernels::attend`]'s result, row `i` of the head at `gradient[i * stride..]`.
    ///
    /// Cost: `14 size` operations for every pair of tokens that see each other. Memory: `512` bytes a token seen.
    ///
    /// # Panics
    /// When rows are not whole, columns lie outside them, or `out` is not as long as the rows.
    pub fn attend_backward(
        self,
        head: &Head<'_>,
        gradient: (&[f32], usize),
        scratch: &mut AttentionBackwardScratch,
        out: &mut [f32],
    ) {
        head.check();
        assert_eq!(out.len(), head.rows.len(), "a gradient for every value");
        let length = head.length();
        let pass = Pass {
            kernels: self,
            head,
            gradient,
        };
        scratch.softmaxes.clear();
        scratch.softmaxes.resize(length, Softmax::default());
        let blocks = || {
            (0..length)
                .step_by(LANES)
                .map(|start| start..(start + LANES).min(length))
        };
        scratch.held = 0..0;
        for queries in blocks() {
            scratch.query_gradients(&pass, &queries, out);
        }
        scratch.held = 0..0;
        for keys in blocks() {
            scratch.key_and_value_gradients(&pass, &keys, out);
        }
    }
}

/// What both passes read.
struct Pass<'a> {
    kernels: Kernels,
    head: &'a Head<'a>,
    /// Gradients of the means, and how far those of two tokens lie apart.
    gradient: (&'a [f32], usize),
}

impl Pass<'_> {
    fn gradient(&self, token: usize) -> &[f32] {
        &self.gradient.0[token * self.gradient.1..][..self.head.size]
    }
}

impl AttentionBackwardScratch {
    /// The first pass over one block of queries.
    fn query_gradients(&mut self, pass: &Pass<'_>, queries: &Range<usize>, out: &mut [f32]) {
        let (kernels, head, size) = (pass.kernels, pass.head, pass.head.size);
        let seen = head.seen(queries);
        if self.held != seen {
            let (gathered, start) = (&mut self.gathered, seen.start);
            pack(kernels, &mut self.scored, gathered, &seen, |token| head.part(token, 1));
            pack(kernels, &mut self.weighed, gathered, &seen, |token| head.part(token, 2));
            self.elements
                .pack_columns(kernels, seen.len(), size, |at| head.part(start + at, 1));
            self.held = seen.clone();
        }
        let lanes = || queries.clone();
        set_panel(
            &mut self.panel,
            size,
            lanes().map(|token| head.part(token, 0)),
            head.scale(),
        );
        multiply(kernels, &self.scored, &self.panel, &mut self.scores);
        if let Some(window) = head.window {
            mask(&mut self.scores, seen, queries.start, window);
        }
        let [mut largest, mut sums, mut means] = [[0.0; LANES]; 3];
        kernels.softmax_columns(&mut self.scores, &mut largest, &mut sums);
        set_panel(&mut self.panel, size, lanes().map(|token| pass.gradient(token)), 1.0);
        multiply(kernels, &self.weighed, &self.panel, &mut self.gradients);
        kernels.softmax_columns_backward(&mut self.scores, &mut self.gradients, &sums, &mut means);
        for (lane, softmax) in self.softmaxes[lanes()].iter_mut().enumerate() {
            *softmax = Softmax {
                largest: largest[lane],
                factor: 1.0 / sums[lane],
                mean: means[lane],
            };
        }
        set_steps(&mut self.panel, &self.gradients);
        multiply(kernels, &self.elements, &self.panel, &mut self.products);
        add_lanes(out, &self.products, head, (queries, 0), head.scale());
    }

    /// The second pass over one block of keys.
    fn key_and_value_gradients(&mut self, pass: &Pass<'_>, keys: &Range<usize>, out: &mut [f32]) {
        let (kernels, head, size) = (pass.kernels, pass.head, pass.head.size);
        let seen = head.seen(keys);
        if self.held != seen {
            let (gathered, start) = (&mut self.gathered, seen.start);
            pack(kernels, &mut self.scored, gathered, &seen, |token| head.part(token, 0));
            pack(kernels, &mut self.weighed, gathered, &seen, |token| {
                pass.gradient(token)
            });
            self.elements
                .pack_columns(kernels, seen.len(), size, |at| head.part(start + at, 0));
            self.gradient_elements
                .pack_columns(kernels, seen.len(), size, |at| pass.gradient(start + at));
            self.held = seen.clone();
        }
        let lanes = || keys.clone();
        set_panel(
            &mut self.panel,
            size,
            lanes().map(|token| head.part(token, 1)),
            head.scale(),
        );
        multiply(kernels, &self.scored, &self.panel, &mut self.scores);
        if let Some(window) = head.window {
            mask(&mut self.scores, seen.clone(), keys.start, window);
        }
        set_panel(&mut self.panel, size, lanes().map(|token| head.part(token, 2)), 1.0);
        multiply(kernels, &self.weighed, &self.panel, &mut self.gradients);
        let rows = self.scores.iter_mut().zip(&mut self.gradients);
        for ((scores, gradients), softmax) in rows.zip(&self.softmaxes[seen]) {
            kernels.softmax_row_backward(scores, gradients, *softmax);
        }
        set_steps(&mut self.panel, &self.scores);
        multiply(kernels, &self.gradient_elements, &self.panel, &mut self.products);
        add_lanes(out, &self.products, head, (keys, 2), 1.0);
        set_steps(&mut self.panel, &self.gradients);
        multiply(kernels, &self.elements, &self.panel, &mut self.products);
        add_lanes(out, &self.products, head, (keys, 1), head.scale());
    }
}

/// Packs the rows of `tokens`.
fn pack<'a>(
    kernels: Kernels,
    packed: &mut PackedRows,
    gathered: &mut Vec<f32>,
    tokens: &Range<usize>,
    row: impl Fn(usize) -> &'a [f32],
) {
    gathered.clear();
    tokens.clone().for_each(|token| gathered.extend_from_slice(row(token)));
    let size = gathered.len() / tokens.len();
    packed.pack(kernels, Precision::F32, gathered, size);
}

/// Adds lanes, an element of the head a row and a token a lane, to a part of those tokens' rows.
fn add_lanes(out: &mut [f32], elements: &[Lanes], head: &Head<'_>, place: (&Range<usize>, usize), factor: f32) {
    let (tokens, part) = place;
    for (lane, token) in tokens.clone().enumerate() {
        let row = &mut out[token * head.stride + head.columns[part]..][..head.size];
        row.iter_mut()
            .zip(elements)
            .for_each(|(x, lanes)| *x += lanes[lane] * factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attention in double precision: `[queries, size]` from rows of query, key and value side by side.
    fn naive(rows: &[f64], size: usize, window: Option<usize>) -> Vec<f64> {
        let length = rows.len() / size / 3;
        let part = |token: usize, part: usize| &rows[(3 * token + part) * size..][..size];
        let scale = 1.0 / (size as f64).sqrt();
        let mut means = vec![0.0; length * size];
        for query in 0..length {
            let sees = |key: &usize| window.is_none_or(|window| query.abs_diff(*key) <= window);
            let weight = |key: usize| {
                let products = part(query, 0).iter().zip(part(key, 1)).map(|(a, b)| a * b);
                (products.sum::<f64>() * scale).exp()
            };
            let total: f64 = (0..length).filter(sees).map(weight).sum();
            for key in (0..length).filter(sees) {
                let share = weight(key) / total;
                let mean = means[query * size..][..size].iter_mut();
                mean.zip(part(key, 2)).for_each(|(mean, x)| *mean += share * x);
            }
        }
        means
    }

    #[test]
    fn gradients_are_differences_at_any_length_size_and_window() {
        for (length, size, window) in [
            (1, 3, None),
            (2, 5, None),
            (33, 2, None),
            (40, 3, Some(4)),
            (70, 1, Some(33)),
            (5, 16, Some(0)),
        ] {
            check(length, size, window);
        }
    }

    fn check(length: usize, size: usize, window: Option<usize>) {
        let wave = |at: usize| (at as f64 * 0.7).sin() * 1.5;
        let rows: Vec<f64> = (0..3 * length * size).map(wave).collect();
        let upstream: Vec<f64> = (0..length * size).map(|at| (at as f64 * 1.9).cos()).collect();
        let loss = |rows: &[f64]| {
            let means = naive(rows, size, window);
            means.iter().zip(&upstream).map(|(a, b)| a * b).sum::<f64>()
        };
        #[expect(clippy::cast_possible_truncation, reason = "test values")]
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let (single_rows, gradient) = (single(&rows), single(&upstream));
        let mut changed = rows.clone();
        let differences: Vec<(usize, f64)> = (0..rows.len())
            .step_by(1 + rows.len() / 40)
            .map(|at| {
                let [up, down] = [1e-5, -1e-5].map(|offset| {
                    changed[at] = rows[at] + offset;
                    loss(&changed)
                });
                changed[at] = rows[at];
                (at, (up - down) / 2e-5)
            })
            .collect();
        for kernels in Kernels::available() {
            let mut out = vec![0.5; rows.len()];
            let head = Head {
                rows: &single_rows,
                stride: 3 * size,
                columns: [0, size, 2 * size],
                size,
                window,
            };
            let mut scratch = AttentionBackwardScratch::default();
            kernels.attend_backward(&head, (&gradient, size), &mut scratch, &mut out);
            for &(at, difference) in &differences {
                let error = (f64::from(out[at]) - 0.5 - difference).abs();
                assert!(
                    error < 2e-5,
                    "{kernels} {length}x{size} {window:?} at {at}: off by {error}"
                );
            }
        }
    }
}
