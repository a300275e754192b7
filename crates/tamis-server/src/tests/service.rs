//! The page, health, metrics and the description of the API.

use std::collections::BTreeSet;

use super::*;
use crate::failure::Code;
use crate::openapi::description;
use crate::route;

#[test]
fn health_is_told_under_every_name() {
    let running = Running::with_books();
    for path in ["/healthz", "/health", "/livez", "/readyz"] {
        let answer = running.get(path);
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"status": "ok", "collections": 1})),
            "{path}"
        );
    }
    let head = running.send("HEAD", "/healthz", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    running.state.stop();
    assert_eq!(running.get("/readyz").status, 503);
    assert_eq!(running.get("/livez").status, 200);
}

#[test]
fn the_page_is_whole_and_closed_to_everything_else() {
    let running = Running::start(options());
    for (path, kind, text) in [
        ("/", "text/html", "<title>Tamis"),
        ("/page/tamis.css", "text/css", "prefers-color-scheme"),
        ("/page/tamis.js", "text/javascript", "use strict"),
        ("/page/icon.svg", "image/svg+xml", "<svg"),
        ("/errors", "text/html", "too_many_searches"),
    ] {
        let answer = running.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer
                .header("content-type")
                .is_some_and(|found| found.starts_with(kind)),
            "{path}: {}",
            answer.head
        );
        assert!(answer.text().contains(text), "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .is_some_and(|policy| policy.starts_with("default-src 'self'"))
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let welcome = running.send("GET", "/", &[("accept", "application/json")], b"");
    assert_eq!(welcome.json()["name"], "tamis");
    assert_eq!(welcome.json()["links"]["openapi"], "/openapi.json");
}

#[test]
fn version_stats_and_metrics_tell_what_is_there() {
    let running = Running::with_books();
    assert_eq!(
        running.get("/v1/version").json(),
        json!({"name": "tamis", "version": env!("CARGO_PKG_VERSION")})
    );
    running.ids(&json!({"q": "flour"}));
    let stats = running.get("/v1/stats").json();
    assert_eq!(stats["collections"], json!([{"name": "books", "documents": 3}]));
    assert_eq!(stats["limits"]["max_line_bytes"], 16 << 20);
    assert_eq!(stats["searches"], json!({"running": 0, "waiting": 0}));
    let metrics = running.get("/metrics");
    assert!(
        metrics
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4"))
    );
    let text = metrics.text();
    for line in [
        r#"tamis_http_requests_total{method="POST",route="/v1/collections/{collection}/search",status="200"} 1"#,
        r#"tamis_search_duration_seconds_count{mode="sparse"} 1"#,
        r#"tamis_documents{collection="books"} 3"#,
        "tamis_collections 1",
        "tamis_searches_in_flight 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

/// Every route is described and every description is a route, with the parameters its path has.
#[test]
fn the_description_covers_exactly_the_routes() {
    let running = Running::start(options());
    let served = running.get("/openapi.json").json();
    assert!(
        served["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1")),
        "{}",
        served["openapi"]
    );
    let mut described = BTreeSet::new();
    let mut operations = BTreeSet::new();
    for (path, methods) in served["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            described.insert((method.to_uppercase(), path.clone()));
            let name = operation["operationId"].as_str().expect("every operation has a name");
            assert!(operations.insert(name.to_owned()), "{name} names two operations");
            let parameters: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let expected: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(parameters, expected, "{method} {path}");
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|responses| !responses.is_empty()),
                "{method} {path}"
            );
        }
    }
    let routed: BTreeSet<_> = route::table()
        .iter()
        .map(|spec| (spec.method.to_string(), spec.path.to_owned()))
        .collect();
    assert_eq!(described, routed);
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    let description = serde_json::to_value(description()).expect("JSON");
    let mut open = vec![&description];
    let mut references = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            references += 1;
            let pointer = reference.strip_prefix('#').expect("references stay in the document");
            assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        match value {
            Value::Object(members) => open.extend(members.values()),
            Value::Array(elements) => open.extend(elements),
            _ => {}
        }
    }
    assert!(references > 50, "{references}");
}

/// What the description says of the search body is what the service takes: every property, none required.
#[test]
fn the_search_body_is_described_field_by_field() {
    let description = serde_json::to_value(description()).expect("JSON");
    let schema = &description["components"]["schemas"]["SearchBody"];
    assert_eq!(schema.get("required"), None);
    let running = Running::with_books();
    let refused = running
        .post("/v1/collections/books/search", &json!({"none": 1}))
        .expect_error(400, "unknown_field");
    let reason = refused["details"][0]["reason"].as_str().expect("a reason").to_owned();
    let taken: BTreeSet<&str> = reason.split('`').skip(3).step_by(2).collect();
    for property in schema["properties"].as_object().expect("properties").keys() {
        assert!(
            taken.contains(property.as_str()),
            "{property} is described but not taken"
        );
    }
    let documents = &description["paths"]["/v1/collections/{collection}/documents"]["post"]["requestBody"]["content"];
    assert!(documents["application/json"]["schema"].is_object() && documents["application/x-ndjson"].is_object());
}

/// Statuses in the description are those the code table knows, so that no answer is promised that is never given.
#[test]
fn described_failures_have_a_code() {
    let description = serde_json::to_value(description()).expect("JSON");
    let known: BTreeSet<String> = Code::ALL.iter().map(|code| code.status().to_string()).collect();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for status in operation["responses"].as_object().expect("responses").keys() {
                assert!(
                    status.starts_with('2') || known.contains(status),
                    "{method} {path}: {status}"
                );
            }
        }
    }
}

#[test]
fn encoding_gives_unrounded_weights() {
    let running = Running::with_books();
    let answer = running
        .post(
            "/v1/encode",
            &json!({"texts": ["Flour falls.", ""], "kind": "document", "model": "lexical"}),
        )
        .json();
    assert_eq!(answer["model"], "lexical");
    let vector = answer["vectors"][0]["vector"].as_object().expect("a vector");
    assert_eq!(vector.keys().collect::<Vec<_>>(), ["fall", "flour"]);
    assert_eq!(answer["vectors"][1]["vector"], json!({}));
    assert_eq!(answer["vectors"][0]["truncated"], false);
    let same = running.post(
        "/v1/encode",
        &json!({"texts": ["Flour falls."], "kind": "document", "collection": "books"}),
    );
    assert_eq!(same.json()["vectors"][0], answer["vectors"][0]);
    assert_eq!(same.json()["fingerprint"], answer["fingerprint"]);
    let many = vec!["x"; 257];
    running
        .post("/v1/encode", &json!({"texts": many}))
        .expect_error(400, "invalid_value");
    running
        .post("/v1/encode", &json!({"texts": ["x"], "model": "no-such-model"}))
        .expect_error(400, "invalid_model");
    running
        .post("/v1/encode", &json!({"texts": ["x"], "collection": "none"}))
        .expect_error(404, "collection_not_found");
    running
        .post(
            "/v1/encode",
            &json!({"texts": ["x"], "collection": "books", "model": "lexical"}),
        )
        .expect_error(400, "invalid_value");
    let ready = running.post("/v1/collections", &json!({"name": "ready", "model": null}));
    assert_eq!(ready.status, 201);
    running
        .post("/v1/encode", &json!({"texts": ["x"], "collection": "ready"}))
        .expect_error(400, "invalid_model");
}
