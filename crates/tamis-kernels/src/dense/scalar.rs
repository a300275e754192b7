//! The reference: one tile of rows times one panel, in plain Rust.

use super::{Lanes, PanelEnds, RowScale, Step};

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 4;

pub(crate) fn tile_f32<const M: usize>(
    words: &[u32],
    panel: &[Step],
    ends: &PanelEnds,
    _scales: &[RowScale; M],
    out: &mut [Lanes; M],
) {
    *out = [[0.0; _]; M];
    for (group, step) in words.as_chunks::<M>().0.iter().zip(panel) {
        for (out, &x) in out.iter_mut().zip(group) {
            let x = f32::from_bits(x);
            out.iter_mut()
                .zip(step.0)
                .for_each(|(out, w)| *out += x * f32::from_bits(w));
        }
    }
    for out in out {
        out.iter_mut().zip(&ends.bias).for_each(|(out, bias)| *out += bias);
    }
}

pub(crate) fn tile_int16<const M: usize>(
    words: &[u32],
    panel: &[Step],
    ends: &PanelEnds,
    scales: &[RowScale; M],
    out: &mut [Lanes; M],
) {
    integers((words, panel), ends, scales, out, |x, w| {
        let ([x0, x1], [w0, w1]) = (pair(x), pair(w));
        x0 * w0 + x1 * w1
    });
}

pub(crate) fn tile_int8<const M: usize>(
    words: &[u32],
    panel: &[Step],
    ends: &PanelEnds,
    scales: &[RowScale; M],
    out: &mut [Lanes; M],
) {
    integers((words, panel), ends, scales, out, |x, w| {
        let products = x.to_le_bytes().into_iter().zip(w.to_le_bytes());
        products.map(|(x, w)| i32::from(x) * i32::from(w.cast_signed())).sum()
    });
}

fn pair(word: u32) -> [i32; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [[a, b], [c, d]].map(|half| i32::from(i16::from_le_bytes(half)))
}

/// `(sum of dots - zero * sum of weights) * scales + bias` for every row and lane.
fn integers<const M: usize>(
    (words, panel): (&[u32], &[Step]),
    ends: &PanelEnds,
    scales: &[RowScale; M],
    out: &mut [Lanes; M],
    dot: impl Fn(u32, u32) -> i32,
) {
    let groups = words.as_chunks::<M>().0;
    for (row, (out, scale)) in out.iter_mut().zip(scales).enumerate() {
        for (lane, out) in out.iter_mut().enumerate() {
            let dots = groups
                .iter()
                .zip(panel)
                .map(|(group, step)| dot(group[row], step.0[lane]));
            let sum = dots.sum::<i32>() - scale.zero * ends.sums[lane];
            #[expect(clippy::cast_precision_loss, reason = "sums are rounded to single precision here")]
            let sum = sum as f32;
            *out = sum * (scale.scale * ends.scale[lane]) + ends.bias[lane];
        }
    }
}
