//! Attention over a padded batch: masks, windows and rotary positions.
//!
//! Queries are taken in blocks, and a block that sees a window meets only the keys it can reach, so the scores of
//! `texts * heads * block * reach` exist at a time, never those of all pairs of a long text.
//!
//! Rotary positions: Su et al. (2021), RoFormer. Windows: Beltagy et al. (2020), Longformer.

use super::operations::softmax;
use super::padded::Padded;
use crate::transformer::{LayerParameters, Rotary};
use candle_core::{D, DType, Device, Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Queries whose scores are computed at a time.
pub(super) const QUERIES_PER_BLOCK: usize = 512;

/// Far below every score, and still a number when a score is added: a query without any key gets equal shares, not
/// NaN.
const NEVER: f32 = -1e30;

/// Everything about the attention of a batch that layers share.
pub(super) struct Attention {
    heads: usize,
    texts: usize,
    length: usize,
    /// One for each distinct window.
    plans: Vec<(Option<usize>, Vec<Block>)>,
    /// One for each distinct rotary embedding.
    turns: Vec<(Rotary, Turns)>,
}

/// Some queries and the keys that they meet.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
    /// Added to the scores, `[texts or 1, 1, queries or 1, keys]`; nothing where every query sees every key.
    mask: Option<Tensor>,
}

/// Cosines and sines of all places, `[length, size / 2]`.
struct Turns {
    cos: Tensor,
    sin: Tensor,
}

impl Attention {
    /// Masks and angles for `batch` in all of `layers`.
    pub(super) fn new(
        batch: &Padded,
        layers: &[LayerParameters],
        heads: usize,
        like: &Tensor,
        queries_per_block: usize,
    ) -> Result<Self> {
        let mut attention = Self {
            heads,
            texts: batch.texts,
            length: batch.length,
            plans: Vec::new(),
            turns: Vec::new(),
        };
        for layer in layers {
            if !attention.plans.iter().any(|(window, _)| *window == layer.window) {
                let blocks = blocks(batch, layer.window, queries_per_block, like)?;
                attention.plans.push((layer.window, blocks));
            }
            let Some(rotary) = &layer.rotary else {
                continue;
            };
            if attention.turns_of(rotary).is_none() {
                let turns = Turns::new(rotary, batch.length, like.dtype(), like.device())?;
                attention.turns.push((rotary.clone(), turns));
            }
        }
        Ok(attention)
    }

    fn turns_of(&self, rotary: &Rotary) -> Option<&Turns> {
        let is_same = |other: &Rotary| Arc::ptr_eq(&other.inverse_frequencies, &rotary.inverse_frequencies);
        self.turns
            .iter()
            .find(|(other, _)| is_same(other))
            .map(|(_, turns)| turns)
    }

    /// Mixes the cells of each text: `qkv` is `[texts * length, 3 width]`, queries, keys and values side by side, each
    /// with its heads side by side; the result is `[texts * length, width]`.
    pub(super) fn attend(&self, qkv: &Tensor, layer: &LayerParameters) -> Result<Tensor> {
        let (cells, triple) = qkv.dims2()?;
        let (width, size) = (triple / 3, triple / 3 / self.heads);
        let turns = layer.rotary.as_ref().and_then(|rotary| self.turns_of(rotary));
        let third = |which: usize| {
            qkv.narrow(1, which * width, width)?
                .reshape((self.texts, self.length, self.heads, size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let turned = |x: Tensor| match turns {
            Some(turns) => turns.turn(&x),
            None => Ok(x),
        };
        #[expect(clippy::cast_precision_loss, reason = "heads stay far below 2^52 wide")]
        let scale = 1.0 / (size as f64).sqrt();
        let queries = (turned(third(0)?)? * scale)?;
        let keys = turned(third(1)?)?.transpose(2, 3)?.contiguous()?;
        let values = third(2)?;
        let blocks = self.plans.iter().find(|(window, _)| *window == layer.window);
        let blocks = blocks.map_or(&[][..], |(_, blocks)| blocks);
        let mixed = blocks.iter().map(|block| block.attend(&queries, &keys, &values));
        let mixed = Tensor::cat(&mixed.collect::<Result<Vec<_>>>()?, 2)?;
        mixed.transpose(1, 2)?.reshape((cells, width))
    }
}

impl Block {
    /// `queries` and `values` are `[texts, heads, length, size]`, `keys` is `[texts, heads, size, length]`; the result
    /// is as long as the block.
    fn attend(&self, queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        let part = |x: &Tensor, dim: usize, range: &Range<usize>| match range.len() == x.dim(dim)? {
            true => Ok(x.clone()),
            false => x.narrow(dim, range.start, range.len())?.contiguous(),
        };
        let scores = part(queries, 2, &self.queries)?.matmul(&part(keys, 3, &self.keys)?)?;
        let scores = match &self.mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        softmax(&scores)?.matmul(&part(values, 2, &self.keys)?)
    }
}

/// All queries of the batch in blocks, for layers that see `window`.
fn blocks(batch: &Padded, window: Option<usize>, step: usize, like: &Tensor) -> Result<Vec<Block>> {
    let length = batch.length;
    let padding = match batch.is_full() {
        true => None,
        false => {
            let mask = batch.fill(NEVER, |_, _| 0.0);
            Some(mask_tensor(mask, (batch.texts, 1, 1, length), like)?)
        }
    };
    let starts = (0..length).step_by(step);
    let block = |start: usize| {
        let queries = start..length.min(start + step);
        let keys = match window {
            Some(window) => start.saturating_sub(window)..length.min(queries.end.saturating_add(window)),
            None => 0..length,
        };
        let padding = padding
            .as_ref()
            .map(|mask| mask.narrow(3, keys.start, keys.len()))
            .transpose()?;
        let reach = window.filter(|&window| queries.clone().any(|at| !sees_all(at, &keys, window)));
        let reach = reach
            .map(|window| window_mask(&queries, &keys, window, like))
            .transpose()?;
        let mask = match (padding, reach) {
            (Some(padding), Some(reach)) => Some(padding.broadcast_add(&reach)?),
            (padding, reach) => padding.or(reach),
        };
        Ok(Block { queries, keys, mask })
    };
    starts.map(block).collect()
}

fn sees_all(at: usize, keys: &Range<usize>, window: usize) -> bool {
    keys.start.abs_diff(at) <= window && (keys.end - 1).abs_diff(at) <= window
}

/// `[1, 1, queries, keys]`.
fn window_mask(queries: &Range<usize>, keys: &Range<usize>, window: usize, like: &Tensor) -> Result<Tensor> {
    let cell = |query: usize, key: usize| if query.abs_diff(key) <= window { 0.0 } else { NEVER };
    let mask = queries
        .clone()
        .flat_map(|query| keys.clone().map(move |key| cell(query, key)));
    mask_tensor(mask.collect(), (1, 1, queries.len(), keys.len()), like)
}

fn mask_tensor(mask: Vec<f32>, shape: (usize, usize, usize, usize), like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(mask, shape, like.device())?.to_dtype(like.dtype())
}

impl Turns {
    fn new(rotary: &Rotary, length: usize, dtype: DType, device: &Device) -> Result<Self> {
        let frequencies = &rotary.inverse_frequencies;
        #[expect(clippy::cast_precision_loss, reason = "texts stay far below 2^24 tokens long")]
        let angles: Vec<f32> = (0..length)
            .flat_map(|at| frequencies.iter().map(move |frequency| at as f32 * frequency))
            .collect();
        let angles = Tensor::from_vec(angles, (length, frequencies.len()), device)?.to_dtype(dtype)?;
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    /// Turns `x`, `[texts, heads, length, size]`.
    fn turn(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.dim(D::Minus1)? / 2;
        let (first, second) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
        let by = |x: &Tensor, factor: &Tensor| x.broadcast_mul(factor);
        let halves = [
            (by(&first, &self.cos)? - by(&second, &self.sin)?)?,
            (by(&second, &self.cos)? + by(&first, &self.sin)?)?,
        ];
        Tensor::cat(&halves, 3)
    }
}
