//! A transformer with its head: token ids in, weights over the vocabulary or over the tokens out.

use super::heads;
use super::layout::TransformerFiles;
use super::load;
use super::policy::{HeadKind, SpecialTokens};
use super::settings::SideSettings;
use super::tokenizer::Tokens;
use super::weights::WeightsFile;
use crate::Error;
use crate::transformer::{
    Backbone, EmbeddingHead, MlmHead, Norm, PoolRule, Pooling, Rows, SpladeActivation, TokenHead, Weighting,
};
use candle_core::Tensor;
use rayon::prelude::*;

/// Tokens of one batch: enough for matrix products at full speed, little enough that a batch stays within some tens
/// of megabytes.
const TOKENS_PER_BATCH: usize = 2048;

/// One transformer, ready to encode.
pub(super) struct TransformerModel {
    backbone: Backbone,
    head: Head,
    /// EPIC's importance of each token of a document.
    importance: Option<TokenHead>,
    /// EPIC's quality of a document.
    quality: Option<TokenHead>,
    pub(super) kind: HeadKind,
    pub(super) vocabulary: usize,
    /// The most tokens that it can read.
    pub(super) positions: usize,
    width: usize,
}

/// What turns hidden states into weights.
enum Head {
    /// Over the whole vocabulary.
    Mlm(MlmHead),
    Embeddings(EmbeddingHead),
    /// Over the tokens of the text.
    Token(TokenHead),
}

/// The weights of one text.
pub(super) enum TextWeights {
    /// One for each vocabulary entry.
    Vocabulary(Vec<f32>),
    /// One for each token.
    Tokens(Vec<f32>),
}

/// The bytes that decide what a model computes.
pub(super) struct ModelFiles {
    pub(super) config: Vec<u8>,
    pub(super) weights: Vec<u8>,
}

/// EPIC's importance: `log(1 + softplus(x))`.
const IMPORTANCE: Weighting = Weighting {
    activation: SpladeActivation::Softplus,
    norm: Norm::Log1p,
};

impl TransformerModel {
    /// Reads and checks configuration and weights. `wanted` is the head that `who` calls for; without one the tensors
    /// decide.
    pub(super) fn read(
        files: &TransformerFiles,
        wanted: Option<HeadKind>,
        who: &str,
    ) -> Result<(Self, ModelFiles), Error> {
        let config = files.model_config()?;
        let file = WeightsFile::read(&files.dir)?;
        let weights = file.tensors()?;
        if let Some(wanted) = wanted {
            heads::check(&weights, &file.path, wanted, who)?;
        }
        let kind = wanted.or_else(|| heads::detected(&weights)).unwrap_or(HeadKind::Mlm);
        let parameters = load::backbone(&config, &weights)?;
        let head = match kind {
            HeadKind::Token => Head::Token(heads::token_head(&weights, &file.path, config.width)?),
            HeadKind::Embeddings => Head::Embeddings(EmbeddingHead {
                words: parameters.words.clone(),
                bias: match weights.find(&["bias".to_owned()], &[1])? {
                    Some(bias) => bias.to_vec1::<f32>()?[0],
                    None => 0.0,
                },
            }),
            HeadKind::Mlm | HeadKind::Binary | HeadKind::Table | HeadKind::Static => {
                Head::Mlm(MlmHead::new(&load::mlm_head(&config, &weights)?, &parameters.words)?)
            }
        };
        let model = Self {
            backbone: Backbone::new(&parameters)?,
            head,
            importance: heads::epic(&weights, "term_importance", config.width)?,
            quality: heads::epic(&weights, "doc_quality", config.width)?,
            kind,
            vocabulary: config.vocabulary,
            positions: config.positions,
            width: config.width,
        };
        let read = ModelFiles {
            config: config.bytes,
            weights: file.bytes,
        };
        Ok((model, read))
    }

    /// Weighs texts in batches of about [`TOKENS_PER_BATCH`] tokens, longest first; `finish` makes of each text's
    /// weights what is kept of them, or refuses them as not finite.
    pub(super) fn encode<T: Clone + Default + Send>(
        &self,
        settings: &SideSettings,
        texts: &[&Tokens],
        finish: impl Fn(&Tokens, TextWeights) -> Option<T> + Sync,
    ) -> Result<Vec<T>, Error> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| std::cmp::Reverse(texts[text].ids.len()));
        let mut encoded = vec![T::default(); texts.len()];
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest, texts));
            rest = after;
            let of_batch: Vec<&Tokens> = batch.iter().map(|&text| texts[text]).collect();
            let weights = self.weigh(settings, &of_batch)?;
            let finished: Vec<Option<T>> = of_batch
                .par_iter()
                .zip(weights)
                .map(|(tokens, weights)| finish(tokens, weights))
                .collect();
            for (&text, finished) in batch.iter().zip(finished) {
                encoded[text] = finished.ok_or(Error::NotFinite { text })?;
            }
        }
        Ok(encoded)
    }

    fn weigh(&self, settings: &SideSettings, texts: &[&Tokens]) -> Result<Vec<TextWeights>, Error> {
        let mut rows = Rows::default();
        texts.iter().for_each(|text| rows.push(&text.ids));
        let hidden = self.backbone.forward(&rows)?;
        let pool = |hidden: &Tensor, ranges: &[std::ops::Range<usize>], rule: &PoolRule| match &self.head {
            Head::Mlm(head) => head.pool(hidden, ranges, rule).map(Some),
            Head::Embeddings(head) => head.pool(hidden, ranges, rule).map(Some),
            Head::Token(_) => Ok(None),
        };
        if let Head::Token(head) = &self.head {
            let weigh = |x| settings.weighting.of(x);
            let weights: Vec<f32> = head
                .weigh(&states(&hidden)?, self.width)
                .into_iter()
                .map(weigh)
                .collect();
            let of = |range: &std::ops::Range<usize>| TextWeights::Tokens(weights[range.clone()].to_vec());
            return Ok(rows.ranges.iter().map(of).collect());
        }
        let quality = match &self.quality {
            Some(head) => Some(head.weigh(&states(&hidden)?, self.width)),
            None => None,
        };
        let kept: Vec<Vec<usize>> = texts.iter().map(|text| pooled_positions(settings, text)).collect();
        let (hidden, ranges) = self.kept_rows(hidden, &rows, &kept)?;
        let factors = match &self.importance {
            Some(head) => {
                let importance = head.weigh(&states(&hidden)?, self.width);
                Some(importance.into_iter().map(|x| IMPORTANCE.of(x)).collect())
            }
            None => None,
        };
        let rule = PoolRule {
            pooling: settings.pooling,
            weighting: settings.weighting,
            factors,
        };
        let pooled = pool(&hidden, &ranges, &rule)?.unwrap_or_default();
        let finished = pooled.into_iter().enumerate().map(|(at, mut weights)| {
            if settings.special_tokens == SpecialTokens::ZeroLogits {
                add_zero_logits(settings, texts[at], &mut weights);
            }
            // sigmoid of what the head makes of the first token
            let first = rows.ranges[at].start;
            if let Some(x) = quality.as_ref().and_then(|quality| quality.get(first)) {
                let factor = 1.0 / (1.0 + (-x).exp());
                weights.iter_mut().for_each(|weight| *weight *= factor);
            }
            TextWeights::Vocabulary(weights)
        });
        Ok(finished.collect())
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
}

/// Hidden states as plain numbers, row by row.
fn states(hidden: &Tensor) -> Result<Vec<f32>, Error> {
    Ok(hidden.flatten_all()?.to_vec1()?)
}

/// The positions of one text that are pooled over the vocabulary.
fn pooled_positions(settings: &SideSettings, text: &Tokens) -> Vec<usize> {
    let without = matches!(
        settings.special_tokens,
        SpecialTokens::ExcludePositions | SpecialTokens::ZeroLogits
    );
    match settings.pooling {
        Pooling::Cls => (0..text.ids.len().min(1)).collect(),
        Pooling::Max | Pooling::Sum => (0..text.ids.len()).filter(|&at| !(without && text.added[at])).collect(),
    }
}

/// What positions with a logit of 0 in every column add to the others.
fn add_zero_logits(settings: &SideSettings, text: &Tokens, weights: &mut [f32]) {
    let zero = settings.weighting.of(0.0);
    let count = text.added.iter().filter(|&&added| added).count();
    match settings.pooling {
        _ if count == 0 => (),
        Pooling::Cls => (),
        Pooling::Max => weights
            .iter_mut()
            .filter(|weight| **weight < zero)
            .for_each(|weight| *weight = zero),
        #[expect(clippy::cast_precision_loss, reason = "a handful of tokens")]
        Pooling::Sum => weights.iter_mut().for_each(|weight| *weight += zero * count as f32),
    }
}

/// How many of `order` make the next batch: at least one, and no more tokens than the budget.
fn batch_len(order: &[usize], texts: &[&Tokens]) -> usize {
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
            ..Tokens::default()
        };
        let texts: Vec<Tokens> = [3000, 1500, 500, 48, 1, 1].into_iter().map(text).collect();
        let texts: Vec<&Tokens> = texts.iter().collect();
        assert_eq!(batch_len(&[0, 1, 2, 3, 4, 5], &texts), 1, "one text always fits");
        assert_eq!(batch_len(&[1, 2, 3, 4, 5], &texts), 3, "1500 + 500 + 48 tokens");
        assert_eq!(batch_len(&[4, 5], &texts), 2);
    }
}
