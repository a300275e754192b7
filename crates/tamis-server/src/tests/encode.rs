//! Encoding by the numbers of a vocabulary, and the shape that clients of text-embeddings-inference know.

use std::path::Path;

use serde_json::{Value, json};

use super::{Running, options};
use crate::ServerOptions;

/// A service whose own model is a tiny checkpoint.
fn with_checkpoint() -> Running {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tamis-encoder/tests/fixtures/bert-plain");
    Running::start(ServerOptions {
        default_model: fixture.display().to_string(),
        ..options()
    })
}

#[test]
fn ids_and_tokens_are_the_same_vector() {
    let running = with_checkpoint();
    let encode = |format: &str| {
        let body = json!({"texts": ["the miller sifts flour"], "kind": "document", "format": format});
        let answer = running.post("/v1/encode", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["vectors"][0].clone()
    };
    let (tokens, ids) = (encode("tokens"), encode("ids"));
    assert_eq!(tokens["num_tokens"], ids["num_tokens"]);
    let indices = ids["vector"]["indices"].as_array().expect("a list");
    let values = ids["vector"]["values"].as_array().expect("a list");
    let by_token = tokens["vector"].as_object().expect("an object");
    assert!(indices.len() > 10 && indices.len() == values.len() && indices.len() == by_token.len());
    assert!(indices.windows(2).all(|pair| pair[0].as_u64() < pair[1].as_u64()));
    // [PAD], [UNK], [CLS] are the first rows of the fixture's vocabulary.
    for (id, token) in [(0, "[PAD]"), (1, "[UNK]"), (2, "[CLS]")] {
        let at = indices.iter().position(|index| index == id);
        assert_eq!(at.map(|at| &values[at]), by_token.get(token), "{token}");
    }
    running
        .post(
            "/v1/encode",
            &json!({"texts": ["x"], "model": "lexical", "format": "ids"}),
        )
        .expect_error(400, "invalid_model");
    running
        .post("/v1/encode", &json!({"texts": ["x"], "format": "numbers"}))
        .expect_error(400, "invalid_value");
}

#[test]
fn embed_sparse_has_the_known_shape() {
    let running = with_checkpoint();
    let embed = |body: Value| {
        let answer = running.post("/embed_sparse", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let one = embed(json!({"inputs": "the miller sifts flour"}));
    let many =
        embed(json!({"inputs": ["the miller sifts flour", ""], "truncate": true, "truncation_direction": "Right"}));
    assert_eq!(
        (one.as_array().map(Vec::len), many.as_array().map(Vec::len)),
        (Some(1), Some(2))
    );
    let entries = one[0].as_array().expect("a list");
    assert!(
        entries
            .iter()
            .all(|entry| entry["index"].is_u64() && entry["value"].as_f64() > Some(0.0))
    );
    let known = running.post(
        "/v1/encode",
        &json!({"texts": ["the miller sifts flour"], "kind": "document", "format": "ids"}),
    );
    let known = known.json()["vectors"][0]["vector"].clone();
    let indices: Vec<&Value> = entries.iter().map(|entry| &entry["index"]).collect();
    assert_eq!(json!(indices), known["indices"]);
    embed(json!({"inputs": "the miller", "prompt_name": "query"}));

    let long = "sieve ".repeat(100);
    embed(json!({"inputs": &long, "truncate": true}));
    let refused = running
        .post("/embed_sparse", &json!({"inputs": ["x", &long]}))
        .expect_error(400, "invalid_value");
    assert_eq!(refused["details"][0]["path"], "$.inputs[1]");
    for (body, code) in [
        (json!({"inputs": "x", "prompt_name": "poem"}), "invalid_value"),
        (json!({"inputs": "x", "truncation_direction": "left"}), "invalid_value"),
        (json!({"inputs": 3}), "invalid_value"),
        (json!({"inputs": vec!["x"; 257]}), "invalid_value"),
        (json!({"inputs": "x", "model": "lexical"}), "invalid_model"),
        (json!({"inputs": "x", "normalise": true}), "unknown_field"),
    ] {
        running.post("/embed_sparse", &body).expect_error(400, code);
    }
}
