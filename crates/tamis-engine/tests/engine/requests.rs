//! Explanations, snippets, fields, limits and the directory of collections.

use crate::lifecycle::config;
use serde_json::json;
use tamis_engine::{
    Collection, CollectionConfig, Document, Engine, Error, ErrorKind, Explanation, MAX_ID_BYTES, MAX_QUERY_BYTES, Mode,
    SearchRequest,
};

fn documents() -> Vec<Document> {
    let documents = json!([
        {"id": "sieve", "title": "The fine sieve", "text": "Flour falls through the mesh of a sieve, fine flour first.",
         "fields": {"year": 1990, "tags": ["tool", "kitchen"], "day": "1990-05-01"}},
        {"id": "mill", "text": "A mill grinds grain to flour.", "fields": {"year": 1850, "tags": "machine"}},
        {"id": "bread", "title": "Bread", "fields": {"draft": true}},
        {"id": "vector", "vector": {"flour": 1.5, "oven": 7.0}},
    ]);
    serde_json::from_value(documents).expect("shape")
}

fn collection(dir: &tempfile::TempDir) -> Collection {
    let collection = Collection::create(&dir.path().join("collection"), &config(), None).expect("made");
    let report = collection.add(documents()).expect("added");
    assert_eq!((report.added, report.failed.len()), (4, 0));
    assert_eq!(report.saturated_weights, 1, "7.0 is above lexical's 1.9");
    collection.commit().expect("committed");
    collection
}

fn sums_up(explanation: &Explanation) {
    let close = |sum: f32, score: f32| (sum - score).abs() <= 1e-6 * score.abs().max(1.0);
    if explanation.mode == Mode::Fused {
        let sum: f32 = explanation.parts.iter().map(|part| part.contribution).sum();
        assert_eq!(sum, explanation.score);
        for part in &explanation.parts {
            let sum: f32 = part.terms.iter().map(|term| term.product).sum();
            assert!(close(sum, part.score), "{part:?}");
        }
        return;
    }
    let sum: f32 = explanation.terms.iter().map(|term| term.product).sum();
    assert!(close(sum, explanation.score), "{explanation:?}");
    let shares: f32 = explanation.terms.iter().map(|term| term.share).sum();
    assert!(explanation.terms.is_empty() || close(shares, 1.0), "{explanation:?}");
    for term in &explanation.terms {
        assert!(
            close(term.query_weight * term.document_weight, term.product),
            "{term:?}"
        );
    }
}

#[test]
fn explanations_sum_up_to_the_score() {
    let dir = tempfile::tempdir().expect("temp dir");
    let collection = collection(&dir);
    let searcher = collection.searcher();
    for mode in [Mode::Sparse, Mode::Bm25, Mode::Fused] {
        let request = SearchRequest {
            mode,
            explain: true,
            ..SearchRequest::new("fine flour of the mills")
        };
        let response = searcher.search(&request).expect("valid");
        assert!(response.hits.len() >= 2);
        for hit in &response.hits {
            let explanation = hit.explain.as_ref().expect("asked for");
            assert_eq!(explanation.score, hit.score, "{mode:?} {}", hit.id);
            sums_up(explanation);
            assert_eq!(*explanation, searcher.explain(&request, &hit.id).expect("live"));
        }
        let bread = searcher.explain(&request, "bread").expect("live, though not found");
        assert_eq!(bread.score, 0.0);
        let filtered = SearchRequest {
            filter: Some("year > 1900".to_owned()),
            ..request.clone()
        };
        let mill = searcher.explain(&filtered, "mill").expect("live, though filtered out");
        assert!(!mill.matches_filter);
        sums_up(&mill);
        assert!(matches!(
            searcher.explain(&request, "nobody"),
            Err(Error::DocumentNotFound { .. })
        ));
    }
    let sparse = searcher
        .explain(&SearchRequest::new("fine flour"), "sieve")
        .expect("live");
    assert_eq!(sparse.terms.len(), 2);
    assert!(sparse.terms.iter().all(|term| term.typed && term.product > 0.0));
}

#[test]
fn query_terms_tell_typed_expanded_and_unknown() {
    let dir = tempfile::tempdir().expect("temp dir");
    let collection = collection(&dir);
    let request = SearchRequest {
        vector: Some(vec![
            ("flour".to_owned(), 1.0),
            ("oven".to_owned(), 0.5),
            ("tamis".to_owned(), 2.0),
        ]),
        ..SearchRequest::new("flour")
    };
    let response = collection.searcher().search(&request).expect("valid");
    let terms: Vec<_> = response
        .query_terms
        .iter()
        .map(|term| (term.term.as_str(), term.typed, term.df))
        .collect();
    assert_eq!(terms, [("tamis", false, 0), ("flour", true, 3), ("oven", false, 1)]);
    assert!(
        (response.query_terms[2].max - 1.9).abs() < 1e-6,
        "saturated at the largest weight"
    );
    assert_eq!(response.hits[0].id, "vector");
    assert!(response.exact);
}

#[test]
fn hits_carry_what_was_asked_for() {
    let dir = tempfile::tempdir().expect("temp dir");
    let collection = collection(&dir);
    let searcher = collection.searcher();
    let mut request = SearchRequest {
        highlight: true,
        ..SearchRequest::new("sieves and flour")
    };
    let hit = searcher.search(&request).expect("valid").hits.remove(0);
    assert_eq!((hit.id.as_str(), hit.rank, hit.text.is_none()), ("sieve", 1, true));
    assert_eq!(hit.title.as_deref(), Some("The fine sieve"));
    assert_eq!(hit.fields["tags"], json!(["tool", "kitchen"]));
    let snippet = hit.snippet.expect("asked for");
    let marked: Vec<_> = snippet
        .highlights
        .iter()
        .map(|mark| &snippet.text[mark.start..mark.end])
        .collect();
    assert_eq!(marked, ["Flour", "sieve", "flour"]);
    request.fields = Some(vec!["text".to_owned(), "year".to_owned()]);
    let hit = searcher.search(&request).expect("valid").hits.remove(0);
    assert!(hit.title.is_none() && hit.text.is_some());
    assert_eq!(serde_json::Value::Object(hit.fields), json!({"year": 1990}));
    request.fields = Some(Vec::new());
    request.highlight = false;
    let hit = searcher.search(&request).expect("valid").hits.remove(0);
    assert!(hit.title.is_none() && hit.text.is_none() && hit.fields.is_empty() && hit.snippet.is_none());
    request.fields = Some(vec!["yeer".to_owned()]);
    let message = searcher.search(&request).expect_err("unknown field").to_string();
    assert!(message.contains("did you mean `year`"), "{message}");
    let stored = searcher.document("vector").expect("live");
    assert_eq!(stored.vector.expect("stored")[0].0, "oven");
}

#[test]
fn a_refused_document_does_not_affect_the_others() {
    let dir = tempfile::tempdir().expect("temp dir");
    let collection = collection(&dir);
    let batch = json!([
        {"id": "new", "text": "oven"},
        {"id": "bad", "fields": {"yaer": 3}},
        {"id": "x".repeat(MAX_ID_BYTES + 1)},
        {"id": "last", "vector": {"oven": 1.0}},
    ]);
    let report = collection
        .add(serde_json::from_value(batch).expect("shape"))
        .expect("batch");
    assert_eq!(report.added, 2);
    let places: Vec<_> = report.failed.iter().map(|failure| failure.position).collect();
    assert_eq!(places, [1, 2]);
    assert!(
        report.failed[0].reason.contains("did you mean `year`"),
        "{:?}",
        report.failed[0]
    );
    assert_eq!(collection.stats().num_pending, 2);
    assert_eq!(collection.num_docs(), 4);
    collection.commit().expect("committed");
    assert_eq!((collection.num_docs(), collection.stats().num_pending), (6, 0));
    let generation = collection.commit().expect("nothing to do");
    assert_eq!(generation, collection.searcher().generation());
}

#[test]
fn useless_requests_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("temp dir");
    let searcher = collection(&dir).searcher();
    let flour = SearchRequest::new("flour");
    let cases = [
        (
            SearchRequest {
                limit: 10_001,
                ..flour.clone()
            },
            "10000",
        ),
        (
            SearchRequest {
                offset: usize::MAX,
                ..flour.clone()
            },
            "offset",
        ),
        (
            SearchRequest {
                query: None,
                ..flour.clone()
            },
            "query or a vector",
        ),
        (
            SearchRequest {
                query: Some("x".repeat(MAX_QUERY_BYTES + 1)),
                ..flour.clone()
            },
            "1048577 bytes, at most 1048576",
        ),
        (
            SearchRequest {
                vector: Some(vec![("a".to_owned(), -1.0)]),
                ..flour.clone()
            },
            "-1",
        ),
        (
            SearchRequest {
                filter: Some("yeer = 3".to_owned()),
                ..flour.clone()
            },
            "did you mean `year`",
        ),
    ];
    for (request, needle) in cases {
        let error = searcher.search(&request).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.to_string().contains(needle), "{error}");
    }
    let many = (0..4097).map(|term| (term.to_string(), 1.0)).collect();
    let request = SearchRequest {
        vector: Some(many),
        ..flour
    };
    assert_eq!(
        searcher.search(&request).expect_err("refused").kind(),
        ErrorKind::InvalidRequest
    );
    assert!(serde_json::from_value::<SearchRequest>(json!({"query": "a", "lmit": 3})).is_err());
    let read: SearchRequest = serde_json::from_value(json!({"vector": {"a": 1}, "mode": "sparse"})).expect("shape");
    assert_eq!(read.vector, Some(vec![("a".to_owned(), 1.0)]));
    assert!(
        searcher
            .search(&SearchRequest {
                limit: 0,
                ..SearchRequest::new("flour")
            })
            .expect("valid")
            .hits
            .is_empty()
    );
}

#[test]
fn without_a_model_vectors_and_words_are_searched() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut config = CollectionConfig::new("plain");
    config.max_weight = Some(255.0);
    let collection = Collection::create(&dir.path().join("plain"), &config, None).expect("made");
    let batch = json!([
        {"id": "a", "text": "flour", "vector": {"1012": 255, "7": 3}},
        {"id": "b", "text": "fine flour", "vector": {"7": 100}},
    ]);
    collection
        .add(serde_json::from_value(batch).expect("shape"))
        .expect("added");
    collection.commit().expect("committed");
    let request = SearchRequest {
        vector: Some(vec![("7".to_owned(), 2.0), ("1012".to_owned(), 1.0)]),
        ..SearchRequest::default()
    };
    let response = collection.searcher().search(&request).expect("valid");
    let scores: Vec<_> = response.hits.iter().map(|hit| (hit.id.as_str(), hit.score)).collect();
    assert_eq!(scores, [("a", 261.0), ("b", 200.0)], "integers are kept exactly");
    let text = SearchRequest::new("flour");
    let error = collection.searcher().search(&text).expect_err("no model");
    assert!(error.to_string().contains("no model"), "{error}");
    let words = SearchRequest {
        mode: Mode::Bm25,
        ..text
    };
    assert_eq!(collection.searcher().search(&words).expect("valid").hits.len(), 2);
}

#[test]
fn collections_are_made_found_and_deleted() {
    let dir = tempfile::tempdir().expect("temp dir");
    let engine = Engine::open(&dir.path().join("data")).expect("opened");
    let mut config = config();
    config.name = "movies".to_owned();
    let movies = engine.create_collection(&config).expect("made");
    assert!(matches!(
        engine.create_collection(&config),
        Err(Error::CollectionExists { .. })
    ));
    movies.add(documents()).expect("added");
    movies.commit().expect("committed");
    let error = engine.collection("movie").err().expect("unknown");
    assert!(error.to_string().contains("did you mean `movies`"), "{error}");
    for name in ["..", "a/b", ""] {
        assert!(matches!(engine.collection(name), Err(Error::BadName { .. })), "{name}");
        assert!(
            matches!(engine.delete_collection(name), Err(Error::BadName { .. })),
            "{name}"
        );
    }
    config.name = "lost".to_owned();
    config.model = Some("no-such-model".to_owned());
    let error = engine.create_collection(&config).err().expect("no model");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    drop(movies);
    drop(engine);
    let engine = Engine::open(&dir.path().join("data")).expect("opened");
    assert_eq!(engine.list().len(), 1);
    let movies = engine.collection("movies").expect("there");
    assert_eq!(movies.num_docs(), 4);
    engine.delete_collection("movies").expect("deleted");
    assert!(matches!(
        engine.delete_collection("movies"),
        Err(Error::CollectionNotFound { .. })
    ));
    assert_eq!(
        movies
            .searcher()
            .search(&SearchRequest::new("flour"))
            .expect("still")
            .hits
            .len(),
        3
    );
    assert!(matches!(movies.add(documents()), Err(Error::Deleted { .. })));
    assert!(matches!(movies.commit(), Err(Error::Deleted { .. })));
    config.name = "movies".to_owned();
    config.model = None;
    assert_eq!(
        engine.create_collection(&config).expect("the name is free").num_docs(),
        0
    );
}
