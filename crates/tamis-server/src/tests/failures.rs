//! The shape of every failure that concerns the request itself.

use super::*;

#[test]
fn unknown_paths_and_methods_are_json() {
    let running = Running::with_books();
    for path in [
        "/nothing",
        "/v1",
        "/v1/collections/",
        "/v1/collections/books/serach",
        "/page/../etc/passwd",
        "/v1/collections/books/documents/a/b",
    ] {
        running.get(path).expect_error(404, "route_not_found");
    }
    for (method, path, allow) in [
        ("DELETE", "/v1/collections", "GET, POST, HEAD"),
        ("PATCH", "/v1/collections/books", "GET, HEAD, PUT, DELETE"),
        ("GET", "/v1/encode", "POST"),
        ("PUT", "/v1/collections/books/documents/bulk", "POST"),
        ("POST", "/v1/collections/books/documents/bees", "GET, DELETE, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let answer = running.send(method, path, &[], b"");
        answer.expect_error(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn broken_json_is_located() {
    let running = Running::with_books();
    let answer = running.send(
        "POST",
        "/v1/collections/books/search",
        &[],
        b"{\"q\": \"x\",\n\"limit\": }",
    );
    let body = answer.expect_error(400, "malformed_json");
    assert_eq!(
        (&body["details"][0]["line"], &body["details"][0]["column"]),
        (&json!(2), &json!(10))
    );
    running
        .send("POST", "/v1/collections/books/search", &[], b"")
        .expect_error(400, "malformed_json");
    running
        .send("POST", "/v1/collections/books/search", &[], b"{\"q\": \"\xff\"}")
        .expect_error(400, "malformed_json");
    running
        .send(
            "POST",
            "/v1/collections/books/documents",
            &[],
            "[".repeat(9999).as_bytes(),
        )
        .expect_error(400, "malformed_json");
}

#[test]
fn a_body_above_the_limit_is_refused() {
    let running = Running::with_books_and(ServerOptions {
        max_body_bytes: 1000,
        ..options()
    });
    let answer = running.post(
        "/v1/collections/books/documents",
        &json!({"id": "a", "text": "x".repeat(1000)}),
    );
    answer.expect_error(413, "body_too_large");
}

/// A refusal that comes before the body was read to its end reaches the client all the same.
#[test]
fn a_large_body_does_not_drown_the_refusal() {
    let running = Running::start(options());
    let body = vec![b'\n'; 4 << 20];
    running
        .send("POST", "/v1/collections/none/documents/bulk", &[], &body)
        .expect_error(404, "collection_not_found");
    running
        .send("POST", "/nothing", &[], &body)
        .expect_error(404, "route_not_found");
}

#[test]
fn the_clients_request_id_is_kept() {
    let running = Running::start(options());
    let answer = running.send("GET", "/nothing", &[("x-request-id", "trace-7")], b"");
    assert_eq!(answer.expect_error(404, "route_not_found")["request_id"], "trace-7");
    let first = running.get("/healthz").header("x-request-id").map(str::to_owned);
    assert_ne!(first.as_deref(), running.get("/healthz").header("x-request-id"));
}

#[test]
fn a_compressed_body_is_refused_as_such() {
    let running = Running::with_books();
    let zipped = [("content-encoding", "gzip")];
    let answer = running.send(
        "POST",
        "/v1/collections/books/documents/bulk",
        &zipped,
        &[0x1f, 0x8b, 8, 0],
    );
    answer.expect_error(415, "unsupported_encoding");
    let plain = [("content-encoding", "identity")];
    let answer = running.send("POST", "/v1/collections/books/search", &plain, b"{\"q\":\"flour\"}");
    assert_eq!(answer.status, 200);
}

#[test]
fn other_hosts_and_origins_are_kept_out() {
    let running = Running::with_books();
    running
        .send("GET", "/v1/collections", &[("host", "evil.example")], b"")
        .expect_error(403, "host_not_allowed");
    let evil = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    running
        .send("POST", "/v1/collections", &evil, b"{\"name\":\"x\"}")
        .expect_error(403, "origin_not_allowed");
    running
        .send("DELETE", "/v1/collections/books", &evil, b"")
        .expect_error(403, "origin_not_allowed");
    assert_eq!(running.get("/v1/collections/books").status, 200);
    let own = format!("http://{}", running.addr);
    assert_eq!(
        running
            .send("POST", "/v1/collections", &[("origin", &own)], b"{\"name\":\"x\"}")
            .status,
        201
    );
}

#[test]
fn too_many_searches_are_told_to_come_back() {
    let options = ServerOptions {
        max_concurrent_searches: 1,
        search_queue: 1,
        ..options()
    };
    let running = Running::with_books_and(options);
    let search = || running.post("/v1/collections/books/search", &json!({"q": "flour"}));
    let permit = futures_util::FutureExt::now_or_never(running.state.admission.enter())
        .expect("free")
        .expect("a place");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(search);
        while running.state.admission.num_waiting() == 0 {
            std::thread::yield_now();
        }
        let refused = search();
        refused.expect_error(429, "too_many_searches");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(running.get("/healthz").status, 200, "the service itself is not held up");
        assert_eq!(
            running.get("/v1/stats").json()["searches"],
            json!({"running": 1, "waiting": 1})
        );
        drop(permit);
        assert_eq!(waiting.join().expect("no panic").status, 200);
    });
    assert_eq!(search().status, 200);
}

#[test]
fn many_clients_at_once_all_get_an_answer() {
    let options = ServerOptions {
        max_concurrent_searches: 2,
        search_queue: 4,
        ..options()
    };
    let running = Running::with_books_and(options);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    (0..20)
                        .map(|_| {
                            running
                                .post("/v1/collections/books/search", &json!({"q": "flour"}))
                                .status
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("no panic"))
            .collect()
    });
    assert_eq!(statuses.len(), 320);
    assert!(
        statuses.iter().all(|status| [200, 429].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&200));
    assert_eq!(
        running.get("/v1/stats").json()["searches"],
        json!({"running": 0, "waiting": 0})
    );
}
