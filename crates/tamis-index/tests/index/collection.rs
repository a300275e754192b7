//! Small collections, and what an index of one has to say.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tamis_core::{DocId, Impact, Quantiser, SparseVector, TermId};
use tamis_index::{
    BLOCK_BITS, Blocks, BuildReport, Extras, Index, IndexBuilder, IndexOptions, KTH_STORED, Postings, WindowPostings,
};

/// Documents as terms with weights.
pub type Documents = Vec<BTreeMap<u32, f32>>;

/// Up to `max_docs` documents of mixed lengths, with frequent and rare terms.
pub fn documents(max_docs: usize) -> impl Strategy<Value = Documents> {
    let frequent = prop::collection::btree_map(0u32..6, 0.01f32..4.0, 0..5);
    let rare = prop::collection::btree_map(6u32..300, 0.01f32..4.0, 0..8);
    let document = (frequent, rare).prop_map(|(mut frequent, rare)| {
        frequent.extend(rare);
        frequent
    });
    prop::collection::vec(document, 0..max_docs)
}

/// Numbers that look random and are the same everywhere (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ mixed >> 31) % limit).expect("limits fit 32 bits")
    }
}

/// `num_docs` documents of about 20 terms, of which term 0 is in all.
pub fn large(num_docs: usize) -> Documents {
    let mut random = Random(5);
    let document = |_| {
        let mut document = BTreeMap::from([(0, 1.0)]);
        for _ in 0..20 {
            let spread = 1 << random.below(10);
            let weight = random.below(1000) as f32 / 300.0 + 0.01;
            document.insert(random.below(spread), weight);
        }
        document
    };
    (0..num_docs).map(document).collect()
}

pub fn vector(document: &BTreeMap<u32, f32>) -> SparseVector {
    let pairs = document.iter().map(|(&term, &weight)| (TermId::new(term), weight));
    SparseVector::from_pairs(pairs.collect()).expect("a map has distinct terms")
}

/// Builds an index in memory.
pub fn build(documents: &Documents, options: &IndexOptions, extras: &Extras) -> (Vec<u8>, BuildReport) {
    let spill = tempfile::tempdir().expect("a folder");
    let mut builder = IndexBuilder::new(options.clone(), spill.path()).expect("valid options");
    for (doc, document) in (0u32..).zip(documents) {
        assert_eq!(builder.add(&vector(document)).expect("valid"), DocId::new(doc));
    }
    let built = builder.finish_into(extras, Vec::new()).expect("memory");
    assert_eq!(
        std::fs::read_dir(spill.path()).expect("readable").count(),
        0,
        "no leftover"
    );
    built
}

/// Checks everything that `index` says against `documents` quantised by its quantiser.
pub fn check_holds(index: &Index, documents: &Documents) {
    let quantiser = index.quantiser();
    assert_eq!(index.num_docs() as usize, documents.len());
    let mut by_term: BTreeMap<TermId, BTreeMap<DocId, Impact>> = BTreeMap::new();
    for (doc, document) in (0u32..).map(DocId::new).zip(documents) {
        let expected = impacts(document, quantiser);
        let found = index.forward(doc);
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.collect::<Vec<_>>(), expected, "document {doc}");
        assert_eq!(index.doc_of(index.position_of(doc)), doc);
        for (term, impact) in expected {
            by_term.entry(term).or_default().insert(doc, impact);
        }
    }
    let num_terms = by_term.last_key_value().map_or(0, |(term, _)| term.get() + 1);
    assert_eq!(index.num_terms(), num_terms);
    assert_eq!(
        index.num_postings(),
        by_term.values().map(|postings| postings.len() as u64).sum::<u64>()
    );
    for term in (0..num_terms + 3).map(TermId::new) {
        let expected = by_term.remove(&term).unwrap_or_default();
        assert_eq!(index.term_df(term) as usize, expected.len());
        assert_eq!(index.term(term).is_some(), !expected.is_empty());
        check_term(index, term, &expected);
    }
}

pub fn impacts(document: &BTreeMap<u32, f32>, quantiser: Quantiser) -> Vec<(TermId, Impact)> {
    let pairs = document.iter();
    pairs
        .map(|(&term, &weight)| (TermId::new(term), quantiser.impact(weight)))
        .collect()
}

fn check_term(index: &Index, term: TermId, expected: &BTreeMap<DocId, Impact>) {
    let Some(postings) = index.term(term) else {
        return;
    };
    let mut descending: Vec<u8> = expected.values().map(|impact| impact.get()).collect();
    descending.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(postings.num_docs() as usize, expected.len());
    assert_eq!(postings.max_impact().get(), descending[0]);
    for k in KTH_STORED {
        assert_eq!(
            postings.kth_impact(k),
            descending.get(k - 1).copied().unwrap_or(0),
            "term {term}, k = {k}"
        );
    }
    for k in [1, 2, 9, 11, 99, 500, 1001] {
        assert!(
            postings.kth_impact(k) <= descending.get(k - 1).copied().unwrap_or(0),
            "a lower bound"
        );
    }
    let (mut found, mut windows) = (BTreeMap::new(), Vec::new());
    for window in postings.windows() {
        windows.push(window.window);
        let start = window.window << index.window_bits();
        let listed = list(&window);
        check_window(index, &window, &listed);
        for (id, impact) in listed {
            let doc = index.doc_of(start + u32::from(id));
            found.insert(doc, Impact::new(impact).expect("no zero is listed"));
        }
    }
    assert_eq!(&found, expected, "term {term}");
    assert!(windows.is_sorted_by(|a, b| a < b));
    assert_eq!(postings.num_windows(), windows.len());
    for window in 0..=index.num_windows() {
        let same = postings.window(window).map(|found| found.window);
        assert_eq!(same, windows.contains(&window).then_some(window));
    }
}

/// The postings of a window as ids and impacts.
pub fn list(window: &WindowPostings<'_>) -> Vec<(u16, u8)> {
    match window.postings {
        Postings::List { ids, impacts } => ids.iter().copied().zip(impacts.iter().copied()).collect(),
        Postings::Dense { column } => {
            let all = (0..=u16::MAX).zip(column.iter().copied());
            all.filter(|&(_, impact)| impact > 0).collect()
        }
    }
}

fn check_window(index: &Index, window: &WindowPostings<'_>, listed: &[(u16, u8)]) {
    assert_eq!(window.num_docs as usize, listed.len());
    assert_eq!(Some(window.max_impact), listed.iter().map(|&(_, impact)| impact).max());
    // Block, first posting, largest impact.
    let mut expected: Vec<(u16, u16, u8)> = Vec::new();
    for (at, &(id, impact)) in (0..=u16::MAX).zip(listed) {
        match expected.last_mut() {
            Some((block, _, max)) if *block == id >> BLOCK_BITS => *max = impact.max(*max),
            _ => expected.push((id >> BLOCK_BITS, at, impact)),
        }
    }
    let is_column = matches!(window.postings, Postings::Dense { .. });
    match window.blocks {
        Blocks::None => assert!(!is_column),
        Blocks::Sparse { blocks, maxima, starts } => {
            let found = blocks.iter().zip(starts).zip(maxima);
            let found: Vec<_> = found.map(|((&block, &start), &max)| (block, start, max)).collect();
            assert_eq!(found, expected);
        }
        Blocks::Dense { maxima, starts } => {
            assert_eq!(maxima.len(), index.num_blocks(window.window) as usize);
            let found = (0u16..)
                .zip(maxima)
                .filter(|&(_, &max)| max > 0)
                .map(|(block, &max)| (block, max));
            assert!(found.eq(expected.iter().map(|&(block, _, max)| (block, max))));
            if is_column {
                assert!(starts.is_empty());
            } else {
                assert_eq!(starts.len(), maxima.len() + 1);
                assert!(
                    expected
                        .iter()
                        .all(|&(block, start, _)| starts[usize::from(block)] == start)
                );
                assert_eq!(starts.last().map(|&end| usize::from(end)), Some(listed.len()));
                assert!(starts.is_sorted());
            }
        }
    }
}
