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
use std::path::Path;

/// A tokenizer with a weight per token.
pub(super) struct QueryTable {
    pub(super) tokenizer: TextTokenizer,
    pub(super) special_tokens: SpecialTokens,
    /// By token id: the token's rank and weight; a weight of 0 where it gets none.
    entries: Vec<(u32, f32)>,
    /// Tokens ascending by their bytes, which is by rank.
    names: Vec<Box<str>>,
}

impl QueryTable {
    /// Reads tokenizer and table, and adds the table to `hasher`.
    pub(super) fn read(
        files: &TableFiles,
        special_tokens: SpecialTokens,
        max_length: Option<usize>,
        hasher: &mut blake3::Hasher,
    ) -> Result<Self, Error> {
        let usage = TokenizerUse {
            with_special: false,
            max_length,
            positions: usize::MAX,
        };
        let tokenizer = TextTokenizer::read(&files.dir, usage)?;
        tokenizer.check_fits(MAX_VOCABULARY)?;
        let weights = match &files.json {
            Some(path) => from_json(path, files.default_weight, &tokenizer, hasher)?,
            None => from_tensor(&files.dir, &tokenizer, hasher)?,
        };
        let mut tokens: Vec<(String, u32)> = (0u32..)
            .take(weights.len())
            .filter_map(|id| Some((tokenizer.token(id)?, id)))
            .collect();
        tokens.sort_unstable();
        let mut entries = vec![(0, 0.0); weights.len()];
        let mut names: Vec<Box<str>> = Vec::with_capacity(tokens.len());
        for (token, id) in tokens {
            // Two ids of one token share a rank.
            if names.last().is_none_or(|last| **last != *token) {
                names.push(token.into());
            }
            let dropped = special_tokens != SpecialTokens::Keep && tokenizer.special.contains(&id);
            let weight = if dropped { 0.0 } else { weights[id as usize].max(0.0) };
            let rank = u32::try_from(names.len() - 1).expect("there are no more ranks than ids");
            entries[id as usize] = (rank, weight);
        }
        Ok(Self {
            tokenizer,
            special_tokens,
            entries,
            names,
        })
    }

    /// The weights of the distinct tokens of one query.
    pub(super) fn look_up(&self, tokens: &Tokens) -> SparseEncoding {
        let entry = |&id: &u32| self.entries.get(id as usize).copied();
        let mut found: Vec<(u32, f32)> = tokens.ids.iter().filter_map(entry).collect();
        found.retain(|&(_, weight)| weight > 0.0);
        found.sort_unstable_by_key(|&(rank, _)| rank);
        found.dedup_by_key(|&mut (rank, _)| rank);
        let named = |(rank, weight): (u32, f32)| (self.names[rank as usize].to_string(), weight);
        SparseEncoding {
            tokens: found.into_iter().map(named).collect(),
            num_tokens: tokens.ids.len(),
            truncated: tokens.truncated,
        }
    }
}

/// The weights of an `idf.json`.
fn from_json(
    path: &Path,
    default_weight: f32,
    tokenizer: &TextTokenizer,
    hasher: &mut blake3::Hasher,
) -> Result<Vec<f32>, Error> {
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
    super::hash(hasher, &file.bytes);
    Ok(weights)
}

/// The weights of a `model.safetensors` with one tensor.
fn from_tensor(dir: &Path, tokenizer: &TextTokenizer, hasher: &mut blake3::Hasher) -> Result<Vec<f32>, Error> {
    let file = WeightsFile::read(dir)?;
    let remedy = "a SparseStaticEmbedding keeps one weight per token there";
    let weights = file
        .tensors()?
        .tensor(&["weight".to_owned()], &[tokenizer.num_ids()], remedy)?;
    file.hash_into(hasher)?;
    Ok(weights.to_vec1()?)
}
