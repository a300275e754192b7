//! One side of a model that is trained: texts to a matrix of weights, differentiable, by the settings that encoding
//! goes by.
//!
//! The order is that of `checkpoint/side.rs` and `checkpoint/model.rs`: head, pooling or scattering, special tokens,
//! lexical mask, scale, pruning. Weights below zero, which only `identity` gives, are kept here: a loss on them can lift
//! them, while the encoder drops them at the end.

use super::prune::prune;
use super::scatter::{Place, scatter};
use super::texts::StepText;
use super::transformer::{Graph, TrainableTransformer, numbers};
use crate::Error;
use crate::checkpoint::model::{IMPORTANCE, pooled_positions};
use crate::checkpoint::policy::{HeadKind, Scatter, SpecialTokens};
use crate::checkpoint::side::SideEncoder;
use crate::transformer::{Dropout, PoolRule, Pooling, Rows, SpladeActivation, weigh};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::HashSet;
use std::ops::Range;

/// Texts of one kind as a function of variables.
pub(super) struct TrainableSide {
    /// Its tokenizer and its settings; it has no model.
    pub(super) rules: SideEncoder,
    pub(super) weigher: Weigher,
    /// Columns that never get a weight, of models that weigh the whole vocabulary.
    hidden_columns: Vec<u32>,
}

/// What weighs the tokens.
pub(super) enum Weigher {
    /// A transformer of the model by its place, with the head that the settings name.
    Transformer(usize),
    /// The same, of which only the word embeddings and the token head take part: Li-LSR.
    Static(usize),
    Table(Table),
    /// Each token weighs 1, times a factor that is learned where there is one.
    Binary(Option<Var>),
}

/// A weight for each token id.
pub(super) enum Table {
    Learned(Var),
    Fixed(Tensor),
}

impl Table {
    fn weights(&self, tracked: bool) -> Tensor {
        match self {
            Self::Learned(var) if tracked => var.as_tensor().clone(),
            Self::Learned(var) => var.as_tensor().detach(),
            Self::Fixed(weights) => weights.clone(),
        }
    }
}

/// What the representations of some texts are made with.
pub(super) struct Work<'a> {
    pub(super) graph: Option<(&'a TrainableTransformer, &'a Graph)>,
    pub(super) dropout: Option<Dropout<'a>>,
    pub(super) tracked: bool,
    pub(super) columns: usize,
    pub(super) place: (DType, &'a Device),
}

impl TrainableSide {
    pub(super) fn new(rules: SideEncoder, weigher: Weigher, vocabulary: usize) -> Self {
        let stop_words = rules.settings.stop_words;
        let is_hidden = |id: &u32| {
            let name = rules.tokenizer.token(*id).unwrap_or_else(|| format!("[id {id}]"));
            rules.has_no_column(*id) || stop_words.drop(&name)
        };
        let hidden_columns = match rules.settings.head {
            HeadKind::Mlm | HeadKind::Embeddings => (0u32..).take(vocabulary).filter(is_hidden).collect(),
            HeadKind::Token | HeadKind::Binary | HeadKind::Table | HeadKind::Static => Vec::new(),
        };
        Self {
            rules,
            weigher,
            hidden_columns,
        }
    }

    /// Representations of `texts`, `[texts, columns]`.
    pub(super) fn represent(&self, texts: &[StepText], work: &Work<'_>) -> Result<Tensor, Error> {
        let settings = &self.rules.settings;
        let weights = match (&self.weigher, work.graph) {
            (Weigher::Transformer(_), Some(graph)) if settings.head == HeadKind::Token => {
                self.of_tokens(texts, graph, work)?
            }
            (Weigher::Transformer(_), Some(graph)) => self.over_vocabulary(texts, graph, work)?,
            (Weigher::Static(_), Some((_, graph))) => {
                let table = static_table(graph, &self.rules)?;
                self.looked_up(texts, &table, work)?
            }
            (Weigher::Table(table), _) => self.looked_up(texts, &table.weights(work.tracked), work)?,
            (Weigher::Binary(_), _) | (_, None) => self.counted(texts, work)?,
        };
        let scaled = match &self.weigher {
            Weigher::Binary(Some(scale)) if work.tracked => weights.broadcast_mul(scale.as_tensor())?,
            Weigher::Binary(Some(scale)) => weights.broadcast_mul(&scale.as_tensor().detach())?,
            _ if settings.scale != 1.0 => (weights * f64::from(settings.scale))?,
            _ => weights,
        };
        prune(&scaled, (settings.min_weight, settings.prune_ratio), settings.top_k)
    }

    /// By a head that weighs the whole vocabulary.
    fn over_vocabulary(
        &self,
        texts: &[StepText],
        (transformer, graph): (&TrainableTransformer, &Graph),
        work: &Work<'_>,
    ) -> Result<Tensor, Error> {
        let settings = &self.rules.settings;
        let (hidden, rows) = transformer.hidden(graph, &ids(texts), work.dropout)?;
        let kept: Vec<Vec<usize>> = texts
            .iter()
            .map(|text| pooled_positions(settings, &text.tokens))
            .collect();
        let (pooled_rows, ranges) = kept_rows(&hidden, &rows, &kept)?;
        let rule = PoolRule {
            pooling: settings.pooling,
            weighting: settings.weighting,
            factors: None,
        };
        let head = match settings.head {
            HeadKind::Embeddings => graph.embeddings.as_ref(),
            _ => graph.mlm.as_ref(),
        };
        let head = head.ok_or_else(|| candle_core::Error::Msg("the head was not asked for".to_owned()))?;
        let mut weights = match &graph.importance {
            None => head.pool(&pooled_rows, &ranges, &rule)?,
            Some(importance) => {
                let factors = weigh(&numbers(importance, &pooled_rows)?, IMPORTANCE)?;
                head.pool_weighted(&pooled_rows, &ranges, &rule, &factors)?
            }
        };
        if settings.special_tokens == SpecialTokens::ZeroLogits {
            weights = self.with_zero_logits(&weights, texts)?;
        }
        if let Some(quality) = graph.quality.as_ref().filter(|_| !rows.ids.is_empty()) {
            let last = rows.ids.len() - 1;
            let first: Vec<u32> = rows
                .ranges
                .iter()
                .map(|range| row(range.start.min(last)))
                .collect::<Result<_, _>>()?;
            let first = hidden.index_select(&Tensor::from_vec(first, texts.len(), hidden.device())?, 0)?;
            let sigmoid = ((numbers(quality, &first)?.neg()?.exp()? + 1.0)?).recip()?;
            weights = weights.broadcast_mul(&sigmoid.unsqueeze(1)?)?;
        }
        let weights = widened(&weights, work.columns)?;
        match settings.lexical || self.rules.multiplier.is_some() {
            true => Ok(weights.mul(&self.own_tokens(texts, work)?)?),
            false if self.hidden_columns.is_empty() => Ok(weights),
            false => {
                let mut mask = vec![1f32; work.columns];
                self.hidden_columns
                    .iter()
                    .for_each(|&column| mask[column as usize] = 0.0);
                Ok(weights.broadcast_mul(&constant(mask, (1, work.columns), work)?)?)
            }
        }
    }

    /// What positions with a logit of 0 in every column add.
    fn with_zero_logits(&self, weights: &Tensor, texts: &[StepText]) -> Result<Tensor, Error> {
        let settings = &self.rules.settings;
        let zero = f64::from(settings.weighting.of(0.0));
        if settings.pooling == Pooling::Cls || zero <= 0.0 {
            return Ok(weights.clone());
        }
        let count = |text: &StepText| text.tokens.added.iter().filter(|&&added| added).count();
        #[expect(clippy::cast_precision_loss, reason = "a handful of tokens")]
        let add: Vec<f64> = texts
            .iter()
            .map(|text| match settings.pooling {
                Pooling::Sum => zero * count(text) as f64,
                Pooling::Max | Pooling::Cls if count(text) > 0 => zero,
                Pooling::Max | Pooling::Cls => 0.0,
            })
            .collect();
        let add = Tensor::from_vec(add, (texts.len(), 1), weights.device())?.to_dtype(weights.dtype())?;
        match settings.pooling {
            Pooling::Sum => Ok(weights.broadcast_add(&add)?),
            // Above it the weight alone has a gradient, below it none.
            Pooling::Max | Pooling::Cls => Ok((weights.broadcast_sub(&add)?.relu()?.broadcast_add(&add))?),
        }
    }

    /// By a head of one number a token.
    fn of_tokens(
        &self,
        texts: &[StepText],
        (transformer, graph): (&TrainableTransformer, &Graph),
        work: &Work<'_>,
    ) -> Result<Tensor, Error> {
        let settings = &self.rules.settings;
        let (hidden, rows) = transformer.hidden(graph, &ids(texts), work.dropout)?;
        let head = graph.token.as_ref();
        let head = head.ok_or_else(|| candle_core::Error::Msg("the head was not asked for".to_owned()))?;
        let weights = weigh(&numbers(head, &hidden)?, settings.weighting)?;
        self.scattered(texts, &weights, &rows.ranges, work)
    }

    /// By a weight for each token id.
    fn looked_up(&self, texts: &[StepText], table: &Tensor, work: &Work<'_>) -> Result<Tensor, Error> {
        let rows = table.dim(0)?;
        let ids: Vec<u32> = texts.iter().flat_map(|text| text.tokens.ids.iter().copied()).collect();
        if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
            return Err(candle_core::Error::Msg(format!("token {id} of a table of {rows}")).into());
        }
        let len = ids.len();
        let weights = table
            .relu()?
            .index_select(&Tensor::from_vec(ids, len, table.device())?, 0)?;
        self.scattered(texts, &weights, &ranges(texts), work)
    }

    /// Each token weighs 1.
    fn counted(&self, texts: &[StepText], work: &Work<'_>) -> Result<Tensor, Error> {
        let rows = texts.iter().map(|text| text.tokens.ids.len()).sum::<usize>();
        let weights = Tensor::ones(rows, work.place.0, work.place.1)?;
        self.scattered(texts, &weights, &ranges(texts), work)
    }

    fn scattered(
        &self,
        texts: &[StepText],
        weights: &Tensor,
        ranges: &[Range<usize>],
        work: &Work<'_>,
    ) -> Result<Tensor, Error> {
        let settings = &self.rules.settings;
        let mut places = Vec::new();
        for (text, (content, range)) in texts.iter().zip(ranges).enumerate() {
            for &(at, column) in &content.terms {
                let row = row(range.start + at)?;
                places.push(Place { row, text, column });
            }
        }
        // A sum is of what is above zero.
        let clipped = settings.scatter == Scatter::Sum && settings.weighting.activation == SpladeActivation::Identity;
        let weights = if clipped { weights.relu()? } else { weights.clone() };
        scatter(&weights, &places, settings.scatter, (texts.len(), work.columns))
    }

    /// The factor of every column of each text: 0 unless its token stands in the text, else 1 or what a table behind the
    /// pooling says.
    fn own_tokens(&self, texts: &[StepText], work: &Work<'_>) -> Result<Tensor, Error> {
        let (rules, stop_words) = (&self.rules, self.rules.settings.stop_words);
        let mask_of = |id: u32| rules.tokenizer.added.contains(&id) || rules.tokenizer.mask == Some(id);
        let hidden = |id: u32| (rules.settings.lexical && mask_of(id)) || rules.has_no_column(id);
        let mut factors = vec![0f32; texts.len() * work.columns];
        for (at, text) in texts.iter().enumerate() {
            let own: HashSet<u32> = text.tokens.ids.iter().copied().filter(|&id| !hidden(id)).collect();
            for id in own {
                let named = rules.tokenizer.token(id).is_some_and(|name| !stop_words.drop(&name));
                let factor = match &rules.multiplier {
                    Some(table) => table.get(id as usize).copied().unwrap_or(0.0),
                    None => 1.0,
                };
                if named {
                    factors[at * work.columns + id as usize] = factor;
                }
            }
        }
        constant(factors, (texts.len(), work.columns), work)
    }
}

/// The table that Li-LSR computes from the word embeddings (Nardini et al., 2025).
pub(super) fn static_table(graph: &Graph, rules: &SideEncoder) -> Result<Tensor, Error> {
    let head = graph.token.as_ref();
    let head = head.ok_or_else(|| candle_core::Error::Msg("the head was not asked for".to_owned()))?;
    Ok(weigh(&numbers(head, &graph.words)?, rules.settings.weighting)?)
}

fn ids(texts: &[StepText]) -> Vec<&[u32]> {
    texts.iter().map(|text| text.tokens.ids.as_slice()).collect()
}

/// Where the tokens of each text lie, one text after the other.
fn ranges(texts: &[StepText]) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |text: &StepText| {
        start += text.tokens.ids.len();
        start - text.tokens.ids.len()..start
    };
    texts.iter().map(range).collect()
}

fn row(at: usize) -> Result<u32, candle_core::Error> {
    u32::try_from(at).map_err(candle_core::Error::wrap)
}

fn constant(values: Vec<f32>, shape: (usize, usize), work: &Work<'_>) -> Result<Tensor, Error> {
    let (dtype, device) = work.place;
    Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
}

/// With columns of zeros up to `columns`: the other side's vocabulary may be padded further.
fn widened(weights: &Tensor, columns: usize) -> Result<Tensor, Error> {
    let (texts, own) = weights.dims2()?;
    if own >= columns {
        return Ok(weights.clone());
    }
    let zeros = Tensor::zeros((texts, columns - own), weights.dtype(), weights.device())?;
    Ok(Tensor::cat(&[weights, &zeros], 1)?)
}

/// The pooled rows of `hidden` with their ranges; all of them when nothing is left out.
fn kept_rows(hidden: &Tensor, rows: &Rows, kept: &[Vec<usize>]) -> Result<(Tensor, Vec<Range<usize>>), Error> {
    let total: usize = kept.iter().map(Vec::len).sum();
    if total == rows.ids.len() {
        return Ok((hidden.clone(), rows.ranges.clone()));
    }
    let mut ranges = Vec::with_capacity(kept.len());
    let mut chosen = Vec::with_capacity(total);
    for (positions, range) in kept.iter().zip(&rows.ranges) {
        ranges.push(chosen.len()..chosen.len() + positions.len());
        for at in positions {
            chosen.push(row(range.start + at)?);
        }
    }
    if total == 0 {
        return Ok((
            Tensor::zeros((0, hidden.dim(1)?), hidden.dtype(), hidden.device())?,
            ranges,
        ));
    }
    let chosen = Tensor::from_vec(chosen, total, hidden.device())?;
    Ok((hidden.index_select(&chosen, 0)?, ranges))
}
