//! Stems of background texts: how many texts have each, the word that stands for it, and what it weighs in queries.

use rayon::prelude::*;
use std::collections::HashMap;
use tamis_encoder::lexical::{Analyzer, idf, surface_form};

/// Texts whose stems are counted by one thread before counts are added up.
const CHUNK: usize = 1024;

/// Queries that a source needs for its shares to count.
const LEAST_QUERIES: usize = 200;

/// The largest share that is counted with: what all queries ask for keeps a little weight.
const MOST: f64 = 0.9;

/// The stems that most texts have.
///
/// In the order of their text counts, equal ones by their bytes. Memory while counting: all distinct words of the texts.
#[derive(Clone, Debug, PartialEq)]
pub struct StemTable {
    /// The stems.
    pub stems: Vec<String>,
    /// Of each stem the word it is most often the stem of; of equal ones the first by bytes.
    pub words: Vec<String>,
    /// Of each stem its inverse document frequency among the texts, or less: [`StemTable::lower`].
    pub idf: Vec<f32>,
    /// The inverse document frequency of stems that are not in the table: that of one which no text has. Names and
    /// terms of other fields are among them, which tell documents apart best.
    pub default_idf: f32,
    /// Distinct stems of the texts, those of the table among them.
    pub num_distinct: usize,
}

/// What is known of a stem.
#[derive(Default)]
struct Counts {
    texts: u64,
    words: HashMap<String, u64>,
}

impl StemTable {
    /// Counts the stems of `texts` and keeps `num_terms`.
    #[must_use]
    pub fn count(texts: &[String], num_terms: usize) -> Self {
        let mut all: HashMap<String, Counts> = HashMap::new();
        // As many chunks at a time as there are threads, so that few partial counts are held.
        for part in texts.chunks(CHUNK * rayon::current_num_threads()) {
            let counted: Vec<HashMap<String, Counts>> = part.par_chunks(CHUNK).map(count).collect();
            counted.into_iter().flatten().for_each(|(stem, counts)| {
                let sum = all.entry(stem).or_default();
                sum.texts += counts.texts;
                for (word, times) in counts.words {
                    *sum.words.entry(word).or_default() += times;
                }
            });
        }
        let num_distinct = all.len();
        let mut all: Vec<(String, Counts)> = all.into_iter().collect();
        all.sort_unstable_by(|a, b| b.1.texts.cmp(&a.1.texts).then_with(|| a.0.cmp(&b.0)));
        all.truncate(num_terms);
        let num_texts = texts.len() as u64;
        let mut table = Self {
            stems: Vec::with_capacity(all.len()),
            words: Vec::with_capacity(all.len()),
            idf: Vec::with_capacity(all.len()),
            default_idf: idf(num_texts, 0),
            num_distinct,
        };
        for (stem, counts) in all {
            let words = counts.words.into_iter();
            let word = words.max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
            table.words.push(word.map_or_else(|| stem.clone(), |(word, _)| word));
            table.idf.push(idf(num_texts, counts.texts));
            table.stems.push(stem);
        }
        table
    }

    /// Lowers the weight of stems that more than `share` of the queries have, on average over the sources with enough of
    /// them, to the negative logarithm of that average.
    pub fn lower(&mut self, sources: &[Vec<&str>], share: f64) {
        let ids = self.ids();
        let sources: Vec<&Vec<&str>> = sources
            .iter()
            .filter(|queries| queries.len() >= LEAST_QUERIES)
            .collect();
        let mut shares = vec![0f64; self.stems.len()];
        for queries in &sources {
            let found = queries.par_iter().map(|query| {
                let mut found: Vec<u32> = Analyzer
                    .tokens(query)
                    .filter_map(|token| ids.get(token.text.as_ref()).copied())
                    .collect();
                found.sort_unstable();
                found.dedup();
                found
            });
            let found: Vec<Vec<u32>> = found.collect();
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
            let weight = 1.0 / (queries.len() * sources.len()) as f64;
            found.iter().flatten().for_each(|&id| shares[id as usize] += weight);
        }
        for (idf, found) in self.idf.iter_mut().zip(shares).filter(|&(_, found)| found > share) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a weight, rounded to the precision of weights"
            )]
            let asked = -found.min(MOST).ln() as f32;
            *idf = idf.min(asked);
        }
    }

    /// The row of each stem.
    #[must_use]
    pub fn ids(&self) -> HashMap<&str, u32> {
        let stems = self.stems.iter().map(String::as_str);
        stems.zip(0..).collect()
    }
}

fn count(texts: &[String]) -> HashMap<String, Counts> {
    let mut all: HashMap<String, Counts> = HashMap::new();
    let mut seen: Vec<String> = Vec::new();
    for text in texts {
        for token in Analyzer.tokens(text) {
            let word = surface_form(&text[token.start..token.end]);
            let stem = token.text.into_owned();
            let counts = all.entry(stem.clone()).or_default();
            match counts.words.get_mut(word.as_ref()) {
                Some(times) => *times += 1,
                None => drop(counts.words.insert(word.into_owned(), 1)),
            }
            seen.push(stem);
        }
        seen.sort_unstable();
        seen.dedup();
        for stem in seen.drain(..) {
            all.entry(stem).or_default().texts += 1;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_counted_by_text_and_named_by_their_commonest_word() {
        let texts = [
            "Sieves, sieves and the sieve",
            "a sieve of mills",
            "Mills sieved",
            "rye",
        ]
        .map(str::to_owned);
        let table = StemTable::count(&texts, 2);
        assert_eq!(table.stems, ["siev", "mill"]);
        assert_eq!(
            table.words,
            ["sieve", "mills"],
            "of sieve and sieves, twice each, the first"
        );
        assert_eq!(table.idf, [idf(4, 3), idf(4, 2)]);
        assert_eq!((table.default_idf, table.num_distinct), (idf(4, 0), 3));
        assert_eq!(table.ids()["mill"], 1);
    }

    #[test]
    fn what_is_common_in_queries_weighs_less() {
        let texts: Vec<String> = (0..1000).map(|at| format!("rye{at} mill{} flour", at / 2)).collect();
        let mut table = StemTable::count(&texts, 5000);
        let before = table.clone();
        let questions: Vec<String> = (0..200).map(|at| format!("rye{} rye1 rye1", at % 100)).collect();
        let titles = vec!["flour"; 600];
        let few = vec!["mill7"; 199];
        let sources = [questions.iter().map(String::as_str).collect(), titles, few];
        table.lower(&sources, 0.01);
        let of = |table: &StemTable, stem: &str| table.idf[table.ids()[stem] as usize];
        assert!(
            (of(&table, "rye1") - 2f32.ln()).abs() < 1e-6,
            "all of one of two sources: a half"
        );
        assert_eq!(of(&table, "rye2"), of(&before, "rye2"), "a hundredth of one of two");
        assert_eq!(of(&table, "mill7"), of(&before, "mill7"), "too few queries to count");
        assert_eq!(of(&table, "flour"), of(&before, "flour"), "it weighs less already");
        let mut never = before.clone();
        never.lower(&sources, 1.0);
        assert_eq!(never, before);
    }

    #[test]
    fn counts_do_not_depend_on_chunks() {
        let texts: Vec<String> = (0..5000)
            .map(|at| format!("w{} w{} W{}s", at % 7, at % 11, at % 13))
            .collect();
        let whole = StemTable::count(&texts, 100);
        let pool = |threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads")
        };
        for threads in [1, 3] {
            assert_eq!(pool(threads).install(|| StemTable::count(&texts, 100)), whole);
        }
        assert_eq!((whole.stems.len(), whole.num_distinct), (13, 13));
    }
}
