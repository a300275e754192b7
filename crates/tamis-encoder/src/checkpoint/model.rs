//! A transformer with its head, tokenizer and policy: one side of a checkpoint.

use super::config::ModelConfig;
use super::layout::TransformerFiles;
use super::load::{HeadParameters, load};
use super::policy::{Policy, SpecialTokens};
use super::tokenizer::{TextTokenizer, TokenizerUse, Tokens};
use super::weights::WeightsFile;
use crate::transformer::{BatchBudget, PlacedBackbone, PlacedMlmHead, Placement, Rows, TokenHead};
use crate::{Error, InputKind, SparseEncoding};
use candle_core::{Device, Tensor};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// One transformer, ready to encode.
pub(super) struct TransformerModel {
    backbone: PlacedBackbone,
    head: Head,
    pub(super) tokenizer: TextTokenizer,
    pub(super) policy: Policy,
    /// Vocabulary entries that may get a weight, ascending by the bytes of their token.
    columns: Vec<(String, u32)>,
    width: usize,
}

/// What turns hidden states into weights.
enum Head {
    /// Over the whole vocabulary.
    Mlm(PlacedMlmHead),
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
        placement: &Placement,
    ) -> Result<(Self, ModelFiles), Error> {
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
        let backbone = PlacedBackbone::new(&parameters, placement)?;
        let head = match head {
            HeadParameters::Mlm(head) => Head::Mlm(PlacedMlmHead::new(&head, &backbone, &parameters.words)?),
            HeadParameters::Token(head) => Head::Token(head),
        };
        let columns = columns(config.vocabulary, &tokenizer, policy.special_tokens);
        let model = Self {
            backbone,
            head,
            tokenizer,
            policy,
            columns,
            width: config.width,
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

    /// Encodes texts in batches of as many tokens as the device takes, longest first.
    pub(super) fn encode(&self, kind: InputKind, texts: &[Tokens]) -> Result<Vec<SparseEncoding>, Error> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| std::cmp::Reverse(texts[text].ids.len()));
        let mut encoded = vec![SparseEncoding::default(); texts.len()];
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest, texts, self.backbone.batch_budget()));
            rest = after;
            for (&text, vector) in batch.iter().zip(self.encode_batch(kind, batch, texts)?) {
                encoded[text] = vector;
            }
        }
        Ok(encoded)
    }

    fn encode_batch(&self, kind: InputKind, batch: &[usize], texts: &[Tokens]) -> Result<Vec<SparseEncoding>, Error> {
        let mut rows = Rows::default();
        batch.iter().for_each(|&text| rows.push(&texts[text].ids));
        let hidden = self.backbone.forward(&rows)?;
        let kept = self.kept_positions(batch, texts);
        let vectors = match &self.head {
            Head::Mlm(head) => {
                let (hidden, ranges) = self.kept_rows(hidden, &rows, &kept)?;
                let pooled = head.pool(&hidden, &ranges, self.policy.pooling, self.policy.activation)?;
                pooled
                    .par_iter()
                    .map(|weights| self.named(weights))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| {
                        let broken = pooled
                            .iter()
                            .position(|weights| weights.iter().any(|weight| !weight.is_finite()));
                        Error::NotFinite {
                            text: batch[broken.unwrap_or(0)],
                        }
                    })?
            }
            Head::Token(head) => {
                let weights = head.weigh(&hidden.to_device(&Device::Cpu)?)?;
                let one = |(at, kept): (usize, &Vec<usize>)| {
                    let range = rows.ranges[at].clone();
                    self.scattered(kind, &texts[batch[at]].ids, &weights[range], kept)
                        .ok_or(Error::NotFinite { text: batch[at] })
                };
                kept.iter().enumerate().map(one).collect::<Result<Vec<_>, Error>>()?
            }
        };
        let finished = batch.iter().zip(vectors).map(|(&text, tokens)| SparseEncoding {
            tokens,
            num_tokens: texts[text].ids.len(),
            truncated: texts[text].truncated,
        });
        Ok(finished.collect())
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
    fn kept_rows(
        &self,
        hidden: Tensor,
        rows: &Rows,
        kept: &[Vec<usize>],
    ) -> Result<(Tensor, Vec<std::ops::Range<usize>>), Error> {
        let total: usize = kept.iter().map(Vec::len).sum();
        if total == rows.ids.len() {
            return Ok((hidden, rows.ranges.clone()));
        }
        let mut ranges = Vec::with_capacity(kept.len());
        let mut chosen: Vec<u32> = Vec::with_capacity(total);
        for (positions, range) in kept.iter().zip(&rows.ranges) {
            let start = chosen.len();
            let ids = positions.iter().map(|at| u32::try_from(range.start + at));
            chosen.extend(ids.map(|id| id.expect("a batch holds far fewer than 2^32 tokens")));
            ranges.push(start..chosen.len());
        }
        if chosen.is_empty() {
            return Ok((Tensor::zeros((0, self.width), hidden.dtype(), hidden.device())?, ranges));
        }
        let chosen = Tensor::new(chosen.as_slice(), hidden.device())?;
        Ok((hidden.index_select(&chosen, 0)?, ranges))
    }

    /// The weights above zero with their tokens; `None` when one is not finite.
    fn named(&self, weights: &[f32]) -> Option<Vec<(String, f32)>> {
        if weights.iter().any(|weight| !weight.is_finite()) {
            return None;
        }
        let weighted = self.columns.iter().map(|(token, id)| (token, weights[*id as usize]));
        Some(
            weighted
                .filter(|&(_, weight)| weight > 0.0)
                .map(|(token, weight)| (token.clone(), weight))
                .collect(),
        )
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
        let weighted = self
            .columns
            .iter()
            .map(|(token, id)| (token, of_id.get(id).copied().unwrap_or(0.0)));
        Some(
            weighted
                .filter(|&(_, weight)| weight > 0.0)
                .map(|(token, weight)| (token.clone(), weight))
                .collect(),
        )
    }
}

/// How many of `order`, longest first, make the next batch: at least one, and no more tokens than the budget.
fn batch_len(order: &[usize], texts: &[Tokens], budget: BatchBudget) -> usize {
    let lengths = order.iter().map(|&text| texts[text].ids.len());
    let fitting = match budget {
        BatchBudget::Padded(cells) => {
            let longest = lengths.max().unwrap_or(0).max(1);
            order.len().min(cells / longest)
        }
        BatchBudget::Ragged(budget) => {
            let mut tokens = 0;
            let fits = lengths.take_while(|length| {
                tokens += length;
                tokens <= budget
            });
            fits.count()
        }
    };
    fitting.max(1)
}

/// Token and id of every vocabulary entry that may get a weight, ascending by the token's bytes.
///
/// Entries without a token (tables are padded to round sizes) and second entries of one token are named by their
/// number, so that names stay distinct.
fn columns(vocabulary: usize, tokenizer: &TextTokenizer, special_tokens: SpecialTokens) -> Vec<(String, u32)> {
    let zeroed = |id: &u32| special_tokens != SpecialTokens::Keep && tokenizer.special.contains(id);
    let mut seen = HashSet::new();
    let named = (0u32..).take(vocabulary).map(|id| {
        let token = tokenizer.token(id).filter(|token| seen.insert(token.clone()));
        (token.unwrap_or_else(|| format!("[id {id}]")), id)
    });
    let mut columns: Vec<_> = named.filter(|(_, id)| !zeroed(id)).collect();
    columns.sort_unstable();
    columns
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
        let texts: Vec<Tokens> = [3000, 1500, 500, 48, 1, 1].into_iter().map(text).collect();
        let ragged = |order: &[usize]| batch_len(order, &texts, BatchBudget::Ragged(2048));
        assert_eq!(ragged(&[0, 1, 2, 3, 4, 5]), 1, "one text always fits");
        assert_eq!(ragged(&[1, 2, 3, 4, 5]), 3, "1500 + 500 + 48 tokens");
        assert_eq!(ragged(&[4, 5]), 2);
        let padded = |order: &[usize]| batch_len(order, &texts, BatchBudget::Padded(2048));
        assert_eq!(padded(&[0, 1, 2, 3, 4, 5]), 1, "one text always fits");
        assert_eq!(padded(&[1, 2, 3, 4, 5]), 1, "twice 1500 tokens are too many");
        assert_eq!(padded(&[2, 3, 4, 5]), 4, "4 times 500 tokens");
        assert_eq!(padded(&[4, 5]), 2);
    }
}
