//! Attention within each text of ragged rows, without a matrix of length by length that outlives its head.
//!
//! Scaled dot products: Vaswani et al. (NeurIPS 2017). Rotary positions: Su et al. (2021), RoFormer. Windows: Beltagy et
//! al. (2020), Longformer. The gradient computes the weights again (Dao et al., NeurIPS 2022).

use super::element::Element;
use super::rows::{for_each_row, split};
use super::view::HeadView;
use crate::transformer::{LayerParameters, Rotary};
use candle_core::Result;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Where the texts of a batch lie, for all its layers.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    pub(super) ranges: Arc<[Range<usize>]>,
    pub(super) heads: usize,
}

/// How the tokens of a text look at each other in one layer.
#[derive(Debug)]
pub(super) struct Attention<E> {
    texts: Texts,
    window: Option<usize>,
    turns: Option<Arc<Turns<E>>>,
}

/// Cosines and sines of all places of the longest text, `[length, size / 2]`.
#[derive(Debug)]
pub(super) struct Turns<E> {
    half: usize,
    cosines: Vec<E>,
    sines: Vec<E>,
}

impl<E: Element> Turns<E> {
    pub(super) fn new(rotary: &Rotary, ranges: &[Range<usize>]) -> Self {
        let length = ranges.iter().map(Range::len).max().unwrap_or(0);
        // As in inference the angle is rounded to single precision.
        #[expect(clippy::cast_precision_loss, reason = "texts stay far below 2^24 tokens long")]
        let angles = (0..length).flat_map(|at| rotary.inverse_frequencies.iter().map(move |x| at as f32 * x));
        let angles: Vec<f64> = angles.map(f64::from).collect();
        Self {
            half: rotary.inverse_frequencies.len(),
            cosines: angles.iter().map(|angle| E::from_f64(angle.cos())).collect(),
            sines: angles.iter().map(|angle| E::from_f64(angle.sin())).collect(),
        }
    }
}

impl<E: Element> Attention<E> {
    pub(super) fn new(texts: &Texts, layer: &LayerParameters, turns: Option<Arc<Turns<E>>>) -> Self {
        Self {
            texts: texts.clone(),
            window: layer.window,
            turns,
        }
    }

    /// Turns queries and keys of `qkv`, `[rows, 3 width]`, by their place, or gradients of turned ones back.
    pub(super) fn turn(&self, qkv: &mut [E], width: usize, back: bool) {
        let Some(turns) = &self.turns else {
            return;
        };
        let (size, half) = (width / self.texts.heads, turns.half);
        let places: Vec<usize> = self.texts.ranges.iter().flat_map(|range| 0..range.len()).collect();
        for_each_row(qkv, 3 * width, |row, values| {
            let part = places[row] * half..(places[row] + 1) * half;
            let (cosines, sines) = (&turns.cosines[part.clone()], &turns.sines[part]);
            for head in values[..2 * width].chunks_exact_mut(size) {
                let (first, second) = head.split_at_mut(half);
                // The other way round the pair turns back.
                match back {
                    false => E::rotate((first, second), cosines, sines),
                    true => E::rotate((second, first), cosines, sines),
                }
            }
        });
    }

    /// The mean of the values that each token attends to, `[rows, width]`.
    pub(super) fn attend(&self, qkv: &[E], width: usize) -> Result<Vec<E>> {
        let mut mixed = vec![E::zero(); qkv.len() / 3];
        let texts = split(&mut mixed, width, &self.texts.ranges)?;
        let texts = texts.into_par_iter().zip(&*self.texts.ranges);
        texts.for_each_init(
            || (E::Scratch::default(), Vec::new()),
            |(scratch, means), (mixed, range)| {
                for (columns, head) in self.heads(qkv, width, range) {
                    means.resize(range.len() * head.size, E::zero());
                    E::attend(&head, scratch, means);
                    let rows = mixed.chunks_exact_mut(width).zip(means.chunks_exact(head.size));
                    rows.for_each(|(row, mean)| row[columns.clone()].copy_from_slice(mean));
                }
            },
        );
        Ok(mixed)
    }

    /// The gradient of `qkv` from that of [`Attention::attend`]'s result.
    pub(super) fn attend_backward(&self, qkv: &[E], width: usize, gradient: &[E]) -> Result<Vec<E>> {
        let mut out = vec![E::zero(); qkv.len()];
        let texts = split(&mut out, 3 * width, &self.texts.ranges)?;
        let texts = texts.into_par_iter().zip(&*self.texts.ranges);
        texts.for_each_init(E::BackwardScratch::default, |scratch, (out, range)| {
            for (columns, head) in self.heads(qkv, width, range) {
                let gradient = &gradient[range.start * width + columns.start..];
                E::attend_backward(&head, (gradient, width), scratch, out);
            }
        });
        Ok(out)
    }

    /// The heads of one text, each with its columns of the mixed rows; none of an empty one.
    fn heads<'a>(
        &self,
        qkv: &'a [E],
        width: usize,
        range: &Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, HeadView<'a, E>)> {
        let (size, window) = (width / self.texts.heads, self.window);
        let rows = &qkv[range.start * 3 * width..range.end * 3 * width];
        let heads = if range.is_empty() { 0 } else { self.texts.heads };
        (0..heads).map(move |head| {
            let column = head * size;
            let view = HeadView {
                rows,
                stride: 3 * width,
                columns: [column, width + column, 2 * width + column],
                size,
                window,
            };
            (column..column + size, view)
        })
    }
}
