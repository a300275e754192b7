//! Laws that hold for any judgements and any run, and bytes that must not bring the readers down.

use std::fs;
use std::io::Cursor;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tamis_eval::{BeirCollection, LineReader, Metric, Qrels, Run, ScoredDocument, evaluate};

const NAMES: [&str; 9] = [
    "ndcg",
    "ndcg@3",
    "mrr",
    "mrr@2",
    "recall",
    "recall@4",
    "map",
    "p@5",
    "success@1",
];

fn metrics() -> Vec<Metric> {
    NAMES.iter().map(|name| name.parse().expect("a metric")).collect()
}

fn some_qrels() -> impl Strategy<Value = Qrels> {
    vec((0..4_u8, 0..12_u8, -2..5_i32), 0..40).prop_map(|judgements| {
        let mut qrels = Qrels::new();
        for (query, document, grade) in judgements {
            qrels.insert(query.to_string(), document.to_string(), grade);
        }
        qrels
    })
}

type Results = Vec<(u8, i8)>;

fn some_results() -> impl Strategy<Value = Vec<Results>> {
    vec(
        btree_map(0..15_u8, -2..3_i8, 0..12).prop_map(|results| results.into_iter().collect()),
        0..5,
    )
}

fn run_of(results: &[Results]) -> Run {
    let mut run = Run::new();
    for (query, results) in results.iter().enumerate() {
        let results = results.iter().map(|&(document, score)| ScoredDocument {
            id: document.to_string(),
            score: f64::from(score) / 3.0,
        });
        run.insert(query.to_string(), results.collect())
            .expect("distinct documents, finite scores");
    }
    run
}

fn reader(bytes: Vec<u8>) -> LineReader {
    LineReader::new(Box::new(Cursor::new(bytes)), "fuzz".to_owned())
}

/// Bytes that look enough like the formats to get past their first checks.
fn plausible_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"{\"_id\":\"a\",\"text\":\"b\"}".to_vec()),
        Just(b"\t".to_vec()),
        Just(b"\n".to_vec()),
        Just(b" Q0 ".to_vec()),
        Just(b"1e999".to_vec()),
        Just(b"{\"_id\":".to_vec()),
        vec(any::<u8>(), 0..6),
        "[0-9a-z .\"-]{0,5}".prop_map(String::into_bytes),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn values_are_bounded_and_finite(qrels in some_qrels(), results in some_results()) {
        let evaluation = evaluate(&qrels, &run_of(&results), &metrics());
        prop_assert_eq!(evaluation.num_queries, qrels.num_queries());
        for query in &evaluation.per_query {
            prop_assert!(query.num_relevant_found <= query.num_relevant.min(query.num_results));
            for (metric, value) in query.scores.iter() {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{} is {}", metric, value);
            }
        }
    }

    #[test]
    fn the_order_of_results_does_not_matter(
        qrels in some_qrels(),
        (results, shuffled) in some_results().prop_flat_map(|results| {
            let shuffled: Vec<_> = results.iter().map(|one| Just(one.clone()).prop_shuffle()).collect();
            (Just(results), shuffled)
        }),
    ) {
        let (first, second) = (run_of(&results), run_of(&shuffled));
        prop_assert_eq!(evaluate(&qrels, &first, &metrics()), evaluate(&qrels, &second, &metrics()));
    }

    #[test]
    fn the_ideal_ranking_has_gain_one(qrels in some_qrels()) {
        let mut run = Run::new();
        for query in qrels.queries() {
            let results = qrels.judgements(query).map(|(id, grade)| ScoredDocument { id: id.to_owned(), score: grade.into() });
            run.insert(query, results.collect()).expect("distinct documents");
        }
        for query in evaluate(&qrels, &run, &metrics()).per_query {
            let expected = if query.num_relevant > 0 { 1.0 } else { 0.0 };
            for name in ["ndcg", "ndcg@3", "mrr", "recall", "map", "success@1"] {
                let value = query.scores.get(name.parse().expect("a metric")).expect("asked for");
                prop_assert!((value - expected).abs() < 1e-12, "{} is {}", name, value);
            }
        }
    }

    #[test]
    fn any_lines_are_read_or_refused(bytes in plausible_bytes()) {
        // What is read can be evaluated; that nothing panics is the property.
        let qrels = Qrels::from_lines(reader(bytes.clone())).unwrap_or_default();
        let run = Run::from_lines(reader(bytes)).unwrap_or_default();
        prop_assert_eq!(evaluate(&qrels, &run, &metrics()).num_queries, qrels.num_queries());
    }

    #[test]
    fn any_file_is_opened_or_refused(bytes in plausible_bytes(), magic in 0..4_usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("collection");
        let start: &[u8] = [&b""[..], b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"][magic];
        fs::write(&path, [start, &bytes].concat()).expect("writable");
        prop_assert!(BeirCollection::open(&path).is_err(), "no such bytes are a collection");
    }
}
