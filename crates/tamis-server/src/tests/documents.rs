//! Writing, reading and deleting single documents.

use super::*;

const DOCUMENTS: &str = "/v1/collections/books/documents";

#[test]
fn a_document_is_written_read_replaced_and_deleted() {
    let running = Running::with_books();
    let got = running.get(&format!("{DOCUMENTS}/bees")).json();
    assert_eq!(
        (got["id"].as_str(), got["title"].as_str()),
        (Some("bees"), Some("Bees"))
    );
    assert_eq!(got["fields"], json!({"year": 2004, "lang": "en"}));
    assert!(
        got["vector"]["bee"].as_f64().is_some_and(|weight| weight > 0.0),
        "{got}"
    );
    let written = running.post(
        &format!("{DOCUMENTS}?refresh=true"),
        &json!({"id": "bees", "text": "A hive.", "fields": {"year": 1}}),
    );
    assert_eq!(
        (written.status, written.json()["refreshed"].as_bool()),
        (200, Some(true))
    );
    let got = running.get(&format!("{DOCUMENTS}/bees")).json();
    assert_eq!(
        (got["text"].as_str(), got.get("title"), &got["fields"]),
        (Some("A hive."), None, &json!({"year": 1}))
    );
    assert_eq!(running.get("/v1/collections/books").json()["documents"], 3);
    let deleted = running.delete(&format!("{DOCUMENTS}/bees?refresh=true"));
    assert_eq!((deleted.status, deleted.json()["deleted"].as_u64()), (200, Some(1)));
    running
        .get(&format!("{DOCUMENTS}/bees"))
        .expect_error(404, "document_not_found");
    running
        .delete(&format!("{DOCUMENTS}/bees"))
        .expect_error(404, "document_not_found");
}

#[test]
fn several_are_deleted_at_once() {
    let running = Running::with_books();
    let answer = running.post(
        &format!("{DOCUMENTS}/delete?refresh=true"),
        &json!({"ids": ["bees", "sieve", "none"]}),
    );
    assert_eq!(
        (answer.json()["requested"].as_u64(), answer.json()["deleted"].as_u64()),
        (Some(3), Some(2))
    );
    assert_eq!(running.get("/v1/collections/books").json()["documents"], 1);
    running
        .post(&format!("{DOCUMENTS}/delete"), &json!({"id": "bees"}))
        .expect_error(400, "unknown_field");
}

#[test]
fn ids_are_any_text_and_may_look_like_routes() {
    let running = Running::with_books();
    let encoded = [
        ("bulk", "bulk"),
        ("delete", "delete"),
        ("a/b c", "a%2Fb%20c"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("100%", "100%25"),
        ("a+b?c", "a+b%3Fc"),
    ];
    for (id, path) in encoded {
        let written = running.post(&format!("{DOCUMENTS}?refresh=true"), &json!({"id": id, "text": id}));
        assert_eq!(written.status, 200, "{id}: {}", written.text());
        let got = running.get(&format!("{DOCUMENTS}/{path}"));
        assert_eq!(got.json()["id"], id, "{}", got.text());
        assert_eq!(
            running.delete(&format!("{DOCUMENTS}/{path}?refresh=true")).status,
            200,
            "{id}"
        );
    }
    running
        .get(&format!("{DOCUMENTS}/bulk"))
        .expect_error(404, "document_not_found");
}

#[test]
fn a_wrong_document_of_an_array_does_not_hold_up_the_others() {
    let running = Running::with_books();
    let answer = running.post(
        &format!("{DOCUMENTS}?refresh=true"),
        &json!([{"id": "one", "text": "a"}, {"id": "two", "yeer": 1}, {"text": "no id"}, {"id": "four", "year": "x"}, {"id": "five"}]),
    );
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["accepted"], &body["failed"], &body["errors"]),
        (200, &json!(2), &json!(3), &json!(true))
    );
    let places: Vec<_> = body["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| (item["position"].as_u64(), item["id"].as_str()))
        .collect();
    assert_eq!(
        places,
        [(Some(1), Some("two")), (Some(2), None), (Some(3), Some("four"))]
    );
    assert!(
        body["items"][0]["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("did you mean `year`")),
        "{body}"
    );
    assert_eq!(running.get("/v1/collections/books").json()["documents"], 5);
}

#[test]
fn a_single_wrong_document_is_a_failed_request() {
    let running = Running::with_books();
    for body in [
        json!({"text": "no id"}),
        json!({"id": ""}),
        json!({"id": "x".repeat(513)}),
        json!({"id": "a", "yeer": 1}),
        json!({"id": "a", "year": 1.5}),
        json!({"id": "a", "vector": {"t": -1}}),
    ] {
        running.post(DOCUMENTS, &body).expect_error(400, "invalid_document");
    }
    running
        .post(DOCUMENTS, &json!("text"))
        .expect_error(400, "invalid_value");
    running.post(DOCUMENTS, &json!([1])).expect_error(400, "invalid_value");
    running
        .post(&format!("{DOCUMENTS}?refersh=true"), &json!({"id": "a"}))
        .expect_error(400, "unknown_field");
    running
        .post("/v1/collections/none/documents", &json!({"id": "a"}))
        .expect_error(404, "collection_not_found");
}

#[test]
fn ready_vectors_are_searched_as_they_are() {
    let running = Running::start(options());
    assert_eq!(
        running
            .post("/v1/collections", &json!({"name": "books", "max_weight": 255.0}))
            .status,
        201
    );
    running.post(
        &format!("{DOCUMENTS}?refresh=true"),
        &json!([{"id": "a", "vector": {"x": 200, "y": 3}}, {"id": "b", "vector": {"x": 100, "z": 255}}]),
    );
    assert_eq!(running.ids(&json!({"vector": {"x": 1}})), ["a", "b"]);
    assert_eq!(running.ids(&json!({"vector": {"x": 1, "z": 2}})), ["b", "a"]);
    let answer = running
        .post(
            "/v1/collections/books/search",
            &json!({"vector": {"x": 2}, "explain": true}),
        )
        .json();
    assert_eq!(answer["hits"][0]["score"], 400.0);
    assert_eq!(answer["hits"][0]["explain"]["terms"][0]["document_weight"], 200.0);
}
