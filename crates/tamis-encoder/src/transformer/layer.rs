//! One layer: attention, then the feed-forward block, each added to what came in.

use super::attention::Attention;
use super::backbone::LayerScratch;
use super::linear::{LayerNorm, Linear};
use super::parameters::{LayerParameters, Norms, Parameters};
use super::rows::{Rows, Workers};
use candle_core::Result;
use tamis_kernels::{Activation, Kernels, PackedRows, Precision};

/// Attention and feed-forward block of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    qkv: Linear,
    attention: Attention,
    mix: Linear,
    feed_forward: FeedForward,
    norms: LayerNorms,
}

/// Where a layer normalises.
#[derive(Debug)]
enum LayerNorms {
    After { mix: LayerNorm, down: LayerNorm },
    Before { mix: Option<LayerNorm>, down: LayerNorm },
}

impl Layer {
    pub(super) fn new(layer: &LayerParameters, parameters: &Parameters, precision: Precision) -> Result<Self> {
        let norms = match &layer.norms {
            Norms::After { mix, down } => LayerNorms::After {
                mix: LayerNorm::new(mix)?,
                down: LayerNorm::new(down)?,
            },
            Norms::Before { mix, down } => LayerNorms::Before {
                mix: mix.as_ref().map(LayerNorm::new).transpose()?,
                down: LayerNorm::new(down)?,
            },
        };
        Ok(Self {
            qkv: Linear::new(&layer.qkv, precision)?,
            attention: Attention::new(layer, parameters.heads),
            mix: Linear::new(&layer.mix, precision)?,
            feed_forward: FeedForward {
                up: Linear::new(&layer.up, precision)?,
                activation: parameters.activation.kernel(),
                gated: layer.gated,
                down: Linear::new(&layer.down, precision)?,
            },
            norms,
        })
    }

    /// Changes the hidden states `x`, `[rows, width]`, into those of the next layer.
    pub(super) fn forward(&self, workers: Workers, rows: &Rows, x: &mut [f32], scratch: &mut LayerScratch) {
        let LayerScratch {
            packed,
            input,
            qkv,
            mixed,
            wide,
            block,
        } = scratch;
        let width = self.mix.outputs();
        let (before, after) = match &self.norms {
            LayerNorms::After { mix, down } => ([None, None], [Some(mix), Some(down)]),
            LayerNorms::Before { mix, down } => ([mix.as_ref(), Some(down)], [None, None]),
        };
        let attention_input = normalised(workers, before[0], x, width, input);
        self.qkv.forward(workers, attention_input, qkv, packed);
        self.attention.forward(workers, rows, qkv, mixed);
        self.mix.forward(workers, mixed, block, packed);
        add_normalised(workers, after[0], x, block, width);

        let feed_forward_input = normalised(workers, before[1], x, width, input);
        self.feed_forward
            .forward(workers, feed_forward_input, (wide, packed), block);
        add_normalised(workers, after[1], x, block, width);
    }
}

/// `x`, or where there is a norm its rows normalised in `buffer`.
fn normalised<'a>(
    workers: Workers,
    norm: Option<&LayerNorm>,
    x: &'a [f32],
    width: usize,
    buffer: &'a mut Vec<f32>,
) -> &'a [f32] {
    let Some(norm) = norm else {
        return x;
    };
    buffer.clear();
    buffer.extend_from_slice(x);
    workers.for_each_row(buffer, width, |_, row| norm.apply(workers.kernels, row));
    buffer
}

/// Adds `block` to `x` and normalises, where there is a norm.
fn add_normalised(workers: Workers, norm: Option<&LayerNorm>, x: &mut [f32], block: &[f32], width: usize) {
    workers.for_each_row(x, width, |at, row| {
        workers.kernels.add(row, &block[at * width..][..width]);
        if let Some(norm) = norm {
            norm.apply(workers.kernels, row);
        }
    });
}

/// `down(activation(up x))`, or gated `down(activation(first half of up x) * second half)`.
#[derive(Debug)]
struct FeedForward {
    up: Linear,
    activation: Activation,
    gated: bool,
    down: Linear,
}

/// Rows taken through the block together: their inner values stay in the second-level cache.
const ROWS_PER_PASS: usize = 84;

impl FeedForward {
    /// `wide` and `packed` are scratch.
    fn forward(
        &self,
        workers: Workers,
        x: &[f32],
        (wide, packed): (&mut Vec<f32>, &mut PackedRows),
        out: &mut Vec<f32>,
    ) {
        let (width, inner) = (self.down.outputs(), self.up.outputs());
        let rows_per_pass = if workers.shared { x.len() / width } else { ROWS_PER_PASS };
        out.clear();
        let mut pass = Vec::new();
        for x in x.chunks((rows_per_pass * width).max(1)) {
            self.up.forward(workers, x, wide, packed);
            workers.for_each_row(wide, inner, |_, row| self.activate(workers.kernels, row));
            if self.gated {
                compact(wide, inner);
            }
            self.down.forward(workers, wide, &mut pass, packed);
            out.extend_from_slice(&pass);
        }
    }

    fn activate(&self, kernels: Kernels, row: &mut [f32]) {
        if self.gated {
            let (activated, gate) = row.split_at_mut(row.len() / 2);
            kernels.activate(activated, self.activation);
            kernels.scale_by(activated, gate);
        } else {
            kernels.activate(row, self.activation);
        }
    }
}

/// Keeps the first half of every row.
fn compact(rows: &mut Vec<f32>, width: usize) {
    let (num_rows, half) = (rows.len() / width, width / 2);
    for row in 1..num_rows {
        rows.copy_within(row * width..row * width + half, row * half);
    }
    rows.truncate(num_rows * half);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacting_keeps_first_halves() {
        let mut rows = vec![1.0, 2.0, 9.0, 9.0, 3.0, 4.0, 9.0, 9.0, 5.0, 6.0, 9.0, 9.0];
        compact(&mut rows, 4);
        assert_eq!(rows, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
