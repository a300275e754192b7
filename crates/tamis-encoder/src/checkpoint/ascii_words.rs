//! A short way through BERT's tokenizer for plain text: most queries take it, and it costs a microsecond.
//!
//! Of ASCII text, BERT's normaliser only changes the case, its pre-tokenizer splits at white space and around
//! punctuation, and WordPiece takes the longest piece again and again. That is done here over one small buffer. Texts
//! with anything else, control characters or what may begin an added token among it, are left to the tokenizer proper.
//!
//! Source: Schuster and Nakajima (ICASSP 2012) for the pieces; Devlin et al. (NAACL 2019) for the splitting before.

use std::collections::HashMap;
use tokenizers::{Model, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// The pieces of a WordPiece vocabulary.
pub(super) struct AsciiWords {
    /// Pieces that begin a word.
    first: HashMap<Box<str>, u32>,
    /// Pieces that go on, without their mark.
    further: HashMap<Box<str>, u32>,
    unknown: u32,
    max_chars: usize,
    lower_case: bool,
    /// Bytes that are left to the tokenizer proper.
    foreign: [bool; 256],
}

impl AsciiWords {
    /// The short way through `tokenizer`; `None` where it is not built as BERT's.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
            return None;
        };
        let vocabulary = model.get_vocab();
        let unknown = *vocabulary.get(&model.unk_token)?;
        let (mut first, mut further) = (HashMap::new(), HashMap::new());
        for (piece, id) in vocabulary.into_iter().filter(|(piece, _)| piece.is_ascii()) {
            if let Some(rest) = piece.strip_prefix(&model.continuing_subword_prefix) {
                further.insert(rest.into(), id);
            }
            first.insert(piece.into_boxed_str(), id);
        }
        let mut foreign = [false; 256];
        for byte in 0..=u8::MAX {
            let control = byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
            foreign[usize::from(byte)] = control || !byte.is_ascii();
        }
        for added in tokenizer.get_added_tokens_decoder().values() {
            let start = *added.content.as_bytes().first()?;
            for byte in [start, start.to_ascii_lowercase(), start.to_ascii_uppercase()] {
                foreign[usize::from(byte)] = true;
            }
        }
        Some(Self {
            first,
            further,
            unknown,
            max_chars: model.max_input_chars_per_word,
            lower_case: normalizer.lowercase,
            foreign,
        })
    }

    /// The ids of `text`; the text again when the tokenizer proper has to see it.
    pub(super) fn ids(&self, mut text: String) -> Result<Vec<u32>, String> {
        if text.bytes().any(|byte| self.foreign[usize::from(byte)]) {
            return Err(text);
        }
        if self.lower_case {
            text.make_ascii_lowercase();
        }
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        for word in text.split_ascii_whitespace() {
            let mut rest = word;
            while !rest.is_empty() {
                let end = rest.bytes().position(|byte| byte.is_ascii_punctuation());
                let (part, after) = rest.split_at(end.unwrap_or(rest.len()).max(1));
                self.pieces(part, &mut ids);
                rest = after;
            }
        }
        Ok(ids)
    }

    /// Adds the pieces of one word, or the unknown token.
    fn pieces(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut rest = word;
        while !rest.is_empty() && word.len() <= self.max_chars {
            let pieces = if ids.len() == before {
                &self.first
            } else {
                &self.further
            };
            let longest = (1..=rest.len()).rev();
            let found = longest.filter_map(|len| Some((*pieces.get(&rest[..len])?, len))).next();
            let Some((id, len)) = found else { break };
            ids.push(id);
            rest = &rest[len..];
        }
        if !rest.is_empty() {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        let path = "tests/fixtures/bert-idf/tokenizer.json";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let mut tokenizer = Tokenizer::from_file(path).expect("a fixture");
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).expect("none");
        tokenizer
    }

    fn check(tokenizer: &Tokenizer, words: &AsciiWords, text: &str) {
        if let Ok(ids) = words.ids(text.to_owned()) {
            let expected = tokenizer.encode_fast(text, false).expect("tokenised");
            assert_eq!(ids, expected.get_ids(), "{text:?}");
        }
    }

    #[test]
    fn known_texts_are_split_as_by_the_tokenizer() {
        let tokenizer = tokenizer();
        let words = AsciiWords::of(&tokenizer).expect("BERT's");
        let long = "x".repeat(101);
        for text in [
            "",
            " ",
            "The Miller's\tSIEVE",
            "unbelievable,wheels!!",
            "12%\r\n...",
            "a-b",
            "# ##s s##",
            &long,
        ] {
            assert!(words.ids(text.to_owned()).is_ok(), "{text:?}");
            check(&tokenizer, &words, text);
        }
        for text in ["caf\u{e9}", "a\0b", "x [SEP] y", "a\u{b}b", "\u{7f}"] {
            assert!(words.ids(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn other_tokenizers_have_no_short_way() {
        for name in ["roberta", "xlm-roberta"] {
            let path = format!("tests/fixtures/{name}/tokenizer.json");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            assert!(
                AsciiWords::of(&Tokenizer::from_file(path).expect("a fixture")).is_none(),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_ascii_text_is_split_as_by_the_tokenizer(text in "[ -~\t\n]{0,40}", words in "((mill|sieve|wheat|grind)(s|er|ing|able)? ?){0,9}") {
            let tokenizer = tokenizer();
            let short = AsciiWords::of(&tokenizer).expect("BERT's");
            check(&tokenizer, &short, &text);
            check(&tokenizer, &short, &words);
        }
    }
}
