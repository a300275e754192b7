//! Text to token ids: `tokenizer.json` as it is, or BERT's WordPiece built from `vocab.txt`.

use super::ascii_words::AsciiWords;
use super::json::{JsonFile, read_if_present};
use super::policy::{Expansion, LongText};
use super::wordpiece;
use crate::Error;
use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tokenizers::{Encoding, Tokenizer, TruncationParams};

/// Tokenizers report "no limit" as a huge number; anything above this is none.
const NO_LIMIT: f64 = 1e9;

/// A tokenizer with its limit of length.
pub(super) struct TextTokenizer {
    tokenizer: Tokenizer,
    /// For texts without special tokens around them, of which nobody asks the words, where the tokenizer is of a kind
    /// that has a short way.
    short: Option<AsciiWords>,
    /// Where it came from.
    pub(super) path: PathBuf,
    /// Ids of special tokens.
    pub(super) special: HashSet<u32>,
    /// Ids of the tokens that are put around and behind texts.
    pub(super) added: HashSet<u32>,
    /// Id of the token that hides others in training, where there is one.
    pub(super) mask: Option<u32>,
    /// Everything read from files, for the fingerprint.
    pub(super) bytes: Vec<Vec<u8>>,
    /// The most ids a text may have, special ones included.
    pub(super) max_length: usize,
    /// Whether files or the caller set that limit, and not the model's positions alone.
    pub(super) limited: bool,
    /// What is put around an empty text.
    frame: Vec<u32>,
    lower_case: bool,
    with_special: bool,
    long_text: LongText,
    words: bool,
}

/// The ids of one text, or of one window of it.
#[derive(Clone, Default)]
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    /// For each id whether the tokenizer added it around the text.
    pub(super) added: Vec<bool>,
    /// For each id the word that it is of, by its number, where that is asked; none for added ones.
    pub(super) words: Vec<Option<u32>>,
    /// For each id the bytes that it is of, prompt included, where words are asked; an empty range for added ones.
    pub(super) places: Vec<(usize, usize)>,
    pub(super) truncated: bool,
}

impl Tokens {
    fn of(encoding: &Encoding, len: usize) -> Self {
        let mask = &encoding.get_special_tokens_mask()[..len];
        Self {
            ids: encoding.get_ids()[..len].to_vec(),
            added: mask.iter().map(|&mask| mask == 1).collect(),
            words: encoding.get_word_ids()[..len].to_vec(),
            places: encoding.get_offsets()[..len].to_vec(),
            truncated: false,
        }
    }

    /// As windows of at most `max_length` tokens: between what was added before and behind the text, pieces of it that
    /// share `overlap` tokens. Both fit, as was checked on opening.
    fn windows(self, max_length: usize, overlap: usize) -> Vec<Self> {
        if self.ids.len() <= max_length {
            return vec![self];
        }
        let before = self.added.iter().take_while(|&&added| added).count();
        let behind = self.added.iter().rev().take_while(|&&added| added).count();
        let content = before..self.ids.len() - behind;
        let room = max_length - before - behind;
        let mut windows = Vec::new();
        let mut start = content.start;
        loop {
            let end = content.end.min(start + room);
            windows.push(Self {
                ids: framed(&self.ids, start..end, &content),
                added: framed(&self.added, start..end, &content),
                words: framed(&self.words, start..end, &content),
                places: framed(&self.places, start..end, &content),
                truncated: false,
            });
            if end == content.end {
                return windows;
            }
            start = end - overlap;
        }
    }

    /// As parts of `max_length` tokens with what is added around each, the last with what is left, and no more than
    /// `most`; of a text that needs more, the beginning.
    fn parts(self, max_length: usize, most: usize) -> Vec<Self> {
        let mut parts = self.windows(max_length, 0);
        if parts.len() > most {
            parts.truncate(most);
            parts.iter_mut().for_each(|part| part.truncated = true);
        }
        parts
    }
}

/// One part of `list` between what stands before and behind `content`.
fn framed<T: Copy>(list: &[T], part: Range<usize>, content: &Range<usize>) -> Vec<T> {
    [&list[..content.start], &list[part], &list[content.end..]].concat()
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
    /// What becomes of longer texts.
    pub(super) long_text: LongText,
    /// Whether it is asked which word and which bytes a token is of.
    pub(super) words: bool,
}

/// Names of tokens that are put behind short texts, and of those that hide others.
const PADDING: [&str; 2] = ["[PAD]", "<pad>"];
const MASK: [&str; 2] = ["[MASK]", "<mask>"];

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
        let frame = special_tokens_added(&tokenizer, &path)?;
        let room = max_length.saturating_sub(frame.len());
        if room == 0 {
            return Err(Error::field(
                &path,
                "max_length",
                format!("more than {} tokens", frame.len()),
                max_length,
            ));
        }
        match usage.long_text {
            LongText::Windows { overlap } if usage.with_special && overlap >= room => {
                let expected = format!("an overlap below the {room} tokens of a window");
                return Err(Error::field(&path, "long_text", expected, overlap));
            }
            LongText::Truncate if usage.with_special => {
                let truncation = TruncationParams {
                    max_length,
                    ..TruncationParams::default()
                };
                tokenizer
                    .with_truncation(Some(truncation))
                    .map_err(|error| Error::tokenizer(&path, error))?;
            }
            LongText::Windows { .. } | LongText::Parts { .. } | LongText::Truncate => (),
        }
        let special = tokenizer
            .get_added_tokens_decoder()
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(&id, _)| id)
            .collect();
        let id = |names: [&str; 2]| names.iter().find_map(|name| tokenizer.token_to_id(name));
        let added = frame.iter().copied().chain(id(PADDING)).collect();
        let mask = id(MASK);
        let files = [settings, sentence].into_iter().flatten().map(|file| file.bytes);
        let bytes = std::iter::once(bytes).chain(files).collect();
        let short = match usage.with_special || usage.words {
            true => None,
            false => AsciiWords::of(&tokenizer),
        };
        Ok(Self {
            tokenizer,
            short,
            path,
            special,
            added,
            mask,
            bytes,
            max_length,
            limited: usage.max_length.or(stated).is_some(),
            frame,
            lower_case,
            with_special: usage.with_special,
            long_text: usage.long_text,
            words: usage.words,
        })
    }

    /// Splits `prompt + text`, into several windows where texts are not cut; at least one.
    ///
    /// # Errors
    /// What the tokenizer says, for instance of a character outside a vocabulary without an unknown token.
    pub(super) fn split(&self, prompt: &str, text: &str) -> Result<Vec<Tokens>, String> {
        let mut whole = self.cased(format!("{prompt}{text}"));
        if let Some(short) = &self.short {
            match short.ids(whole) {
                Ok(ids) => return Ok(vec![self.bare(ids)]),
                Err(text) => whole = text,
            }
        }
        let encoding = self.encode(whole, self.with_special)?;
        let whole = || Tokens::of(&encoding, encoding.len());
        match self.long_text {
            LongText::Windows { overlap } if self.with_special => return Ok(whole().windows(self.max_length, overlap)),
            LongText::Parts { most } if self.with_special => return Ok(whole().parts(self.max_length, most.get())),
            LongText::Windows { .. } | LongText::Parts { .. } | LongText::Truncate => {}
        }
        // With special tokens the tokenizer has truncated between them; without, it does not report that it did.
        let len = self.kept(encoding.len());
        let mut tokens = Tokens::of(&encoding, len);
        tokens.truncated = len < encoding.len() || !encoding.get_overflowing().is_empty();
        Ok(vec![tokens])
    }

    /// Splits `prompt + text [SEP] expansion` by the rule of uniCOIL and TILDEv2: `[CLS] text [SEP] expansion [SEP]`.
    ///
    /// # Errors
    /// As [`TextTokenizer::split`].
    pub(super) fn split_expanded(&self, prompt: &str, text: &str, rule: Expansion) -> Result<Vec<Tokens>, String> {
        let &[first, separator] = self.frame.as_slice() else {
            return Err("expansions need a tokenizer that puts one token before and one behind a text".to_owned());
        };
        let name = self.token(separator).unwrap_or_default();
        let Some((text, expansion)) = text.split_once(name.as_str()) else {
            return self.split(prompt, text);
        };
        let encoding = self.encode(self.cased(format!("{prompt}{text}")), false)?;
        let of_text = Tokens::of(&encoding, encoding.len().min(rule.text_pieces));
        let encoding_of_expansion = self.encode(self.cased(expansion.to_owned()), false)?;
        let of_expansion = &encoding_of_expansion.get_ids()[..encoding_of_expansion.len().min(rule.pieces)];
        let mut seen: HashSet<u32> = of_text.ids.iter().copied().filter(|_| rule.new_only).collect();
        let mut ids = of_text.ids;
        let mut truncated = ids.len() < encoding.len()
            || of_expansion.len() < encoding_of_expansion.len()
            || [&encoding, &encoding_of_expansion]
                .iter()
                .any(|part| !part.get_overflowing().is_empty());
        ids.push(separator);
        ids.extend(of_expansion.iter().filter(|&&id| !rule.new_only || seen.insert(id)));
        let room = self.max_length - self.frame.len();
        truncated |= ids.len() > room;
        ids.truncate(room);
        ids.insert(0, first);
        ids.push(separator);
        let mut added = vec![false; ids.len()];
        added[0] = true;
        added[ids.len() - 1] = true;
        Ok(vec![Tokens {
            words: vec![None; ids.len()],
            places: vec![(0, 0); ids.len()],
            ids,
            added,
            truncated,
        }])
    }

    /// How many of `len` ids are kept of a text that the tokenizer does not cut itself; without tokens around them
    /// there are no windows, and nothing that would need any.
    fn kept(&self, len: usize) -> usize {
        match self.long_text {
            LongText::Windows { .. } | LongText::Parts { .. } => len,
            LongText::Truncate => len.min(self.max_length),
        }
    }

    /// A text of `ids` with nothing around it, of which nobody asks the words.
    fn bare(&self, mut ids: Vec<u32>) -> Tokens {
        let len = self.kept(ids.len());
        let truncated = len < ids.len();
        ids.truncate(len);
        Tokens {
            added: vec![false; len],
            words: vec![None; len],
            places: vec![(0, 0); len],
            ids,
            truncated,
        }
    }

    fn cased(&self, whole: String) -> String {
        match self.lower_case {
            true => whole.to_lowercase(),
            false => whole,
        }
    }

    fn encode(&self, whole: String, with_special: bool) -> Result<Encoding, String> {
        // The fast way loses track of words.
        match self.words {
            true => guarded(|| self.tokenizer.encode(whole, with_special)),
            false => guarded(|| self.tokenizer.encode_fast(whole, with_special)),
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

    /// Refuses a tokenizer, of the encoder in `dir`, whose tokens do not know their places in the text as it is.
    pub(super) fn check_traces(&self, dir: &Path) -> Result<(), Error> {
        if !self.lower_case {
            return Ok(());
        }
        // Lower case may take other bytes than the text itself.
        let expected = "false, as gates need the places of tokens in the text,";
        Err(Error::field(
            &dir.join("sentence_bert_config.json"),
            "do_lower_case",
            expected,
            true,
        ))
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

/// The special tokens that are put around a text.
fn special_tokens_added(tokenizer: &Tokenizer, path: &Path) -> Result<Vec<u32>, Error> {
    let empty = guarded(|| tokenizer.encode("", true)).map_err(|reason| Error::tokenizer(path, reason))?;
    Ok(empty.get_ids().to_vec())
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
