//! The settings in force on one side, and where each came from.

use super::options_file;
use super::policy::{
    CheckpointOptions, Cleaning, Expansion, HeadKind, LongText, Scatter, SideOptions, SpecialTokens, StopWords,
    TermUnit,
};
use super::preset;
use super::quantisation::QuantisationHint;
use crate::transformer::{Norm, Pooling, SpladeActivation, Weighting};
use crate::{Error, InputKind};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One setting in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its name, with the side before it: `document.pooling`.
    pub name: String,
    /// As it would stand in `tamis.json`.
    pub value: Value,
    /// Who decided it.
    pub source: SettingSource,
}

/// Who decided a setting, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// The caller's options.
    Caller,
    /// The directory's `tamis.json`.
    File,
    /// The preset.
    Preset,
    /// The checkpoint's own files.
    Directory,
    /// Nobody: the default.
    Default,
}

/// What caller, file and preset say, for both sides.
pub(super) struct Decisions {
    pub(super) preset: Option<(String, SettingSource)>,
    pub(super) query_model: Option<(String, SettingSource)>,
    pub(super) long_text: (LongText, SettingSource),
    document: Vec<(SettingSource, SideOptions)>,
    query: Vec<(SettingSource, SideOptions)>,
}

impl Decisions {
    /// Reads `tamis.json` of `dir` and the preset that it or the caller names.
    pub(super) fn read(dir: &Path, caller: &CheckpointOptions) -> Result<Self, Error> {
        let file = options_file::read(dir)?;
        let named = |options: &CheckpointOptions, source| Some((options.preset.clone()?, source));
        let preset = named(caller, SettingSource::Caller).or_else(|| named(&file, SettingSource::File));
        let sides = match &preset {
            Some((name, _)) => preset::named(name, &dir.join("tamis.json"))?,
            None => CheckpointOptions::default(),
        };
        let other = |options: &CheckpointOptions, source| Some((options.query_model.clone()?, source));
        let query_model = other(caller, SettingSource::Caller).or_else(|| other(&file, SettingSource::File));
        let long = |options: &CheckpointOptions, source| Some((options.long_text?, source));
        let long_text = long(caller, SettingSource::Caller)
            .or_else(|| long(&file, SettingSource::File))
            .unwrap_or((LongText::Truncate, SettingSource::Default));
        let layers = |side: fn(&CheckpointOptions) -> &SideOptions| {
            let sources = [
                (SettingSource::Caller, caller),
                (SettingSource::File, &file),
                (SettingSource::Preset, &sides),
            ];
            let two = |(source, options): (SettingSource, &CheckpointOptions)| {
                [(source, side(options).clone()), (source, options.both())]
            };
            sources.into_iter().flat_map(two).collect()
        };
        Ok(Self {
            query_model,
            long_text,
            document: layers(|options| &options.document),
            query: layers(|options| &options.query),
            preset,
        })
    }

    /// What is said of one side; `found` is what its own files say, from `path`.
    ///
    /// # Errors
    /// When the preset contradicts the files and nobody stronger decides.
    pub(super) fn side(&self, kind: InputKind, found: &SideOptions, path: &Path) -> Result<Layers, Error> {
        let layers = match kind {
            InputKind::Document => &self.document,
            InputKind::Query => &self.query,
        };
        let mut layers = Layers {
            layers: layers.clone(),
            settings: Vec::new(),
            path: path.to_owned(),
        };
        if let Some((name, _)) = &self.preset {
            layers.check_preset(name, found)?;
        }
        layers.layers.push((SettingSource::Directory, found.clone()));
        Ok(layers)
    }

    /// The head that caller, file or preset call for.
    pub(super) fn head(&self, kind: InputKind) -> Option<HeadKind> {
        let layers = match kind {
            InputKind::Document => &self.document,
            InputKind::Query => &self.query,
        };
        layers.iter().find_map(|(_, options)| options.head)
    }

    /// For messages: who calls for what the tensors do not have.
    pub(super) fn who(&self) -> String {
        match &self.preset {
            Some((name, _)) => format!("as preset {name:?} has it"),
            None => "as the options have it".to_owned(),
        }
    }
}

/// What everybody says of one side, the strongest first.
pub(super) struct Layers {
    layers: Vec<(SettingSource, SideOptions)>,
    settings: Vec<(&'static str, Value, SettingSource)>,
    path: PathBuf,
}

impl Layers {
    fn check_preset(&self, name: &str, found: &SideOptions) -> Result<(), Error> {
        self.check(name, "pooling", found.pooling, |options| options.pooling)?;
        self.check(name, "activation", found.activation, |options| options.activation)?;
        self.check(name, "norm", found.norm, |options| options.norm)?;
        self.check(name, "special_tokens", found.special_tokens, |options| {
            options.special_tokens
        })?;
        self.check(name, "head", found.head, |options| options.head)
    }

    /// Refuses a preset that decides other than the files, where nobody stronger does.
    fn check<T: Serialize + PartialEq + Copy>(
        &self,
        preset: &str,
        field: &'static str,
        found: Option<T>,
        get: impl Fn(&SideOptions) -> Option<T>,
    ) -> Result<(), Error> {
        let decided = self
            .layers
            .iter()
            .find_map(|(source, options)| Some((*source, get(options)?)));
        match (decided, found) {
            (Some((SettingSource::Preset, expected)), Some(found)) if expected != found => {
                let expected = format!("{}, as preset {preset:?} has it,", value_of(&expected));
                Err(Error::field(&self.path, field, expected, value_of(&found)))
            }
            _ => Ok(()),
        }
    }

    /// The strongest word on a field, else `default`; noted either way.
    fn pick<T: Serialize + Clone>(
        &mut self,
        name: &'static str,
        get: impl Fn(&SideOptions) -> Option<T>,
        default: T,
    ) -> T {
        let said = self
            .layers
            .iter()
            .find_map(|(source, options)| Some((get(options)?, *source)));
        let (value, source) = said.unwrap_or((default, SettingSource::Default));
        self.settings.push((name, value_of(&value), source));
        value
    }

    /// As [`Layers::pick`], of a field that may stay without a value, and then is not noted.
    fn pick_if_said<T: Serialize + Clone>(
        &mut self,
        name: &'static str,
        get: impl Fn(&SideOptions) -> Option<T>,
    ) -> Option<T> {
        let (value, source) = self
            .layers
            .iter()
            .find_map(|(source, options)| Some((get(options)?, *source)))?;
        self.settings.push((name, value_of(&value), source));
        Some(value)
    }

    /// The most tokens of a text, where somebody says so before the tokenizer does.
    pub(super) fn max_length(&self) -> Option<(usize, SettingSource)> {
        self.layers
            .iter()
            .find_map(|(source, options)| Some((options.max_length?, *source)))
    }

    /// What a term is.
    pub(super) fn terms(&self) -> TermUnit {
        let said = self.layers.iter().find_map(|(_, options)| options.terms);
        said.unwrap_or(TermUnit::Pieces)
    }

    /// Settles everything for a side of `kind` with `head`.
    pub(super) fn settle(
        mut self,
        kind: InputKind,
        head: HeadKind,
        special_tokens: SpecialTokens,
    ) -> Result<SideSettings, Error> {
        let over_vocabulary = matches!(head, HeadKind::Mlm | HeadKind::Embeddings);
        let special = match head {
            HeadKind::Binary => SpecialTokens::ZeroAdded,
            HeadKind::Embeddings => SpecialTokens::ZeroColumns,
            HeadKind::Mlm | HeadKind::Token | HeadKind::Table | HeadKind::Static => special_tokens,
        };
        let scatter = match (head, kind) {
            (HeadKind::Token, InputKind::Query) => Scatter::Sum,
            _ => Scatter::Max,
        };
        let head = self.pick("head", |options| options.head, head);
        let pooling = match over_vocabulary {
            true => self.pick("pooling", |options| options.pooling, Pooling::Max),
            false => Pooling::Max,
        };
        let weighting = match head {
            HeadKind::Binary | HeadKind::Table => Weighting {
                activation: SpladeActivation::Identity,
                norm: Norm::Identity,
            },
            HeadKind::Mlm | HeadKind::Embeddings | HeadKind::Token | HeadKind::Static => {
                self.weighting(over_vocabulary)?
            }
        };
        let special_tokens = self.pick("special_tokens", |options| options.special_tokens, special);
        let scatter = match over_vocabulary {
            true => Scatter::Max,
            false => self.pick("scatter", |options| options.scatter, scatter),
        };
        let settings = SideSettings {
            head,
            pooling,
            weighting,
            special_tokens,
            scatter,
            terms: self.pick("terms", |options| options.terms, TermUnit::Pieces),
            cleaning: self.pick("cleaning", |options| options.cleaning, Cleaning::None),
            stop_words: self.pick("stop_words", |options| options.stop_words, StopWords::None),
            expansion: self.pick_if_said("expansion", |options| options.expansion),
            lexical: self.pick("lexical", |options| options.lexical, false),
            scale: self.pick("scale", |options| options.scale, 1.0),
            min_weight: self.pick("min_weight", |options| options.min_weight, 0.0),
            prune_ratio: self.pick("prune_ratio", |options| options.prune_ratio, 0.0),
            top_k: self.pick_if_said("top_k", |options| options.top_k),
            quantisation: self.pick_if_said("quantisation", |options| options.quantisation),
            noted: Vec::new(),
        };
        settings.check(&self.path)?;
        Ok(SideSettings {
            noted: self.settings,
            ..settings
        })
    }

    fn weighting(&mut self, over_vocabulary: bool) -> Result<Weighting, Error> {
        let activation = self.pick("activation", |options| options.activation, SpladeActivation::Relu);
        let norm = match (activation, over_vocabulary) {
            (SpladeActivation::Log1pRelu, _) => Norm::Log1pLog1p,
            (SpladeActivation::Identity, _) | (_, false) => Norm::Identity,
            (_, true) => Norm::Log1p,
        };
        let norm = self.pick("norm", |options| options.norm, norm);
        let fits = match activation {
            SpladeActivation::Relu | SpladeActivation::Softplus => true,
            SpladeActivation::Log1pRelu => norm == Norm::Log1pLog1p,
            // The logarithm of a negative weight is none.
            SpladeActivation::Identity => norm == Norm::Identity,
        };
        if fits {
            Ok(Weighting { activation, norm })
        } else {
            let expected = match activation {
                SpladeActivation::Log1pRelu => "\"log1p_log1p\", as activation is \"log1p_relu\",",
                _ => "\"identity\", as activation is \"identity\",",
            };
            Err(Error::field(&self.path, "norm", expected, value_of(&norm)))
        }
    }
}

/// All settings of one side.
#[derive(Clone, Debug)]
pub(super) struct SideSettings {
    pub(super) head: HeadKind,
    pub(super) pooling: Pooling,
    pub(super) weighting: Weighting,
    pub(super) special_tokens: SpecialTokens,
    pub(super) scatter: Scatter,
    pub(super) terms: TermUnit,
    pub(super) cleaning: Cleaning,
    pub(super) stop_words: StopWords,
    pub(super) expansion: Option<Expansion>,
    pub(super) lexical: bool,
    pub(super) scale: f32,
    pub(super) min_weight: f32,
    pub(super) prune_ratio: f32,
    pub(super) top_k: Option<usize>,
    pub(super) quantisation: Option<QuantisationHint>,
    noted: Vec<(&'static str, Value, SettingSource)>,
}

impl SideSettings {
    fn check(&self, path: &Path) -> Result<(), Error> {
        let number = |field, value: f32, fits: bool, expected: &str| match fits && value.is_finite() {
            true => Ok(()),
            false => Err(Error::field(path, field, expected, value)),
        };
        number("scale", self.scale, self.scale > 0.0, "a number above 0")?;
        number(
            "min_weight",
            self.min_weight,
            self.min_weight >= 0.0,
            "a number of at least 0",
        )?;
        let share = (0.0..1.0).contains(&self.prune_ratio);
        number("prune_ratio", self.prune_ratio, share, "a number from 0 to below 1")?;
        if self.top_k == Some(0) {
            return Err(Error::field(path, "top_k", "at least 1", 0));
        }
        let over_vocabulary = matches!(self.head, HeadKind::Mlm | HeadKind::Embeddings);
        if over_vocabulary && self.terms == TermUnit::Words {
            let expected = "\"pieces\", as the head weighs the whole vocabulary,";
            return Err(Error::field(path, "terms", expected, "\"words\""));
        }
        if self
            .expansion
            .is_some_and(|rule| rule.text_pieces == 0 || rule.pieces == 0)
        {
            return Err(Error::field(path, "expansion", "at least 1 piece of each", 0));
        }
        Ok(())
    }

    /// Names, values and sources.
    pub(super) fn noted(&self, side: &str) -> Vec<Setting> {
        let setting = |(name, value, source): &(&str, Value, SettingSource)| Setting {
            name: format!("{side}.{name}"),
            value: value.clone(),
            source: *source,
        };
        self.noted.iter().map(setting).collect()
    }

    /// Notes what was settled elsewhere.
    pub(super) fn note(&mut self, name: &'static str, value: impl Into<Value>, source: SettingSource) {
        self.noted.push((name, value.into(), source));
    }

    /// All values by name.
    pub(super) fn values(&self) -> Value {
        let pairs = self
            .noted
            .iter()
            .map(|(name, value, _)| ((*name).to_owned(), value.clone()));
        Value::Object(pairs.collect())
    }
}

fn value_of(value: &impl Serialize) -> Value {
    // Enums, numbers and flat structures of them: nothing that could fail.
    serde_json::to_value(value).unwrap_or_default()
}
