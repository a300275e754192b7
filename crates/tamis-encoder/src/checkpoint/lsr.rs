//! Directories of the LSR framework: a dual encoder of MLM, MLP, binary or clsMLM encoders.
//!
//! Source: Nguyen, MacAvaney and Yates (ECIR 2023), "A Unified Framework for Learned Sparse Retrieval". Its
//! checkpoints name their base model but do not hold its configuration; those of the two base models in use are known
//! here, others are read from a `base_config.json` beside the encoder's own file.

use super::json::JsonFile;
use super::layout::{BinaryFiles, Configuration, Side, Sides, TransformerFiles};
use super::policy::{HeadKind, Scatter, SideOptions, SpecialTokens};
use super::weights::WeightsFile;
use crate::transformer::{Norm, Pooling, SpladeActivation};
use crate::{Error, InputKind};
use std::path::{Path, PathBuf};

const DISTILBERT: &str = r#"{"model_type": "distilbert", "vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12,
    "hidden_dim": 3072, "activation": "gelu", "max_position_embeddings": 512}"#;
const BERT: &str = r#"{"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512,
    "type_vocab_size": 2, "layer_norm_eps": 1e-12}"#;

/// Base models by the names that checkpoints give them.
const PUBLISHED: [(&str, &str); 2] = [("distilbert-base-uncased", DISTILBERT), ("bert-base-uncased", BERT)];

const SUPPORTED: &str = "the model types MLM, MLP, CLS_MLM and BINARY of the LSR framework";

/// The sides of the dual encoder in `dir`, or `None` where it is something else.
pub(super) fn sides(dir: &Path) -> Result<Option<Sides>, Error> {
    let Some(file) = JsonFile::read_if_present(&dir.join("config.json"))? else {
        return Ok(None);
    };
    if file.text("model_type")? != Some("DualEncoder") {
        return Ok(None);
    }
    let tokenizer = dir.join("tokenizer");
    if !tokenizer.is_dir() {
        return Err(Error::MissingFile {
            path: tokenizer,
            remedy: "a dual encoder of the LSR framework keeps its tokenizer there",
        });
    }
    let (query, document) = match file.flag("shared")?.unwrap_or(false) {
        true => ("shared_encoder", "shared_encoder"),
        false => ("query_encoder", "doc_encoder"),
    };
    let (document_prompt, query_prompt) = Default::default();
    Ok(Some(Sides {
        document: encoder(&dir.join(document), &tokenizer, InputKind::Document)?,
        query: encoder(&dir.join(query), &tokenizer, InputKind::Query)?,
        special_tokens: SpecialTokens::Keep,
        document_prompt,
        query_prompt,
    }))
}

/// One encoder by its `model_type`.
fn encoder(dir: &Path, tokenizer: &Path, kind: InputKind) -> Result<Side, Error> {
    let remedy = "a dual encoder of the LSR framework keeps its encoders in shared_encoder, or in query_encoder and \
                  doc_encoder";
    let file = JsonFile::read(&dir.join("config.json"), remedy)?;
    let found = match file.text("model_type")? {
        Some("MLM") => SideOptions {
            head: Some(HeadKind::Mlm),
            pooling: Some(pooling(&file)?),
            special_tokens: Some(SpecialTokens::ZeroLogits),
            ..functions(&file)?
        },
        Some("MLP") => SideOptions {
            head: Some(HeadKind::Token),
            special_tokens: Some(SpecialTokens::ExcludePositions),
            ..functions(&file)?
        },
        Some("CLS_MLM") => SideOptions {
            head: Some(HeadKind::Mlm),
            pooling: Some(Pooling::Cls),
            special_tokens: Some(SpecialTokens::Keep),
            ..functions(&file)?
        },
        Some("BINARY") => {
            return Ok(Side::Binary(BinaryFiles {
                tokenizer: tokenizer.to_owned(),
                found: SideOptions {
                    head: Some(HeadKind::Binary),
                    special_tokens: Some(SpecialTokens::Keep),
                    scatter: Some(match kind {
                        InputKind::Document => Scatter::Max,
                        InputKind::Query => Scatter::Sum,
                    }),
                    scale: Some(scale(dir, &file)?),
                    ..SideOptions::default()
                },
                settings: file.path,
            }));
        }
        other => {
            return Err(Error::Unsupported {
                found: format!("model_type {}", other.unwrap_or("(missing)")),
                path: file.path,
                supported: SUPPORTED,
            });
        }
    };
    Ok(Side::Transformer(TransformerFiles {
        tokenizer: tokenizer.to_owned(),
        config: base(dir, &file)?,
        found,
        settings: file.path,
        ..TransformerFiles::in_dir(dir)
    }))
}

/// The configuration of the base model.
fn base(dir: &Path, file: &JsonFile) -> Result<Configuration, Error> {
    let own = dir.join("base_config.json");
    if own.exists() {
        return Ok(Configuration::File(own));
    }
    let field = "tf_base_model_name_or_dir";
    let name = file.text(field)?.unwrap_or_default();
    match PUBLISHED.iter().find(|(published, _)| *published == name) {
        Some(&(_, text)) => Ok(Configuration::Published {
            path: PathBuf::from(name),
            text,
        }),
        None => {
            let known = PUBLISHED.map(|(name, _)| name).join(" or ");
            let expected = format!("{known}, or the config.json of that model as base_config.json beside this file,");
            Err(Error::field(&file.path, field, expected, format!("{name:?}")))
        }
    }
}

fn pooling(file: &JsonFile) -> Result<Pooling, Error> {
    match file.text("pool")? {
        None | Some("max") => Ok(Pooling::Max),
        Some("sum") => Ok(Pooling::Sum),
        Some(other) => Err(Error::field(
            &file.path,
            "pool",
            "\"max\" or \"sum\"",
            format!("{other:?}"),
        )),
    }
}

/// Activation and norm, which the framework takes to be relu and log1p.
fn functions(file: &JsonFile) -> Result<SideOptions, Error> {
    let activation = match file.text("activation")? {
        None | Some("relu") => SpladeActivation::Relu,
        Some("softplus") => SpladeActivation::Softplus,
        Some("no") => SpladeActivation::Identity,
        Some(other) => {
            let expected = "\"relu\", \"softplus\" or \"no\"";
            return Err(Error::field(&file.path, "activation", expected, format!("{other:?}")));
        }
    };
    let norm = match file.text("norm")? {
        None | Some("log1p") => Norm::Log1p,
        Some("no") => Norm::Identity,
        Some(other) => {
            return Err(Error::field(
                &file.path,
                "norm",
                "\"log1p\" or \"no\"",
                format!("{other:?}"),
            ));
        }
    };
    Ok(SideOptions {
        activation: Some(activation),
        norm: Some(norm),
        ..SideOptions::default()
    })
}

/// The learned scale of a binary encoder: the tensor `scale`, else where it started from.
fn scale(dir: &Path, file: &JsonFile) -> Result<f32, Error> {
    if dir.join("model.safetensors").exists() {
        let weights = WeightsFile::read(dir)?;
        let remedy = "a BINARY encoder of the LSR framework keeps its scale there";
        let scale = weights.tensors()?.tensor(&["scale".to_owned()], &[], remedy)?;
        return Ok(scale.to_vec0()?);
    }
    let expected = "a number above 0";
    let value = file.required("scale", expected)?;
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    let scale = value
        .as_f64()
        .ok_or_else(|| Error::field(&file.path, "scale", expected, value))? as f32;
    Ok(scale)
}

#[cfg(test)]
mod tests {
    use super::super::config::ModelConfig;
    use super::*;

    #[test]
    fn published_base_models_are_well_formed() {
        for (name, text) in PUBLISHED {
            let file = JsonFile::parse(Path::new(name), text.as_bytes().to_vec()).expect("JSON");
            let config = ModelConfig::of(file).expect("whole");
            assert_eq!(
                (config.vocabulary, config.width, config.positions),
                (30522, 768, 512),
                "{name}"
            );
        }
    }
}
