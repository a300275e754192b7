//! Inference-free queries: each distinct token of a query has a fixed weight.
//!
//! Sources: Geng et al. (2024), "Towards Competitive Search Relevance for Inference-Free Learned Sparse Retrievers";
//! Nardini et al. (2025), Li-LSR, whose table is a linear map of the word embeddings.

use super::heads::token_head;
use super::json::{JsonFile, read_bytes};
use super::layout::{TableFiles, TransformerFiles};
use super::load;
use super::tokenizer::TextTokenizer;
use super::weights::WeightsFile;
use crate::Error;
use crate::transformer::Weighting;
use std::path::Path;

/// Reads the weight of every token id, and adds the table to `hasher`.
pub(super) fn read(
    files: &TableFiles,
    tokenizer: &TextTokenizer,
    hasher: &mut blake3::Hasher,
) -> Result<Vec<f32>, Error> {
    match &files.list {
        Some(path) if path.extension().is_some_and(|extension| extension == "txt") => {
            from_text(path, files.default_weight, tokenizer, hasher)
        }
        Some(path) => from_json(path, files.default_weight, tokenizer, hasher),
        None => from_tensor(&files.dir, tokenizer, hasher),
    }
}

/// Computes the table `weighting(w E + b)` from the word embeddings E of a checkpoint, and adds its files to `hasher`.
pub(super) fn from_embeddings(
    files: &TransformerFiles,
    weighting: Weighting,
    hasher: &mut blake3::Hasher,
) -> Result<Vec<f32>, Error> {
    let config = files.model_config()?;
    let file = WeightsFile::read(&files.dir)?;
    let weights = file.tensors()?;
    let head = token_head(&weights, &file.path, config.width)?;
    let words = load::words(&config, &weights)?.flatten_all()?.to_vec1::<f32>()?;
    let table: Vec<f32> = head
        .weigh(&words, config.width)
        .into_iter()
        .map(|x| weighting.of(x))
        .collect();
    if let Some(token) = table.iter().position(|weight| !weight.is_finite()) {
        let reason = format!("the head gives token {token} the weight {}", table[token]);
        return Err(Error::QueryTable {
            path: file.path,
            reason,
        });
    }
    super::hash(hasher, &config.bytes);
    file.hash_into(hasher)?;
    Ok(table)
}

/// A table under construction.
struct Entries<'a> {
    path: &'a Path,
    tokenizer: &'a TextTokenizer,
    weights: Vec<f32>,
    known: usize,
    total: usize,
}

impl<'a> Entries<'a> {
    fn new(path: &'a Path, default_weight: f32, tokenizer: &'a TextTokenizer) -> Self {
        Self {
            path,
            tokenizer,
            weights: vec![default_weight; tokenizer.num_ids()],
            known: 0,
            total: 0,
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::QueryTable {
            path: self.path.to_owned(),
            reason,
        }
    }

    /// A token that the tokenizer cannot make does no harm; a table of another vocabulary would.
    fn add(&mut self, token: &str, weight: Option<f64>, found: &str) -> Result<(), Error> {
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
        let weight = weight.map(|weight| weight as f32).filter(|weight| weight.is_finite());
        let weight =
            weight.ok_or_else(|| self.wrong(format!("the weight of {token:?} is {found}, a number expected")))?;
        self.total += 1;
        if let Some(slot) = self
            .tokenizer
            .id(token)
            .and_then(|id| self.weights.get_mut(id as usize))
        {
            *slot = weight;
            self.known += 1;
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<f32>, Error> {
        let (known, total) = (self.known, self.total);
        if known * 2 < total || known == 0 {
            return Err(self.wrong(format!(
                "{known} of its {total} tokens are in the vocabulary: it is of another model"
            )));
        }
        Ok(self.weights)
    }
}

/// The weights of an `idf.json`.
fn from_json(
    path: &Path,
    default_weight: f32,
    tokenizer: &TextTokenizer,
    hasher: &mut blake3::Hasher,
) -> Result<Vec<f32>, Error> {
    let mut entries = Entries::new(path, default_weight, tokenizer);
    let file = JsonFile::read(path, "the weight of each query token stands there")?;
    let table = file
        .value
        .as_object()
        .ok_or_else(|| entries.wrong("an object of token to weight expected".to_owned()))?;
    for (token, value) in table {
        entries.add(token, value.as_f64(), &value.to_string())?;
    }
    super::hash(hasher, &file.bytes);
    entries.finish()
}

/// The weights of a `query_token_weights.txt`: a token, a tab and its weight in each line.
fn from_text(
    path: &Path,
    default_weight: f32,
    tokenizer: &TextTokenizer,
    hasher: &mut blake3::Hasher,
) -> Result<Vec<f32>, Error> {
    let mut entries = Entries::new(path, default_weight, tokenizer);
    let bytes = read_bytes(path, "the weight of each query token stands there")?;
    let text = std::str::from_utf8(&bytes).map_err(|error| entries.wrong(format!("UTF-8 expected: {error}")))?;
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let Some((token, weight)) = line.rsplit_once('\t') else {
            return Err(entries.wrong(format!(
                "line {} is {line:?}, a token, a tab and its weight expected",
                at + 1
            )));
        };
        entries.add(token, weight.trim().parse().ok(), &format!("{weight:?}"))?;
    }
    super::hash(hasher, &bytes);
    entries.finish()
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
