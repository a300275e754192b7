//! Text to token ids: `tokenizer.json` as it is, or BERT's WordPiece built from `vocab.txt`.

use super::ascii_words::AsciiWords;
use super::json::{JsonFile, read_if_present};
use super::wordpiece;
use crate::Error;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tokenizers::{Tokenizer, TruncationParams};

/// Tokenizers report "no limit" as a huge number; anything above this is none.
const NO_LIMIT: f64 = 1e9;

/// A tokenizer with its limit of length.
pub(super) struct TextTokenizer {
    tokenizer: Tokenizer,
    /// For texts without special tokens around them, where the tokenizer is of a kind that has a short way.
    short: Option<AsciiWords>,
    /// Where it came from.
    pub(super) path: PathBuf,
    /// Ids of special tokens.
    pub(super) special: HashSet<u32>,
    /// Everything read from files, for the fingerprint.
    pub(super) bytes: Vec<Vec<u8>>,
    /// The most ids a text may have, special ones included.
    pub(super) max_length: usize,
    lower_case: bool,
    with_special: bool,
}

/// The ids of one text.
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    /// For each id whether the tokenizer added it around the text.
    pub(super) added: Vec<bool>,
    pub(super) truncated: bool,
}

/// How a tokenizer is used.
#[derive(Clone, Copy)]
pub(super) struct TokenizerUse {
    /// Whether [CLS] and [SEP] are put around texts.
    pub(super) with_special: bool,
    /// The caller's limit, above what files say.
    pub(super) max_length: Option<usize>,
    /// What the model can take at most.
    pub(super) positions: usize,
}

impl TextTokenizer {
    /// Reads the tokenizer of `dir`.
    pub(super) fn read(dir: &Path, usage: TokenizerUse) -> Result<Self, Error> {
        let settings = JsonFile::read_if_present(&dir.join("tokenizer_config.json"))?;
        let sentence = JsonFile::read_if_present(&dir.join("sentence_bert_config.json"))?;
        let path = dir.join("tokenizer.json");
        let (mut tokenizer, path, bytes) = match read_if_present(&path)? {
            Some(bytes) => {
                let tokenizer =
                    guarded(|| Tokenizer::from_bytes(&bytes)).map_err(|reason| Error::tokenizer(&path, reason))?;
                (tokenizer, path, bytes)
            }
            None => wordpiece::read(dir, settings.as_ref())?,
        };
        let lower_case = match &sentence {
            Some(file) => file.flag("do_lower_case")?.unwrap_or(false),
            None => false,
        };
        let own_limit = tokenizer.get_truncation().map(|truncation| truncation.max_length);
        let stated = stated_limit(sentence.as_ref(), settings.as_ref())?.or(own_limit);
        let max_length = usage.max_length.or(stated).unwrap_or(usize::MAX).min(usage.positions);
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| Error::tokenizer(&path, error))?;
        let added = special_tokens_added(&tokenizer, &path)?;
        if max_length <= added {
            return Err(Error::field(
                &path,
                "max_length",
                format!("more than {added} tokens"),
                max_length,
            ));
        }
        if usage.with_special {
            let truncation = TruncationParams {
                max_length,
                ..TruncationParams::default()
            };
            tokenizer
                .with_truncation(Some(truncation))
                .map_err(|error| Error::tokenizer(&path, error))?;
        }
        let special = tokenizer
            .get_added_tokens_decoder()
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(&id, _)| id)
            .collect();
        let with_special = usage.with_special;
        let files = [settings, sentence].into_iter().flatten().map(|file| file.bytes);
        let bytes = std::iter::once(bytes).chain(files).collect();
        let short = if with_special { None } else { AsciiWords::of(&tokenizer) };
        Ok(Self {
            tokenizer,
            short,
            path,
            special,
            bytes,
            max_length,
            lower_case,
            with_special,
        })
    }

    /// Splits `prompt + text`.
    ///
    /// # Errors
    /// What the tokenizer says, for instance of a character outside a vocabulary without an unknown token.
    pub(super) fn split(&self, prompt: &str, text: &str) -> Result<Tokens, String> {
        let mut whole = format!("{prompt}{text}");
        if self.lower_case {
            whole = whole.to_lowercase();
        }
        if let Some(short) = &self.short {
            match short.ids(whole) {
                Ok(ids) => return Ok(self.within_limit(ids)),
                Err(text) => whole = text,
            }
        }
        let encoding = guarded(|| self.tokenizer.encode_fast(whole, self.with_special))?;
        // With special tokens the tokenizer has truncated between them; without, it does not report that it did.
        let len = encoding.len().min(self.max_length);
        Ok(Tokens {
            ids: encoding.get_ids()[..len].to_vec(),
            added: encoding.get_special_tokens_mask()[..len]
                .iter()
                .map(|&mask| mask == 1)
                .collect(),
            truncated: len < encoding.len() || !encoding.get_overflowing().is_empty(),
        })
    }

    /// The ids of a text without special tokens around it.
    fn within_limit(&self, mut ids: Vec<u32>) -> Tokens {
        let truncated = ids.len() > self.max_length;
        ids.truncate(self.max_length);
        Tokens {
            added: vec![false; ids.len()],
            ids,
            truncated,
        }
    }

    /// The text of `id`, if there is such a token.
    pub(super) fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The id of `token`, if there is such a token.
    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Number of rows that a table over this vocabulary needs: the largest id plus one.
    pub(super) fn num_ids(&self) -> usize {
        self.tokenizer
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }

    /// Refuses a vocabulary with ids beyond the `rows` of an embedding table.
    pub(super) fn check_fits(&self, rows: usize) -> Result<(), Error> {
        let largest = self
            .tokenizer
            .get_vocab(true)
            .into_iter()
            .map(|(token, id)| (id, token))
            .max();
        match largest {
            Some((id, token)) if id as usize >= rows => {
                let reason = format!(
                    "token {token:?} has id {id}, but there is room for {rows} only (the rows of the embeddings)"
                );
                Err(Error::tokenizer(&self.path, reason))
            }
            Some(_) => Ok(()),
            None => Err(Error::tokenizer(&self.path, "the vocabulary is empty")),
        }
    }
}

/// Calls into the tokenizers crate, which panics on some damaged files: that too is only an error.
fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its parts contradict each other".to_owned()),
    }
}

/// How many special tokens are put around a text.
fn special_tokens_added(tokenizer: &Tokenizer, path: &Path) -> Result<usize, Error> {
    let empty = guarded(|| tokenizer.encode("", true)).map_err(|reason| Error::tokenizer(path, reason))?;
    Ok(empty.len())
}

/// `max_seq_length` of sentence-transformers, else `model_max_length` of the tokenizer.
fn stated_limit(sentence: Option<&JsonFile>, settings: Option<&JsonFile>) -> Result<Option<usize>, Error> {
    for (file, field) in [(sentence, "max_seq_length"), (settings, "model_max_length")] {
        let Some((file, value)) = file.and_then(|file| Some((file, file.get(field)?))) else {
            continue;
        };
        let expected = "a number of at least 1";
        let limit = value
            .as_f64()
            .ok_or_else(|| Error::field(&file.path, field, expected, value))?;
        if limit > NO_LIMIT {
            continue;
        }
        return Ok(Some(file.count(field, 1..=1_000_000_000)?));
    }
    Ok(None)
}
