//! Random sequences of upserts, deletes, commits, merges and reopenings.

use crate::naive::{self, Documents, FILTERS};
use proptest::prelude::*;
use serde_json::json;
use std::path::Path;
use tamis_engine::{
    Algorithm, Collection, CollectionConfig, Document, Fusion, FusionMethod, Mode, SearchRequest, SearchResponse,
};

/// A lexical collection with one field of each type.
pub fn config() -> CollectionConfig {
    let config = json!({
        "name": "test",
        "model": "lexical",
        "fields": {"year": "integer", "tags": "keyword", "draft": "bool", "price": "float", "day": "date"},
        "writer_memory_bytes": 15_000_000,
    });
    serde_json::from_value(config).expect("valid")
}

#[derive(Clone, Debug)]
enum Step {
    Upsert(Document),
    Delete(u8),
    Commit,
    Optimize,
    Reopen,
    /// Goes on with a copy of the files as they are while the collection is open.
    Crash,
}

const WORDS: [&str; 8] = ["sieve", "flour", "mesh", "fine", "mill", "Miller's", "bread", "grain"];

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..7).prop_map(|words| words.join(" "))
}

fn fields() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    let tags = prop::collection::vec(prop::sample::select(&["red", "blue", "green", ""][..]), 0..3);
    (
        prop::option::of(0i64..6),
        tags,
        prop::option::of(any::<bool>()),
        prop::option::of(0u8..4),
        prop::option::of(1u8..5),
    )
        .prop_map(|(year, tags, draft, price, day)| {
            let mut fields = serde_json::Map::new();
            if let Some(year) = year {
                fields.insert("year".to_owned(), json!(year));
            }
            fields.insert("tags".to_owned(), json!(tags));
            if let Some(draft) = draft {
                fields.insert("draft".to_owned(), json!(draft));
            }
            if let Some(price) = price {
                fields.insert("price".to_owned(), json!(f64::from(price) / 4.0));
            }
            if let Some(day) = day {
                fields.insert("day".to_owned(), json!(format!("2024-01-0{day}")));
            }
            fields
        })
}

fn id(number: u8) -> String {
    // Neither the order of adding nor that of numbers is the order of bytes.
    ["b", "a", "é", "Z", "10", "9", "a0", "c", "-", "zz"][number as usize % 10].to_owned()
        + &"x".repeat(number as usize / 10)
}

fn document() -> impl Strategy<Value = Document> {
    let vector = prop::collection::btree_map(prop::sample::select(&["siev", "flour", "oven"][..]), 1u8..12, 1..4);
    let vector = vector.prop_map(|vector| {
        let weigh = |(token, weight): (&str, u8)| (token.to_owned(), f32::from(weight) / 4.0);
        vector.into_iter().map(weigh).collect::<Vec<_>>()
    });
    let vector = prop_oneof![4 => Just(None), 1 => vector.prop_map(Some)];
    (
        0u8..30,
        prop::option::of(text()),
        prop::option::of(text()),
        vector,
        fields(),
    )
        .prop_map(|(number, title, text, vector, fields)| Document {
            id: id(number),
            title,
            text,
            vector,
            fields,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => document().prop_map(Step::Upsert),
        3 => (0u8..30).prop_map(Step::Delete),
        3 => Just(Step::Commit),
        1 => Just(Step::Optimize),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// Requests of every mode, with queries of no, one and several words.
pub fn requests() -> Vec<SearchRequest> {
    let mut requests = Vec::new();
    for query in ["", "sieve", "fine flour mill flour", "the unknown bread grain mesh"] {
        for mode in [Mode::Sparse, Mode::Bm25, Mode::Fused] {
            requests.push(SearchRequest {
                mode,
                limit: 100,
                ..SearchRequest::new(query)
            });
        }
    }
    requests.push(SearchRequest {
        vector: Some(vec![
            ("oven".to_owned(), 0.3),
            ("flour".to_owned(), 1.0),
            ("none".to_owned(), 9.0),
        ]),
        limit: 4,
        offset: 1,
        algorithm: Algorithm::Exhaustive,
        ..SearchRequest::default()
    });
    requests.push(SearchRequest {
        mode: Mode::Fused,
        limit: 3,
        offset: 2,
        algorithm: Algorithm::BlockMax,
        fusion: Fusion {
            method: FusionMethod::MinMax,
            sparse_weight: 0.25,
            depth: 7,
            ..Fusion::default()
        },
        ..SearchRequest::new("bread of the miller")
    });
    requests
}

/// Ids and scores of a response.
pub fn listed(response: &SearchResponse) -> Vec<(String, f32)> {
    response.hits.iter().map(|hit| (hit.id.clone(), hit.score)).collect()
}

fn check(collection: &Collection, documents: &Documents) {
    let searcher = collection.searcher();
    assert_eq!(searcher.num_docs(), documents.len() as u64);
    for mut request in requests() {
        let response = searcher.search(&request).expect("valid request");
        let expected = naive::search(documents, &request, |_| true);
        assert_eq!(listed(&response), expected, "{request:?}");
        if let Some(total) = response.total {
            let all = SearchRequest {
                offset: 0,
                limit: 10_000,
                ..request.clone()
            };
            assert_eq!(
                total,
                naive::search(documents, &all, |_| true).len() as u64,
                "{request:?}"
            );
        }
        for (filter, predicate) in FILTERS {
            request.filter = Some(filter.to_owned());
            let response = searcher.search(&request).expect("valid request");
            assert_eq!(
                listed(&response),
                naive::search(documents, &request, predicate),
                "{request:?}"
            );
        }
    }
    for (id, document) in documents {
        let stored = searcher.document(id).expect("live");
        assert_eq!(
            (stored.title, stored.text),
            (document.title.clone(), document.text.clone())
        );
        assert_eq!(stored.fields, document.fields);
    }
}

fn open(path: &Path) -> Collection {
    Collection::open(path).expect("undamaged")
}

/// Copies what is there; files that go away meanwhile belong to no commit.
fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("new");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let copy = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &copy);
        } else {
            let _ = std::fs::copy(entry.path(), copy);
        }
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut path = dir.path().join("collection");
    let mut collection = Collection::create(&path, &config(), None).expect("made");
    let (mut committed, mut current) = (Documents::new(), Documents::new());
    for (at, step) in steps.into_iter().chain([Step::Commit, Step::Reopen]).enumerate() {
        match step {
            Step::Upsert(document) => {
                let report = collection.add(vec![document.clone()]).expect("added");
                assert_eq!((report.added, report.failed.len()), (1, 0));
                current.insert(document.id.clone(), document);
                continue;
            }
            Step::Delete(number) => {
                let deleted = collection.delete(&[id(number)]).expect("deleted");
                assert_eq!(deleted, usize::from(current.remove(&id(number)).is_some()));
                continue;
            }
            Step::Commit => {
                collection.commit().expect("committed");
                committed = current.clone();
            }
            Step::Optimize => {
                collection.optimize().expect("merged");
                assert!(collection.stats().num_segments <= 1 && collection.stats().num_deleted == 0);
                committed = current.clone();
            }
            Step::Crash => {
                let copy = dir.path().join(format!("copy-{at}"));
                copy_directory(&path, &copy);
                drop(collection);
                path = copy;
                collection = open(&path);
                current = committed.clone();
            }
            Step::Reopen => {
                drop(collection);
                collection = open(&path);
                current = committed.clone();
            }
        }
        check(&collection, &committed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_those_of_the_naive_collection(steps in prop::collection::vec(step(), 0..40)) {
        run(steps);
    }

    #[test]
    fn the_layout_of_segments_changes_nothing(
        documents in prop::collection::vec(document(), 1..25),
        cuts in prop::collection::vec(0usize..25, 0..4),
    ) {
        let dir = tempfile::tempdir().expect("temp dir");
        let whole = Collection::create(&dir.path().join("whole"), &config(), None).expect("made");
        whole.add(documents.clone()).expect("added");
        whole.commit().expect("committed");
        let mut reordered = config();
        reordered.reorder = true;
        let pieces = Collection::create(&dir.path().join("pieces"), &reordered, None).expect("made");
        for (at, document) in documents.into_iter().enumerate() {
            pieces.add(vec![document]).expect("added");
            if cuts.contains(&at) {
                pieces.commit().expect("committed");
            }
        }
        pieces.commit().expect("committed");
        for request in requests() {
            let request = SearchRequest { explain: true, highlight: true, ..request };
            let (a, b) = (whole.searcher().search(&request), pieces.searcher().search(&request));
            let (a, b) = (a.expect("valid"), b.expect("valid"));
            prop_assert_eq!(a.hits, b.hits);
        }
    }
}

#[test]
fn many_commits_are_merged_in_the_background() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let mut collection = Collection::create(&path, &config(), None).expect("made");
    let mut documents = Documents::new();
    for round in 0..30u8 {
        let document = Document {
            id: format!("doc-{}", round % 20),
            text: Some(format!(
                "{} {} flour",
                WORDS[round as usize % 8],
                WORDS[round as usize / 4]
            )),
            ..Document::default()
        };
        documents.insert(document.id.clone(), document.clone());
        collection.add(vec![document]).expect("added");
        collection.commit().expect("committed");
        if round % 10 == 9 {
            drop(collection);
            collection = open(&path);
        }
        check(&collection, &documents);
    }
}
