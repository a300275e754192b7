//! `config.json`: which architecture, how large.

use super::json::JsonFile;
use crate::Error;
use crate::transformer::HiddenActivation;
use std::path::Path;

/// How tensors and fields are called, and what little the computation differs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    DistilBert,
    /// RoBERTa, XLM-R and CamemBERT: BERT with positions that are counted from behind the padding token.
    Roberta,
}

/// Architecture and `model_type` of each model that is known.
const KNOWN: [(&str, &str, Family); 5] = [
    ("BertForMaskedLM", "bert", Family::Bert),
    ("DistilBertForMaskedLM", "distilbert", Family::DistilBert),
    ("RobertaForMaskedLM", "roberta", Family::Roberta),
    ("XLMRobertaForMaskedLM", "xlm-roberta", Family::Roberta),
    ("CamembertForMaskedLM", "camembert", Family::Roberta),
];

impl Family {
    /// The prefixes that the backbone's tensors may have, the usual one first.
    pub(super) fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Bert => &["bert"],
            Self::DistilBert => &["distilbert"],
            Self::Roberta => &["roberta", "xlm-roberta", "xlm_roberta", "camembert"],
        }
    }
}

/// More tokens than any model has; keeps damaged files from asking for all memory.
pub(super) const MAX_VOCABULARY: usize = 1 << 22;

const SUPPORTED: &str = "BertForMaskedLM, DistilBertForMaskedLM, RobertaForMaskedLM, XLMRobertaForMaskedLM, \
                         CamembertForMaskedLM and uniCOIL on BERT";

/// What the tensors of a checkpoint must look like.
#[derive(Clone, Debug)]
pub(super) struct ModelConfig {
    pub(super) family: Family,
    pub(super) vocabulary: usize,
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) inner: usize,
    /// The most tokens a text may have.
    pub(super) positions: usize,
    /// RoBERTa's padding token, whose id and all below it are rows of the position table that no text counts up to.
    pub(super) padding: Option<u32>,
    /// 0 where the model has none.
    pub(super) token_types: usize,
    pub(super) epsilon: f32,
    pub(super) activation: HiddenActivation,
    /// Whether the word embeddings may stand for a decoder that is not there.
    pub(super) tied: bool,
    /// The file itself, for the fingerprint.
    pub(super) bytes: Vec<u8>,
}

impl ModelConfig {
    /// Reads the `config.json` at `path` and checks every field that is used.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let remedy = "a checkpoint directory holds config.json, model.safetensors and tokenizer.json (or vocab.txt)";
        Self::of(JsonFile::read(path, remedy)?)
    }

    /// Checks every field of `file` that is used.
    pub(super) fn of(file: JsonFile) -> Result<Self, Error> {
        let family = family(&file)?;
        let [width, layers, heads, inner, activation] = match family {
            Family::Bert | Family::Roberta => [
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "hidden_act",
            ],
            Family::DistilBert => ["dim", "n_layers", "n_heads", "hidden_dim", "activation"],
        };
        let vocabulary = file.count("vocab_size", 1..=MAX_VOCABULARY)?;
        let padding = match family {
            Family::Bert | Family::DistilBert => None,
            Family::Roberta => Some(padding(&file, vocabulary)?),
        };
        let skipped = padding.map_or(0, |padding| padding as usize + 1);
        let has_types = family != Family::DistilBert;
        let config = Self {
            family,
            vocabulary,
            width: file.count(width, 1..=1 << 14)?,
            layers: file.count(layers, 1..=256)?,
            heads: file.count(heads, 1..=1024)?,
            inner: file.count(inner, 1..=1 << 17)?,
            positions: file.count("max_position_embeddings", skipped + 1..=1 << 20)? - skipped,
            padding,
            token_types: if has_types {
                file.count("type_vocab_size", 1..=1 << 10)?
            } else {
                0
            },
            epsilon: if has_types { epsilon(&file)? } else { 1e-12 },
            activation: hidden_activation(&file, activation)?,
            tied: file.flag("tie_word_embeddings")?.unwrap_or(true),
            bytes: Vec::new(),
        };
        if !config.width.is_multiple_of(config.heads) {
            let expected = format!("a divisor of {width} = {}", config.width);
            return Err(Error::field(&file.path, heads, expected, config.heads));
        }
        if let Some(kind) = file.text("position_embedding_type")?.filter(|&kind| kind != "absolute") {
            return Err(Error::field(
                &file.path,
                "position_embedding_type",
                "\"absolute\"",
                kind,
            ));
        }
        Ok(Self {
            bytes: file.bytes,
            ..config
        })
    }
}

/// The family by `architectures` or, for uniCOIL and plain backbones, by `model_type`: whether a usable head is there,
/// the tensors tell.
fn family(file: &JsonFile) -> Result<Family, Error> {
    let architectures = file
        .get("architectures")
        .and_then(|list| list.as_array())
        .into_iter()
        .flatten();
    let names: Vec<&str> = architectures.filter_map(|name| name.as_str()).collect();
    let model_type = file.text("model_type")?;
    let by_name = KNOWN.iter().find(|(architecture, ..)| names.contains(architecture));
    let by_type = KNOWN.iter().find(|(_, of_type, _)| Some(*of_type) == model_type);
    match (by_name, by_type) {
        (Some((architecture, expected, family)), Some((_, found, other))) if family != other => {
            let expected = format!("{expected:?}, as architectures has {architecture:?},");
            Err(Error::field(&file.path, "model_type", expected, format!("{found:?}")))
        }
        (Some((.., family)), _) | (None, Some((.., family))) => Ok(*family),
        (None, None) => {
            let architecture = names
                .first()
                .map_or_else(String::new, |name| format!("architecture {name:?}, "));
            Err(Error::Unsupported {
                path: file.path.clone(),
                found: format!("{architecture}model_type {}", model_type.unwrap_or("(missing)")),
                supported: SUPPORTED,
            })
        }
    }
}

/// `pad_token_id`, which RoBERTa's code takes to be 1 unless told otherwise.
fn padding(file: &JsonFile, vocabulary: usize) -> Result<u32, Error> {
    if file.get("pad_token_id").is_none() {
        return Ok(1);
    }
    let padding = file.count("pad_token_id", 0..=vocabulary - 1)?;
    Ok(u32::try_from(padding).expect("below the largest vocabulary"))
}

fn epsilon(file: &JsonFile) -> Result<f32, Error> {
    let expected = "a number above 0 and below 1";
    let Some(value) = file.get("layer_norm_eps") else {
        return Ok(1e-12);
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded to the precision of the computation"
    )]
    let epsilon = value.as_f64().unwrap_or(0.0) as f32;
    if epsilon > 0.0 && epsilon < 1.0 {
        Ok(epsilon)
    } else {
        Err(Error::field(&file.path, "layer_norm_eps", expected, value))
    }
}

fn hidden_activation(file: &JsonFile, field: &str) -> Result<HiddenActivation, Error> {
    let name = file.text(field)?.unwrap_or("gelu");
    HiddenActivation::from_name(name)
        .ok_or_else(|| Error::field(&file.path, field, HiddenActivation::NAMES, format!("{name:?}")))
}
