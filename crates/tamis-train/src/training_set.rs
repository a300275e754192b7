//! Pairs with what is the same among them found.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Serialize;

use crate::error::Error;
use crate::pair::TrainingPair;
use crate::text_key::TextKey;

/// A distinct passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its title, empty where it has none.
    pub title: String,
    /// Its text.
    pub text: String,
}

/// A pair whose passage is known by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPair {
    /// Where the pair comes from, empty where not said.
    pub source: String,
    /// What is asked.
    pub query: String,
    /// The number of the passage that answers it.
    pub positive: u32,
    group: u32,
}

/// What was read and what was the same. As JSON an object with these fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetCounts {
    /// Rows read.
    pub num_rows: u64,
    /// Rows left out because an earlier row has the same query and the same text.
    pub num_repeated_pairs: u64,
    /// Pairs kept.
    pub num_pairs: u64,
    /// Distinct queries among them.
    pub num_queries: u64,
    /// Distinct texts among them.
    pub num_passages: u64,
}

/// Pairs over distinct passages, each text kept once.
///
/// Texts are the same when their [`TextKey`]s are. A passage is known by its text alone: the title is that
/// of the first row that has it. Pairs, passages and queries are numbered in the order of first appearance.
/// Memory: the distinct texts, all queries, and about 100 bytes a row.
#[derive(Debug, Default)]
pub struct TrainingSet {
    pairs: Vec<SetPair>,
    passages: Vec<Passage>,
    /// By query: the passages that answer it, ascending.
    positives: Vec<Vec<u32>>,
    num_rows: u64,
}

impl TrainingSet {
    /// Reads all pairs.
    ///
    /// # Errors
    /// The first error of the rows, and [`Error::TooManyPairs`] above 2^32 - 1 of them.
    pub fn collect(rows: impl IntoIterator<Item = Result<TrainingPair, Error>>) -> Result<Self, Error> {
        let mut builder = SetBuilder::default();
        for row in rows {
            builder.add(row?)?;
        }
        Ok(builder.finish())
    }

    /// The pairs, in the order in which they were read.
    #[must_use]
    pub fn pairs(&self) -> &[SetPair] {
        &self.pairs
    }

    /// The distinct passages; their place here is their number.
    #[must_use]
    pub fn passages(&self) -> &[Passage] {
        &self.passages
    }

    /// The passage of a number.
    ///
    /// # Panics
    /// When no passage has the number; those of this set's pairs and examples do.
    #[must_use]
    pub fn passage(&self, number: u32) -> &Passage {
        &self.passages[number as usize]
    }

    /// All passages that answer the pair's query, also by other pairs with the same query; ascending.
    ///
    /// # Panics
    /// When the pair is of another set.
    #[must_use]
    pub fn positives(&self, pair: &SetPair) -> &[u32] {
        &self.positives[pair.group as usize]
    }

    /// The number of the pair's query: pairs with the same query share it.
    pub(crate) fn query_number(&self, pair: u32) -> u32 {
        self.pairs[pair as usize].group
    }

    /// What was read and what was the same.
    #[must_use]
    pub fn counts(&self) -> SetCounts {
        SetCounts {
            num_rows: self.num_rows,
            num_repeated_pairs: self.num_rows - self.pairs.len() as u64,
            num_pairs: self.pairs.len() as u64,
            num_queries: self.positives.len() as u64,
            num_passages: self.passages.len() as u64,
        }
    }
}

/// Builds a [`TrainingSet`] row by row.
#[derive(Debug, Default)]
pub(crate) struct SetBuilder {
    set: TrainingSet,
    passage_of: HashMap<TextKey, u32>,
    query_of: HashMap<TextKey, u32>,
    pair_of: HashMap<(u32, u32), u32>,
}

impl SetBuilder {
    /// Adds a row; gives the number of its pair, an earlier one's where an earlier row has the same query and text.
    pub(crate) fn add(&mut self, row: TrainingPair) -> Result<u32, Error> {
        let TrainingPair {
            source,
            query,
            title,
            text,
        } = row;
        self.set.num_rows += 1;
        let positive = self.passage(title, text)?;
        let group = match self.query_of.entry(TextKey::of(&query)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(push(&mut self.set.positives, Vec::new())?),
        };
        let positives = &mut self.set.positives[group as usize];
        if let Err(place) = positives.binary_search(&positive) {
            positives.insert(place, positive);
        }
        match self.pair_of.entry((group, positive)) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(new) => {
                let pair = SetPair {
                    source,
                    query,
                    positive,
                    group,
                };
                Ok(*new.insert(push(&mut self.set.pairs, pair)?))
            }
        }
    }

    /// The number of a passage, which is new or has an earlier one's text.
    pub(crate) fn passage(&mut self, title: String, text: String) -> Result<u32, Error> {
        match self.passage_of.entry(TextKey::of(&text)) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(new) => Ok(*new.insert(push(&mut self.set.passages, Passage { title, text })?)),
        }
    }

    /// The passage of a pair that was added.
    pub(crate) fn positive(&self, pair: u32) -> u32 {
        self.set.pairs[pair as usize].positive
    }

    /// The set of all rows.
    pub(crate) fn finish(self) -> TrainingSet {
        self.set
    }
}

/// Appends an item and gives its number.
fn push<T>(items: &mut Vec<T>, item: T) -> Result<u32, Error> {
    let number = u32::try_from(items.len()).ok().filter(|&number| number < u32::MAX);
    items.push(item);
    number.ok_or(Error::TooManyPairs { limit: u32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_pairs_texts_and_queries_are_found() {
        let rows = [
            ("What is it?", "One", "A sieve."),
            ("what is it", "Two", "a SIEVE"),
            ("what is it", "Two", "A mesh."),
            ("Who?", "", "A sieve!"),
        ];
        let pairs = rows.map(|(query, title, text)| {
            let [query, title, text] = [query, title, text].map(str::to_owned);
            Ok(TrainingPair {
                source: String::new(),
                query,
                title,
                text,
            })
        });
        let set = TrainingSet::collect(pairs).expect("clean rows");
        let counts = SetCounts {
            num_rows: 4,
            num_repeated_pairs: 1,
            num_pairs: 3,
            num_queries: 2,
            num_passages: 2,
        };
        assert_eq!(set.counts(), counts);
        assert_eq!(
            set.passage(0),
            &Passage {
                title: "One".to_owned(),
                text: "A sieve.".to_owned()
            }
        );
        let pairs: Vec<(&str, u32)> = set
            .pairs()
            .iter()
            .map(|pair| (pair.query.as_str(), pair.positive))
            .collect();
        assert_eq!(pairs, [("What is it?", 0), ("what is it", 1), ("Who?", 0)]);
        assert_eq!(set.positives(&set.pairs()[0]), [0, 1]);
        assert_eq!(set.positives(&set.pairs()[2]), [0]);
    }
}
