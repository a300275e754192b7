//! A transformer with its heads as a function of variables.

use super::cache::ActivationCache;
use crate::Error;
use crate::checkpoint::config::ModelConfig;
use crate::checkpoint::heads::{self, TokenLayers};
use crate::checkpoint::load;
use crate::checkpoint::policy::HeadKind;
use crate::checkpoint::weights::{Frozen, VariableStore, WeightsFile};
use crate::transformer::{DeviceBackbone, DeviceMlmHead, Dropout, LinearParameters, MlmParameters, Parameters, Rows};
use candle_core::{DType, Device, Result as TensorResult, Tensor, Var};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The variables of one weights file, and what is computed from them.
pub(super) struct TrainableTransformer {
    /// The directory of its weights.
    pub(super) dir: PathBuf,
    /// What the names of its variables begin with: `shared`, `document` or `query`.
    pub(super) label: &'static str,
    pub(super) config: ModelConfig,
    /// The rate of dropout.
    pub(super) dropout: f64,
    pub(super) store: VariableStore,
    /// Each once.
    pub(super) heads: Vec<HeadKind>,
    frozen: Frozen,
    cache: Mutex<ActivationCache>,
}

/// A transformer as its variables stand: valid until they change.
pub(super) struct Graph {
    backbone: DeviceBackbone,
    /// The layers that stay as they are.
    below: Option<DeviceBackbone>,
    pub(super) mlm: Option<DeviceMlmHead>,
    /// SPARTA's head.
    pub(super) embeddings: Option<DeviceMlmHead>,
    pub(super) token: Option<TokenLayers>,
    pub(super) importance: Option<TokenLayers>,
    pub(super) quality: Option<TokenLayers>,
    /// Word embeddings, `[vocabulary, width]`.
    pub(super) words: Tensor,
}

impl TrainableTransformer {
    /// Reads nothing but headers.
    pub(super) fn new(
        (dir, label): (PathBuf, &'static str),
        (config, dropout): (ModelConfig, f64),
        heads: Vec<HeadKind>,
        (frozen, cache_bytes): (Frozen, usize),
        place: (DType, &Device),
    ) -> Result<Self, Error> {
        let mut store = VariableStore::new(WeightsFile::read(&dir)?, frozen, place);
        let twins = load::twins(&config, &store.files().tensors()?);
        store.share(twins)?;
        Ok(Self {
            dir,
            label,
            config,
            dropout,
            store,
            heads,
            frozen,
            cache: Mutex::new(ActivationCache::new(cache_bytes)),
        })
    }

    /// The variables by their names among all of a model, sorted.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, Var)> + use<'_> {
        let named = self.store.variables().into_iter();
        named.map(|(name, var)| (format!("{}.{name}", self.label), var))
    }

    /// The transformer as the variables stand; without `tracked` nothing computed with it can be differentiated, and
    /// nothing is kept for that.
    pub(super) fn graph(&self, tracked: bool) -> Result<Graph, Error> {
        let (config, weights) = (&self.config, self.store.weights(tracked));
        let path = &self.store.files().path;
        let has = |head| self.heads.contains(&head);
        let device = weights.zeros(0)?.device().clone();
        let parameters = load::backbone(config, &weights)?;
        let words = parameters.words.clone();
        let (below, parameters) = self.split(parameters);
        let backbone = DeviceBackbone::new(&parameters, &device)?;
        let mlm: Option<MlmParameters> = has(HeadKind::Mlm)
            .then(|| load::mlm_head(config, &weights))
            .transpose()?;
        let token = has(HeadKind::Token) || has(HeadKind::Static);
        let embeddings = match has(HeadKind::Embeddings) {
            true => {
                let bias = weights.find(&["bias".to_owned()], &[1])?;
                let zeros = weights.zeros(config.vocabulary)?;
                let bias = bias.map_or_else(|| Ok(zeros.clone()), |bias| zeros.broadcast_add(&bias))?;
                Some(DeviceMlmHead::bare(words.clone(), bias)?)
            }
            false => None,
        };
        Ok(Graph {
            mlm: mlm.map(|head| DeviceMlmHead::new(&head, &backbone)).transpose()?,
            embeddings,
            token: token
                .then(|| heads::token_layers(&weights, path, config.width))
                .transpose()?,
            importance: heads::epic_layers(&weights, "term_importance", config.width)?,
            quality: heads::epic_layers(&weights, "doc_quality", config.width)?,
            below: below.map(|below| DeviceBackbone::new(&below, &device)).transpose()?,
            backbone,
            words,
        })
    }

    /// The layers that stay as they are, where there are any, and those that do not.
    fn split(&self, mut parameters: Parameters) -> (Option<Parameters>, Parameters) {
        let below = self.frozen.layers.min(parameters.layers.len());
        if below == 0 {
            return (None, parameters);
        }
        let above = parameters.layers.split_off(below);
        let lower = Parameters {
            final_norm: None,
            ..parameters.clone()
        };
        parameters.layers = above;
        (Some(lower), parameters)
    }

    /// The last hidden states of `texts`, `[rows, width]`, with the rows that they are of.
    pub(super) fn hidden(
        &self,
        graph: &Graph,
        texts: &[&[u32]],
        dropout: Option<Dropout<'_>>,
    ) -> Result<(Tensor, Rows), Error> {
        let mut rows = Rows::default();
        texts.iter().for_each(|ids| rows.push(ids));
        let below = match &graph.below {
            None => None,
            Some(below) => {
                let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
                Some(cache.states(texts, |rows| below.forward(rows))?)
            }
        };
        let hidden = graph.backbone.forward_from(&rows, below.as_ref(), dropout)?;
        Ok((hidden, rows))
    }
}

/// One number for each row of `hidden`: a linear map, perhaps with a rectified one before it.
pub(super) fn numbers(layers: &TokenLayers, hidden: &Tensor) -> TensorResult<Tensor> {
    let map = |x: &Tensor, layer: &LinearParameters| crate::transformer::linear_rows(x, layer);
    let inner = layers
        .inner
        .as_ref()
        .map(|inner| map(hidden, inner)?.relu())
        .transpose()?;
    map(inner.as_ref().unwrap_or(hidden), &layers.outer)?.squeeze(1)
}
