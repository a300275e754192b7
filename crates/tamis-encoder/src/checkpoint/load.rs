//! Tensors of a checkpoint, by the names of its family, into the transformer and its head.

use super::config::{Family, ModelConfig};
use super::weights::Weights;
use crate::Error;
use crate::transformer::{
    HiddenActivation, LayerParameters, LinearParameters, MlmParameters, NormParameters, Norms, Parameters,
    PositionTable, TokenHead,
};
use candle_core::Tensor;

/// What turns hidden states into weights, as the checkpoint has it.
pub(super) enum HeadParameters {
    /// Over the whole vocabulary.
    Mlm(MlmParameters),
    /// Over the tokens of the text.
    Token(TokenHead),
}

const REMEDY: &str = "the checkpoint is incomplete, or config.json is of another one";
const NOT_TIED: &str = "config.json sets tie_word_embeddings to false, so the decoder must be there";
const NO_HEAD: &str = "this checkpoint has no masked-language-model head, so it gives no sparse vectors";

/// uniCOIL checkpoints carry the names of the code base that wrote them.
const COIL_PREFIX: &str = "coil_encoder.";
const WORDS: &str = "embeddings.word_embeddings";

/// Finds the tensors of backbone and head; a `tok_proj` makes it uniCOIL.
pub(super) fn load(config: &ModelConfig, weights: &Weights<'_>) -> Result<(Parameters, HeadParameters), Error> {
    let coil = ["", COIL_PREFIX]
        .iter()
        .find(|prefix| weights.contains(&format!("{prefix}tok_proj.weight")));
    let prefixes = config.family.prefixes();
    let loader = Loader {
        config,
        weights,
        prefix: ["", COIL_PREFIX]
            .iter()
            .flat_map(|outer| prefixes.iter().map(move |prefix| format!("{outer}{prefix}.")))
            .find(|prefix| weights.contains(&format!("{prefix}{WORDS}.weight")))
            .unwrap_or_else(|| format!("{}.", prefixes[0])),
    };
    let backbone = loader.backbone()?;
    let head = match coil {
        Some(prefix) => HeadParameters::Token(loader.token_head(prefix)?),
        None => HeadParameters::Mlm(loader.mlm_head()?),
    };
    Ok((backbone, head))
}

struct Loader<'a> {
    config: &'a ModelConfig,
    weights: &'a Weights<'a>,
    /// Of the backbone's tensors.
    prefix: String,
}

impl Loader<'_> {
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
        let transform = self.linear(names.transform, [width, width], NO_HEAD)?;
        let norm = self.norm(names.norm, NO_HEAD)?;
        let decoder = [names.decoder.to_owned()];
        let own = self.weights.find(&decoder, &[vocabulary, width])?;
        if own.is_none() && !config.tied {
            self.weights.tensor(&decoder, &[vocabulary, width], NOT_TIED)?;
        }
        Ok(MlmParameters {
            transform,
            activation,
            norm,
            decoder: own,
            bias: self.vector(&names.biases.map(str::to_owned), vocabulary, NO_HEAD)?,
        })
    }

    fn token_head(&self, prefix: &str) -> Result<TokenHead, Error> {
        let weight = [format!("{prefix}tok_proj.weight")];
        let weight = self.weights.tensor(&weight, &[1, self.config.width], REMEDY)?;
        let bias = self.vector(&[format!("{prefix}tok_proj.bias")], 1, REMEDY)?;
        Ok(TokenHead {
            weight: weight.flatten_all()?.to_vec1()?,
            bias: bias.to_vec1::<f32>()?[0],
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
