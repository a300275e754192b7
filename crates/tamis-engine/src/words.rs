//! Text as BM25 sees it: the lexical analyser's terms.
//!
//! Analysis happens once, in parallel, before documents reach tantivy; its tokenizer only splits. That also
//! gives exact document lengths, where tantivy's own norms keep 8 bits.

use std::borrow::Cow;
use tamis_encoder::lexical::Analyzer;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// The terms of `text`, separated by line feeds, and how many there are.
///
/// A line feed always ends a word (rules WB3a and WB3b of Unicode Standard Annex 29); a space need not, when
/// a combining letter follows it.
pub(crate) fn analyse(text: &str) -> (String, u32) {
    let mut joined = String::with_capacity(text.len());
    let mut count = 0u32;
    for token in Analyzer.tokens(text) {
        if count > 0 {
            joined.push('\n');
        }
        joined.push_str(&token.text);
        count = count.saturating_add(1);
    }
    (joined, count)
}

/// Splits what [`analyse`] joined.
#[derive(Clone, Default)]
pub(crate) struct LineTokenizer {
    token: Token,
}

/// The terms that are left of a text.
pub(crate) struct Lines<'a> {
    rest: &'a str,
    token: &'a mut Token,
}

impl Tokenizer for LineTokenizer {
    type TokenStream<'a> = Lines<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Lines<'a> {
        self.token.reset();
        Lines {
            rest: text,
            token: &mut self.token,
        }
    }
}

impl TokenStream for Lines<'_> {
    fn advance(&mut self) -> bool {
        if self.rest.is_empty() {
            return false;
        }
        let (term, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.token.text.clear();
        self.token.text.push_str(term);
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Distinct terms of a query text in order of first appearance, with their counts.
pub(crate) fn query_terms(text: &str) -> Vec<(String, u32)> {
    let mut terms: Vec<(String, u32)> = Vec::new();
    for token in Analyzer.tokens(text) {
        match terms.iter_mut().find(|(term, _)| *term == token.text) {
            Some((_, count)) => *count += 1,
            None => terms.push((token.text.into_owned(), 1)),
        }
    }
    terms
}

/// Tells typed tokens from a model's expansions.
///
/// A token counts as typed when it is a stem or a lower-cased word of the query's text, or a piece of
/// one: `##`-pieces anywhere after its beginning, others of three letters or more at its beginning.
pub(crate) struct TypedTokens {
    words: Vec<String>,
    stems: Vec<String>,
}

impl TypedTokens {
    pub(crate) fn new(query: &str) -> Self {
        let words = query
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let stems = Analyzer.tokens(query).map(|token| token.text.into_owned()).collect();
        Self { words, stems }
    }

    pub(crate) fn contains(&self, token: &str) -> bool {
        let (plain, kind) = plain_token(token);
        let is_known = |known: &[String]| known.iter().any(|word| *word == *plain);
        if kind == Piece::Beginning && (is_known(&self.words) || is_known(&self.stems)) {
            return true;
        }
        self.words.iter().any(|word| match kind {
            Piece::Continuation => word.find(&*plain).is_some_and(|at| at > 0) || word.rfind(&*plain) > Some(0),
            Piece::Beginning => plain.chars().count() >= 3 && word.starts_with(&*plain),
        }) || (!plain.is_empty() && plain.chars().all(|letter| !letter.is_alphanumeric()))
    }
}

/// Whether a word piece begins a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Beginning,
    Continuation,
}

/// A token without the marks of its tokenizer (`##ing`, `Ġword`, `▁word`), in lower case.
pub(crate) fn plain_token(token: &str) -> (Cow<'_, str>, Piece) {
    let (plain, kind) = match token.strip_prefix("##") {
        Some(rest) if !rest.is_empty() => (rest, Piece::Continuation),
        _ => (token.trim_start_matches(['\u{120}', '\u{2581}']), Piece::Beginning),
    };
    if plain.chars().any(char::is_uppercase) {
        (Cow::Owned(plain.to_lowercase()), kind)
    } else {
        (Cow::Borrowed(plain), kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn typed_and_expanded_are_told_apart() {
        let typed = TypedTokens::new("What are Embeddings, running?");
        for token in [
            "what",
            "run",
            "running",
            "##ding",
            "##s",
            "em",
            "embed",
            "\u{120}what",
            "?",
        ] {
            assert_eq!(typed.contains(token), token != "em", "{token}");
        }
        for token in ["vector", "##run", "wha\u{301}", "walk"] {
            assert!(!typed.contains(token), "{token}");
        }
    }

    proptest! {
        #[test]
        fn splitting_gives_the_terms_back(text in "\\PC{0,40}|([a-z]+[ \u{202f}\u{a0}\n\u{11ca9}]){0,9}|[ \n\u{11ca9}\u{301}]{0,9}") {
            let (joined, count) = analyse(&text);
            let mut split = Vec::new();
            LineTokenizer::default().token_stream(&joined).process(&mut |token| split.push(token.text.clone()));
            let direct: Vec<_> = Analyzer.tokens(&text).map(|token| token.text).collect();
            prop_assert_eq!(&split, &direct);
            prop_assert_eq!(split.len(), count as usize);
            let total: u32 = query_terms(&text).iter().map(|(_, count)| count).sum();
            prop_assert_eq!(total, count);
        }
    }
}
