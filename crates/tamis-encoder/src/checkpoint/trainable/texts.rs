//! The texts of a step, split once: token ids, and the columns on which their own tokens lie.

use crate::checkpoint::policy::TermUnit;
use crate::checkpoint::side::SideEncoder;
use crate::checkpoint::tokenizer::Tokens;
use crate::checkpoint::words::words;
use crate::{Error, InputKind};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

/// The queries and documents of one step, split into tokens, on common columns.
///
/// Columns are the entries of the vocabulary; of models whose terms are words they are the words of these texts.
pub struct StepTexts {
    pub(super) queries: Vec<StepText>,
    pub(super) documents: Vec<StepText>,
    pub(super) columns: usize,
    /// The words of the columns, where these are words.
    words: Vec<String>,
}

/// One text.
pub(super) struct StepText {
    pub(super) tokens: Tokens,
    /// The positions whose own terms get a weight, each with its column, in the order of the text.
    pub(super) terms: Vec<(usize, u32)>,
}

impl StepTexts {
    /// Texts on `columns`, which are `words` where that is not empty.
    pub(super) fn new([queries, documents]: [Vec<StepText>; 2], (columns, words): (usize, Vec<String>)) -> Self {
        Self {
            queries,
            documents,
            columns,
            words,
        }
    }

    /// The word of a column, where columns are words.
    #[must_use]
    pub fn word(&self, column: usize) -> Option<&str> {
        self.words.get(column).map(String::as_str)
    }

    /// Number of columns of a representation.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of texts of one kind.
    #[must_use]
    pub fn len(&self, kind: InputKind) -> usize {
        self.of(kind).len()
    }

    /// Whether there is no text of one kind.
    #[must_use]
    pub fn is_empty(&self, kind: InputKind) -> bool {
        self.of(kind).is_empty()
    }

    /// Tokens of all texts, special ones included.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let texts = self.queries.iter().chain(&self.documents);
        texts.map(|text| text.tokens.ids.len()).sum()
    }

    /// The columns of the terms that stand in text `at` of `kind`, ascending, each once.
    #[must_use]
    pub fn own_columns(&self, kind: InputKind, at: usize) -> Vec<u32> {
        let mut columns: Vec<u32> = self.of(kind)[at].terms.iter().map(|&(_, column)| column).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The texts of one kind.
    pub(super) fn of(&self, kind: InputKind) -> &[StepText] {
        match kind {
            InputKind::Query => &self.queries,
            InputKind::Document => &self.documents,
        }
    }

    pub(super) fn part(&self, kind: InputKind, range: Range<usize>) -> &[StepText] {
        &self.of(kind)[range]
    }
}

/// The columns of words, in the order in which they are first met.
#[derive(Default)]
pub(super) struct WordColumns {
    columns: HashMap<String, u32>,
}

impl WordColumns {
    fn column(&mut self, word: String) -> u32 {
        let next = u32::try_from(self.columns.len()).unwrap_or(u32::MAX);
        *self.columns.entry(word).or_insert(next)
    }

    /// The words in the order of their columns.
    pub(super) fn into_words(self) -> Vec<String> {
        let mut words: Vec<(u32, String)> = self.columns.into_iter().map(|(word, column)| (column, word)).collect();
        words.sort_unstable();
        words.into_iter().map(|(_, word)| word).collect()
    }
}

/// Splits `texts`.
///
/// # Errors
/// When a text cannot be split; `text` counts from 0 within `texts`.
pub(super) fn read(side: &SideEncoder, texts: &[&str], columns: &mut WordColumns) -> Result<Vec<StepText>, Error> {
    let split = |(text, content): (usize, &&str)| {
        let windows = side.split(content);
        let mut windows = windows.map_err(|reason| Error::Tokenise { text, reason })?;
        Ok(windows.swap_remove(0))
    };
    let tokens: Vec<Tokens> = texts.par_iter().enumerate().map(split).collect::<Result<_, Error>>()?;
    let text = |tokens: Tokens| StepText {
        terms: terms(side, &tokens, columns),
        tokens,
    };
    Ok(tokens.into_iter().map(text).collect())
}

/// The terms of one text: its pieces, or its words by their first piece, without stop words.
fn terms(side: &SideEncoder, tokens: &Tokens, columns: &mut WordColumns) -> Vec<(usize, u32)> {
    let stop_words = side.settings.stop_words;
    match side.settings.terms {
        TermUnit::Pieces => {
            let named = side.scattered_positions(tokens).filter_map(|at| {
                let name = side.tokenizer.token(tokens.ids[at])?;
                (!stop_words.drop(&name)).then_some((at, tokens.ids[at]))
            });
            named.collect()
        }
        TermUnit::Words => {
            let piece = |at: usize| {
                let id = tokens.ids[at];
                side.tokenizer.token(id).filter(|_| !side.is_unknown(id))
            };
            let kept = words(&tokens.words, piece).filter(|(_, word)| !stop_words.drop(word));
            kept.map(|(at, word)| (at, columns.column(word))).collect()
        }
    }
}
