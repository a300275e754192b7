//! BERT, DistilBERT, RoBERTa and its kin: tables of positions, normalisation after each residual.

use super::{HeadNames, Loader, REMEDY, side_by_side};
use crate::Error;
use crate::checkpoint::config::Family;
use crate::transformer::{LayerParameters, Norms, PositionTable};
use candle_core::Tensor;

impl Loader<'_> {
    /// The table of positions, in families that have one.
    pub(super) fn positions(&self) -> Result<Option<PositionTable>, Error> {
        let config = self.config;
        if matches!(config.family, Family::ModernBert | Family::New | Family::Gte) {
            return Ok(None);
        }
        let rows = config.positions + config.padding.map_or(0, |padding| padding as usize + 1);
        Ok(Some(PositionTable {
            table: self.matrix("embeddings.position_embeddings", [rows, config.width])?,
            padding: config.padding,
        }))
    }

    /// The first token type, the only one of texts that stand alone.
    pub(super) fn token_type(&self) -> Result<Option<Tensor>, Error> {
        match self.config.token_types {
            0 => Ok(None),
            types => {
                let table = self.matrix("embeddings.token_type_embeddings", [types, self.config.width])?;
                Ok(Some(table.get(0)?))
            }
        }
    }

    pub(super) fn bert_layer(&self, at: usize) -> Result<LayerParameters, Error> {
        let names = match self.config.family {
            Family::DistilBert => DISTILBERT_LAYER,
            _ => BERT_LAYER,
        };
        let (width, inner) = (self.config.width, self.config.inner);
        let name = |part: &str| self.name(&format!("{}.{at}.{part}", names.layers));
        let linear = |part, shape| self.linear(&name(part), shape, true, REMEDY);
        let third = |part| linear(part, [width, width]);
        let thirds = [third(names.query)?, third(names.key)?, third(names.value)?];
        Ok(LayerParameters {
            qkv: side_by_side(&thirds)?,
            mix: linear(names.mix, [width, width])?,
            up: linear(names.up, [inner, width])?,
            gated: false,
            down: linear(names.down, [width, inner])?,
            norms: Norms::After {
                mix: self.norm(&name(names.mix_norm), REMEDY)?,
                down: self.norm(&name(names.down_norm), REMEDY)?,
            },
            rotary: None,
            window: None,
        })
    }
}

struct LayerNames {
    layers: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    mix: &'static str,
    mix_norm: &'static str,
    up: &'static str,
    down: &'static str,
    down_norm: &'static str,
}

const BERT_LAYER: LayerNames = LayerNames {
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    mix: "attention.output.dense",
    mix_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    down_norm: "output.LayerNorm",
};

const DISTILBERT_LAYER: LayerNames = LayerNames {
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    mix: "attention.out_lin",
    mix_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    down_norm: "output_layer_norm",
};

pub(super) const BERT_HEAD: HeadNames = HeadNames {
    transform: "cls.predictions.transform.dense",
    norm: "cls.predictions.transform.LayerNorm",
    decoder: "cls.predictions.decoder.weight",
    biases: ["cls.predictions.decoder.bias", "cls.predictions.bias"],
};

pub(super) const DISTILBERT_HEAD: HeadNames = HeadNames {
    transform: "vocab_transform",
    norm: "vocab_layer_norm",
    decoder: "vocab_projector.weight",
    biases: ["vocab_projector.bias", "vocab_projector.bias"],
};

pub(super) const ROBERTA_HEAD: HeadNames = HeadNames {
    transform: "lm_head.dense",
    norm: "lm_head.layer_norm",
    decoder: "lm_head.decoder.weight",
    biases: ["lm_head.decoder.bias", "lm_head.bias"],
};
