//! The first command of the README.

use super::support;

#[test]
fn demo_answers_and_evaluates() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let demo = support::succeed(folder.path(), &["demo", "--no-serve"]);
    for part in ["tamis-small", "bm25", "fused", "ndcg@10"] {
        assert!(demo.stdout.contains(part), "no {part}: {}", demo.stdout);
    }
    assert!(!demo.stdout.contains("http://"), "--no-serve serves nothing");
    let again = support::succeed(folder.path(), &["demo", "--no-serve", "--json"]).json();
    for system in ["sparse", "bm25", "fused"] {
        let ndcg = again["metrics"][system]["ndcg@10"].as_f64().expect("a figure");
        assert!((0.4..1.0).contains(&ndcg), "{system}: {ndcg}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("readable").count(),
        0,
        "the demo leaves nothing behind"
    );
}

#[test]
fn the_served_demo_answers_searches_and_shows_the_page() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let service = support::Service::start(folder.path(), &["demo", "--port", "0"]);
    let answer = service.json(
        "POST",
        "/v1/collections/demo/search",
        r#"{"query": "how do whales sleep", "k": 3}"#,
    );
    assert_eq!(answer["exact"], true);
    assert_eq!(answer["hits"].as_array().expect("hits").len(), 3);
    let (status, page) = service.request("GET", "/", "");
    assert_eq!(status, 200);
    assert!(
        page.contains("<title>") && !page.contains("src=\"http"),
        "one page, nothing from elsewhere"
    );
    let nothing = service.json("POST", "/v1/collections/demo/search", r#"{"query": "."}"#);
    assert_eq!(
        nothing["hits"].as_array().expect("hits").len(),
        0,
        "a full stop matches nothing"
    );
    assert_eq!(service.terminate(), Some(0));
}
