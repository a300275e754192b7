//! Crashes, damaged files, other models, second openers.

use crate::lifecycle::{config, listed, requests};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tamis_encoder::lexical::{Lexical, LexicalOptions};
use tamis_engine::{Collection, Document, Engine, Error, ErrorKind, SearchRequest};

fn document(id: &str, text: &str) -> Document {
    let fields = serde_json::json!({"year": id.len(), "tags": ["red", id]});
    Document {
        id: id.to_owned(),
        title: Some("Sieve".to_owned()),
        text: Some(text.to_owned()),
        fields: fields.as_object().expect("object").clone(),
        ..Document::default()
    }
}

/// A collection with two segments, a deleted and a replaced document; too few of them for a merge.
fn make(path: &Path) -> Collection {
    let collection = Collection::create(path, &config(), None).expect("made");
    collection
        .add(vec![
            document("a", "fine flour from the mill"),
            document("bb", "bread"),
            document("c", "grain and flour"),
            document("f", "flour"),
            document("g", "a sieve, a sieve"),
            document("h", "unknown grain"),
            document("i", "bread of the mill"),
            document("j", "fine"),
        ])
        .expect("added");
    collection.commit().expect("committed");
    collection
        .add(vec![
            document("d", "the mesh of a sieve"),
            document("bb", "bread again"),
        ])
        .expect("added");
    collection.delete(&["c".to_owned()]).expect("deleted");
    collection.commit().expect("committed");
    collection
}

fn answers(collection: &Collection) -> Result<Vec<Vec<(String, f32)>>, Error> {
    let mut all = Vec::new();
    for request in requests() {
        for filter in [None, Some("tags = red AND year < 2".to_owned())] {
            let request = SearchRequest {
                filter,
                highlight: true,
                ..request.clone()
            };
            all.push(listed(&collection.searcher().search(&request)?));
        }
    }
    Ok(all)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_was_not_committed_is_gone_and_swept() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let collection = make(&path);
    let expected = answers(&collection).expect("valid");
    let before = files(&path);
    let terms = fs::read(path.join("TERMS")).expect("there");
    collection.add(vec![document("e", "never committed")]).expect("added");
    collection.delete(&["a".to_owned()]).expect("deleted");
    drop(collection);
    // What a killed process may leave behind.
    for stray in [
        "segments/.tmpAbCd",
        "segments/0123456789abcdef0123456789abcdef.imp",
        "MANIFEST.tmp",
        "spill/run",
    ] {
        fs::write(path.join(stray), b"half a file").expect("written");
    }
    fs::write(path.join("TERMS"), [terms.as_slice(), b"\x05\x00\x00\x00torn"].concat()).expect("written");
    let collection = Collection::open(&path).expect("as after the last commit");
    assert_eq!(answers(&collection).expect("valid"), expected);
    assert_eq!(files(&path), before);
    collection.add(vec![document("e", "now committed")]).expect("added");
    let generation = collection.commit().expect("committed");
    drop(collection);
    let collection = Collection::open(&path).expect("undamaged");
    assert_eq!(collection.searcher().generation(), generation);
    assert!(collection.searcher().document("e").is_ok());
}

#[test]
fn replaced_files_go_with_the_commit_that_replaces_them() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let collection = make(&path);
    let old = collection.searcher();
    let before = listed(&old.search(&SearchRequest::new("flour")).expect("valid"));
    collection.optimize().expect("merged");
    let segments: std::collections::BTreeSet<_> = files(&path.join("segments"))
        .iter()
        .map(|file| file.file_stem().expect("named").to_owned())
        .collect();
    assert_eq!(segments.len(), 1, "files of merged segments are deleted");
    collection.delete(&["a".to_owned()]).expect("deleted");
    collection.commit().expect("committed");
    let again = listed(&old.search(&SearchRequest::new("flour")).expect("valid"));
    assert_eq!(before, again, "a snapshot outlives the files of its segments");
    assert!(collection.searcher().document("a").is_err());
}

#[test]
fn flipped_bits_are_found_or_harmless() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let collection = make(&path);
    let expected = answers(&collection).expect("valid");
    drop(collection);
    let (mut found, mut harmless) = (0, BTreeMap::new());
    for file in files(&path) {
        let whole = fs::read(&file).expect("readable");
        let num_bits = whole.len() * 8;
        for flip in 0..24.min(num_bits) {
            // Spread over the file, its first and last bytes included.
            let bit = (flip * (num_bits - 1)) / 23.min(num_bits);
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &damaged).expect("written");
            let opened = catch_unwind(AssertUnwindSafe(|| {
                let collection = Collection::open(&path)?;
                answers(&collection)
            }));
            match opened.unwrap_or_else(|_| panic!("{}: bit {bit} panics", file.display())) {
                Ok(same) => {
                    assert_eq!(same, expected, "{}: bit {bit}", file.display());
                    *harmless.entry(file.clone()).or_insert(0) += 1;
                }
                Err(error) => {
                    let kinds = [ErrorKind::Corruption, ErrorKind::ModelMismatch];
                    assert!(kinds.contains(&error.kind()), "{}: bit {bit}: {error}", file.display());
                    found += 1;
                }
            }
        }
        fs::write(&file, &whole).expect("written");
    }
    assert!(found > 250, "{found} flips were found");
    // Only padding between the manifest's sections carries nothing.
    assert!(harmless.keys().all(|file| file.ends_with("MANIFEST")), "{harmless:?}");
    assert_eq!(
        answers(&Collection::open(&path).expect("whole again")).expect("valid"),
        expected
    );
}

#[test]
fn missing_and_short_files_are_named() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    drop(make(&path));
    for file in files(&path).into_iter().filter(|file| !file.ends_with("LOCK")) {
        let whole = fs::read(&file).expect("readable");
        let name = file.file_name().expect("named").to_string_lossy().into_owned();
        fs::write(&file, &whole[..whole.len() - 1]).expect("written");
        let error = Collection::open(&path).err().expect("short file");
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(error.to_string().contains(&name), "{error}");
        fs::remove_file(&file).expect("removed");
        let error = Collection::open(&path).err().expect("missing file");
        assert!(
            matches!(error.kind(), ErrorKind::Corruption | ErrorKind::NotFound),
            "{error}"
        );
        fs::write(&file, &whole).expect("written");
    }
    assert!(Collection::open(&path).is_ok());
    assert!(matches!(
        Collection::open(dir.path()),
        Err(Error::NotACollection { .. })
    ));
    assert!(
        !dir.path().join("LOCK").exists(),
        "a directory that is something else is left alone"
    );
}

#[test]
fn another_model_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    drop(make(&path));
    let other = LexicalOptions {
        b: 0.9,
        ..LexicalOptions::default()
    };
    let other = Arc::new(Lexical::new(other).expect("in range"));
    let error = Collection::open_with(&path, Some(other)).err().expect("refused");
    let Error::ModelMismatch { expected, found, .. } = &error else {
        panic!("{error}");
    };
    assert_ne!(expected, found);
    assert_eq!(error.kind(), ErrorKind::ModelMismatch);
    let same = Arc::new(Lexical::new(LexicalOptions::default()).expect("in range"));
    assert!(Collection::open_with(&path, Some(same)).is_ok());
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let first = make(&path);
    let error = Collection::open(&path).err().expect("locked");
    assert!(
        matches!(&error, Error::Locked { directory } if *directory == path),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Resource);
    drop(first);
    assert!(Collection::open(&path).is_ok());
    let data = dir.path().join("data");
    let engine = Engine::open(&data).expect("opened");
    assert!(matches!(Engine::open(&data), Err(Error::Locked { .. })));
    drop(engine);
    assert!(Engine::open(&data).is_ok());
}

#[test]
fn a_damaged_collection_leaves_the_others_alone() {
    let dir = tempfile::tempdir().expect("temp dir");
    let engine = Engine::open(dir.path()).expect("opened");
    for name in ["good", "bad"] {
        let mut config = config();
        config.name = name.to_owned();
        let collection = engine.create_collection(&config).expect("made");
        collection.add(vec![document("a", "flour")]).expect("added");
        collection.commit().expect("committed");
    }
    drop(engine);
    let manifest = dir.path().join("collections/bad/MANIFEST");
    fs::write(manifest, b"no manifest").expect("written");
    let engine = Engine::open(dir.path()).expect("opened");
    let listed = engine.list();
    assert_eq!(
        listed.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
        ["bad", "good"]
    );
    assert!(listed[0].error.is_some() && listed[1].error.is_none() && listed[1].num_docs == 1);
    assert!(engine.collection("good").is_ok());
    let error = engine.collection("bad").err().expect("damaged");
    assert_eq!(error.kind(), ErrorKind::Corruption);
    engine.delete_collection("bad").expect("deleted");
    assert_eq!(engine.list().len(), 1);
}
