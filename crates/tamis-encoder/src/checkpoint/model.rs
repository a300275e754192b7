//! A transformer with its head, tokenizer and policy: one side of a checkpoint.

use super::config::ModelConfig;
use super::layout::TransformerFiles;
use super::load::{HeadParameters, load};
use super::policy::{Policy, SpecialTokens};
use super::tokenizer::{TextTokenizer, TokenizerUse, Tokens};
use super::weights::WeightsFile;
use crate::transformer::{Backbone, MlmHead, Rows, TokenHead, Weights, Workers};
use crate::{Error, InputKind, SparseEncoding};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use tamis_kernels::Precision;

/// Tokens of one batch, which one thread computes: enough for weights to be read from far away once for many rows,
/// little enough that its hidden states stay in the cache.
const TOKENS_PER_BATCH: usize = 256;

/// One transformer, ready to encode.
pub(super) struct TransformerModel {
    backbone: Backbone,
    head: Head,
    pub(super) tokenizer: TextTokenizer,
    pub(super) policy: Policy,
    columns: Columns,
}

/// The names of vocabulary entries.
struct Columns {
    /// By id; none for an entry that never gets a weight.
    names: Vec<Option<String>>,
    /// By id: the place among all names, ascending by bytes.
    ranks: Vec<u32>,
}

/// What turns hidden states into weights.
enum Head {
    /// Over the whole vocabulary.
    Mlm(MlmHead),
    /// Over the tokens of the text.
    Token(TokenHead),
}

/// The bytes that decide what a model computes.
pub(super) struct ModelFiles {
    pub(super) config: Vec<u8>,
    pub(super) weights: Vec<u8>,
}

impl TransformerModel {
    /// Reads and checks all files of the transformer.
    pub(super) fn read(
        files: &TransformerFiles,
        policy: Policy,
        max_length: Option<usize>,
    ) -> Result<(Self, ModelFiles), Error> {
        let precision = Precision::F32;
        let config = ModelConfig::read(&files.dir)?;
        let usage = TokenizerUse {
            with_special: true,
            max_length,
            positions: config.positions,
        };
        let tokenizer = TextTokenizer::read(&files.dir, usage)?;
        tokenizer.check_fits(config.vocabulary)?;
        let file = WeightsFile::read(&files.dir)?;
        let (parameters, head) = load(&config, &file.tensors()?)?;
        let backbone = Backbone::new(&parameters, precision)?;
        let head = match head {
            HeadParameters::Mlm(head) => {
                let words = (&parameters.words, backbone.words());
                Head::Mlm(MlmHead::new(&head, words, precision)?)
            }
            HeadParameters::Token(head) => Head::Token(head),
        };
        let columns = Columns::new(config.vocabulary, &tokenizer, policy.special_tokens);
        let model = Self {
            backbone,
            head,
            tokenizer,
            policy,
            columns,
        };
        Ok((
            model,
            ModelFiles {
                config: config.bytes,
                weights: file.bytes,
            },
        ))
    }

    /// `mlm` or `token`.
    pub(super) fn head_name(&self) -> &'static str {
        match self.head {
            Head::Mlm(_) => "mlm",
            Head::Token(_) => "token",
        }
    }

    /// Encodes texts in batches of about [`TOKENS_PER_BATCH`] tokens, longest first: a batch a thread, or where there
    /// are fewer batches than threads all threads on each.
    pub(super) fn encode(&self, kind: InputKind, texts: &[Tokens]) -> Result<Vec<SparseEncoding>, Error> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| std::cmp::Reverse(texts[text].ids.len()));
        let mut batches = Vec::new();
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest, texts));
            batches.push(batch);
            rest = after;
        }
        let workers = Workers {
            kernels: tamis_kernels::active(),
            shared: batches.len() < rayon::current_num_threads(),
        };
        let done = batches
            .par_iter()
            .map(|batch| self.encode_batch(workers, kind, batch, texts));
        let done = done.collect::<Result<Vec<_>, Error>>()?;
        let mut encoded = vec![SparseEncoding::default(); texts.len()];
        for (&text, vector) in order.iter().zip(done.into_iter().flatten()) {
            encoded[text] = vector;
        }
        Ok(encoded)
    }

    fn encode_batch(
        &self,
        workers: Workers,
        kind: InputKind,
        batch: &[usize],
        texts: &[Tokens],
    ) -> Result<Vec<SparseEncoding>, Error> {
        let mut rows = Rows::default();
        batch.iter().for_each(|&text| rows.push(&texts[text].ids));
        let hidden = self.backbone.forward(workers, &rows);
        let kept = self.kept_positions(batch, texts);
        let vectors: Vec<Option<Vec<(String, f32)>>> = match &self.head {
            Head::Mlm(head) => {
                let (hidden, ranges) = self.kept_rows(hidden, &rows, &kept);
                let pooled = head.pool(workers, &hidden, &ranges, self.policy.pooling, self.policy.activation);
                let named = pooled.into_iter().map(|weights| self.columns.named(weights?));
                named.collect()
            }
            Head::Token(head) => {
                let weights = head.weigh(&hidden);
                let one = |(at, kept): (usize, &Vec<usize>)| {
                    let range = rows.ranges[at].clone();
                    self.scattered(kind, &texts[batch[at]].ids, &weights[range], kept)
                };
                kept.iter().enumerate().map(one).collect()
            }
        };
        let finished = batch.iter().zip(vectors).map(|(&text, tokens)| {
            Ok(SparseEncoding {
                tokens: tokens.ok_or(Error::NotFinite { text })?,
                num_tokens: texts[text].ids.len(),
                truncated: texts[text].truncated,
            })
        });
        finished.collect()
    }

    /// For each text the positions that are pooled.
    fn kept_positions(&self, batch: &[usize], texts: &[Tokens]) -> Vec<Vec<usize>> {
        let exclude = self.policy.special_tokens == SpecialTokens::ExcludePositions;
        let first = usize::from(matches!(self.head, Head::Token(_)));
        let of = |&text: &usize| {
            let Tokens { ids, added, .. } = &texts[text];
            let special = |at: usize| added[at] || self.tokenizer.special.contains(&ids[at]);
            (first..ids.len()).filter(|&at| !(exclude && special(at))).collect()
        };
        batch.iter().map(of).collect()
    }

    /// The pooled rows of `hidden` with their ranges; all of them when nothing is left out.
    fn kept_rows(&self, hidden: Vec<f32>, rows: &Rows, kept: &[Vec<usize>]) -> (Vec<f32>, Vec<Range<usize>>) {
        let total: usize = kept.iter().map(Vec::len).sum();
        if total == rows.ids.len() {
            return (hidden, rows.ranges.clone());
        }
        let width = self.backbone.width();
        let mut ranges = Vec::with_capacity(kept.len());
        let mut chosen = Vec::with_capacity(total * width);
        for (positions, range) in kept.iter().zip(&rows.ranges) {
            let start = chosen.len() / width;
            for at in positions {
                chosen.extend_from_slice(&hidden[(range.start + at) * width..][..width]);
            }
            ranges.push(start..start + positions.len());
        }
        (chosen, ranges)
    }

    /// The token weights of one text on its own tokens: the largest of a document's repetitions, the sum of a query's.
    fn scattered(&self, kind: InputKind, ids: &[u32], weights: &[f32], kept: &[usize]) -> Option<Vec<(String, f32)>> {
        let mut of_id: HashMap<u32, f32> = HashMap::new();
        for &at in kept {
            let best = of_id.entry(ids[at]).or_default();
            *best = match kind {
                _ if !weights[at].is_finite() => return None,
                InputKind::Document => best.max(weights[at]),
                InputKind::Query => *best + weights[at],
            };
        }
        self.columns.named(of_id.into_iter().collect())
    }
}

impl Columns {
    /// Entries without a token (tables are padded to round sizes) and second entries of one token are named by their
    /// number, so that names stay distinct.
    fn new(vocabulary: usize, tokenizer: &TextTokenizer, special_tokens: SpecialTokens) -> Self {
        let zeroed = |id: &u32| special_tokens != SpecialTokens::Keep && tokenizer.special.contains(id);
        let mut seen = HashSet::new();
        let all: Vec<String> = (0u32..)
            .take(vocabulary)
            .map(|id| {
                let token = tokenizer.token(id).filter(|token| seen.insert(token.clone()));
                token.unwrap_or_else(|| format!("[id {id}]"))
            })
            .collect();
        let mut order: Vec<u32> = (0u32..).take(vocabulary).collect();
        order.sort_unstable_by_key(|&id| &all[id as usize]);
        let mut ranks = vec![0; vocabulary];
        (0u32..).zip(order).for_each(|(rank, id)| ranks[id as usize] = rank);
        let names = (0u32..).zip(all).map(|(id, name)| (!zeroed(&id)).then_some(name));
        Self {
            names: names.collect(),
            ranks,
        }
    }

    /// The weights above zero with their tokens, ascending; `None` when one is not finite.
    fn named(&self, mut weights: Weights) -> Option<Vec<(String, f32)>> {
        if weights.iter().any(|(_, weight)| !weight.is_finite()) {
            return None;
        }
        weights.sort_unstable_by_key(|&(id, _)| self.ranks[id as usize]);
        let above_zero = weights.into_iter().filter(|&(_, weight)| weight > 0.0);
        Some(
            above_zero
                .filter_map(|(id, weight)| Some((self.names[id as usize].clone()?, weight)))
                .collect(),
        )
    }
}

/// How many of `order` make the next batch: at least one, and no more tokens than the budget.
fn batch_len(order: &[usize], texts: &[Tokens]) -> usize {
    let mut tokens = 0;
    let fits = order.iter().take_while(|&&text| {
        tokens += texts[text].ids.len();
        tokens <= TOKENS_PER_BATCH
    });
    fits.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_the_budget() {
        let text = |len: usize| Tokens {
            ids: vec![0; len],
            added: vec![false; len],
            truncated: false,
        };
        let texts: Vec<Tokens> = [300, 150, 100, 6, 1, 1].into_iter().map(text).collect();
        assert_eq!(batch_len(&[0, 1, 2, 3, 4, 5], &texts), 1, "one text always fits");
        assert_eq!(batch_len(&[1, 2, 3, 4, 5], &texts), 3, "150 + 100 + 6 tokens");
        assert_eq!(batch_len(&[4, 5], &texts), 2);
    }
}
