//! Generated collections and queries that are awkward on purpose, and the plain way to answer them.
//!
//! Shared by the `oracle` example and the property tests: everything follows from a seed.

use roaring::RoaringBitmap;
use tamis_core::{DocId, Hit, Impact, Score, SparseVector, TermId};
use tamis_index::{Extras, Index, IndexBuilder, IndexOptions, Quantisation, ReorderOptions};
use tamis_query::QuantisedQuery;

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers all follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(((self.next() >> 32) * u64::from(bound)) >> 32).expect("below a 32-bit bound")
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(u32::try_from(choices.len()).expect("few choices")) as usize]
    }

    /// Whether something of `percent` likelihood happens.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}

/// What a collection looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of documents.
    pub num_docs: u32,
    /// Number of terms.
    pub num_terms: u32,
    /// Mean share of the terms in a document, in percent; skewed towards low term ids.
    pub density: u32,
    /// Impacts are 1 to this, or all this when `constant`.
    pub max_impact: u8,
    /// Whether all impacts are equal, so that everything ties.
    pub constant: bool,
    /// Length of runs of documents about the same thing, or 0.
    pub cluster: u32,
    /// Bits of a window.
    pub window_bits: u32,
    /// Whether documents are reordered.
    pub reorder: bool,
}

impl Shape {
    /// Any shape of at most `max_docs` documents.
    pub fn random(random: &mut Random, max_docs: u32) -> Self {
        let small = [0, 1, 2, 63, 64, 65, 200, 256, 257, 300];
        let large = [700, 1000, 1500, 2000, 2500, 3000, 4096, 5000];
        let num_docs = if random.chance(40) {
            random.pick(&small)
        } else {
            random.pick(&large)
        };
        Self {
            num_docs: num_docs.min(max_docs),
            num_terms: random.pick(&[1, 2, 5, 20, 60, 150]),
            density: random.pick(&[0, 0, 1, 3, 8, 20, 60, 100]),
            max_impact: random.pick(&[1, 2, 5, 40, 255]),
            constant: random.chance(15),
            cluster: random.pick(&[0, 0, 16, 64, 100, 200, 400]),
            window_bits: random.pick(&[8, 8, 9, 10, 12, 16]),
            reorder: random.chance(40),
        }
    }
}

/// A document: terms, strictly ascending, with impacts.
pub type Document = Vec<(TermId, Impact)>;

/// The documents of a shape.
pub fn documents(shape: &Shape, random: &mut Random) -> Vec<Document> {
    let mut favourite = 0;
    (0..shape.num_docs)
        .map(|doc| {
            if shape.cluster > 0 && doc % shape.cluster == 0 {
                favourite = random.below(shape.num_terms);
            }
            (0..shape.num_terms)
                .filter_map(|term| {
                    let is_favourite = shape.cluster > 0 && term.abs_diff(favourite) < 3;
                    let skew = if term < 3 { 3 } else { 1 };
                    let percent = if is_favourite { 80 } else { shape.density * skew };
                    if !random.chance(percent) {
                        return None;
                    }
                    let lift = if is_favourite { shape.max_impact / 2 } else { 0 };
                    let drawn = 1 + random.below(u32::from(shape.max_impact - lift));
                    let drawn = u8::try_from(drawn).expect("at most the largest impact") + lift;
                    let impact = if shape.constant { shape.max_impact } else { drawn };
                    Some((TermId::new(term), Impact::new(impact)?))
                })
                .collect()
        })
        .collect()
}

/// An index of `documents`, whose impacts it keeps as they are.
pub fn index(shape: &Shape, documents: &[Document]) -> Index {
    let options = IndexOptions {
        window_bits: shape.window_bits,
        quantisation: Quantisation::Exact,
        reorder: shape.reorder.then(ReorderOptions::default),
        ..IndexOptions::default()
    };
    let mut builder = IndexBuilder::new(options, &std::env::temp_dir()).expect("valid options");
    for document in documents {
        builder.add_impacts(document).expect("ascending terms");
    }
    let (bytes, _) = builder.finish_into(&Extras::default(), Vec::new()).expect("memory");
    Index::from_bytes(bytes).expect("own bytes")
}

/// A query over the terms of `shape` and some that no document has.
pub fn query(shape: &Shape, random: &mut Random) -> SparseVector {
    let num_terms = shape.num_terms + 3;
    let len = random
        .pick(&[0, 1, 1, 2, 2, 3, 3, 5, 5, 10, 10, 20, 40, num_terms])
        .min(num_terms);
    let style = random.below(5);
    let mut terms: Vec<u32> = (0..len).map(|_| random.below(num_terms)).collect();
    if len == num_terms {
        terms = (0..num_terms).collect();
    }
    terms.sort_unstable();
    terms.dedup();
    let weight = |random: &mut Random| match style {
        0 => 1.0,
        1 => 4095.0,
        2 => 1.0 + random.below(4095) as f32,
        3 => 0.001 + random.below(1000) as f32 / 300.0,
        _ => 1.0 + random.below(3) as f32,
    };
    let pairs = terms.into_iter().map(|term| (TermId::new(term), weight(random)));
    SparseVector::from_pairs(pairs.collect()).expect("distinct terms, positive weights")
}

/// An allow-list that keeps nothing, one document, some, most or all; ids without a document included.
pub fn filter(shape: &Shape, random: &mut Random) -> Option<RoaringBitmap> {
    let percent = random.pick(&[
        None,
        None,
        None,
        Some(0),
        Some(1),
        Some(5),
        Some(20),
        Some(50),
        Some(90),
        Some(99),
        Some(100),
    ])?;
    let mut allowed: RoaringBitmap = (0..shape.num_docs).filter(|_| random.chance(percent)).collect();
    if shape.num_docs > 0 && random.chance(30) {
        allowed.insert(random.below(shape.num_docs));
    }
    if random.chance(50) {
        allowed.insert(shape.num_docs);
        allowed.insert(u32::MAX);
    }
    Some(allowed)
}

/// All hits, best first, from the documents themselves.
pub fn answer(documents: &[Document], query: &QuantisedQuery, allowed: Option<&RoaringBitmap>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (doc, document) in (0..).zip(documents) {
        let score: u32 = document
            .iter()
            .map(|&(term, impact)| {
                let found = query.terms().iter().find(|&&(other, _)| other == term);
                found.map_or(0, |&(_, weight)| u32::from(weight) * u32::from(impact.get()))
            })
            .sum();
        if score > 0 && allowed.is_none_or(|allowed| allowed.contains(doc)) {
            hits.push(Hit::new(Score::new(score), DocId::new(doc)));
        }
    }
    hits.sort();
    hits
}
