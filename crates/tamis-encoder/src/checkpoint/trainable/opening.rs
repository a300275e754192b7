//! Opening a checkpoint to train it, and what cannot be trained.

use super::side::{Table, TrainableSide, Weigher};
use super::start::Base;
use super::transformer::TrainableTransformer;
use super::{TrainableModel, TrainableOptions};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::config::ModelConfig;
use crate::checkpoint::layout::{self, Side, Sides};
use crate::checkpoint::policy::{CheckpointOptions, HeadKind, LongText, TermUnit};
use crate::checkpoint::settings::{Decisions, SettingSource};
use crate::checkpoint::side::{Model, SideEncoder};
use crate::checkpoint::weights::Frozen;
use crate::transformer::Placement;
use crate::{Compute, Error, InputKind, Precision};
use candle_core::{DType, Device, Tensor, Var};
use std::path::{Path, PathBuf};

/// A transformer that sides call for, before its weights are read.
struct Plan {
    dir: PathBuf,
    config: ModelConfig,
    heads: Vec<HeadKind>,
    sides: Vec<InputKind>,
}

impl TrainableModel {
    /// Opens the checkpoint in `dir`: any that [`crate::Checkpoint`] opens, and others whose head is still missing, with
    /// what `checkpoint` decides of it.
    ///
    /// Takes four bytes a parameter, and as much again while it is opened.
    ///
    /// # Errors
    /// As [`crate::Checkpoint::open`]; when an option is out of range, the device cannot be used, or the settings are of
    /// a kind that cannot be trained: texts in windows, a side that is not there, sides without common terms, nothing
    /// that could be learned.
    pub fn open(dir: &Path, checkpoint: &CheckpointOptions, options: &TrainableOptions) -> Result<Self, Error> {
        Self::open_as(dir, checkpoint, options, DType::F32)
    }

    /// As [`TrainableModel::open`], in double precision: for comparing gradients with finite differences.
    #[doc(hidden)]
    pub fn open_in_double(
        dir: &Path,
        checkpoint: &CheckpointOptions,
        options: &TrainableOptions,
    ) -> Result<Self, Error> {
        Self::open_as(dir, checkpoint, options, DType::F64)
    }

    fn open_as(
        dir: &Path,
        checkpoint: &CheckpointOptions,
        options: &TrainableOptions,
        dtype: DType,
    ) -> Result<Self, Error> {
        check(dir, options)?;
        if let Some(length) = options.max_length {
            let expected = "left out (for a checkpoint it is the setting `max_length`)";
            return Err(untrainable(dir, "max_length", length.to_string(), expected));
        }
        let device = device(options)?;
        let base = Base::ready(dir, checkpoint, &options.start)?;
        let decisions = Decisions::read(base.path(), base.options())?;
        if decisions.long_text.0 != LongText::Truncate {
            let found = serde_json::json!(decisions.long_text.0).to_string();
            return Err(untrainable(
                dir,
                "long_text",
                found,
                "\"truncate\" (the weights of a text are those of one pass)",
            ));
        }
        let other = decisions.query_model.as_ref().map(|(name, _)| name.as_str());
        let files = layout::sides(base.path(), other)?;
        let opened = Checkpoint::open_at(base.path(), base.options(), &Placement::Tensors(Device::Cpu))?;
        let (document, query) = (opened.document, opened.query);
        check_sides(dir, &document, &query)?;
        let transformers = plans(&files, &document, &query)?;
        let place = |kind| transformers.iter().position(|plan: &Plan| plan.sides.contains(&kind));
        let places = [place(InputKind::Document), place(InputKind::Query)];
        let columns = columns(&transformers, &document, &query);
        let transformers = transformers.into_iter();
        let transformers: Vec<TrainableTransformer> = transformers
            .map(|plan| plan.open(options, (dtype, &device)))
            .collect::<Result<_, _>>()?;
        let [document, query] = [(document, places[0]), (query, places[1])]
            .map(|(side, place)| weigher(side, place, options, (dtype, &device)));
        let (document, query) = (document?, query?);
        let query_root = other.map(|name| base.path().join(name));
        let model = Self {
            query_root: query_root.map(|root| root.canonicalize().unwrap_or(root)),
            query_files: files.query,
            preset: decisions.preset.map(|(name, _)| name),
            base,
            transformers,
            document: document.hiding(columns),
            query: query.hiding(columns),
            columns,
            dtype,
            device,
        };
        if model.variables().is_empty() {
            let found = "nothing to learn".to_owned();
            return Err(untrainable(
                dir,
                "model",
                found,
                "a side with variables: a transformer, or train_query_table",
            ));
        }
        Ok(model)
    }
}

impl Plan {
    fn open(self, options: &TrainableOptions, place: (DType, &Device)) -> Result<TrainableTransformer, Error> {
        let label = match self.sides.as_slice() {
            [InputKind::Document] => "document",
            [InputKind::Query] => "query",
            _ => "shared",
        };
        let frozen = Frozen {
            embeddings: options.frozen_embeddings || options.frozen_layers > 0,
            layers: options.frozen_layers,
        };
        let dropout = options.dropout.map_or_else(|| self.config.dropout(), Ok)?;
        let transformer = TrainableTransformer::new(
            (self.dir, label),
            (self.config, dropout),
            self.heads,
            (frozen, options.activation_cache_bytes),
            place,
        )?;
        // Reads every tensor that takes part.
        transformer.graph(true)?;
        Ok(transformer)
    }
}

/// A side that still has to be told how many columns there are.
struct Settled {
    rules: SideEncoder,
    weigher: Weigher,
}

impl Settled {
    fn hiding(self, columns: usize) -> TrainableSide {
        TrainableSide::new(self.rules, self.weigher, columns)
    }
}

pub(super) fn check(dir: &Path, options: &TrainableOptions) -> Result<(), Error> {
    if let Some(rate) = options.dropout.filter(|rate| !(0.0..1.0).contains(rate)) {
        return Err(untrainable(
            dir,
            "dropout",
            rate.to_string(),
            "a number from 0 to below 1",
        ));
    }
    let start = &options.start;
    if !(start.deviation > 0.0 && start.deviation.is_finite()) {
        return Err(untrainable(
            dir,
            "start.deviation",
            start.deviation.to_string(),
            "a number above 0",
        ));
    }
    if !(start.scale > 0.0 && start.scale.is_finite()) {
        return Err(untrainable(
            dir,
            "start.scale",
            start.scale.to_string(),
            "a number above 0",
        ));
    }
    Ok(())
}

pub(super) fn device(options: &TrainableOptions) -> Result<Device, Error> {
    let compute = Compute {
        device: options.device,
        precision: Some(Precision::F32),
    };
    match Placement::of(compute)? {
        Placement::Packed(_) => Ok(Device::Cpu),
        Placement::Tensors(device) => Ok(device),
    }
}

fn check_sides(dir: &Path, document: &SideEncoder, query: &SideEncoder) -> Result<(), Error> {
    for side in [document, query] {
        if let Model::Absent(path) = &side.model {
            return Err(Error::OneSided {
                path: path.clone(),
                kind: side.kind,
            });
        }
    }
    if document.settings.terms != query.settings.terms {
        let found = match document.settings.terms {
            TermUnit::Words => "words of documents and pieces of queries",
            TermUnit::Pieces => "pieces of documents and words of queries",
        };
        return Err(untrainable(
            dir,
            "terms",
            found.to_owned(),
            "the same terms on both sides",
        ));
    }
    let (ours, theirs) = (&document.tokenizer, &query.tokenizer);
    if ours.path != theirs.path {
        let last = u32::try_from(ours.num_ids().max(theirs.num_ids())).unwrap_or(u32::MAX);
        if let Some(id) = (0..last).find(|&id| ours.token(id) != theirs.token(id)) {
            let found = format!("{:?} and {:?} under id {id}", ours.token(id), theirs.token(id));
            return Err(untrainable(
                dir,
                "tokenizer",
                found,
                "the same vocabulary on both sides",
            ));
        }
    }
    Ok(())
}

/// The transformers of both sides, one that both share once.
fn plans(files: &Sides, document: &SideEncoder, query: &SideEncoder) -> Result<Vec<Plan>, Error> {
    let mut plans: Vec<Plan> = Vec::new();
    for (files, side) in [(&files.document, document), (&files.query, query)] {
        let head = side.settings.head;
        let Side::Transformer(files) = files else { continue };
        if matches!(head, HeadKind::Binary | HeadKind::Table) {
            continue;
        }
        let at = match plans.iter().position(|plan| plan.dir == files.dir) {
            Some(at) => at,
            None => {
                plans.push(Plan {
                    dir: files.dir.clone(),
                    config: files.model_config()?,
                    heads: Vec::new(),
                    sides: Vec::new(),
                });
                plans.len() - 1
            }
        };
        let plan = &mut plans[at];
        plan.sides.push(side.kind);
        if !plan.heads.contains(&head) {
            plan.heads.push(head);
        }
    }
    Ok(plans)
}

/// Rows of the larger vocabulary.
fn columns(plans: &[Plan], document: &SideEncoder, query: &SideEncoder) -> usize {
    let tables = [document, query].map(|side| side.tokenizer.num_ids());
    let transformers = plans.iter().map(|plan| plan.config.vocabulary);
    transformers.chain(tables).max().unwrap_or(0)
}

/// What weighs the tokens of `side`, whose own model is let go.
fn weigher(
    mut side: SideEncoder,
    transformer: Option<usize>,
    options: &TrainableOptions,
    (dtype, device): (DType, &Device),
) -> Result<Settled, Error> {
    let nothing = Model::Absent(side.tokenizer.path.clone());
    let model = std::mem::replace(&mut side.model, nothing);
    let weigher = match (side.settings.head, transformer, model) {
        (HeadKind::Static, Some(at), _) => Weigher::Static(at),
        (HeadKind::Table, _, Model::Table(table)) => {
            let table = Tensor::from_slice(&table, table.len(), device)?.to_dtype(dtype)?;
            Weigher::Table(match options.train_query_table {
                true => Table::Learned(Var::from_tensor(&table)?),
                false => Table::Fixed(table),
            })
        }
        (HeadKind::Mlm | HeadKind::Token | HeadKind::Embeddings, Some(at), _) => Weigher::Transformer(at),
        _ if options.train_scale => {
            let settings = side.settings.noted("side");
            let said = settings
                .iter()
                .any(|setting| setting.name == "side.scale" && setting.source != SettingSource::Default);
            let scale = if said { side.settings.scale } else { options.start.scale };
            let scale = Tensor::new(scale, device)?.to_dtype(dtype)?;
            Weigher::Binary(Some(Var::from_tensor(&scale)?))
        }
        _ => Weigher::Binary(None),
    };
    Ok(Settled { rules: side, weigher })
}

/// An error that `setting` is of a kind that cannot be trained.
pub(super) fn untrainable(path: &Path, setting: &'static str, found: String, expected: &'static str) -> Error {
    Error::Untrainable {
        path: path.to_owned(),
        setting,
        found,
        expected,
    }
}
