//! `config.json`: which architecture, how large, where biases are.

mod places;

use super::json::JsonFile;
use crate::Error;
use crate::transformer::HiddenActivation;
use places::Places;
use std::path::Path;

/// How tensors and fields are called, and what little the computation differs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    DistilBert,
    /// RoBERTa, XLM-R and CamemBERT: BERT with positions that are counted from behind the padding token.
    Roberta,
    ModernBert,
    /// GTE as Alibaba-NLP publishes it, with code of its own.
    New,
    /// GTE as transformers has it.
    Gte,
}

/// Architecture and `model_type` of each model that is known.
const KNOWN: [(&str, &str, Family); 8] = [
    ("BertForMaskedLM", "bert", Family::Bert),
    ("DistilBertForMaskedLM", "distilbert", Family::DistilBert),
    ("RobertaForMaskedLM", "roberta", Family::Roberta),
    ("XLMRobertaForMaskedLM", "xlm-roberta", Family::Roberta),
    ("CamembertForMaskedLM", "camembert", Family::Roberta),
    ("ModernBertForMaskedLM", "modernbert", Family::ModernBert),
    ("NewForMaskedLM", "new", Family::New),
    ("GteForMaskedLM", "gte", Family::Gte),
];

impl Family {
    /// The prefixes that the backbone's tensors may have, the usual one first.
    pub(super) fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Bert => &["bert.", ""],
            Self::DistilBert => &["distilbert.", ""],
            Self::Roberta => &["roberta.", "xlm-roberta.", "xlm_roberta.", "camembert.", ""],
            Self::ModernBert => &["model.", ""],
            Self::New | Self::Gte => &["new.", "gte.", ""],
        }
    }

    fn fields(self) -> FieldNames {
        let names = |activation, epsilon| FieldNames {
            width: "hidden_size",
            layers: "num_hidden_layers",
            heads: "num_attention_heads",
            inner: "intermediate_size",
            activation,
            epsilon,
        };
        match self {
            Self::Bert | Self::Roberta | Self::New | Self::Gte => names("hidden_act", Some(("layer_norm_eps", 1e-12))),
            Self::ModernBert => names("hidden_activation", Some(("norm_eps", 1e-5))),
            Self::DistilBert => FieldNames {
                width: "dim",
                layers: "n_layers",
                heads: "n_heads",
                inner: "hidden_dim",
                activation: "activation",
                epsilon: None,
            },
        }
    }
}

/// What a family calls its fields.
struct FieldNames {
    width: &'static str,
    layers: &'static str,
    heads: &'static str,
    inner: &'static str,
    activation: &'static str,
    /// With the value where it is not written; without a field it is always 1e-12.
    epsilon: Option<(&'static str, f32)>,
}

/// More tokens than any model has; keeps damaged files from asking for all memory.
pub(super) const MAX_VOCABULARY: usize = 1 << 22;

const SUPPORTED: &str = "BertForMaskedLM, DistilBertForMaskedLM, RobertaForMaskedLM, XLMRobertaForMaskedLM, \
                         CamembertForMaskedLM, ModernBertForMaskedLM, NewForMaskedLM, GteForMaskedLM and uniCOIL on \
                         BERT";

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
    /// Of the masked-language-model head.
    pub(super) head_activation: HiddenActivation,
    /// One a layer.
    pub(super) places: Vec<Places>,
    /// Which maps and norms have a bias.
    pub(super) biases: Biases,
    /// Whether the word embeddings may stand for a decoder that is not there.
    pub(super) tied: bool,
    /// `model_type`, where it is written.
    model_type: Option<String>,
    /// The rate of dropout of hidden states in training, where it is written.
    dropout: Option<f64>,
    /// The file itself, for the fingerprint.
    pub(super) bytes: Vec<u8>,
}

/// Which parts have a bias: all of them, but for ModernBERT, which is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Biases {
    pub(super) norm: bool,
    pub(super) attention: bool,
    pub(super) inner: bool,
    pub(super) head: bool,
    pub(super) decoder: bool,
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
        let names = family.fields();
        let vocabulary = file.count("vocab_size", 1..=MAX_VOCABULARY)?;
        let padding = match family {
            Family::Roberta => Some(padding(&file, vocabulary)?),
            _ => None,
        };
        let skipped = padding.map_or(0, |padding| padding as usize + 1);
        let (width, heads) = (
            file.count(names.width, 1..=1 << 14)?,
            file.count(names.heads, 1..=1024)?,
        );
        if !width.is_multiple_of(heads) {
            let expected = format!("a divisor of {} = {width}", names.width);
            return Err(Error::field(&file.path, names.heads, expected, heads));
        }
        check_positions(&file, family)?;
        let layers = file.count(names.layers, 1..=256)?;
        let places = places::places(&file, family, layers, width / heads)?;
        if !(width / heads).is_multiple_of(2) && places.iter().any(|place| place.rotary.is_some()) {
            let expected = format!("a divisor of {} = {width} that leaves heads of even width", names.width);
            return Err(Error::field(&file.path, names.heads, expected, heads));
        }
        let activation = hidden_activation(&file, names.activation)?;
        Ok(Self {
            family,
            vocabulary,
            width,
            layers,
            heads,
            inner: file.count(names.inner, 1..=1 << 17)?,
            positions: file.count("max_position_embeddings", skipped + 1..=1 << 20)? - skipped,
            padding,
            token_types: match family {
                Family::Bert | Family::Roberta => file.count("type_vocab_size", 1..=1 << 10)?,
                Family::New | Family::Gte => file.count_or("type_vocab_size", 0..=1 << 10, 1)?,
                Family::DistilBert | Family::ModernBert => 0,
            },
            epsilon: match names.epsilon {
                Some((field, default)) => epsilon(&file, field, default)?,
                None => 1e-12,
            },
            activation,
            head_activation: match family {
                // Whatever the layers compute with, these heads are written for gelu.
                Family::Roberta | Family::Gte => HiddenActivation::Gelu,
                Family::ModernBert => hidden_activation(&file, "classifier_activation")?,
                Family::Bert | Family::DistilBert | Family::New => activation,
            },
            places,
            biases: biases(&file, family)?,
            tied: file.flag("tie_word_embeddings")?.unwrap_or(true),
            model_type: file.text("model_type")?.map(str::to_owned),
            dropout: file.get(dropout_name(family)).and_then(serde_json::Value::as_f64),
            bytes: file.bytes,
        })
    }

    /// The rate at which training drops hidden states: what the file says, else what its library takes.
    ///
    /// # Errors
    /// When the file says a rate that is none.
    pub(super) fn dropout(&self) -> Result<f64, Error> {
        let default = match self.family {
            Family::ModernBert => 0.0,
            _ => 0.1,
        };
        let rate = self.dropout.unwrap_or(default);
        if (0.0..1.0).contains(&rate) {
            return Ok(rate);
        }
        let expected = "a number from 0 to below 1";
        Err(Error::field(
            Path::new("config.json"),
            dropout_name(self.family),
            expected,
            rate,
        ))
    }

    /// What `architectures` calls this family with a masked-language-model head.
    pub(super) fn masked_lm(&self) -> &'static str {
        let of_family = KNOWN.iter().filter(|(.., family)| *family == self.family);
        let named = of_family
            .clone()
            .find(|(_, of_type, _)| Some(*of_type) == self.model_type.as_deref());
        let (name, ..) = named
            .or_else(|| of_family.clone().next())
            .expect("every family is listed");
        name
    }
}

/// What a family calls the rate of dropout of hidden states.
fn dropout_name(family: Family) -> &'static str {
    match family {
        Family::DistilBert => "dropout",
        Family::ModernBert => "mlp_dropout",
        Family::Bert | Family::Roberta | Family::New | Family::Gte => "hidden_dropout_prob",
    }
}

/// Refuses what shapes attention or norms and is not computed here.
fn check_positions(file: &JsonFile, family: Family) -> Result<(), Error> {
    let only = |field: &str, allowed: &[&str]| match file.text(field)? {
        Some(kind) if !allowed.contains(&kind) => {
            let expected = allowed.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>();
            Err(Error::field(
                &file.path,
                field,
                expected.join(" or "),
                format!("{kind:?}"),
            ))
        }
        _ => Ok(()),
    };
    match family {
        Family::ModernBert => Ok(()),
        Family::New | Family::Gte => {
            only("position_embedding_type", &["rope"])?;
            only("layer_norm_type", &["layer_norm"])?;
            if file.flag("logn_attention_scale")? == Some(true) {
                let expected = "false (attention scaled by the text's length is not supported)";
                return Err(Error::field(&file.path, "logn_attention_scale", expected, true));
            }
            Ok(())
        }
        Family::Bert | Family::DistilBert | Family::Roberta => only("position_embedding_type", &["absolute"]),
    }
}

fn biases(file: &JsonFile, family: Family) -> Result<Biases, Error> {
    let flag = |field, default| {
        let told = if family == Family::ModernBert {
            file.flag(field)?.unwrap_or(default)
        } else {
            true
        };
        Ok::<_, Error>(told)
    };
    Ok(Biases {
        norm: flag("norm_bias", false)?,
        attention: flag("attention_bias", false)?,
        inner: flag("mlp_bias", false)?,
        head: flag("classifier_bias", false)?,
        decoder: flag("decoder_bias", true)?,
    })
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

fn epsilon(file: &JsonFile, field: &str, default: f32) -> Result<f32, Error> {
    let expected = "a number above 0 and below 1";
    let Some(value) = file.get(field) else {
        return Ok(default);
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded to the precision of the computation"
    )]
    let epsilon = value.as_f64().unwrap_or(0.0) as f32;
    if epsilon > 0.0 && epsilon < 1.0 {
        Ok(epsilon)
    } else {
        Err(Error::field(&file.path, field, expected, value))
    }
}

fn hidden_activation(file: &JsonFile, field: &str) -> Result<HiddenActivation, Error> {
    let name = file.text(field)?.unwrap_or("gelu");
    HiddenActivation::from_name(name)
        .ok_or_else(|| Error::field(&file.path, field, HiddenActivation::NAMES, format!("{name:?}")))
}
