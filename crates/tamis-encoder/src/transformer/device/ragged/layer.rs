//! One layer as one operation: attention, then the feed-forward block, each added to what came in.
//!
//! Kept for the backward pass are what products and normalisations were taken of, and the rows before the activation;
//! what follows from those by a function of rows is computed again.

use super::activation::{activated, activated_backward};
use super::attention::Attention;
use super::block::Block;
use super::element::Element;
use super::linear::Linear;
use super::loan::{Loan, with_values};
use super::norm::LayerNorm;
use super::rows::{add_all, scale_all};
use super::view::Start;
use crate::transformer::{HiddenActivation, LayerParameters, Norms};
use candle_core::{Result, Shape, Tensor};
use std::borrow::Cow;

/// A layer with its parameters lent.
#[derive(Debug)]
pub(super) struct Layer<E> {
    attention: Attention<E>,
    qkv: Linear,
    mix: Linear,
    up: Linear,
    down: Linear,
    gated: bool,
    activation: HiddenActivation,
    /// Before attention and feed-forward block.
    before: [Option<LayerNorm>; 2],
    /// After their results are added.
    after: [Option<LayerNorm>; 2],
    /// What the results are multiplied with before they are added, `[rows, width]`.
    dropout: [Option<Tensor>; 2],
}

/// What the backward pass needs.
pub(super) struct Saved<E> {
    /// Turned by their places.
    qkv: Vec<E>,
    mixed: Vec<E>,
    /// The input and what attention made of it, added.
    first_sum: Vec<E>,
    /// Before the activation.
    wide: Vec<E>,
    /// Everything added, where it is normalised afterwards.
    second_sum: Option<Vec<E>>,
}

impl<E: Element> Layer<E> {
    pub(super) fn new(
        layer: &LayerParameters,
        activation: HiddenActivation,
        attention: Attention<E>,
        dropout: [Option<Tensor>; 2],
    ) -> Result<Self> {
        let norm = LayerNorm::new;
        let (before, after) = match &layer.norms {
            Norms::After { mix, down } => ([None, None], [Some(norm(mix)?), Some(norm(down)?)]),
            Norms::Before { mix, down } => ([mix.as_ref().map(norm).transpose()?, Some(norm(down)?)], [None, None]),
        };
        Ok(Self {
            attention,
            qkv: Linear::new(&layer.qkv)?,
            mix: Linear::new(&layer.mix)?,
            up: Linear::new(&layer.up)?,
            down: Linear::new(&layer.down)?,
            gated: layer.gated,
            activation,
            before,
            after,
            dropout,
        })
    }

    fn width(&self) -> usize {
        self.mix.outputs()
    }

    /// The half of gated rows that is multiplied with the other.
    fn gate(&self) -> Option<usize> {
        self.gated.then(|| self.down.inputs())
    }

    fn drop(&self, part: usize, rows: &mut [E]) -> Result<()> {
        match &self.dropout[part] {
            Some(factors) => with_values(factors, |factors| {
                scale_all(rows, factors);
                Ok(())
            }),
            None => Ok(()),
        }
    }

    /// The same, leaving `rows` alone.
    fn dropped<'a>(&self, part: usize, rows: &'a [E]) -> Result<Cow<'a, [E]>> {
        let mut rows = Cow::Borrowed(rows);
        if self.dropout[part].is_some() {
            self.drop(part, rows.to_mut())?;
        }
        Ok(rows)
    }

    /// The gradient of the sum of input and attention, from that of the layer's result.
    fn feed_forward_backward(&self, saved: &mut Saved<E>, gradient: &[E]) -> Result<Vec<E>> {
        let mut sum_gradient = gradient.to_vec();
        if let (Some(norm), Some(sum)) = (&self.after[1], saved.second_sum.take()) {
            norm.turn_back(&sum, &mut sum_gradient)?;
        }
        let block_gradient = self.dropped(1, &sum_gradient)?;
        let wide = std::mem::take(&mut saved.wide);
        let mut inner = vec![E::zero(); block_gradient.len() / self.down.outputs() * self.down.inputs()];
        self.down.map_back(&block_gradient, Start::Zero, &mut inner)?;
        let (active, wide_gradient) = activated_backward(wide, inner, self.activation, self.gate());
        self.down.add_gradients(&active, &block_gradient)?;
        drop((active, block_gradient));

        let input = normalised(self.after[0].as_ref().or(self.before[1].as_ref()), &saved.first_sum)?;
        self.up.add_gradients(&input, &wide_gradient)?;
        drop(input);
        match &self.before[1] {
            // The block's input is a function of the sum of its own, beside the sum itself.
            Some(norm) => {
                let mut input_gradient = vec![E::zero(); sum_gradient.len()];
                self.up.map_back(&wide_gradient, Start::Zero, &mut input_gradient)?;
                norm.turn_back(&saved.first_sum, &mut input_gradient)?;
                add_all(&mut sum_gradient, &input_gradient);
            }
            None => self.up.map_back(&wide_gradient, Start::Present, &mut sum_gradient)?,
        }
        if let Some(norm) = &self.after[0] {
            norm.turn_back(&saved.first_sum, &mut sum_gradient)?;
        }
        Ok(sum_gradient)
    }
}

/// The rows, normalised where there is a norm.
fn normalised<E: Element>(norm: Option<&LayerNorm>, rows: &[E]) -> Result<Vec<E>> {
    match norm {
        Some(norm) => norm.normalised(rows),
        None => Ok(rows.to_vec()),
    }
}

impl<E: Element> Block<E> for Layer<E> {
    type Saved = Saved<E>;

    const NAME: &'static str = "layer";

    fn loans(&self) -> Vec<&Loan> {
        let maps = [&self.qkv, &self.mix, &self.up, &self.down];
        let norms = self.before.iter().chain(&self.after).flatten();
        let maps = maps.into_iter().flat_map(Linear::loans);
        maps.chain(norms.flat_map(LayerNorm::loans)).collect()
    }

    fn shape(&self, shape: &Shape) -> Result<Shape> {
        Ok(shape.clone())
    }

    fn forward(&self, x: &[E]) -> Result<(Vec<E>, Saved<E>)> {
        let width = self.width();
        let mut qkv = match &self.before[0] {
            Some(norm) => self.qkv.map(&norm.normalised(x)?)?,
            None => self.qkv.map(x)?,
        };
        self.attention.turn(&mut qkv, width, false);
        let mixed = self.attention.attend(&qkv, width)?;
        let mut first_sum = self.mix.map(&mixed)?;
        self.drop(0, &mut first_sum)?;
        add_all(&mut first_sum, x);

        let input = normalised(self.after[0].as_ref().or(self.before[1].as_ref()), &first_sum)?;
        let wide = self.up.map(&input)?;
        let mut out = self.down.map(&activated(&wide, self.activation, self.gate()))?;
        self.drop(1, &mut out)?;
        let residual = if self.before[1].is_some() { &first_sum } else { &input };
        add_all(&mut out, residual);
        let (out, second_sum) = match &self.after[1] {
            Some(norm) => (norm.normalised(&out)?, Some(out)),
            None => (out, None),
        };
        let saved = Saved {
            qkv,
            mixed,
            first_sum,
            wide,
            second_sum,
        };
        Ok((out, saved))
    }

    fn backward(&self, x: &[E], mut saved: Saved<E>, gradient: &[E], wanted: bool) -> Result<Vec<E>> {
        let width = self.width();
        let mut gradient = self.feed_forward_backward(&mut saved, gradient)?;
        let block_gradient = self.dropped(0, &gradient)?;
        self.mix.add_gradients(&saved.mixed, &block_gradient)?;
        let mut mixed_gradient = saved.mixed;
        self.mix.map_back(&block_gradient, Start::Zero, &mut mixed_gradient)?;
        drop(block_gradient);
        let mut qkv_gradient = self.attention.attend_backward(&saved.qkv, width, &mixed_gradient)?;
        self.attention.turn(&mut qkv_gradient, width, true);
        drop((saved.qkv, mixed_gradient));
        match &self.before[0] {
            Some(norm) => self.qkv.add_gradients(&norm.normalised(x)?, &qkv_gradient)?,
            None => self.qkv.add_gradients(x, &qkv_gradient)?,
        }
        match &self.before[0] {
            Some(norm) => {
                let mut input_gradient = vec![E::zero(); x.len()];
                self.qkv.map_back(&qkv_gradient, Start::Zero, &mut input_gradient)?;
                norm.turn_back(x, &mut input_gradient)?;
                add_all(&mut gradient, &input_gradient);
            }
            None if wanted => self.qkv.map_back(&qkv_gradient, Start::Present, &mut gradient)?,
            None => {}
        }
        Ok(gradient)
    }
}
