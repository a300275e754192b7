//! Tensors of a checkpoint, by the names of its family, into the transformer and its head.
//!
//! Each family's names and layout are a file of their own; what they share is here.

mod bert;
mod gte;
mod modernbert;

use super::config::{Family, ModelConfig};
use super::heads::WRAPPERS;
use super::weights::Weights;
use crate::Error;
use crate::transformer::{LayerParameters, LinearParameters, MlmParameters, NormParameters, Parameters};
use candle_core::Tensor;

const REMEDY: &str = "the checkpoint is incomplete, or config.json is of another one";
const NOT_TIED: &str = "config.json sets tie_word_embeddings to false, so the decoder must be there";
const NO_HEAD: &str = "this checkpoint has no masked-language-model head, so it gives no sparse vectors";

/// Finds the tensors of the backbone.
pub(super) fn backbone(config: &ModelConfig, weights: &Weights<'_>) -> Result<Parameters, Error> {
    Loader::new(config, weights).backbone()
}

/// Finds the tensors of the last `count` layers in `weights`, which names them as `whole` does, and has them alone.
pub(super) fn last_layers(
    config: &ModelConfig,
    (weights, whole): (&Weights<'_>, &Weights<'_>),
    count: usize,
) -> Result<Vec<LayerParameters>, Error> {
    let loader = Loader {
        weights,
        ..Loader::new(config, whole)
    };
    (config.layers - count..config.layers)
        .map(|at| loader.layer(at))
        .collect()
}

/// Finds the tensors of the masked-language-model head.
pub(super) fn mlm_head(config: &ModelConfig, weights: &Weights<'_>) -> Result<MlmParameters, Error> {
    Loader::new(config, weights).mlm_head()
}

/// The word embeddings alone, `[vocabulary, width]`.
pub(super) fn words(config: &ModelConfig, weights: &Weights<'_>) -> Result<Tensor, Error> {
    Loader::new(config, weights).words()
}

/// A tensor that a new head needs.
pub(super) struct NewTensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) start: NewValues,
}

/// What a new tensor begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewValues {
    /// Numbers that look random.
    Normal,
    Zeros,
    Ones,
}

/// The tensors of a new masked-language-model head whose decoder is the word embeddings, by the names of the family.
pub(super) fn new_mlm_head(config: &ModelConfig, weights: &Weights<'_>) -> Vec<NewTensor> {
    let loader = Loader::new(config, weights);
    let (names, biases) = (head_names(config.family), config.biases);
    let (width, vocabulary) = (config.width, config.vocabulary);
    let tensor = |part: String, shape: Vec<usize>, start| NewTensor {
        name: format!("{}{part}", loader.outer),
        shape,
        start,
    };
    let mut tensors = vec![
        tensor(
            format!("{}.weight", names.transform),
            vec![width, width],
            NewValues::Normal,
        ),
        tensor(format!("{}.weight", names.norm), vec![width], NewValues::Ones),
    ];
    if biases.head {
        tensors.push(tensor(
            format!("{}.bias", names.transform),
            vec![width],
            NewValues::Zeros,
        ));
    }
    if biases.norm {
        tensors.push(tensor(format!("{}.bias", names.norm), vec![width], NewValues::Zeros));
    }
    if biases.decoder {
        // The second name is the one that is stored where both are tied.
        tensors.push(tensor(names.biases[1].to_owned(), vec![vocabulary], NewValues::Zeros));
    }
    tensors
}

/// Names under which checkpoints store a tensor a second time, each with the name that is computed with: a tied decoder
/// beside the word embeddings, and two names of its bias. Only those of which both are there.
pub(super) fn twins(config: &ModelConfig, weights: &Weights<'_>) -> Vec<(String, String)> {
    let loader = Loader::new(config, weights);
    let names = head_names(config.family);
    let head = |part: &str| format!("{}{part}", loader.outer);
    let [first, second] = names.biases;
    let mut twins = vec![(head(second), head(first))];
    if config.tied {
        twins.push((
            head(names.decoder),
            loader.name(&format!("{}.weight", words_name(config.family))),
        ));
    }
    twins.retain(|(twin, name)| twin != name && weights.contains(twin) && weights.contains(name));
    twins
}

/// The prefix that the backbone's tensors lack and libraries expect beside a head, where they lack one.
pub(super) fn missing_prefix(config: &ModelConfig, weights: &Weights<'_>) -> Option<&'static str> {
    let loader = Loader::new(config, weights);
    loader.prefix.is_empty().then(|| config.family.prefixes()[0])
}

fn head_names(family: Family) -> HeadNames {
    match family {
        Family::Bert => bert::BERT_HEAD,
        Family::DistilBert => bert::DISTILBERT_HEAD,
        Family::Roberta => bert::ROBERTA_HEAD,
        Family::ModernBert => modernbert::HEAD,
        Family::New | Family::Gte => gte::HEAD,
    }
}

struct Loader<'a> {
    config: &'a ModelConfig,
    weights: &'a Weights<'a>,
    /// Of the backbone's tensors, the wrapper included.
    prefix: String,
    /// The wrapper of a code base around both backbone and head.
    outer: &'static str,
}

/// The names of a masked-language-model head.
struct HeadNames {
    transform: &'static str,
    norm: &'static str,
    decoder: &'static str,
    /// The first is the one computed with; checkpoints that tie the two store the second alone.
    biases: [&'static str; 2],
}

impl<'a> Loader<'a> {
    /// Finds out the prefixes by where the word embeddings are.
    fn new(config: &'a ModelConfig, weights: &'a Weights<'a>) -> Self {
        let words = words_name(config.family);
        let prefixes = config.family.prefixes();
        let pairs = WRAPPERS
            .iter()
            .flat_map(|&outer| prefixes.iter().map(move |prefix| (outer, format!("{outer}{prefix}"))));
        let (outer, prefix) = pairs
            .into_iter()
            .find(|(_, prefix)| weights.contains(&format!("{prefix}{words}.weight")))
            .unwrap_or_else(|| ("", prefixes[0].to_owned()));
        Self {
            config,
            weights,
            prefix,
            outer,
        }
    }

    fn backbone(&self) -> Result<Parameters, Error> {
        let config = self.config;
        Ok(Parameters {
            words: self.words()?,
            positions: self.positions()?,
            token_type: self.token_type()?,
            norm: match config.family {
                Family::ModernBert => self.norm(&self.name("embeddings.norm"), REMEDY)?,
                _ => self.norm(&self.name("embeddings.LayerNorm"), REMEDY)?,
            },
            layers: (0..config.layers)
                .map(|at| self.layer(at))
                .collect::<Result<_, Error>>()?,
            final_norm: match config.family {
                Family::ModernBert => Some(self.norm(&self.name("final_norm"), REMEDY)?),
                _ => None,
            },
            heads: config.heads,
            activation: config.activation,
        })
    }

    fn layer(&self, at: usize) -> Result<LayerParameters, Error> {
        match self.config.family {
            Family::Bert | Family::DistilBert | Family::Roberta => self.bert_layer(at),
            Family::ModernBert => self.modernbert_layer(at),
            Family::New | Family::Gte => self.gte_layer(at),
        }
    }

    fn mlm_head(&self) -> Result<MlmParameters, Error> {
        let config = self.config;
        let names = head_names(config.family);
        let name = |part: &str| format!("{}{part}", self.outer);
        let (vocabulary, width) = (config.vocabulary, config.width);
        let transform = self.linear(&name(names.transform), [width, width], config.biases.head, NO_HEAD)?;
        let norm = self.norm(&name(names.norm), NO_HEAD)?;
        let decoder = [name(names.decoder)];
        let own = self.weights.find(&decoder, &[vocabulary, width])?;
        if own.is_none() && !config.tied {
            self.weights.tensor(&decoder, &[vocabulary, width], NOT_TIED)?;
        }
        Ok(MlmParameters {
            transform,
            activation: config.head_activation,
            norm,
            decoder: own,
            bias: match config.biases.decoder {
                true => self.vector(&names.biases.map(name), vocabulary, NO_HEAD)?,
                false => self.weights.zeros(vocabulary)?,
            },
        })
    }

    fn words(&self) -> Result<Tensor, Error> {
        let config = self.config;
        self.matrix(words_name(config.family), [config.vocabulary, config.width])
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

    fn linear(
        &self,
        name: &str,
        shape: [usize; 2],
        biased: bool,
        remedy: &'static str,
    ) -> Result<LinearParameters, Error> {
        let bias = || self.vector(&[format!("{name}.bias")], shape[0], remedy);
        Ok(LinearParameters {
            weight: self.weights.tensor(&[format!("{name}.weight")], &shape, remedy)?,
            bias: biased.then(bias).transpose()?,
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
            bias: self.config.biases.norm.then(|| part("bias", "beta")).transpose()?,
            epsilon: self.config.epsilon,
        })
    }
}

/// What a family calls its word embeddings.
fn words_name(family: Family) -> &'static str {
    match family {
        Family::ModernBert => "embeddings.tok_embeddings",
        _ => "embeddings.word_embeddings",
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
