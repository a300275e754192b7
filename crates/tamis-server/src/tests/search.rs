//! Searching and explaining.

use super::*;

const SEARCH: &str = "/v1/collections/books/search";

#[test]
fn an_answer_carries_everything_it_was_asked_for() {
    let running = Running::with_books();
    let answer = running.post(SEARCH, &json!({"q": "flour for bread", "explain": true, "limit": 5}));
    let request_id = answer.header("x-request-id").map(str::to_owned);
    let answer = answer.json();
    assert_eq!((&answer["exact"], &answer["mode"]), (&json!(true), &json!("sparse")));
    assert_eq!(answer["request_id"].as_str(), request_id.as_deref());
    let hit = &answer["hits"][0];
    assert_eq!(
        (&hit["id"], &hit["rank"], &hit["title"]),
        (&json!("bread"), &json!(1), &json!("Bread"))
    );
    assert_eq!(hit["fields"], json!({"year": 2012, "lang": "en"}));
    let pieces = hit["snippet"]["pieces"].as_array().expect("pieces");
    let marked: Vec<_> = pieces
        .iter()
        .filter(|piece| piece["match"] == "typed")
        .filter_map(|piece| piece["text"].as_str())
        .collect();
    assert_eq!(marked, ["Flour", "bread"]);
    let terms = hit["explain"]["terms"].as_array().expect("terms");
    let number = |value: &Value| value.as_f64().expect("a number");
    let sum: f64 = terms.iter().map(|term| number(&term["product"])).sum();
    assert!((sum - number(&hit["score"])).abs() < 1e-4 * sum, "{hit}");
    for term in terms {
        let product = number(&term["query_weight"]) * number(&term["document_weight"]);
        assert!((product - number(&term["product"])).abs() < 1e-4 * product, "{term}");
    }
    let query: Vec<_> = answer["query"]["terms"]
        .as_array()
        .expect("terms")
        .iter()
        .filter_map(|term| term["term"].as_str())
        .collect();
    assert_eq!(query, ["bread", "flour"], "heaviest first");
    assert_eq!(answer["query"]["terms"][1]["df"], 2);
    for stage in ["total", "queue", "encode", "filter", "retrieve", "fetch"] {
        assert!(
            answer["took_ms"][stage].as_f64().is_some_and(|took| took >= 0.0),
            "{stage}"
        );
    }
    assert!(answer["work"]["postings"].as_u64().is_some_and(|postings| postings > 0));
    let plain = running.post(SEARCH, &json!({"q": "bread", "highlight": false})).json();
    assert_eq!(
        (plain["hits"][0].get("snippet"), plain["hits"][0].get("explain")),
        (None, None)
    );
}

#[test]
fn get_and_post_and_either_name_give_the_same_hits() {
    let running = Running::with_books();
    let by_post = running
        .post(
            SEARCH,
            &json!({"q": "flour", "limit": 1, "filter": "year >= 2000", "fields": ["year"]}),
        )
        .json();
    let by_other_names = running
        .post(
            SEARCH,
            &json!({"query": "flour", "k": 1, "filter": "year >= 2000", "fields": ["year"]}),
        )
        .json();
    let by_get = running
        .get(&format!(
            "{SEARCH}?q=flour&limit=1&filter=year%20%3E%3D%202000&fields=year"
        ))
        .json();
    assert_eq!(by_post["hits"].as_array().map(Vec::len), Some(1), "{by_post}");
    assert_eq!(by_post["hits"][0]["fields"], json!({"year": 2012}));
    assert_eq!(by_post["hits"], by_other_names["hits"]);
    assert_eq!(by_post["hits"], by_get["hits"]);
}

#[test]
fn every_mode_and_algorithm_answers() {
    let running = Running::with_books();
    for mode in ["sparse", "bm25", "fused"] {
        let answer = running
            .post(SEARCH, &json!({"q": "flour sieve", "mode": mode, "explain": true}))
            .json();
        assert_eq!(
            (&answer["hits"][0]["id"], &answer["mode"]),
            (&json!("sieve"), &json!(mode)),
            "{answer}"
        );
        assert_eq!(answer["hits"].as_array().map(Vec::len), Some(2), "{mode}");
        let parts = answer["hits"][0]["explain"]["parts"].as_array().map_or(0, Vec::len);
        assert_eq!(parts, if mode == "fused" { 2 } else { 0 });
    }
    let expected = running.ids(&json!({"q": "flour sieve"}));
    for algorithm in ["auto", "oracle", "exhaustive", "block_max"] {
        assert_eq!(
            running.ids(&json!({"q": "flour sieve", "algorithm": algorithm})),
            expected,
            "{algorithm}"
        );
    }
    let weights = json!({"q": "flour sieve", "mode": "fused", "fusion": {"method": "min_max", "bm25_weight": 0.5}});
    assert_eq!(running.ids(&weights), expected);
}

#[test]
fn paging_continues_where_it_stopped() {
    let running = Running::with_books();
    let all = running.ids(&json!({"q": "flour bees tamis bread"}));
    assert_eq!(all.len(), 3);
    for (offset, id) in all.iter().enumerate() {
        let answer = running
            .post(
                SEARCH,
                &json!({"q": "flour bees tamis bread", "limit": 1, "offset": offset}),
            )
            .json();
        assert_eq!(
            (&answer["hits"][0]["id"], &answer["hits"][0]["rank"]),
            (&json!(id), &json!(offset + 1))
        );
    }
}

#[test]
fn a_query_without_a_known_word_has_no_hits() {
    let running = Running::with_books();
    for query in [".", "", "…!?", "qwertyuiop", "the"] {
        let answer = running.post(SEARCH, &json!({"q": query}));
        assert_eq!(
            (answer.status, &answer.json()["hits"]),
            (200, &json!([])),
            "{query:?}: {}",
            answer.text()
        );
    }
}

#[test]
fn markup_comes_back_as_text() {
    let running = Running::with_books();
    let hostile = "<script>alert('x')</script> & <img src=x onerror=alert(1)> flour\u{2028}\"";
    let document = json!({"id": "<b>id</b>", "title": "</title><script>", "text": hostile, "lang": "<i>"});
    assert_eq!(
        running
            .post("/v1/collections/books/documents?refresh=true", &document)
            .status,
        200
    );
    let answer = running.post(SEARCH, &json!({"q": "onerror <script>alert(1)</script>"}));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let hit = &answer.json()["hits"][0];
    assert_eq!(
        (&hit["id"], &hit["title"], &hit["fields"]["lang"]),
        (&json!("<b>id</b>"), &json!("</title><script>"), &json!("<i>"))
    );
    let pieces = hit["snippet"]["pieces"].as_array().expect("pieces");
    let joined: String = pieces.iter().filter_map(|piece| piece["text"].as_str()).collect();
    assert!(
        joined.contains("<script>alert('x')</script>"),
        "neither escaped nor changed: {joined}"
    );
    let failed = running.get("/v1/%3Cscript%3E").expect_error(404, "route_not_found");
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|message| message.contains("%3Cscript%3E") || message.contains("<script>"))
    );
}

#[test]
fn mistakes_in_a_search_are_named() {
    let running = Running::with_books();
    let post = |body: Value| running.post(SEARCH, &body);
    post(json!({})).expect_error(400, "invalid_query");
    post(json!({"q": "x", "limit": 10_001})).expect_error(400, "invalid_query");
    post(json!({"q": "x".repeat(9000)})).expect_error(400, "invalid_query");
    post(json!({"vector": {"x": 1}, "mode": "bm25"})).expect_error(400, "invalid_query");
    post(json!({"vector": {"x": -1}})).expect_error(400, "invalid_query");
    let filter = post(json!({"q": "x", "filter": "yeer > 2000"})).expect_error(400, "invalid_filter");
    assert_eq!(
        (&filter["details"][0]["path"], &filter["details"][0]["suggestion"]),
        (&json!("$.filter"), &json!("year"))
    );
    post(json!({"q": "x", "filter": "year >"})).expect_error(400, "invalid_filter");
    let unknown = post(json!({"q": "x", "limti": 3})).expect_error(400, "unknown_field");
    assert_eq!(
        (&unknown["details"][0]["path"], &unknown["details"][0]["suggestion"]),
        (&json!("$.limti"), &json!("limit"))
    );
    let mode = post(json!({"q": "x", "mode": "fusd"})).expect_error(400, "invalid_value");
    assert_eq!(mode["details"][0]["suggestion"], "fused");
    running
        .get(&format!("{SEARCH}?q=x&limti=3"))
        .expect_error(400, "unknown_field");
    running
        .get(&format!("{SEARCH}?q=x&limit=many"))
        .expect_error(400, "invalid_value");
    running
        .post("/v1/collections/none/search", &json!({"q": "x"}))
        .expect_error(404, "collection_not_found");
}

#[test]
fn any_document_is_explained() {
    let running = Running::with_books();
    let explain = |body: Value| running.post("/v1/collections/books/explain", &body);
    let hit = explain(json!({"q": "flour", "id": "bread"})).json();
    assert_eq!(hit["terms"][0]["term"], "flour");
    let miss = explain(json!({"q": "flour", "id": "bees"})).json();
    assert_eq!((&miss["score"], &miss["terms"]), (&json!(0.0), &json!([])));
    let filtered = explain(json!({"q": "flour", "id": "bread", "filter": "lang = \"fr\""})).json();
    assert_eq!(filtered["matches_filter"], false);
    explain(json!({"q": "flour", "id": "none"})).expect_error(404, "document_not_found");
    explain(json!({"q": "flour"})).expect_error(400, "invalid_value");
}

#[test]
fn a_query_longer_than_the_service_takes_is_refused() {
    let running = Running::with_books();
    let limit = ServerOptions::default().max_query_bytes;
    let query = |len: usize| json!({"q": "x".repeat(len)});
    assert_eq!(running.post(SEARCH, &query(limit)).status, 200);
    let refused = running.post(SEARCH, &query(limit + 1));
    assert_eq!(refused.status, 400);
    let message = refused.json()["message"].as_str().expect("a message").to_owned();
    assert!(message.contains(&limit.to_string()), "{message}");
}
