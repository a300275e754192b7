//! Killed processes. A program of its own: a process that is being started holds the locks of its parent for a
//! moment, which tests running beside it would notice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tamis_engine::{Collection, CollectionConfig, Document, SearchRequest};

/// Names the directory in which the child process writes.
const CHILD_DIRECTORY: &str = "TAMIS_ENGINE_CHILD_DIRECTORY";

fn document(id: &str, text: &str) -> Document {
    Document {
        id: id.to_owned(),
        text: Some(text.to_owned()),
        ..Document::default()
    }
}

/// The child's part: commits one document after the other and says so, until it is killed.
fn write_for_ever(path: &Path) {
    let collection = Collection::open(path).expect("undamaged");
    let first = collection.num_docs();
    for number in first.. {
        let id = format!("doc-{number}");
        collection
            .add(vec![document(&id, &format!("flour {number}"))])
            .expect("added");
        collection.commit().expect("committed");
        writeln!(std::io::stdout(), "\ncommitted {id}").expect("somebody listens");
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(path) = std::env::var_os(CHILD_DIRECTORY) {
        return write_for_ever(Path::new(&path));
    }
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let mut config = CollectionConfig::new("killed");
    config.model = Some("lexical".to_owned());
    drop(Collection::create(&path, &config, None).expect("made"));
    let mut acknowledged = BTreeSet::new();
    for lines in [3, 11, 1, 7] {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "what_was_acknowledged_survives_a_kill", "--nocapture"])
            .env(CHILD_DIRECTORY, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let ids = output.lines().filter_map(|line| {
            let line = line.expect("text");
            line.strip_prefix("committed ").map(str::to_owned)
        });
        acknowledged.extend(ids.take(lines));
        child.kill().expect("killed");
        child.wait().expect("gone");
        let collection = Collection::open(&path).expect("undamaged after the kill");
        let searcher = collection.searcher();
        for id in &acknowledged {
            assert!(searcher.document(id).is_ok(), "{id} was acknowledged and is lost");
        }
        let found = searcher.search(&SearchRequest {
            limit: 1000,
            ..SearchRequest::new("flour")
        });
        assert_eq!(found.expect("valid").hits.len() as u64, searcher.num_docs());
    }
    assert_eq!(acknowledged.len(), 22);
}
