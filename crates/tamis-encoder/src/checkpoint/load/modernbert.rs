//! ModernBERT (Warner et al., 2024): packed maps, gated blocks, normalisation before each block but the first.

use super::{HeadNames, Loader, REMEDY};
use crate::Error;
use crate::transformer::{LayerParameters, Norms};

pub(super) const HEAD: HeadNames = HeadNames {
    transform: "head.dense",
    norm: "head.norm",
    decoder: "decoder.weight",
    biases: ["decoder.bias", "decoder.bias"],
};

impl Loader<'_> {
    pub(super) fn modernbert_layer(&self, at: usize) -> Result<LayerParameters, Error> {
        let (width, inner, biases) = (self.config.width, self.config.inner, self.config.biases);
        let name = |part: &str| self.name(&format!("layers.{at}.{part}"));
        let places = &self.config.places[at];
        // The embeddings have just been normalised.
        let mix_norm = match at {
            0 => None,
            _ => Some(self.norm(&name("attn_norm"), REMEDY)?),
        };
        Ok(LayerParameters {
            qkv: self.linear(&name("attn.Wqkv"), [3 * width, width], biases.attention, REMEDY)?,
            mix: self.linear(&name("attn.Wo"), [width, width], biases.attention, REMEDY)?,
            // The activated half comes first, as it is wanted.
            up: self.linear(&name("mlp.Wi"), [2 * inner, width], biases.inner, REMEDY)?,
            gated: true,
            down: self.linear(&name("mlp.Wo"), [width, inner], biases.inner, REMEDY)?,
            norms: Norms::Before {
                mix: mix_norm,
                down: self.norm(&name("mlp_norm"), REMEDY)?,
            },
            rotary: places.rotary.clone(),
            window: places.window,
        })
    }
}
