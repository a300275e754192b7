//! Ragged rows on the CPU, with gradients of their own: what candle's operations would do slowly and with many copies.
//!
//! A whole layer is one operation of the graph ([`block`]); its parameters are lent to it ([`loan`]), so that gradients
//! of weights are added up in place. Arithmetic is that of [`element`]: kernels and all threads in single precision,
//! plain loops in double precision, in which the tests compare every gradient with finite differences.

mod activation;
mod attention;
mod block;
mod double;
mod element;
mod embeddings;
mod layer;
mod linear;
mod loan;
mod norm;
mod pool;
mod rows;
mod single;
#[cfg(test)]
mod tests;
mod view;

pub(super) use loan::Loan;

use super::{Dropout, places_of};
use crate::transformer::{HiddenActivation, LinearParameters, NormParameters, Parameters, Rotary, Rows, Weighting};
use attention::{Attention, Texts, Turns};
use candle_core::{DType, Device, Result, Tensor};
use element::Element;
use std::ops::Range;
use std::sync::Arc;

/// Whether these operations compute with tensors like `tensor`.
pub(super) fn serves(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64)
}

/// Calls a function of one type parameter with the type of a tensor that [`serves`] accepts.
macro_rules! in_type_of {
    ($tensor:expr, $($call:ident)::+($($argument:expr),*)) => {
        match $tensor.dtype() {
            DType::F64 => $($call)::+::<f64>($($argument),*),
            _ => $($call)::+::<f32>($($argument),*),
        }
    };
}

/// The last hidden states, `[rows, width]`, as [`super::DeviceBackbone::forward_from`] has them; the second parameters
/// are the word embeddings, lent.
pub(super) fn forward(
    parameters: (&Parameters, &Loan),
    rows: &Rows,
    below: Option<&Tensor>,
    dropout: Option<Dropout<'_>>,
) -> Result<Tensor> {
    in_type_of!(parameters.0.words, forward_in(parameters, rows, below, dropout))
}

/// `x W^T + b`.
pub(super) fn linear(x: &Tensor, parameters: &LinearParameters) -> Result<Tensor> {
    let linear = linear::Linear::new(parameters)?;
    in_type_of!(x, apply_linear(x, linear))
}

fn apply_linear<E: Element>(x: &Tensor, linear: linear::Linear) -> Result<Tensor> {
    block::apply::<E, _>(x, linear)
}

/// Layer normalisation of rows.
pub(super) fn normalise(x: &Tensor, parameters: &NormParameters) -> Result<Tensor> {
    let norm = norm::LayerNorm::new(parameters)?;
    in_type_of!(x, apply_norm(x, norm))
}

fn apply_norm<E: Element>(x: &Tensor, norm: norm::LayerNorm) -> Result<Tensor> {
    block::apply::<E, _>(x, norm)
}

/// A function of single values.
pub(super) fn activate(x: &Tensor, activation: HiddenActivation) -> Result<Tensor> {
    in_type_of!(x, apply_activation(x, activation))
}

fn apply_activation<E: Element>(x: &Tensor, activation: HiddenActivation) -> Result<Tensor> {
    block::apply::<E, _>(x, activation::Activate(activation))
}

/// The weights of the largest product of each range of rows with each row of the decoder, whose bias is added:
/// `[texts, vocabulary]`; 0 for an empty range, NaN for one whose rows are not finite.
pub(super) fn pool(
    x: &Tensor,
    ranges: &[Range<usize>],
    weighting: Weighting,
    (decoder, bias): (&Loan, &Tensor),
) -> Result<Tensor> {
    let pool = pool::Pool {
        decoder: decoder.clone(),
        bias: Loan::new(bias)?,
        ranges: ranges.to_vec(),
        weighting,
    };
    in_type_of!(x, apply_pool(x, pool))
}

fn apply_pool<E: Element>(x: &Tensor, pool: pool::Pool) -> Result<Tensor> {
    block::apply::<E, _>(x, pool)
}

fn forward_in<E: Element>(
    (parameters, words): (&Parameters, &Loan),
    rows: &Rows,
    below: Option<&Tensor>,
    dropout: Option<Dropout<'_>>,
) -> Result<Tensor> {
    if rows.ids.is_empty() {
        let words = &parameters.words;
        return Tensor::zeros((0, words.dim(1)?), words.dtype(), words.device());
    }
    // What dropout makes of ones are the factors that a layer takes.
    let lengths: Vec<usize> = rows.ranges.iter().map(Range::len).collect();
    let ones = match dropout {
        Some(_) => Some(Tensor::ones(
            (rows.ids.len(), parameters.words.dim(1)?),
            E::DTYPE,
            &Device::Cpu,
        )?),
        None => None,
    };
    let mask = |site: usize| {
        let pair = dropout.zip(ones.as_ref());
        pair.map(|(dropout, ones)| dropout(ones, &lengths, site)).transpose()
    };
    let mut x = match below {
        Some(below) => below.clone(),
        None => embed::<E>((parameters, words), rows, mask(0)?)?,
    };
    let texts = Texts {
        ranges: rows.ranges.as_slice().into(),
        heads: parameters.heads,
    };
    let mut turns: Vec<(Rotary, Arc<Turns<E>>)> = Vec::new();
    for (at, layer) in parameters.layers.iter().enumerate() {
        let turns = layer
            .rotary
            .as_ref()
            .map(|rotary| turns_of(&mut turns, rotary, &rows.ranges));
        let attention = Attention::new(&texts, layer, turns);
        let masks = [mask(1 + 2 * at)?, mask(2 + 2 * at)?];
        let layer = layer::Layer::new(layer, parameters.activation, attention, masks)?;
        x = block::apply::<E, _>(&x, layer)?;
    }
    match &parameters.final_norm {
        Some(norm) => block::apply::<E, _>(&x, norm::LayerNorm::new(norm)?),
        None => Ok(x),
    }
}

fn embed<E: Element>(
    (parameters, words): (&Parameters, &Loan),
    rows: &Rows,
    dropout: Option<Tensor>,
) -> Result<Tensor> {
    let vocabulary = parameters.words.dim(0)?;
    if let Some(beyond) = rows.ids.iter().find(|&&id| id as usize >= vocabulary) {
        candle_core::bail!("token {beyond} of {vocabulary}");
    }
    let positions = parameters.positions.as_ref().map(|positions| {
        let places = places_of(rows, positions)?;
        Ok::<_, candle_core::Error>((Loan::new(&positions.table)?, places))
    });
    let embeddings = embeddings::Embeddings {
        words: words.clone(),
        ids: rows.ids.clone(),
        positions: positions.transpose()?,
        token_type: parameters.token_type.as_ref().map(Loan::new).transpose()?,
        norm: norm::LayerNorm::new(&parameters.norm)?,
        dropout,
    };
    let nothing = Tensor::zeros(1, parameters.words.dtype(), parameters.words.device())?;
    block::apply::<E, _>(&nothing, embeddings)
}

/// Angles that are there already, or new ones.
fn turns_of<E: Element>(
    known: &mut Vec<(Rotary, Arc<Turns<E>>)>,
    rotary: &Rotary,
    ranges: &[Range<usize>],
) -> Arc<Turns<E>> {
    let is_same = |other: &Rotary| Arc::ptr_eq(&other.inverse_frequencies, &rotary.inverse_frequencies);
    if let Some((_, turns)) = known.iter().find(|(other, _)| is_same(other)) {
        return Arc::clone(turns);
    }
    let turns = Arc::new(Turns::new(rotary, ranges));
    known.push((rotary.clone(), Arc::clone(&turns)));
    turns
}
