//! A transformer with its head: token ids in, weights over the vocabulary or over the tokens out.

use super::batches::{Batch, in_batches};
use super::heads;
use super::layout::TransformerFiles;
use super::load;
use super::policy::{HeadKind, SpecialTokens};
use super::settings::SideSettings;
use super::tokenizer::Tokens;
use super::weights::WeightsFile;
use crate::Error;
use crate::transformer::{
    EmbeddingHead, Norm, PlacedBackbone, PlacedMlmHead, Placement, PoolRule, Pooling, Rows, SpladeActivation,
    TokenHead, Weighting, Weights,
};
use std::ops::Range;

/// One transformer, ready to encode.
pub(super) struct TransformerModel {
    backbone: PlacedBackbone,
    head: Head,
    /// EPIC's importance of each token of a document.
    importance: Option<TokenHead>,
    /// EPIC's quality of a document.
    quality: Option<TokenHead>,
    pub(super) kind: HeadKind,
    pub(super) vocabulary: usize,
    /// The most tokens that it can read.
    pub(super) positions: usize,
}

/// What turns hidden states into weights.
enum Head {
    /// Over the whole vocabulary.
    Mlm(PlacedMlmHead),
    Embeddings(EmbeddingHead),
    /// Over the tokens of the text.
    Token(TokenHead),
}

/// The weights of one text.
pub(super) enum TextWeights {
    /// Those of vocabulary entries above zero, ascending by id.
    Vocabulary(Weights),
    /// One for each token.
    Tokens(Vec<f32>),
}

/// The files that decide what a model computes.
pub(super) struct ModelFiles {
    pub(super) config: Vec<u8>,
    pub(super) weights: WeightsFile,
}

/// EPIC's importance: `log(1 + softplus(x))`.
pub(super) const IMPORTANCE: Weighting = Weighting {
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
        placement: &Placement,
    ) -> Result<(Self, ModelFiles), Error> {
        let config = files.model_config()?;
        let file = WeightsFile::read(&files.dir)?;
        let weights = file.tensors()?;
        if let Some(wanted) = wanted {
            heads::check(&weights, &file.path, wanted, who)?;
        }
        let kind = wanted.or_else(|| heads::detected(&weights)).unwrap_or(HeadKind::Mlm);
        let parameters = load::backbone(&config, &weights)?;
        let backbone = PlacedBackbone::new(&parameters, placement)?;
        let head = match kind {
            HeadKind::Token => Head::Token(heads::token_head(&weights, &file.path, config.width)?),
            HeadKind::Embeddings => {
                let bias = match weights.find(&["bias".to_owned()], &[1])? {
                    Some(bias) => bias.to_vec1::<f32>()?[0],
                    None => 0.0,
                };
                Head::Embeddings(EmbeddingHead::new(
                    backbone.words(&parameters.words),
                    bias,
                    placement.precision(),
                )?)
            }
            HeadKind::Mlm | HeadKind::Binary | HeadKind::Table | HeadKind::Static => {
                let head = load::mlm_head(&config, &weights)?;
                Head::Mlm(PlacedMlmHead::new(&head, &backbone, &parameters.words, placement)?)
            }
        };
        let model = Self {
            backbone,
            head,
            importance: heads::epic(&weights, "term_importance", config.width)?,
            quality: heads::epic(&weights, "doc_quality", config.width)?,
            kind,
            vocabulary: config.vocabulary,
            positions: config.positions,
        };
        let read = ModelFiles {
            config: config.bytes,
            weights: file,
        };
        Ok((model, read))
    }

    /// Weighs texts in batches; `finish` makes of each text's weights what is kept of them, or refuses them as not
    /// finite.
    pub(super) fn encode<T: Send>(
        &self,
        settings: &SideSettings,
        texts: &[&Tokens],
        finish: impl Fn(&Tokens, TextWeights) -> Option<T> + Sync,
    ) -> Result<Vec<T>, Error> {
        in_batches(&self.backbone, texts, false, |batch| {
            let (order, texts) = (batch.order, batch.texts.clone());
            let weights = self.weigh(settings, batch)?;
            let finished = order.iter().zip(texts).zip(weights).map(|((&text, tokens), weights)| {
                let finished = weights.and_then(|weights| finish(tokens, weights));
                finished.ok_or(Error::NotFinite { text })
            });
            finished.collect()
        })
    }

    /// The weights of each text; `None` for one whose hidden states are not finite.
    fn weigh(&self, settings: &SideSettings, batch: Batch<'_>) -> Result<Vec<Option<TextWeights>>, Error> {
        let Batch {
            workers,
            texts,
            rows,
            hidden,
            ..
        } = batch;
        let width = self.backbone.width();
        if let Head::Token(head) = &self.head {
            let weights = head.weigh(&hidden, width).into_iter();
            let weights: Vec<f32> = weights.map(|x| settings.weighting.of(x)).collect();
            let of = |range: &Range<usize>| Some(TextWeights::Tokens(weights[range.clone()].to_vec()));
            return Ok(rows.ranges.iter().map(of).collect());
        }
        let quality = self.quality.as_ref().map(|head| head.weigh(&hidden, width));
        let kept: Vec<Vec<usize>> = texts.iter().map(|text| pooled_positions(settings, text)).collect();
        let (hidden, ranges) = self.kept_rows(hidden, &rows, &kept);
        let importance = self.importance.as_ref().map(|head| head.weigh(&hidden, width));
        let rule = PoolRule {
            pooling: settings.pooling,
            weighting: settings.weighting,
            factors: importance.map(|importance| importance.into_iter().map(|x| IMPORTANCE.of(x)).collect()),
        };
        let pooled = match &self.head {
            Head::Mlm(head) => head.pool(workers, &hidden, &ranges, &rule)?,
            Head::Embeddings(head) => head.pool(workers, &hidden, &ranges, &rule),
            Head::Token(_) => unreachable!("returned above"),
        };
        let finished = pooled.into_iter().enumerate().map(|(at, weights)| {
            let mut weights = weights?;
            if settings.special_tokens == SpecialTokens::ZeroLogits {
                add_zero_logits(settings, texts[at], self.vocabulary, &mut weights);
            }
            // sigmoid of what the head makes of the first token
            let first = rows.ranges[at].start;
            if let Some(x) = quality.as_ref().and_then(|quality| quality.get(first)) {
                let factor = 1.0 / (1.0 + (-x).exp());
                weights.iter_mut().for_each(|(_, weight)| *weight *= factor);
            }
            Some(TextWeights::Vocabulary(weights))
        });
        Ok(finished.collect())
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
}

/// The positions of one text that are pooled over the vocabulary.
pub(super) fn pooled_positions(settings: &SideSettings, text: &Tokens) -> Vec<usize> {
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
fn add_zero_logits(settings: &SideSettings, text: &Tokens, vocabulary: usize, weights: &mut Weights) {
    let zero = settings.weighting.of(0.0);
    let count = text.added.iter().filter(|&&added| added).count();
    if count == 0 || settings.pooling == Pooling::Cls || zero <= 0.0 {
        return;
    }
    let mut above = weights.drain(..).peekable();
    let mut all = Weights::with_capacity(vocabulary);
    for id in (0u32..).take(vocabulary) {
        let weight = above
            .next_if(|&(other, _)| other == id)
            .map_or(0.0, |(_, weight)| weight);
        #[expect(clippy::cast_precision_loss, reason = "a handful of tokens")]
        let with_zeros = match settings.pooling {
            Pooling::Sum => weight + zero * count as f32,
            Pooling::Max | Pooling::Cls => weight.max(zero),
        };
        all.push((id, with_zeros));
    }
    drop(above);
    *weights = all;
}
