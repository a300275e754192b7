//! Opening the two sides of a checkpoint: each from its files and the decisions on it, what both share only once.

use super::config::MAX_VOCABULARY;
use super::hash;
use super::layout::{BinaryFiles, Side, Sides, TableFiles, TransformerFiles};
use super::model::TransformerModel;
use super::policy::{HeadKind, SideOptions, SpecialTokens, TermUnit};
use super::query_table;
use super::settings::{Decisions, Layers, Setting, SettingSource, SideSettings};
use super::side::{Model, SideEncoder};
use super::tokenizer::{TextTokenizer, TokenizerUse};
use crate::transformer::Placement;
use crate::{Error, InputKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tamis_core::Fingerprint;

/// Raised whenever the same files would give other vectors than before.
const REVISION: &str = "tamis checkpoint 2";

/// A checkpoint that is being opened.
pub(super) struct Opening<'a> {
    decisions: &'a Decisions,
    sides: &'a Sides,
    root: &'a Path,
    placement: &'a Placement,
    hasher: blake3::Hasher,
}

/// What a side is made of, before its settings are noted.
struct Parts {
    model: Model,
    tokenizer: TextTokenizer,
    settings: SideSettings,
    multiplier: Option<Vec<f32>>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(decisions: &'a Decisions, sides: &'a Sides, root: &'a Path, placement: &'a Placement) -> Self {
        let mut hasher = blake3::Hasher::new();
        hash(&mut hasher, REVISION.as_bytes());
        Self {
            decisions,
            sides,
            root,
            placement,
            hasher,
        }
    }

    /// Refuses the preset of two encoders on a directory of one.
    pub(super) fn check_pair(&self) -> Result<(), Error> {
        match &self.decisions.preset {
            Some((name, _)) if name == "efficient-splade" && self.sides.document == self.sides.query => {
                let expected = "the directory of the query encoder, as preset \"efficient-splade\" has two,";
                Err(Error::field(
                    &self.root.join("tamis.json"),
                    "query_model",
                    expected,
                    "nothing",
                ))
            }
            _ => Ok(()),
        }
    }

    /// The document side.
    pub(super) fn document(&mut self) -> Result<SideEncoder, Error> {
        self.side(InputKind::Document, &self.sides.document, None)
    }

    /// The query side; a transformer that both sides share is read once.
    pub(super) fn query(&mut self, document: &SideEncoder) -> Result<SideEncoder, Error> {
        let shared = match (&document.model, self.sides.document == self.sides.query) {
            (Model::Transformer(model), true) => Some(model.clone()),
            _ => None,
        };
        self.side(InputKind::Query, &self.sides.query, shared)
    }

    /// Over everything that shapes vectors; where the directory lies does not count.
    pub(super) fn fingerprint(mut self, sides: [&SideEncoder; 2]) -> Fingerprint {
        for side in sides {
            hash(&mut self.hasher, side.settings.values().to_string().as_bytes());
        }
        Fingerprint::new(*self.hasher.finalize().as_bytes())
    }

    fn side(
        &mut self,
        kind: InputKind,
        side: &Side,
        shared: Option<Arc<TransformerModel>>,
    ) -> Result<SideEncoder, Error> {
        let mut parts = match (side, self.decisions.head(kind)) {
            (Side::Transformer(files), Some(HeadKind::Binary)) => {
                let files = BinaryFiles {
                    tokenizer: files.tokenizer.clone(),
                    found: SideOptions::default(),
                    settings: files.settings.clone(),
                };
                self.binary(kind, &files)?
            }
            (Side::Transformer(files), Some(HeadKind::Static)) => self.embedded_table(kind, files)?,
            (
                Side::Transformer(files),
                head @ (Some(HeadKind::Mlm | HeadKind::Token | HeadKind::Embeddings) | None),
            ) => self.transformer(kind, files, (head, shared))?,
            (Side::Table(files), None | Some(HeadKind::Table)) => self.table(kind, files)?,
            (Side::Binary(files), None | Some(HeadKind::Binary)) => self.binary(kind, files)?,
            (Side::Absent(path), _) => self.absent(kind, path)?,
            (Side::Transformer(_), Some(HeadKind::Table)) => return Err(self.wrong_head(kind, "no table of weights")),
            (Side::Table(_), Some(_)) => return Err(self.wrong_head(kind, "a table of weights")),
            (Side::Binary(_), Some(_)) => return Err(self.wrong_head(kind, "a binary encoder")),
        };
        let prompt = match kind {
            InputKind::Document => &self.sides.document_prompt,
            InputKind::Query => &self.sides.query_prompt,
        };
        let prompt_source = match prompt.is_empty() {
            true => SettingSource::Default,
            false => SettingSource::Directory,
        };
        parts.settings.note("prompt", prompt.as_str(), prompt_source);
        parts
            .tokenizer
            .bytes
            .iter()
            .for_each(|bytes| hash(&mut self.hasher, bytes));
        let Parts {
            model,
            tokenizer,
            settings,
            multiplier,
        } = parts;
        Ok(SideEncoder::new(
            (kind, prompt.clone()),
            model,
            Arc::new(tokenizer),
            settings,
            multiplier,
        ))
    }

    fn wrong_head(&self, kind: InputKind, found: &str) -> Error {
        let head = self
            .decisions
            .head(kind)
            .map(|head| serde_json::json!(head).to_string());
        let expected = format!("{}, {},", head.unwrap_or_default(), self.decisions.who());
        let field = match kind {
            InputKind::Document => "document.head",
            InputKind::Query => "query.head",
        };
        Error::field(self.root, field, expected, found)
    }

    fn transformer(
        &mut self,
        kind: InputKind,
        files: &TransformerFiles,
        (head, shared): (Option<HeadKind>, Option<Arc<TransformerModel>>),
    ) -> Result<Parts, Error> {
        let head = head.or(files.found.head);
        let model = match shared.filter(|model| head.is_none_or(|head| head == model.kind)) {
            Some(model) => model,
            None => {
                let (model, read) = TransformerModel::read(files, head, &self.decisions.who(), self.placement)?;
                hash(&mut self.hasher, &read.config);
                read.weights.hash_into(&mut self.hasher)?;
                Arc::new(model)
            }
        };
        let found = SideOptions {
            head: Some(model.kind),
            ..files.found.clone()
        };
        let layers = self.decisions.side(kind, &found, &files.settings)?;
        let length = layers.max_length();
        let tokenizer = TextTokenizer::read(&files.tokenizer, self.usage(&layers, model.positions))?;
        tokenizer.check_fits(model.vocabulary)?;
        let multiplier = match &files.multiplier {
            None => None,
            Some(files) => Some(query_table::read(files, &tokenizer, &mut self.hasher)?),
        };
        let mut settings = layers.settle(kind, model.kind, self.sides.special_tokens)?;
        self.note_length(&mut settings, &tokenizer, length);
        if multiplier.is_some() {
            settings.note("multiplier", "a SparseStaticEmbedding", SettingSource::Directory);
        }
        Ok(Parts {
            model: Model::Transformer(model),
            tokenizer,
            settings,
            multiplier,
        })
    }

    fn table(&mut self, kind: InputKind, files: &TableFiles) -> Result<Parts, Error> {
        let path = files
            .list
            .clone()
            .unwrap_or_else(|| files.dir.join("model.safetensors"));
        let layers = self.decisions.side(kind, &SideOptions::default(), &path)?;
        let length = layers.max_length();
        let tokenizer = self.bare_tokenizer(&layers, &files.dir)?;
        let table = query_table::read(files, &tokenizer, &mut self.hasher)?;
        let mut settings = layers.settle(kind, HeadKind::Table, self.sides.special_tokens)?;
        self.note_length(&mut settings, &tokenizer, length);
        Ok(Parts {
            model: Model::Table(Arc::new(table)),
            tokenizer,
            settings,
            multiplier: None,
        })
    }

    fn embedded_table(&mut self, kind: InputKind, files: &TransformerFiles) -> Result<Parts, Error> {
        let layers = self.decisions.side(kind, &SideOptions::default(), &files.settings)?;
        let length = layers.max_length();
        let tokenizer = self.bare_tokenizer(&layers, &files.tokenizer)?;
        let mut settings = layers.settle(kind, HeadKind::Static, SpecialTokens::ZeroAdded)?;
        let table = query_table::from_embeddings(files, settings.weighting, &mut self.hasher)?;
        tokenizer.check_fits(table.len())?;
        self.note_length(&mut settings, &tokenizer, length);
        Ok(Parts {
            model: Model::Table(Arc::new(table)),
            tokenizer,
            settings,
            multiplier: None,
        })
    }

    fn binary(&mut self, kind: InputKind, files: &BinaryFiles) -> Result<Parts, Error> {
        let layers = self.decisions.side(kind, &files.found, &files.settings)?;
        let length = layers.max_length();
        let tokenizer = self.bare_tokenizer(&layers, &files.tokenizer)?;
        let mut settings = layers.settle(kind, HeadKind::Binary, SpecialTokens::ZeroAdded)?;
        self.note_length(&mut settings, &tokenizer, length);
        Ok(Parts {
            model: Model::Binary,
            tokenizer,
            settings,
            multiplier: None,
        })
    }

    /// A side that can only say that it is not there; its tokenizer is that of the other side.
    fn absent(&mut self, kind: InputKind, path: &Path) -> Result<Parts, Error> {
        let layers = self.decisions.side(kind, &SideOptions::default(), path)?;
        let length = layers.max_length();
        let tokenizer = self.bare_tokenizer(&layers, path)?;
        let mut settings = layers.settle(kind, HeadKind::Table, self.sides.special_tokens)?;
        self.note_length(&mut settings, &tokenizer, length);
        settings.note("absent", true, SettingSource::Directory);
        Ok(Parts {
            model: Model::Absent(PathBuf::from(path)),
            tokenizer,
            settings,
            multiplier: None,
        })
    }

    fn usage(&self, layers: &Layers, positions: usize) -> TokenizerUse {
        TokenizerUse {
            with_special: true,
            max_length: layers.max_length().map(|(length, _)| length),
            positions,
            long_text: self.decisions.long_text.0,
            words: layers.terms() == TermUnit::Words,
        }
    }

    /// A tokenizer that puts nothing around texts, of a model without positions.
    fn bare_tokenizer(&self, layers: &Layers, dir: &Path) -> Result<TextTokenizer, Error> {
        let usage = TokenizerUse {
            with_special: false,
            ..self.usage(layers, usize::MAX)
        };
        let tokenizer = TextTokenizer::read(dir, usage)?;
        tokenizer.check_fits(MAX_VOCABULARY)?;
        Ok(tokenizer)
    }

    fn note_length(
        &self,
        settings: &mut SideSettings,
        tokenizer: &TextTokenizer,
        asked: Option<(usize, SettingSource)>,
    ) {
        let source = match (asked, tokenizer.limited) {
            // More than the model has positions for is not what is in force.
            (Some((length, source)), _) if length == tokenizer.max_length => source,
            (_, true) => SettingSource::Directory,
            (_, false) => SettingSource::Default,
        };
        settings.note("max_length", tokenizer.max_length, source);
        let (long_text, source) = self.decisions.long_text;
        settings.note("long_text", serde_json::json!(long_text), source);
    }
}

impl Decisions {
    /// Those on the model as a whole.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let setting = |name: &str, value: serde_json::Value, source| Setting {
            name: name.to_owned(),
            value,
            source,
        };
        let mut settings = Vec::new();
        if let Some((preset, source)) = &self.preset {
            settings.push(setting("preset", preset.as_str().into(), *source));
        }
        if let Some((query_model, source)) = &self.query_model {
            settings.push(setting("query_model", query_model.as_str().into(), *source));
        }
        settings
    }
}
