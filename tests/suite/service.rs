//! The server as a process: what it acknowledged survives, and it ends cleanly.

use super::support::{self, Service};

fn start(folder: &std::path::Path) -> Service {
    Service::start(folder, &["serve", "--data", "data", "--port", "0"])
}

fn count(service: &Service) -> usize {
    let body = r#"{"query": "sieve", "k": 100}"#;
    service.json("POST", "/v1/collections/kitchen/search", body)["hits"]
        .as_array()
        .expect("hits")
        .len()
}

#[test]
fn what_was_acknowledged_with_refresh_survives_kill_9() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut service = start(folder.path());
    let config = r#"{"name": "kitchen", "model": "lexical", "fields": {"year": "integer"}}"#;
    service.json("POST", "/v1/collections", config);
    for round in 0..3 {
        let line = |at: usize| format!(r#"{{"id": "{round}-{at}", "text": "sieve number {at}", "year": {at}}}"#);
        let lines: Vec<String> = (0..5).map(line).collect();
        let path = "/v1/collections/kitchen/documents/bulk?refresh=true";
        let report = service.json("POST", path, &format!("{}\nnot json\n", lines.join("\n")));
        assert_eq!(
            (&report["accepted"], &report["failed"]),
            (&5.into(), &1.into()),
            "{report}"
        );
        assert_eq!(report["items"][0]["line"], 6, "{report}");
        assert_eq!(count(&service), 5 * (round + 1), "visible at once");
        service.kill();
        service = start(folder.path());
        assert_eq!(count(&service), 5 * (round + 1), "there after kill -9");
    }
    let filtered = r#"{"query": "sieve", "k": 100, "filter": "year >= 3"}"#;
    let hits = service.json("POST", "/v1/collections/kitchen/search", filtered);
    assert_eq!(hits["hits"].as_array().expect("hits").len(), 6);
    let (status, error) = service.request(
        "POST",
        "/v1/collections/kitchen/search",
        r#"{"query": "sieve", "filter": "yeer > 3"}"#,
    );
    assert_eq!(status, 400);
    assert!(
        error.contains("yeer") && error.contains("year"),
        "names the field and the nearest one: {error}"
    );
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn a_second_server_is_told_why_it_cannot_start() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let service = start(folder.path());
    let busy = support::run(folder.path(), &["serve", "--data", "other", "--port", service.port()]);
    assert_eq!(busy.code, 8, "{}", busy.stderr);
    assert!(busy.stderr.contains(service.port()), "{}", busy.stderr);
    let locked = support::run(folder.path(), &["serve", "--data", "data", "--port", "0"]);
    assert_eq!(locked.code, 7, "{}", locked.stderr);
    let open = support::run(
        folder.path(),
        &["serve", "--data", "other", "--host", "0.0.0.0", "--port", "0"],
    );
    assert_eq!(open.code, 2, "{}", open.stderr);
    assert!(open.stderr.contains("insecure"), "{}", open.stderr);
}
