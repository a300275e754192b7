//! Starting and ending.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;

fn engine(directory: &TempDir) -> Arc<Engine> {
    Arc::new(Engine::open(directory.path()).expect("the engine opens"))
}

#[test]
fn a_taken_port_is_named_with_the_way_out() {
    let running = Running::start(options());
    let directory = TempDir::new().expect("a fresh directory");
    let taken = ServerOptions {
        port: running.addr.port(),
        ..options()
    };
    let error = Server::bind(taken, engine(&directory))
        .err()
        .expect("the port is taken");
    assert!(
        matches!(error, Error::PortInUse { addr } if addr == running.addr),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains(&running.addr.port().to_string()) && message.contains("--port"),
        "{message}"
    );
}

#[test]
fn only_loopback_is_served_unless_told_otherwise() {
    let directory = TempDir::new().expect("a fresh directory");
    let engine = engine(&directory);
    let open = ServerOptions {
        host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ..options()
    };
    let error = Server::bind(open.clone(), engine.clone()).err().expect("refused");
    assert!(matches!(error, Error::NotLoopback { .. }), "{error}");
    let server = Server::bind(ServerOptions { insecure: true, ..open }, engine.clone()).expect("told otherwise");
    assert_ne!(server.addr().port(), 0);
    let error = Server::bind(
        ServerOptions {
            workers: 0,
            ..options()
        },
        engine,
    )
    .err()
    .expect("no worker");
    assert!(matches!(error, Error::Option { option: "workers", .. }), "{error}");
}

#[test]
fn what_was_refreshed_is_seen_at_once_and_after_a_restart() {
    let running = Running::with_books();
    assert_eq!(running.ids(&json!({"q": "yeast"})), ["bread"]);
    let directory = running.directory.clone();
    running.stop().expect("a clean end");
    let again = Running::start_in(directory, options());
    assert_eq!(again.ids(&json!({"q": "yeast"})), ["bread"]);
}

/// Without refresh a write is seen after the next commit, and at the latest when the service ends.
#[test]
fn accepted_writes_are_committed_when_the_service_ends() {
    let running = Running::with_books_and(ServerOptions {
        commit_interval: Duration::from_secs(3600),
        ..options()
    });
    let bulk = "/v1/collections/books/documents/bulk";
    assert_eq!(
        running
            .send("POST", bulk, &[], b"{\"id\":\"late\",\"text\":\"a latecomer\"}")
            .json()["refreshed"],
        false
    );
    assert_eq!(
        running
            .post(
                "/v1/collections/books/documents",
                &json!({"id": "later", "text": "a latecomer"})
            )
            .status,
        200
    );
    assert!(running.ids(&json!({"q": "latecomer"})).is_empty());
    let directory = running.directory.clone();
    running.stop().expect("a clean end");
    let again = Running::start_in(directory, options());
    assert_eq!(again.ids(&json!({"q": "latecomer"})), ["late", "later"]);
}

#[test]
fn commit_makes_writes_visible() {
    let running = Running::with_books_and(ServerOptions {
        commit_interval: Duration::from_secs(3600),
        ..options()
    });
    running.post(
        "/v1/collections/books/documents",
        &json!({"id": "late", "text": "a latecomer"}),
    );
    assert_eq!(running.get("/v1/collections/books").json()["pending"], 1);
    let committed = running.post("/v1/collections/books/commit", &json!({}));
    assert_eq!(
        (committed.status, committed.json()["documents"].as_u64()),
        (200, Some(4))
    );
    assert_eq!(running.ids(&json!({"q": "latecomer"})), ["late"]);
}

#[test]
fn writes_become_visible_by_themselves() {
    let running = Running::with_books_and(ServerOptions {
        commit_interval: Duration::from_millis(1),
        ..options()
    });
    running.post(
        "/v1/collections/books/documents",
        &json!({"id": "late", "text": "a latecomer"}),
    );
    while running.ids(&json!({"q": "latecomer"})).is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let options = ServerOptions {
        max_concurrent_searches: 1,
        queue_timeout: Duration::from_secs(3600),
        ..options()
    };
    let mut running = Running::with_books_and(options);
    let permit = futures_util::FutureExt::now_or_never(running.state.admission.enter())
        .expect("free")
        .expect("a place");
    let request = running.request("POST", "/v1/collections/books/search", &[], b"{\"q\":\"flour\"}");
    let mut stream = TcpStream::connect(running.addr).expect("the service listens");
    stream.write_all(&request).expect("sent");
    while running.state.admission.num_waiting() == 0 {
        std::thread::yield_now();
    }
    running.handle.stop();
    while !running.state.is_stopping() {
        std::thread::yield_now();
    }
    drop(permit);
    let answer = Answer::read(&mut stream);
    assert_eq!(
        (answer.status, answer.json()["hits"][0]["id"].as_str().is_some()),
        (200, true)
    );
    running.join().expect("a clean end");
    TcpStream::connect(running.addr).expect_err("nobody listens any more");
}
