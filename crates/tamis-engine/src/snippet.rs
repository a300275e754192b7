//! The stretch of a document that shows best why it was found.

use crate::response::{Highlight, QueryTerm, Snippet};
use crate::words::{Piece, plain_token};
use std::collections::HashMap;
use tamis_encoder::lexical::Analyzer;

/// How long a snippet is, in bytes, up to the next word.
const SNIPPET_BYTES: usize = 240;

/// Only the beginning of a long text is looked at.
const SCANNED_BYTES: usize = 64 << 10;

/// What a query's terms look like in a text.
pub(crate) struct Marker {
    /// Stems and words with the weight of their term and whether it was typed.
    known: HashMap<String, (f32, bool)>,
}

/// A matched word.
#[derive(Clone, Copy, Debug)]
struct Match<'k> {
    start: usize,
    end: usize,
    word: &'k str,
    weight: f32,
    typed: bool,
}

impl Marker {
    /// Marks the words of `query` and the words among `terms`.
    pub(crate) fn new(query: Option<&str>, terms: &[QueryTerm]) -> Self {
        let mut known: HashMap<String, (f32, bool)> = HashMap::new();
        let mut add = |word: String, weight: f32, typed: bool| {
            let entry = known.entry(word).or_insert((0.0, false));
            *entry = (entry.0.max(weight), entry.1 || typed);
        };
        for term in terms {
            let (word, piece) = plain_token(&term.term);
            if piece == Piece::Beginning && word.chars().any(char::is_alphanumeric) {
                add(word.into_owned(), term.weight, term.typed);
            }
        }
        for token in Analyzer.tokens(query.unwrap_or_default()) {
            add(token.text.into_owned(), 0.0, true);
        }
        Self { known }
    }

    fn matches(&self, text: &str) -> Vec<Match<'_>> {
        let mut matches = Vec::new();
        for token in Analyzer.tokens(text) {
            let surface = text[token.start..token.end].to_lowercase();
            let found = self
                .known
                .get_key_value(&*token.text)
                .or_else(|| self.known.get_key_value(&surface));
            if let Some((word, &(weight, typed))) = found {
                matches.push(Match {
                    start: token.start,
                    end: token.end,
                    word,
                    weight,
                    typed,
                });
            }
        }
        matches
    }

    /// The best stretch of `text`: the one whose distinct matched words weigh most, the first of equals.
    pub(crate) fn snippet(&self, field: &str, text: &str) -> Snippet {
        let scanned = &text[..boundary_before(text, SCANNED_BYTES)];
        let matches = self.matches(scanned);
        let first = best_start(&matches);
        let (from, to) = match matches.get(first) {
            None => (0, word_end(text, SNIPPET_BYTES)),
            Some(best) => {
                let reach = |found: &&Match<'_>| found.end <= best.start + SNIPPET_BYTES;
                let last = matches[first..].iter().take_while(reach).last().unwrap_or(best);
                // The rest of the room goes to both sides, at most a third of it before.
                let spare = SNIPPET_BYTES.saturating_sub(last.end - best.start);
                let from = word_start(text, best.start.saturating_sub(spare / 3));
                (from, word_end(text, (from + SNIPPET_BYTES).max(last.end)))
            }
        };
        let inside = matches.iter().filter(|found| found.start >= from && found.end <= to);
        Snippet {
            field: field.to_owned(),
            text: text[from..to].to_owned(),
            cut_before: from > 0,
            cut_after: to < text.len(),
            highlights: inside
                .map(|found| Highlight {
                    start: found.start - from,
                    end: found.end - from,
                    typed: found.typed,
                })
                .collect(),
        }
    }
}

/// The match that begins the heaviest stretch.
fn best_start(matches: &[Match<'_>]) -> usize {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let (mut sum, mut end, mut best) = (0.0f64, 0, (f64::MIN, 0));
    for (start, first) in matches.iter().enumerate() {
        while let Some(next) = matches
            .get(end)
            .filter(|next| next.end <= first.start + SNIPPET_BYTES || end <= start)
        {
            let count = counts.entry(next.word).or_default();
            *count += 1;
            if *count == 1 {
                // Expansions that were not weighed, and typed words, count a little at least.
                sum += f64::from(next.weight) + if next.typed { 1.0 } else { 0.01 };
            }
            end += 1;
        }
        // Sums drift by rounding; a clear gain is needed to move on.
        if sum > best.0 + 1e-6 {
            best = (sum, start);
        }
        if let Some(count) = counts.get_mut(first.word) {
            *count -= 1;
            if *count == 0 {
                sum -= f64::from(first.weight) + if first.typed { 1.0 } else { 0.01 };
            }
        }
    }
    best.1
}

/// The last character boundary at or before `at`.
fn boundary_before(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The beginning of the word that `at` is in, unless that is far away.
fn word_start(text: &str, at: usize) -> usize {
    let at = boundary_before(text, at);
    let before = text[..at].char_indices().rev().take(40);
    let space = before.into_iter().find(|(_, letter)| letter.is_whitespace());
    match space {
        Some((space, letter)) => space + letter.len_utf8(),
        None if at <= 40 => 0,
        None => at,
    }
}

/// The end of the word that `at` is in, unless that is far away.
fn word_end(text: &str, at: usize) -> usize {
    let at = boundary_before(text, at);
    let after = text[at..]
        .char_indices()
        .take(40)
        .find(|(_, letter)| letter.is_whitespace());
    match after {
        Some((space, _)) => at + space,
        None if text[at..].chars().nth(40).is_none() => text.len(),
        None => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Mode;
    use proptest::prelude::*;

    fn term(term: &str, weight: f32, typed: bool) -> QueryTerm {
        QueryTerm {
            term: term.to_owned(),
            weight,
            typed,
            df: 1,
            max: 1.0,
            source: Mode::Sparse,
        }
    }

    #[test]
    fn finds_the_stretch_with_most_of_the_query() {
        let filler = "nothing to see here ".repeat(40);
        let text = format!("One crab. {filler}A Lobster's roll with crab meat. {filler}");
        let marker = Marker::new(
            Some("lobster rolls"),
            &[term("lobster", 2.0, true), term("crab", 0.5, false)],
        );
        let snippet = marker.snippet("text", &text);
        let marked: Vec<_> = snippet
            .highlights
            .iter()
            .map(|mark| (&snippet.text[mark.start..mark.end], mark.typed))
            .collect();
        assert_eq!(marked, [("Lobster's", true), ("roll", true), ("crab", false)]);
        assert!(snippet.cut_before && snippet.cut_after && snippet.text.len() < 330);
    }

    #[test]
    fn begins_at_the_beginning_without_a_match() {
        let marker = Marker::new(Some("sieve"), &[]);
        let snippet = marker.snippet("text", "short text");
        assert_eq!((snippet.text.as_str(), snippet.highlights.len()), ("short text", 0));
        assert_eq!(marker.snippet("text", "").text, "");
    }

    proptest! {
        #[test]
        fn ranges_are_characters_ascending_and_disjoint(
            text in "([a-cé東\u{301}]{1,3}[ ,\u{a0}]){0,200}",
            query in "([a-cé東]{1,3} ){0,4}",
            expansions in prop::collection::vec("(##)?[a-cé]{1,2}", 0..4),
        ) {
            let terms: Vec<_> = expansions.iter().map(|word| term(word, 0.5, false)).collect();
            let snippet = Marker::new(Some(&query), &terms).snippet("text", &text);
            prop_assert!(text.contains(&snippet.text));
            let mut end = 0;
            for mark in &snippet.highlights {
                prop_assert!(mark.start >= end && mark.end > mark.start);
                prop_assert!(snippet.text.get(mark.start..mark.end).is_some());
                end = mark.end;
            }
        }
    }
}
