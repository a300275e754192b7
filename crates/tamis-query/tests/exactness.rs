//! Every algorithm returns the plain answer: the same documents, the same scores, in the same order.

#[path = "../examples/oracle/cases.rs"]
mod cases;

use cases::{Document, Random, Shape};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use tamis_core::{DocId, Hit, Impact, Score, SparseVector, TermId};
use tamis_index::Index;
use tamis_query::{Algorithm, Error, QuantisedQuery, Scratch, SearchParams, SearchStats, search};

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Auto,
    Algorithm::Oracle,
    Algorithm::Exhaustive,
    Algorithm::BlockMax,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn every_algorithm_gives_the_plain_answer(seed: u64, max_docs in 0u32..3000, k in 0usize..60) {
        let mut random = Random::new(seed);
        let shape = Shape::random(&mut random, max_docs);
        let documents = cases::documents(&shape, &mut random);
        let index = cases::index(&shape, &documents);
        let mut scratch = Scratch::new();
        for _ in 0..6 {
            let query = cases::query(&shape, &mut random);
            let filter = cases::filter(&shape, &mut random);
            let quantised = QuantisedQuery::new(&query).expect("few terms");
            let hits = cases::answer(&documents, &quantised, filter.as_ref());
            // Around the number of matches, and where many tie.
            for k in [k, 1, hits.len().saturating_sub(1), hits.len(), hits.len() + 1, 1000] {
                for algorithm in ALGORITHMS {
                    let params = SearchParams { k, algorithm, filter: filter.as_ref() };
                    let result = search(&index, &query, &params, &mut scratch).expect("few terms");
                    prop_assert!(result.exact);
                    prop_assert_eq!(result.hits, &hits[..k.min(hits.len())], "{:?} k {}", algorithm, k);
                }
            }
        }
    }
}

fn collection(documents: &[&[(u32, u8)]]) -> Vec<Document> {
    let posting = |&(term, impact): &(u32, u8)| Some((TermId::new(term), Impact::new(impact)?));
    documents
        .iter()
        .map(|document| document.iter().filter_map(posting).collect())
        .collect()
}

fn indexed(documents: &[Document], window_bits: u32) -> Index {
    let shape = Shape {
        num_docs: 0,
        num_terms: 0,
        density: 0,
        max_impact: 1,
        constant: false,
        cluster: 0,
        window_bits,
        reorder: false,
    };
    cases::index(&shape, documents)
}

fn vector(pairs: &[(u32, f32)]) -> SparseVector {
    let pairs = pairs.iter().map(|&(term, weight)| (TermId::new(term), weight));
    SparseVector::from_pairs(pairs.collect()).expect("distinct terms")
}

fn hits(pairs: &[(u32, u32)]) -> Vec<Hit> {
    pairs
        .iter()
        .map(|&(doc, score)| Hit::new(Score::new(score), DocId::new(doc)))
        .collect()
}

fn searched(index: &Index, query: &SparseVector, params: &SearchParams<'_>) -> (Vec<Hit>, SearchStats) {
    let mut scratch = Scratch::new();
    let result = search(index, query, params, &mut scratch).expect("few terms");
    (result.hits.to_vec(), result.stats)
}

#[test]
fn scores_are_weight_times_impact() {
    let index = indexed(&collection(&[&[(0, 3), (2, 5)], &[(2, 7)], &[(1, 1)], &[(0, 5)]]), 8);
    for algorithm in ALGORITHMS {
        let params = SearchParams {
            algorithm,
            ..SearchParams::top(10)
        };
        let (found, stats) = searched(&index, &vector(&[(0, 4.0), (2, 2.0), (9, 1.0)]), &params);
        assert_eq!(found, hits(&[(0, 22), (3, 20), (1, 14)]), "{algorithm:?}");
        if algorithm != Algorithm::Oracle {
            assert_eq!(stats.num_terms, 2);
        }
    }
}

#[test]
fn the_largest_scores_do_not_wrap() {
    let heavy: Vec<(u32, u8)> = (0..4096).map(|term| (term, 255)).collect();
    let documents: Vec<&[(u32, u8)]> = vec![&heavy[..4095], &heavy, &heavy[..1]];
    let index = indexed(&collection(&documents), 8);
    let query = vector(&(0..4096).map(|term| (term, 4095.0)).collect::<Vec<_>>());
    let full = 4096 * 4095 * 255;
    for algorithm in ALGORITHMS {
        let params = SearchParams {
            algorithm,
            ..SearchParams::top(2)
        };
        let (found, _) = searched(&index, &query, &params);
        assert_eq!(found, hits(&[(1, full), (0, full - 4095 * 255)]), "{algorithm:?}");
    }
}

#[test]
fn nothing_to_do_is_nothing_done() {
    let index = indexed(&collection(&[&[(0, 3)]]), 8);
    let none = RoaringBitmap::new();
    let cases = [
        (vector(&[]), SearchParams::top(3)),
        (vector(&[(5, 1.0)]), SearchParams::top(3)),
        (vector(&[(0, 1.0)]), SearchParams::top(0)),
        (
            vector(&[(0, 1.0)]),
            SearchParams {
                filter: Some(&none),
                ..SearchParams::top(3)
            },
        ),
    ];
    let mut scratch = Scratch::new();
    for (query, params) in cases {
        search(&index, &vector(&[(0, 1.0)]), &SearchParams::top(3), &mut scratch).expect("one term");
        let result = search(&index, &query, &params, &mut scratch).expect("few terms");
        assert!(result.hits.is_empty());
        assert_eq!(
            (result.stats.strategy, result.stats.postings),
            (tamis_query::Strategy::Nothing, 0)
        );
    }
}

#[test]
fn a_refused_query_leaves_no_hits_behind() {
    let index = indexed(&collection(&[&[(0, 3)]]), 8);
    let mut scratch = Scratch::new();
    let long = vector(&(0..4097).map(|term| (term, 1.0)).collect::<Vec<_>>());
    let refused = search(&index, &long, &SearchParams::top(3), &mut scratch);
    assert_eq!(refused.err(), Some(Error::TooManyTerms { found: 4097 }));
    let result = search(&index, &vector(&[]), &SearchParams::top(3), &mut scratch).expect("no term");
    assert!(result.hits.is_empty());
}

/// 8,000 documents in clusters of 64 about one of 125 terms each, all with a little of term 125.
fn clustered() -> Vec<Document> {
    let document = |doc: u32| {
        let strength = u8::try_from(1 + doc % 64 * 3).expect("below 256");
        let posting = |term, impact| (TermId::new(term), Impact::new(impact).expect("above 0"));
        vec![posting(doc / 64, strength), posting(125, 1)]
    };
    (0..8000).map(document).collect()
}

#[test]
fn block_maxima_skip_what_cannot_win() {
    let index = indexed(&clustered(), 16);
    let query = vector(&[(17, 10.0), (125, 1.0)]);
    let params = SearchParams {
        algorithm: Algorithm::BlockMax,
        ..SearchParams::top(5)
    };
    let (found, stats) = searched(&index, &query, &params);
    assert_eq!(found[0], Hit::new(Score::new(1901), DocId::new(17 * 64 + 63)));
    assert_eq!((stats.blocks_scored, stats.blocks_skipped), (1, 124));
    let (same, stats) = searched(
        &index,
        &query,
        &SearchParams {
            algorithm: Algorithm::Exhaustive,
            ..params
        },
    );
    assert_eq!(same, found);
    assert_eq!(stats.documents_scored, 8000);
}

#[test]
fn windows_without_a_chance_are_skipped() {
    let index = indexed(&clustered(), 8);
    let params = SearchParams {
        algorithm: Algorithm::BlockMax,
        ..SearchParams::top(5)
    };
    let (_, stats) = searched(&index, &vector(&[(17, 10.0), (125, 1.0)]), &params);
    assert_eq!((stats.windows_skipped, stats.windows_pruned), (31, 1));
}

#[test]
fn a_narrow_filter_goes_through_the_forward_index() {
    let index = indexed(&clustered(), 16);
    let allowed: RoaringBitmap = [3, 1100, 7999].into_iter().collect();
    let params = SearchParams {
        filter: Some(&allowed),
        ..SearchParams::top(5)
    };
    let (found, stats) = searched(&index, &vector(&[(17, 10.0), (125, 1.0)]), &params);
    assert_eq!(
        (stats.strategy, stats.documents_scored),
        (tamis_query::Strategy::Forward, 3)
    );
    assert_eq!(found, hits(&[(1100, 371), (3, 1), (7999, 1)]));
}
