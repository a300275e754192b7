//! The masked-language-model head over a padded batch, pooled without a tensor of tokens by vocabulary.
//!
//! As in the head for the CPU (`transformer/mlm_head.rs`) the vocabulary is taken in tiles, each reduced to one row a
//! text before the next one begins, and the maximum is taken of the bare products. Rows on the CPU have operations of
//! their own for maxima (`ragged`).

use super::DeviceBackbone;
use super::operations::{activate, largest, linear, normalise, weigh};
use super::padded::Padded;
use super::ragged::{self, Loan};
use super::transfer::Transfer;
use crate::transformer::{HiddenActivation, LinearParameters, MlmParameters, NormParameters, PoolRule, Pooling};
use candle_core::{D, Result, Tensor};
use std::ops::Range;

/// Logits that exist at a time: 64 MB.
const LOGITS_PER_TILE: usize = 1 << 24;

/// A head on the device of its backbone.
#[derive(Debug)]
pub(crate) struct DeviceMlmHead {
    /// What stands before the decoder, in heads that have it.
    transform: Option<Transform>,
    /// E, `[vocabulary, width]`: the word embeddings themselves where the checkpoint ties them.
    decoder: Tensor,
    /// `[vocabulary]`.
    bias: Tensor,
    /// E as rows on the CPU meet it.
    lent: Option<Loan>,
}

/// `LN(g(W h + b))`.
#[derive(Debug)]
struct Transform {
    linear: LinearParameters,
    activation: HiddenActivation,
    norm: NormParameters,
}

impl DeviceMlmHead {
    /// The head on the device of `backbone`, whose word embeddings stand for a decoder that is not there.
    pub(crate) fn new(parameters: &MlmParameters, backbone: &DeviceBackbone) -> Result<Self> {
        let words = backbone.words();
        let parameters = parameters.on(words.device())?;
        let lent = match &parameters.decoder {
            None => backbone.words.clone(),
            Some(decoder) => lend(decoder)?,
        };
        Ok(Self {
            lent,
            transform: Some(Transform {
                linear: parameters.transform,
                activation: parameters.activation,
                norm: parameters.norm,
            }),
            decoder: parameters.decoder.unwrap_or_else(|| words.clone()),
            bias: parameters.bias,
        })
    }

    /// `h E^T + b`, nothing between: `decoder` is `[vocabulary, width]`, `bias` `[vocabulary]`, both on one device.
    pub(crate) fn bare(decoder: Tensor, bias: Tensor) -> Result<Self> {
        Ok(Self {
            transform: None,
            lent: lend(&decoder)?,
            decoder,
            bias,
        })
    }

    /// The rows that meet the decoder.
    fn transformed(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.transform {
            Some(transform) if ragged::serves(hidden) => {
                let mapped = ragged::linear(hidden, &transform.linear)?;
                ragged::normalise(&ragged::activate(&mapped, transform.activation)?, &transform.norm)
            }
            _ => self.transformed_by_parts(hidden),
        }
    }

    /// The same on any device.
    fn transformed_by_parts(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.transform {
            None => Ok(hidden.clone()),
            Some(transform) => {
                let active = activate(&linear(hidden, &transform.linear)?, transform.activation)?;
                normalise(&active, &transform.norm)
            }
        }
    }

    /// As [`DeviceMlmHead::pool`], the logits of each row times its one of `factors`, `[rows]`, the bias included.
    pub(crate) fn pool_weighted(
        &self,
        hidden: &Tensor,
        ranges: &[Range<usize>],
        rule: &PoolRule,
        factors: &Tensor,
    ) -> Result<Tensor> {
        // f (E u + b) = [E b] [f u; f]: a wider decoder without a bias.
        let factors = factors.unsqueeze(1)?;
        let rows = Tensor::cat(&[&self.transformed(hidden)?.broadcast_mul(&factors)?, &factors], 1)?;
        let decoder = Tensor::cat(&[&self.decoder, &self.bias.unsqueeze(1)?], 1)?;
        Self::bare(decoder, self.bias.zeros_like()?)?.pool(&rows, ranges, rule)
    }

    /// Rows of `width` values on the head's device.
    pub(crate) fn rows(&self, hidden: &[f32]) -> Result<Tensor> {
        let width = self.decoder.dim(1)?;
        Tensor::from_slice(hidden, (hidden.len() / width, width), self.decoder.device())
    }

    /// One weight per vocabulary entry for each range of rows of `hidden`, `[texts, vocabulary]`; 0 everywhere for an
    /// empty range, NaN everywhere for a text whose hidden states are not finite.
    pub(crate) fn pool(&self, hidden: &Tensor, ranges: &[Range<usize>], rule: &PoolRule) -> Result<Tensor> {
        let is_largest = rule.pooling != Pooling::Sum && rule.factors.is_none();
        if let Some(decoder) = self.lent.as_ref().filter(|_| is_largest && ragged::serves(hidden)) {
            return ragged::pool(
                &self.transformed(hidden)?,
                ranges,
                rule.weighting,
                (decoder, &self.bias),
            );
        }
        let batch = Padded::new(ranges);
        let cells = batch.texts * batch.length;
        let tile = (LOGITS_PER_TILE / cells.max(1)).clamp(256, 1 << 16);
        self.pool_tiled(hidden, &batch, rule, tile)
    }

    /// As [`DeviceMlmHead::pool`], with `tile` vocabulary entries at a time.
    pub(super) fn pool_tiled(&self, hidden: &Tensor, batch: &Padded, rule: &PoolRule, tile: usize) -> Result<Tensor> {
        let device = hidden.device();
        let vocabulary = self.decoder.dim(0)?;
        if batch.length == 0 {
            return Tensor::zeros((batch.texts, vocabulary), hidden.dtype(), device);
        }
        let rows = self.transformed_by_parts(hidden)?;
        let cells = rows.index_select(&batch.rows_of_cells(device)?, 0)?;
        let rows_of_cells = batch.rows_of_cells(device)?;
        let factors = rule.factors.as_ref().map(|factors| {
            let factors = Tensor::new(factors.as_slice(), device)?.to_dtype(hidden.dtype())?;
            let cells = factors.index_select(&rows_of_cells, 0)?;
            cells.reshape((1, batch.texts, batch.length))
        });
        let factors = factors.transpose()?;
        // A cell behind the end of a text repeats its first row, which changes no maximum.
        let mask = match rule.pooling {
            Pooling::Max | Pooling::Cls => None,
            Pooling::Sum => Some(batch.mask(hidden.dtype(), device)?.unsqueeze(0)?),
        };
        let columns = cells.t()?;
        let tiles = (0..vocabulary).step_by(tile).map(|start| {
            let len = tile.min(vocabulary - start);
            let logits = self.decoder.narrow(0, start, len)?.matmul(&columns)?;
            let logits = logits.reshape((len, batch.texts, batch.length))?;
            let bias = self.bias.narrow(0, start, len)?;
            if mask.is_none() && factors.is_none() {
                // The bias is the same for all tokens, so it is added to the largest alone.
                return weigh(&largest(&logits)?.broadcast_add(&bias.unsqueeze(1)?)?, rule.weighting);
            }
            let mut logits = logits.broadcast_add(&bias.reshape((len, 1, 1))?)?;
            if let Some(factors) = &factors {
                logits = logits.broadcast_mul(factors)?;
            }
            match &mask {
                None => weigh(&largest(&logits)?, rule.weighting),
                Some(mask) => weigh(&logits, rule.weighting)?.broadcast_mul(mask)?.sum(D::Minus1),
            }
        });
        let pooled = Tensor::cat(&tiles.collect::<Result<Vec<_>>>()?, 0)?.t()?;
        // 0 for a text of finite rows and NaN for others: a maximum passes over NaN.
        let defect = (cells.detach() * 0.0)?.reshape((batch.texts, ()))?.sum_keepdim(1)?;
        let pooled = pooled.broadcast_add(&defect)?;
        if batch.is_full() {
            return Ok(pooled);
        }
        let has_rows = batch.has_rows(device)?.unsqueeze(1)?.broadcast_as(pooled.shape())?;
        has_rows.where_cond(&pooled, &pooled.zeros_like()?)
    }
}

/// E as rows on the CPU meet it; nothing on other devices.
fn lend(decoder: &Tensor) -> Result<Option<Loan>> {
    ragged::serves(decoder).then(|| Loan::new(decoder)).transpose()
}
