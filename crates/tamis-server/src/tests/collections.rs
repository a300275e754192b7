//! Making, describing and removing collections.

use super::*;

#[test]
fn a_collection_is_made_described_and_removed() {
    let running = Running::start(options());
    assert_eq!(running.get("/v1/collections").json(), json!({"collections": []}));
    let body = json!({"name": "notes", "model": "lexical", "fields": {"year": "integer", "tags": "keyword"}});
    let made = running.post("/v1/collections", &body);
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some("/v1/collections/notes"))
    );
    assert_eq!(made.json()["fields"], json!({"year": "integer", "tags": "keyword"}));
    assert_eq!(made.json()["documents"], 0);
    let got = running.get("/v1/collections/notes");
    assert_eq!((got.status, got.json()["name"].as_str()), (200, Some("notes")));
    assert_eq!(running.get("/v1/collections").json()["collections"][0]["name"], "notes");
    let head = running.send("HEAD", "/v1/collections/notes", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(running.send("HEAD", "/v1/collections/other", &[], b"").status, 404);
    assert_eq!(
        running.delete("/v1/collections/notes").json(),
        json!({"deleted": "notes"})
    );
    running
        .delete("/v1/collections/notes")
        .expect_error(404, "collection_not_found");
    running
        .get("/v1/collections/notes")
        .expect_error(404, "collection_not_found");
}

#[test]
fn put_makes_a_collection_once() {
    let running = Running::start(options());
    let put = |body: Value| running.send("PUT", "/v1/collections/notes", &[], body.to_string().as_bytes());
    assert_eq!(
        put(json!({"model": "lexical", "fields": {"year": "integer"}})).status,
        201
    );
    assert_eq!(
        put(json!({"model": "lexical", "fields": {"year": "integer"}})).status,
        200
    );
    assert_eq!(
        put(json!({"name": "notes", "model": "lexical", "fields": {"year": "integer"}})).status,
        200
    );
    put(json!({"model": "lexical", "fields": {"year": "date"}})).expect_error(409, "collection_exists");
    put(json!({"name": "other"})).expect_error(400, "invalid_collection");
    running
        .post("/v1/collections", &json!({"name": "notes"}))
        .expect_error(409, "collection_exists");
}

#[test]
fn what_cannot_be_made_is_refused_with_the_reason() {
    let running = Running::start(options());
    let post = |body: Value| running.post("/v1/collections", &body);
    for name in ["", "..", "Notes", "a/b", "-a", &"x".repeat(65)] {
        post(json!({"name": name})).expect_error(400, "invalid_collection");
    }
    post(json!({"model": "lexical"})).expect_error(400, "invalid_collection");
    post(json!({"name": "a", "max_weight": -1.0})).expect_error(400, "invalid_collection");
    let unknown = post(json!({"name": "a", "feilds": {}})).expect_error(400, "unknown_field");
    assert_eq!(unknown["details"][0]["suggestion"], "fields");
    let kind = post(json!({"name": "a", "fields": {"year": "number"}})).expect_error(400, "invalid_value");
    assert!(
        kind["message"]
            .as_str()
            .is_some_and(|message| message.contains("keyword, integer, float")),
        "{kind}"
    );
    assert_eq!(
        running.get("/v1/collections").json(),
        json!({"collections": []}),
        "nothing was made"
    );
}

#[test]
fn a_missing_model_is_the_callers_mistake() {
    let running = Running::start(options());
    let answer = running.post("/v1/collections", &json!({"name": "a", "model": "no/such/model"}));
    let body = answer.expect_error(400, "invalid_model");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|message| message.contains("no/such/model")),
        "{body}"
    );
}

#[test]
fn a_near_miss_of_a_name_is_suggested() {
    let running = Running::with_books();
    let body = running
        .get("/v1/collections/boks")
        .expect_error(404, "collection_not_found");
    assert_eq!(body["details"][0]["suggestion"], "books");
}
