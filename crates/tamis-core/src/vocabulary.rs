//! The term dictionary: strings to dense ordinals and back.

use crate::TermId;
use std::collections::HashMap;

/// Distinct term strings, numbered from 0 in the order they were added.
///
/// Terms are only ever added, so a [`TermId`] keeps its meaning for the life of a collection.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// All terms, one after the other.
    text: String,
    /// `ends[i]` is where term `i` ends in `text`.
    ends: Vec<u32>,
    ids: HashMap<Box<str>, TermId>,
}

/// Why bytes are not a vocabulary, or a term does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// The bytes end early or lengths contradict each other.
    #[error("vocabulary: {expected} bytes expected, {found} found")]
    Length {
        /// Bytes that the header calls for.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The terms are not UTF-8, or one ends inside a character or before it begins.
    #[error("vocabulary: term {term} is not valid text")]
    Text {
        /// The ordinal of the term.
        term: u32,
    },
    /// The same term appears twice.
    #[error("vocabulary: term {first} and term {second} are the same text")]
    Repeated {
        /// Ordinal of the first.
        first: u32,
        /// Ordinal of the second.
        second: u32,
    },
    /// More than 4 GiB of text or 2^32 - 1 terms.
    #[error("vocabulary: full, terms and their text are limited to 2^32")]
    Full,
}

impl Vocabulary {
    /// An empty vocabulary.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of terms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no terms.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id of `term`, if it is known.
    #[must_use]
    pub fn id(&self, term: &str) -> Option<TermId> {
        self.ids.get(term).copied()
    }

    /// The text of `id`, if there is such a term.
    #[must_use]
    pub fn term(&self, id: TermId) -> Option<&str> {
        let end = *self.ends.get(id.index())? as usize;
        let start = id.index().checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(&self.text[start..end])
    }

    /// The id of `term`, which is added when it is new.
    ///
    /// # Errors
    /// [`VocabularyError::Full`] when there is no room for another term.
    pub fn intern(&mut self, term: &str) -> Result<TermId, VocabularyError> {
        if let Some(id) = self.id(term) {
            return Ok(id);
        }
        let id = u32::try_from(self.ends.len())
            .ok()
            .filter(|&id| id < u32::MAX)
            .ok_or(VocabularyError::Full)?;
        let end = u32::try_from(self.text.len() + term.len()).map_err(|_| VocabularyError::Full)?;
        self.text.push_str(term);
        self.ends.push(end);
        self.ids.insert(term.into(), TermId::new(id));
        Ok(TermId::new(id))
    }

    /// All terms in id order.
    pub fn iter(&self) -> impl Iterator<Item = (TermId, &str)> + '_ {
        (0u32..).zip(&self.ends).map(|(id, _)| {
            let id = TermId::new(id);
            (id, self.term(id).expect("id is below the number of terms"))
        })
    }

    /// The section form: number of terms (u32), where each ends (u32 each), then the text. Little endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + 4 * self.ends.len() + self.text.len());
        let count = u32::try_from(self.ends.len()).expect("intern keeps the number of terms below 2^32");
        bytes.extend_from_slice(&count.to_le_bytes());
        for end in &self.ends {
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        bytes.extend_from_slice(self.text.as_bytes());
        bytes
    }

    /// Reads the section form.
    ///
    /// # Errors
    /// When lengths contradict each other, text is not UTF-8 or a term is repeated.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VocabularyError> {
        let found = bytes.len();
        let short = |expected| VocabularyError::Length { expected, found };
        let (count, rest) = bytes.split_first_chunk::<4>().ok_or(short(4))?;
        let count = u32::from_le_bytes(*count) as usize;
        let ends_len = count
            .checked_mul(4)
            .filter(|&len| len <= rest.len())
            .ok_or(short(count.saturating_mul(4)))?;
        let (ends, text) = rest.split_at(ends_len);
        let mut vocabulary = Self::default();
        let mut start = 0;
        for (term, end) in (0u32..).zip(ends.chunks_exact(4)) {
            let end = u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize;
            let piece = text.get(start..end).ok_or(VocabularyError::Text { term })?;
            let piece = std::str::from_utf8(piece).map_err(|_| VocabularyError::Text { term })?;
            let id = vocabulary.intern(piece)?;
            if id.get() != term {
                return Err(VocabularyError::Repeated {
                    first: id.get(),
                    second: term,
                });
            }
            start = end;
        }
        if start != text.len() {
            return Err(short(4 + ends_len + start));
        }
        Ok(vocabulary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_terms_in_order() {
        let mut vocabulary = Vocabulary::new();
        for (term, id) in [("sieve", 0), ("", 1), ("sieve", 0), ("tamis", 2)] {
            assert_eq!(vocabulary.intern(term), Ok(TermId::new(id)));
        }
        assert_eq!(vocabulary.term(TermId::new(1)), Some(""));
        assert_eq!(vocabulary.term(TermId::new(3)), None);
        assert_eq!(vocabulary.iter().count(), 3);
    }

    proptest! {
        #[test]
        fn survives_a_round_trip(terms in prop::collection::vec(".{0,6}", 0..40)) {
            let mut vocabulary = Vocabulary::new();
            for term in &terms {
                vocabulary.intern(term).expect("room");
            }
            let again = Vocabulary::from_bytes(&vocabulary.to_bytes()).expect("own bytes");
            prop_assert!(vocabulary.iter().eq(again.iter()));
            for term in &terms {
                prop_assert_eq!(vocabulary.id(term), again.id(term));
            }
        }

        #[test]
        fn damaged_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0u8..9) {
            if let Some(first) = bytes.first_mut() {
                *first = count;
            }
            let _ = Vocabulary::from_bytes(&bytes);
        }
    }
}
