//! Text to index terms: words, lower case, no possessive, no stop words, English stems.

use super::porter::stem;
use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation;

/// Lucene's 33 English stop words, ascending.
pub const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// The longest stop word; anything longer needs no look-up.
const MAX_STOP_WORD_BYTES: usize = 5;

/// Longer words are not language (encoded data, runs of one letter) and are left out.
const MAX_WORD_BYTES: usize = 255;

/// One index term and the word it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The term: lower case, stemmed.
    pub text: Cow<'a, str>,
    /// First byte of the word in the text.
    pub start: usize,
    /// One past its last byte, possessive included.
    pub end: usize,
}

/// English words as index terms.
///
/// The chain is that of Lucene's EnglishAnalyzer: word boundaries of Unicode Standard Annex 29, possessive `'s`
/// removed, lower case, [`STOP_WORDS`] removed, stems after Porter (Program, 1980). Words of more than 255 bytes are
/// left out (Lucene cuts them in pieces).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Analyzer;

impl Analyzer {
    /// The terms of `text` in order, repetitions included.
    pub fn tokens<'a>(&self, text: &'a str) -> impl Iterator<Item = Token<'a>> + use<'a> {
        text.unicode_word_indices().filter_map(|(start, word)| {
            let end = start + word.len();
            if word.len() > MAX_WORD_BYTES {
                return None;
            }
            let word = lower_case(without_possessive(word));
            if word.is_empty() || is_stop_word(&word) {
                return None;
            }
            let text = stem(word);
            Some(Token { text, start, end })
        })
    }
}

/// A word as a [`Token`] spans it, without its possessive and in lower case: what its stem is made of.
#[must_use]
pub fn surface_form(word: &str) -> Cow<'_, str> {
    lower_case(without_possessive(word))
}

fn is_stop_word(word: &str) -> bool {
    word.len() <= MAX_STOP_WORD_BYTES && STOP_WORDS.binary_search(&word).is_ok()
}

/// Drops a final `'s`, with a straight, curly or full-width apostrophe.
fn without_possessive(word: &str) -> &str {
    let without_s = word.strip_suffix(['s', 'S']);
    let stripped = without_s.and_then(|rest| rest.strip_suffix(['\'', '\u{2019}', '\u{ff07}']));
    stripped.unwrap_or(word)
}

fn lower_case(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(word.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(text: &str) -> Vec<String> {
        Analyzer.tokens(text).map(|token| token.text.into_owned()).collect()
    }

    #[test]
    fn stop_words_are_sorted_and_distinct() {
        assert!(STOP_WORDS.is_sorted_by(|a, b| a < b));
        assert!(STOP_WORDS.iter().all(|word| is_stop_word(word)));
        assert!(!is_stop_word("mill") && !is_stop_word("tamis"));
    }

    #[test]
    fn follows_the_chain() {
        assert_eq!(
            terms("The Miller's sieves, and THEIR running"),
            ["miller", "siev", "run"]
        );
        assert_eq!(
            terms("the cat\u{2019}s can't 3.14 U.S.A. x_1"),
            ["cat", "can't", "3.14", "u.s.a", "x_1"]
        );
        assert_eq!(terms("Élan ÉTÉ 東京 naïve"), ["élan", "été", "東", "京", "naïv"]);
        assert_eq!(terms("... ?! ' 's"), ["s"]);
        assert!(terms("").is_empty());
        assert!(terms(&"x".repeat(256)).is_empty());
    }

    #[test]
    fn surface_forms_have_the_stem_of_their_word() {
        let text = "The Miller's SIEVES";
        let forms: Vec<_> = Analyzer
            .tokens(text)
            .map(|token| surface_form(&text[token.start..token.end]))
            .collect();
        assert_eq!(forms, ["miller", "sieves"]);
        assert_eq!(terms("miller sieves"), terms(text));
    }

    #[test]
    fn offsets_cover_the_word_as_written() {
        let text = "Two Foxes' and the Miller's été";
        let words: Vec<_> = Analyzer
            .tokens(text)
            .map(|token| &text[token.start..token.end])
            .collect();
        assert_eq!(words, ["Two", "Foxes", "Miller's", "été"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_ordered_words(text in "\\PC{0,60}") {
            let mut end = 0;
            for token in Analyzer.tokens(&text) {
                prop_assert!(token.start >= end && token.end > token.start);
                prop_assert!(text.is_char_boundary(token.start) && text.is_char_boundary(token.end));
                prop_assert!(!token.text.is_empty());
                end = token.end;
            }
        }
    }
}
