//! Inference-free queries: each distinct token of a query has a fixed weight.
//!
//! Source: Geng et al. (2024), "Towards Competitive Search Relevance for Inference-Free Learned Sparse Retrievers".

use super::config::MAX_VOCABULARY;
use super::json::JsonFile;
use super::layout::TableFiles;
use super::policy::SpecialTokens;
use super::tokenizer::{TextTokenizer, TokenizerUse, Tokens};
use super::weights::WeightsFile;
use crate::{Error, SparseEncoding};
use std::collections::BTreeMap;
use std::path::Path;

/// A tokenizer with a weight per token.
pub(super) struct QueryTable {
    pub(super) tokenizer: TextTokenizer,
    pub(super) special_tokens: SpecialTokens,
    /// By token id.
    weights: Vec<f32>,
}

impl QueryTable {
    /// Reads tokenizer and table; gives the bytes of the table as well, for the fingerprint.
    pub(super) fn read(
        files: &TableFiles,
        special_tokens: SpecialTokens,
        max_length: Option<usize>,
    ) -> Result<(Self, Vec<u8>), Error> {
        let usage = TokenizerUse {
            with_special: false,
            max_length,
            positions: usize::MAX,
        };
        let tokenizer = TextTokenizer::read(&files.dir, usage)?;
        tokenizer.check_fits(MAX_VOCABULARY)?;
        let (weights, bytes) = match &files.json {
            Some(path) => from_json(path, files.default_weight, &tokenizer)?,
            None => from_tensor(&files.dir, &tokenizer)?,
        };
        Ok((
            Self {
                tokenizer,
                special_tokens,
                weights,
            },
            bytes,
        ))
    }

    /// The weights of the distinct tokens of one query.
    pub(super) fn look_up(&self, tokens: &Tokens) -> SparseEncoding {
        let dropped = |id| self.special_tokens != SpecialTokens::Keep && self.tokenizer.special.contains(id);
        let weighted = tokens.ids.iter().filter(|id| !dropped(id)).filter_map(|&id| {
            let weight = self.weights.get(id as usize).copied().filter(|&weight| weight > 0.0)?;
            Some((self.tokenizer.token(id)?, weight))
        });
        let distinct: BTreeMap<String, f32> = weighted.collect();
        SparseEncoding {
            tokens: distinct.into_iter().collect(),
            num_tokens: tokens.ids.len(),
            truncated: tokens.truncated,
        }
    }
}

/// Weights and file of an `idf.json`.
fn from_json(path: &Path, default_weight: f32, tokenizer: &TextTokenizer) -> Result<(Vec<f32>, Vec<u8>), Error> {
    let wrong = |reason: String| Error::QueryTable {
        path: path.to_owned(),
        reason,
    };
    let file = JsonFile::read(path, "the weight of each query token stands there")?;
    let table = file
        .value
        .as_object()
        .ok_or_else(|| wrong("an object of token to weight expected".to_owned()))?;
    let mut weights = vec![default_weight; tokenizer.num_ids()];
    let mut known = 0;
    for (token, value) in table {
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
        let weight = value
            .as_f64()
            .map(|weight| weight as f32)
            .filter(|weight| weight.is_finite());
        let weight = weight.ok_or_else(|| wrong(format!("the weight of {token:?} is {value}, a number expected")))?;
        // A token that the tokenizer cannot make does no harm; a table of another vocabulary would.
        if let Some(slot) = tokenizer.id(token).and_then(|id| weights.get_mut(id as usize)) {
            *slot = weight;
            known += 1;
        }
    }
    if known * 2 < table.len() || known == 0 {
        let total = table.len();
        return Err(wrong(format!(
            "{known} of its {total} tokens are in the vocabulary: it is of another model"
        )));
    }
    Ok((weights, file.bytes))
}

/// Weights and file of a `model.safetensors` with one tensor.
fn from_tensor(dir: &Path, tokenizer: &TextTokenizer) -> Result<(Vec<f32>, Vec<u8>), Error> {
    let file = WeightsFile::read(dir)?;
    let remedy = "a SparseStaticEmbedding keeps one weight per token there";
    let weights = file
        .tensors()?
        .tensor(&["weight".to_owned()], &[tokenizer.num_ids()], remedy)?;
    Ok((weights.to_vec1()?, file.bytes))
}
