//! GTE (Zhang et al., EMNLP 2024 industry track): rotary positions, gated blocks, normalisation after each residual.

use super::{HeadNames, Loader, REMEDY, side_by_side};
use crate::Error;
use crate::transformer::{LayerParameters, LinearParameters, Norms};
use candle_core::Tensor;

pub(super) const HEAD: HeadNames = HeadNames {
    transform: "lm_head.dense",
    norm: "lm_head.norm",
    decoder: "lm_head.decoder.weight",
    biases: ["lm_head.decoder.bias", "lm_head.bias"],
};

impl Loader<'_> {
    pub(super) fn gte_layer(&self, at: usize) -> Result<LayerParameters, Error> {
        let (width, inner) = (self.config.width, self.config.inner);
        let name = |part: &str| self.name(&format!("encoder.layer.{at}.{part}"));
        let linear = |part, shape| self.linear(&name(part), shape, true, REMEDY);
        let third = |part| linear(part, [width, width]);
        let qkv = if self.weights.contains(&name("attention.q_proj.weight")) {
            side_by_side(&[
                third("attention.q_proj")?,
                third("attention.k_proj")?,
                third("attention.v_proj")?,
            ])?
        } else {
            linear("attention.qkv_proj", [3 * width, width])?
        };
        let up_gate = self.linear(&name("mlp.up_gate_proj"), [2 * inner, width], false, REMEDY)?;
        Ok(LayerParameters {
            qkv,
            mix: linear("attention.o_proj", [width, width])?,
            up: halves_exchanged(&up_gate.weight)?,
            gated: true,
            down: linear("mlp.down_proj", [width, inner])?,
            norms: Norms::After {
                mix: self.norm(&name("attn_ln"), REMEDY)?,
                down: self.norm(&name("mlp_ln"), REMEDY)?,
            },
            rotary: self.config.places[at].rotary.clone(),
            window: None,
        })
    }
}

/// The activated half, which is stored second, before the half that it is multiplied with.
fn halves_exchanged(weight: &Tensor) -> Result<LinearParameters, Error> {
    let inner = weight.dim(0)? / 2;
    let [up, gate] = [weight.narrow(0, 0, inner)?, weight.narrow(0, inner, inner)?];
    Ok(LinearParameters {
        weight: Tensor::cat(&[gate, up], 0)?,
        bias: None,
    })
}
