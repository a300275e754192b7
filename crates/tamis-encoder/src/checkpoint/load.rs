//! Tensors of a checkpoint, by the names of its family, into the transformer and its head.

use super::config::{Family, ModelConfig};
use super::weights::Weights;
use crate::Error;
use crate::transformer::{Backbone, HiddenActivation, Layer, LayerNorm, Linear, MlmHead, TokenHead};
use candle_core::Tensor;

/// What turns hidden states into weights.
pub(super) enum Head {
    /// Over the whole vocabulary.
    Mlm(MlmHead),
    /// Over the tokens of the text.
    Token(TokenHead),
}

const REMEDY: &str = "the checkpoint is incomplete, or config.json is of another one";
const NOT_TIED: &str = "config.json sets tie_word_embeddings to false, so the decoder must be there";
const NO_HEAD: &str = "this checkpoint has no masked-language-model head, so it gives no sparse vectors";

/// uniCOIL checkpoints carry the names of the code base that wrote them.
const COIL_PREFIX: &str = "coil_encoder.";
const WORDS: &str = "embeddings.word_embeddings";

/// Builds backbone and head; a `tok_proj` makes it uniCOIL.
pub(super) fn load(config: &ModelConfig, weights: &Weights<'_>) -> Result<(Backbone, Head), Error> {
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
        Some(prefix) => Head::Token(loader.token_head(prefix)?),
        None => Head::Mlm(loader.mlm_head(&backbone.words)?),
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
    fn backbone(&self) -> Result<Backbone, Error> {
        let config = self.config;
        let words = self.matrix(WORDS, [config.vocabulary, config.width])?;
        let rows = config.positions + config.padding.map_or(0, |padding| padding as usize + 1);
        let mut positions = self.matrix("embeddings.position_embeddings", [rows, config.width])?;
        if config.token_types > 0 {
            let types = self.matrix("embeddings.token_type_embeddings", [config.token_types, config.width])?;
            positions = positions.broadcast_add(&types.narrow(0, 0, 1)?)?;
        }
        let layers = (0..config.layers)
            .map(|at| self.layer(at))
            .collect::<Result<Vec<Layer>, Error>>()?;
        Ok(Backbone {
            words,
            positions,
            padding: config.padding,
            norm: self.norm(&self.name("embeddings.LayerNorm"), REMEDY)?,
            layers,
            heads: config.heads,
            activation: config.activation,
        })
    }

    fn layer(&self, at: usize) -> Result<Layer, Error> {
        let names = match self.config.family {
            Family::Bert | Family::Roberta => BERT_LAYER,
            Family::DistilBert => DISTILBERT_LAYER,
        };
        let (width, inner) = (self.config.width, self.config.inner);
        let name = |part: &str| self.name(&format!("{}.{at}.{part}", names.layers));
        let square = |part| self.linear_parts(&name(part), [width, width], REMEDY);
        let (query, key, value) = (square(names.query)?, square(names.key)?, square(names.value)?);
        let qkv = Tensor::cat(&[&query.0, &key.0, &value.0], 0)?;
        let linear = |part, shape| self.linear(&name(part), shape, REMEDY);
        Ok(Layer {
            qkv: Linear::new(&qkv, [query.1, key.1, value.1].concat())?,
            mix: linear(names.mix, [width, width])?,
            mix_norm: self.norm(&name(names.mix_norm), REMEDY)?,
            up: linear(names.up, [inner, width])?,
            down: linear(names.down, [width, inner])?,
            down_norm: self.norm(&name(names.down_norm), REMEDY)?,
        })
    }

    fn mlm_head(&self, words: &Tensor) -> Result<MlmHead, Error> {
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
        Ok(MlmHead {
            transform,
            transform_activation: activation,
            norm,
            decoder: match own {
                Some(own) => own,
                None if config.tied => words.clone(),
                None => self.weights.tensor(&decoder, &[vocabulary, width], NOT_TIED)?,
            },
            bias: self.vector(&names.biases.map(str::to_owned), vocabulary, NO_HEAD)?,
        })
    }

    fn token_head(&self, prefix: &str) -> Result<TokenHead, Error> {
        let (weight, bias) = self.linear_parts(&format!("{prefix}tok_proj"), [1, self.config.width], REMEDY)?;
        Ok(TokenHead {
            weight: weight.flatten_all()?.to_vec1()?,
            bias: bias[0],
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

    fn vector(&self, names: &[String], len: usize, remedy: &'static str) -> Result<Vec<f32>, Error> {
        Ok(self.weights.tensor(names, &[len], remedy)?.to_vec1()?)
    }

    fn linear_parts(&self, name: &str, shape: [usize; 2], remedy: &'static str) -> Result<(Tensor, Vec<f32>), Error> {
        let weight = self.weights.tensor(&[format!("{name}.weight")], &shape, remedy)?;
        Ok((weight, self.vector(&[format!("{name}.bias")], shape[0], remedy)?))
    }

    fn linear(&self, name: &str, shape: [usize; 2], remedy: &'static str) -> Result<Linear, Error> {
        let (weight, bias) = self.linear_parts(name, shape, remedy)?;
        Ok(Linear::new(&weight, bias)?)
    }

    /// Old checkpoints call the two vectors gamma and beta.
    fn norm(&self, name: &str, remedy: &'static str) -> Result<LayerNorm, Error> {
        let part = |new: &str, old: &str| {
            self.vector(
                &[format!("{name}.{new}"), format!("{name}.{old}")],
                self.config.width,
                remedy,
            )
        };
        Ok(LayerNorm {
            weight: part("weight", "gamma")?,
            bias: part("bias", "beta")?,
            epsilon: self.config.epsilon,
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
