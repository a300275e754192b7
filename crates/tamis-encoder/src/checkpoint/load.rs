//! Tensors of a checkpoint, by the names of its family, into the transformer and its head.

use super::config::{Family, ModelConfig};
use super::heads::WRAPPERS;
use super::weights::Weights;
use crate::Error;
use crate::transformer::{
    HiddenActivation, LayerParameters, LinearParameters, MlmParameters, NormParameters, Norms, Parameters,
    PositionTable,
};
use candle_core::Tensor;

const REMEDY: &str = "the checkpoint is incomplete, or config.json is of another one";
const NOT_TIED: &str = "config.json sets tie_word_embeddings to false, so the decoder must be there";
const NO_HEAD: &str = "this checkpoint has no masked-language-model head, so it gives no sparse vectors";

const WORDS: &str = "embeddings.word_embeddings";

/// Finds the tensors of the backbone.
pub(super) fn backbone(config: &ModelConfig, weights: &Weights<'_>) -> Result<Parameters, Error> {
    Loader::new(config, weights).backbone()
}

/// Finds the tensors of the masked-language-model head.
pub(super) fn mlm_head(config: &ModelConfig, weights: &Weights<'_>) -> Result<MlmParameters, Error> {
    Loader::new(config, weights).mlm_head()
}

/// The word embeddings alone, `[vocabulary, width]`.
pub(super) fn words(config: &ModelConfig, weights: &Weights<'_>) -> Result<Tensor, Error> {
    Loader::new(config, weights).matrix(WORDS, [config.vocabulary, config.width])
}

struct Loader<'a> {
    config: &'a ModelConfig,
    weights: &'a Weights<'a>,
    /// The wrapper of a code base around both backbone and head.
    outer: &'static str,
    /// Of the backbone's tensors, the wrapper included.
    prefix: String,
}

impl<'a> Loader<'a> {
    fn new(config: &'a ModelConfig, weights: &'a Weights<'a>) -> Self {
        // A bare backbone has no prefix of its family.
        let families = config.family.prefixes().iter().map(|prefix| format!("{prefix}."));
        let families: Vec<String> = families.chain([String::new()]).collect();
        let (outer, prefix) = WRAPPERS
            .iter()
            .flat_map(|outer| families.iter().map(move |family| (*outer, format!("{outer}{family}"))))
            .find(|(_, prefix)| weights.contains(&format!("{prefix}{WORDS}.weight")))
            .unwrap_or_else(|| ("", families[0].clone()));
        Self {
            config,
            weights,
            outer,
            prefix,
        }
    }

    fn backbone(&self) -> Result<Parameters, Error> {
        let config = self.config;
        let rows = config.positions + config.padding.map_or(0, |padding| padding as usize + 1);
        let words = self.matrix(WORDS, [config.vocabulary, config.width])?;
        let types = match config.token_types {
            0 => None,
            types => {
                let table = self.matrix("embeddings.token_type_embeddings", [types, config.width])?;
                Some(table.get(0)?)
            }
        };
        Ok(Parameters {
            words,
            positions: Some(PositionTable {
                table: self.matrix("embeddings.position_embeddings", [rows, config.width])?,
                padding: config.padding,
            }),
            token_type: types,
            norm: self.norm(&self.name("embeddings.LayerNorm"), REMEDY)?,
            layers: (0..config.layers)
                .map(|at| self.layer(at))
                .collect::<Result<_, Error>>()?,
            final_norm: None,
            heads: config.heads,
            activation: config.activation,
        })
    }

    fn layer(&self, at: usize) -> Result<LayerParameters, Error> {
        let names = match self.config.family {
            Family::Bert | Family::Roberta => BERT_LAYER,
            Family::DistilBert => DISTILBERT_LAYER,
        };
        let (width, inner) = (self.config.width, self.config.inner);
        let name = |part: &str| self.name(&format!("{}.{at}.{part}", names.layers));
        let square = |part| self.linear(&name(part), [width, width], REMEDY);
        let thirds = [square(names.query)?, square(names.key)?, square(names.value)?];
        let linear = |part, shape| self.linear(&name(part), shape, REMEDY);
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

    fn mlm_head(&self) -> Result<MlmParameters, Error> {
        let config = self.config;
        let (names, activation) = match config.family {
            Family::Bert => (BERT_HEAD, config.activation),
            Family::DistilBert => (DISTILBERT_HEAD, config.activation),
            // Whatever the layers compute with, this head is written for gelu.
            Family::Roberta => (ROBERTA_HEAD, HiddenActivation::Gelu),
        };
        let (vocabulary, width) = (config.vocabulary, config.width);
        let name = |part: &str| format!("{}{part}", self.outer);
        let transform = self.linear(&name(names.transform), [width, width], NO_HEAD)?;
        let norm = self.norm(&name(names.norm), NO_HEAD)?;
        let decoder = [name(names.decoder)];
        let own = self.weights.find(&decoder, &[vocabulary, width])?;
        if own.is_none() && !config.tied {
            self.weights.tensor(&decoder, &[vocabulary, width], NOT_TIED)?;
        }
        Ok(MlmParameters {
            transform,
            activation,
            norm,
            decoder: own,
            bias: self.vector(&names.biases.map(name), vocabulary, NO_HEAD)?,
        })
    }

    fn name(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    /// A matrix of the backbone by its module name.
    fn matrix(&self, module: &str, shape: [usize; 2]) -> Result<Tensor, Error> {
        self.weights
            .tensor(&[format!("{}.weight", self.name(module))], &shape, REMEDY)
    }

    fn vector(&self, names: &[String], len: usize, remedy: &'static str) -> Result<Tensor, Error> {
        self.weights.tensor(names, &[len], remedy)
    }

    fn linear(&self, name: &str, shape: [usize; 2], remedy: &'static str) -> Result<LinearParameters, Error> {
        Ok(LinearParameters {
            weight: self.weights.tensor(&[format!("{name}.weight")], &shape, remedy)?,
            bias: Some(self.vector(&[format!("{name}.bias")], shape[0], remedy)?),
        })
    }

    /// Old checkpoints call the two vectors gamma and beta.
    fn norm(&self, name: &str, remedy: &'static str) -> Result<NormParameters, Error> {
        let part = |new: &str, old: &str| {
            self.vector(
                &[format!("{name}.{new}"), format!("{name}.{old}")],
                self.config.width,
                remedy,
            )
        };
        Ok(NormParameters {
            weight: part("weight", "gamma")?,
            bias: Some(part("bias", "beta")?),
            epsilon: self.config.epsilon,
        })
    }
}

/// Maps of one input as one map, their outputs one after the other.
fn side_by_side(maps: &[LinearParameters]) -> Result<LinearParameters, Error> {
    let weights: Vec<&Tensor> = maps.iter().map(|map| &map.weight).collect();
    let biases: Option<Vec<&Tensor>> = maps.iter().map(|map| map.bias.as_ref()).collect();
    Ok(LinearParameters {
        weight: Tensor::cat(&weights, 0)?,
        bias: biases.map(|biases| Tensor::cat(&biases, 0)).transpose()?,
    })
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

struct HeadNames {
    transform: &'static str,
    norm: &'static str,
    decoder: &'static str,
    biases: [&'static str; 2],
}

const BERT_HEAD: HeadNames = HeadNames {
    transform: "cls.predictions.transform.dense",
    norm: "cls.predictions.transform.LayerNorm",
    decoder: "cls.predictions.decoder.weight",
    // The first is the one computed with; checkpoints that tie the two store the second alone.
    biases: ["cls.predictions.decoder.bias", "cls.predictions.bias"],
};

const DISTILBERT_HEAD: HeadNames = HeadNames {
    transform: "vocab_transform",
    norm: "vocab_layer_norm",
    decoder: "vocab_projector.weight",
    biases: ["vocab_projector.bias", "vocab_projector.bias"],
};

const ROBERTA_HEAD: HeadNames = HeadNames {
    transform: "lm_head.dense",
    norm: "lm_head.layer_norm",
    decoder: "lm_head.decoder.weight",
    biases: ["lm_head.decoder.bias", "lm_head.bias"],
};
