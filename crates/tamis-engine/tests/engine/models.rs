//! A model that expands, cuts long texts and fails on some.

use serde_json::json;
use std::sync::Arc;
use tamis_core::Fingerprint;
use tamis_encoder::{
    Compute, DeviceChoice, Encoder, Error as EncoderError, InputKind, Precision, QueryWeighting, SparseEncoding,
};
use tamis_engine::{Collection, CollectionConfig, Document, Engine, Error, ErrorKind, SearchRequest};

/// Words weigh 2, and whatever mentions flour is about an oven, too.
struct Expander;

impl Encoder for Expander {
    fn name(&self) -> &str {
        "expander"
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new([7; 32])
    }

    fn encode(&self, _: InputKind, texts: &[&str]) -> Result<Vec<SparseEncoding>, EncoderError> {
        let encode = |text: &&str| {
            if text.contains("poison") {
                return Err(EncoderError::UnknownModel {
                    spec: "poison".to_owned(),
                });
            }
            let words = text.split_whitespace().take(4).map(|word| (word.to_lowercase(), 2.0));
            let mut tokens: Vec<(String, f32)> = words.collect();
            if text.contains("flour") {
                tokens.extend([("oven".to_owned(), 0.5), ("##ery".to_owned(), 0.25)]);
            }
            tokens.sort_by(|a, b| a.0.cmp(&b.0));
            tokens.dedup_by(|a, b| a.0 == b.0);
            Ok(SparseEncoding {
                num_tokens: tokens.len(),
                num_windows: 1,
                truncated: text.split_whitespace().count() > 4,
                tokens,
            })
        };
        texts.iter().map(encode).collect()
    }

    fn query_weighting(&self) -> QueryWeighting {
        QueryWeighting::Model
    }

    fn max_weight(&self) -> Option<f32> {
        None
    }

    fn description(&self) -> serde_json::Value {
        json!({"encoder": "expander of a test"})
    }
}

fn documents(texts: &[&str]) -> Vec<Document> {
    let document = |(id, text): (usize, &&str)| Document {
        id: id.to_string(),
        text: Some((*text).to_owned()),
        ..Document::default()
    };
    texts.iter().enumerate().map(document).collect()
}

#[test]
fn expansions_are_found_marked_and_explained() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("collection");
    let config = CollectionConfig::new("expanded");
    let collection = Collection::create(&path, &config, Some(Arc::new(Expander))).expect("made");
    assert_eq!(collection.config().model.as_deref(), Some("expander"));
    let texts = [
        "an oven is hot",
        "flour",
        "a poison",
        "one two three four five",
        "Flour in the Oven",
    ];
    let report = collection.add(documents(&texts)).expect("added");
    assert_eq!((report.added, report.truncated), (4, 1));
    assert_eq!((report.failed.len(), report.failed[0].position), (1, 2));
    assert!(report.failed[0].reason.contains("poison"), "{:?}", report.failed[0]);
    collection.commit().expect("committed");
    let request = SearchRequest {
        highlight: true,
        explain: true,
        ..SearchRequest::new("flour")
    };
    let response = collection.searcher().search(&request).expect("valid");
    let typed: Vec<_> = response
        .query_terms
        .iter()
        .map(|term| (term.term.as_str(), term.typed))
        .collect();
    assert_eq!(typed, [("flour", true), ("oven", false), ("##ery", false)]);
    let found: Vec<_> = response.hits.iter().map(|hit| hit.id.as_str()).collect();
    assert_eq!(found, ["4", "1", "0"]);
    let snippet = response.hits[0].snippet.as_ref().expect("asked for");
    let marked: Vec<_> = snippet
        .highlights
        .iter()
        .map(|mark| (&snippet.text[mark.start..mark.end], mark.typed))
        .collect();
    assert_eq!(marked, [("Flour", true), ("Oven", false)]);
    let explanation = response.hits[1].explain.as_ref().expect("asked for");
    let terms: Vec<_> = explanation
        .terms
        .iter()
        .map(|term| (term.term.as_str(), term.typed))
        .collect();
    assert_eq!(terms, [("flour", true), ("oven", false), ("##ery", false)]);
    assert!(matches!(
        collection.searcher().search(&SearchRequest::new("poison")),
        Err(Error::Encoder(_))
    ));
    drop(collection);
    let error = Collection::open(&path).err().expect("nobody knows this model");
    assert!(
        matches!(error, Error::Model { .. }) && error.kind() == ErrorKind::NotFound,
        "{error}"
    );
    let again = Collection::open_with(&path, Some(Arc::new(Expander))).expect("given");
    assert_eq!(again.searcher().search(&request).expect("valid").hits, response.hits);
}

#[test]
fn an_engine_opens_models_where_it_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Refused with or without a GPU: only the CPU computes in integers.
    let impossible = Compute {
        device: DeviceChoice::Cuda(0),
        precision: Some(Precision::Int8),
    };
    let engine = Engine::open_with(dir.path(), impossible).expect("no model yet");
    assert_eq!(engine.compute(), impossible);
    let mut config = CollectionConfig::new("mills");
    let checkpoint = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tamis-encoder/tests/fixtures/bert-plain"
    );
    config.model = Some(checkpoint.to_owned());
    let error = engine.create_collection(&config).err().expect("refused");
    assert!(error.to_string().contains("int8 on device cuda"), "{error}");
    drop(engine);

    let engine = Engine::open(dir.path()).expect("nothing was left behind");
    assert_eq!(engine.compute(), Compute::default());
    engine.create_collection(&config).expect("on the CPU");
    drop(engine);

    let engine = Engine::open_with(dir.path(), impossible).expect("other collections may do");
    let error = engine.collection("mills").err().expect("not available");
    assert!(error.to_string().contains("int8 on device cuda"), "{error}");
}
