//! `config.json`: which architecture, how large.

use super::json::JsonFile;
use crate::Error;
use crate::transformer::HiddenActivation;
use std::path::Path;

/// Tensor names and fields differ between the two; the computation is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    DistilBert,
}

impl Family {
    /// The prefix of the backbone's tensors.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::DistilBert => "distilbert",
        }
    }
}

/// More tokens than any model has; keeps damaged files from asking for all memory.
pub(super) const MAX_VOCABULARY: usize = 1 << 22;

const SUPPORTED: &str = "BertForMaskedLM, DistilBertForMaskedLM and uniCOIL on BERT";

/// What the tensors of a checkpoint must look like.
#[derive(Clone, Debug)]
pub(super) struct ModelConfig {
    pub(super) family: Family,
    pub(super) vocabulary: usize,
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) inner: usize,
    pub(super) positions: usize,
    /// 0 where the model has none.
    pub(super) token_types: usize,
    pub(super) epsilon: f32,
    pub(super) activation: HiddenActivation,
    /// The file itself, for the fingerprint.
    pub(super) bytes: Vec<u8>,
}

impl ModelConfig {
    /// Reads `config.json` of `dir` and checks every field that is used.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let remedy = "a checkpoint directory holds config.json, model.safetensors and tokenizer.json (or vocab.txt)";
        let file = JsonFile::read(&dir.join("config.json"), remedy)?;
        let family = family(&file)?;
        let [width, layers, heads, inner, activation] = match family {
            Family::Bert => [
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "hidden_act",
            ],
            Family::DistilBert => ["dim", "n_layers", "n_heads", "hidden_dim", "activation"],
        };
        let config = Self {
            family,
            vocabulary: file.count("vocab_size", 1..=MAX_VOCABULARY)?,
            width: file.count(width, 1..=1 << 14)?,
            layers: file.count(layers, 1..=256)?,
            heads: file.count(heads, 1..=1024)?,
            inner: file.count(inner, 1..=1 << 17)?,
            positions: file.count("max_position_embeddings", 1..=1 << 20)?,
            token_types: if family == Family::Bert {
                file.count("type_vocab_size", 1..=1 << 10)?
            } else {
                0
            },
            epsilon: if family == Family::Bert { epsilon(&file)? } else { 1e-12 },
            activation: hidden_activation(&file, activation)?,
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

fn family(file: &JsonFile) -> Result<Family, Error> {
    let unsupported = |found: String| Error::Unsupported {
        path: file.path.clone(),
        found,
        supported: SUPPORTED,
    };
    let architectures = file
        .get("architectures")
        .and_then(|list| list.as_array())
        .into_iter()
        .flatten();
    let names: Vec<&str> = architectures.filter_map(|name| name.as_str()).collect();
    let masked = ["BertForMaskedLM", "DistilBertForMaskedLM"];
    let model_type = file.text("model_type")?;
    match names.iter().find(|name| masked.contains(*name)).or(names.first()) {
        Some(&"BertForMaskedLM") => return Ok(Family::Bert),
        Some(&"DistilBertForMaskedLM") => return Ok(Family::DistilBert),
        // Checkpoints of uniCOIL and of plain backbones: whether a usable head is there, the tensors tell.
        _ => {}
    }
    match model_type {
        Some("bert") => Ok(Family::Bert),
        Some("distilbert") => Ok(Family::DistilBert),
        other => {
            let architecture = names
                .first()
                .map_or_else(String::new, |name| format!("architecture {name:?}, "));
            Err(unsupported(format!(
                "{architecture}model_type {}",
                other.unwrap_or("(missing)")
            )))
        }
    }
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
