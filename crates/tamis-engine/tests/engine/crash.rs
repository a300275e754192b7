//! Refused writes, readers beside writers.

use crate::lifecycle::{config, listed};
use std::sync::atomic::{AtomicBool, Ordering};
use tamis_engine::{Collection, Document, Error, Mode, SearchRequest};

fn document(id: &str, text: &str) -> Document {
    Document {
        id: id.to_owned(),
        text: Some(text.to_owned()),
        ..Document::default()
    }
}

#[test]
fn a_commit_that_the_disk_refuses_changes_nothing() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let collection = Collection::create(&path, &config(), None).expect("made");
    collection.add(vec![document("a", "flour")]).expect("added");
    let generation = collection.commit().expect("committed");
    collection
        .add(vec![document("a", "sieve"), document("b", "mesh")])
        .expect("added");
    // A directory where the new manifest has to be written.
    std::fs::create_dir(path.join("MANIFEST.tmp")).expect("made");
    let error = collection.commit().expect_err("refused");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let hits = |collection: &Collection, query: &str| {
        listed(&collection.searcher().search(&SearchRequest::new(query)).expect("valid")).len()
    };
    assert_eq!((hits(&collection, "flour"), hits(&collection, "sieve mesh")), (1, 0));
    assert_eq!(
        collection.stats().num_pending,
        0,
        "what was not committed is lost, and said to be"
    );
    std::fs::remove_dir(path.join("MANIFEST.tmp")).expect("removed");
    collection
        .add(vec![document("a", "sieve"), document("c", "mesh")])
        .expect("added");
    assert_eq!(collection.commit().expect("committed"), generation + 1);
    drop(collection);
    let collection = Collection::open(&path).expect("undamaged");
    assert_eq!((hits(&collection, "flour"), hits(&collection, "sieve mesh")), (0, 2));
}

#[test]
fn searches_see_whole_commits_while_others_write() {
    let dir = tempfile::tempdir().expect("temp dir");
    let collection = Collection::create(&dir.path().join("collection"), &config(), None).expect("made");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !is_done.load(Ordering::Acquire) {
                let searcher = collection.searcher();
                for mode in [Mode::Sparse, Mode::Bm25] {
                    let request = SearchRequest {
                        mode,
                        limit: 1000,
                        ..SearchRequest::new("flour")
                    };
                    let hits = searcher.search(&request).expect("valid").hits.len() as u64;
                    assert_eq!(hits, searcher.num_docs());
                }
                // Each writer commits five documents at a time, and never fewer than before.
                assert!(searcher.num_docs() >= seen && searcher.num_docs().is_multiple_of(5));
                seen = searcher.num_docs();
            }
        });
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let collection = &collection;
                scope.spawn(move || {
                    for round in 0..6 {
                        let batch = (0..5).map(|at| document(&format!("{writer}-{round}-{at}"), "flour and more"));
                        collection.add(batch.collect()).expect("added");
                        collection.commit().expect("committed");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no panic");
        }
        is_done.store(true, Ordering::Release);
        reader.join().expect("no panic");
    });
    assert_eq!(collection.num_docs(), 60);
}
