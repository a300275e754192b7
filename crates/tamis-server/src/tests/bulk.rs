//! Bulk writing, line by line.

use super::*;

const BULK: &str = "/v1/collections/books/documents/bulk?refresh=true";

fn send(running: &Running, body: &str) -> Value {
    let answer = running.send(
        "POST",
        BULK,
        &[("content-type", "application/x-ndjson")],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn every_form_of_a_line_is_carried_out_in_order() {
    let running = Running::with_books();
    let body = concat!(
        r#"{"op":"upsert","id":"a","doc":{"title":"Alpha","text":"First letter","year":1}}"#,
        "\n",
        r#"{"id":"b","text":"Second letter","year":2}"#,
        "\r\n",
        "\n",
        r#"{"_id":"c","title":"","text":"Third letter"}"#,
        "\n",
        r#"{"op":"delete","id":"a"}"#,
        "\n",
        r#"{"op":"upsert","doc":{"id":"a","text":"First again"},"vector":{"zebra":1.5}}"#,
        "\n",
        r#"{"op":"delete","id":"bees"}"#,
        "\n",
        r#"{"op":"upsert","id":"d","vector":{"quagga":1}}"#,
    );
    let answer = send(&running, body);
    assert_eq!(
        (&answer["accepted"], &answer["failed"], &answer["errors"]),
        (&json!(7), &json!(0), &json!(false))
    );
    assert_eq!(answer["refreshed"], true);
    assert_eq!(running.get("/v1/collections/books").json()["documents"], 6);
    assert_eq!(
        running.get("/v1/collections/books/documents/a").json()["text"],
        "First again"
    );
    assert_eq!(running.ids(&json!({"vector": {"zebra": 1}})), ["a"]);
    assert_eq!(running.ids(&json!({"vector": {"quagga": 1}})), ["d"]);
    assert_eq!(running.ids(&json!({"q": "second letter", "limit": 1})), ["b"]);
}

#[test]
fn broken_lines_are_named_and_the_others_count() {
    let running = Running::with_books();
    let body = [
        r#"{"id":"a","text":"good"}"#,
        r#"{"id":"b","text" "no colon"}"#,
        r#"{"id":"c","yeer":1}"#,
        r#"{"text":"no id"}"#,
        r#"{"op":"upsrt","id":"e"}"#,
        r#"{"op":"upsert","id":"f","text":"not in doc"}"#,
        r#"["not an object"]"#,
        r#"{"op":"delete"}"#,
        r#"{"op":"upsert","id":"g","doc":{"id":"h"}}"#,
        r#"{"id":"z","text":"good again"}"#,
    ]
    .join("\n");
    let answer = send(&running, &body);
    assert_eq!(
        (&answer["accepted"], &answer["failed"], &answer["errors"]),
        (&json!(2), &json!(8), &json!(true))
    );
    let items = answer["items"].as_array().expect("items");
    let seen: Vec<_> = items
        .iter()
        .map(|item| {
            (
                item["line"].as_u64().unwrap_or(0),
                item["id"].as_str(),
                item["error"]["code"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (2, None, "malformed_json"),
            (3, Some("c"), "invalid_document"),
            (4, None, "invalid_document"),
            (5, Some("e"), "invalid_value"),
            (6, Some("f"), "unknown_field"),
            (7, None, "invalid_value"),
            (8, None, "invalid_document"),
            (9, Some("g"), "invalid_document"),
        ]
    );
    assert!(items.iter().all(|item| item["status"] == 400));
    assert_eq!(items[0]["error"]["details"][0]["column"], 18);
    assert_eq!(
        items[0]["error"]["details"][0].get("line"),
        None,
        "the item names the line"
    );
    assert_eq!(items[3]["error"]["details"][0]["suggestion"], "upsert");
    assert_eq!(items[4]["error"]["details"][0]["suggestion"], "doc.text");
    for id in ["a", "z"] {
        assert_eq!(
            running.get(&format!("/v1/collections/books/documents/{id}")).status,
            200,
            "{id}"
        );
    }
}

#[test]
fn many_lines_pass_in_batches_and_chunks() {
    let options = ServerOptions {
        bulk_batch_documents: 7,
        max_bulk_items: 3,
        ..options()
    };
    let running = Running::with_books_and(options);
    let lines: Vec<String> = (0..100)
        .map(|number| match number % 10 {
            9 => format!("broken {number}\n"),
            _ => format!(
                "{}\n",
                json!({"id": format!("n{number}"), "text": format!("number {number}"), "year": number})
            ),
        })
        .collect();
    let mut bytes = running.request("POST", BULK, &[], b"");
    let head = String::from_utf8(std::mem::take(&mut bytes))
        .expect("text")
        .replace("content-length: 0\r\n", "transfer-encoding: chunked\r\n");
    let mut request = head.into_bytes();
    for piece in lines.concat().as_bytes().chunks(33) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = running.raw(&request).json();
    assert_eq!((&answer["accepted"], &answer["failed"]), (&json!(90), &json!(10)));
    let named: Vec<_> = answer["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["line"].as_u64())
        .collect();
    assert_eq!(named, [Some(10), Some(20), Some(30)]);
    assert_eq!(answer["items_left_out"], 7);
    assert_eq!(running.get("/v1/collections/books").json()["documents"], 93);
}

#[test]
fn a_line_too_long_is_one_failed_line() {
    let options = ServerOptions {
        max_line_bytes: 200,
        ..options()
    };
    let running = Running::with_books_and(options);
    let long = json!({"id": "long", "text": "x".repeat(1000)});
    let body = format!("{}\n{long}\n{}\n", json!({"id": "a"}), json!({"id": "b"}));
    let answer = send(&running, &body);
    assert_eq!((&answer["accepted"], &answer["failed"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&answer["items"][0]["line"], &answer["items"][0]["status"]),
        (&json!(2), &json!(413))
    );
    assert_eq!(answer["items"][0]["error"]["code"], "line_too_long");
}

#[test]
fn a_body_that_stops_arriving_ends_with_how_far_it_got() {
    let options = ServerOptions {
        body_idle_timeout: Duration::from_millis(50),
        bulk_batch_documents: 1,
        ..options()
    };
    let running = Running::with_books_and(options);
    let head = String::from_utf8(running.request("POST", BULK, &[], b""))
        .expect("text")
        .replace("content-length: 0", "content-length: 1000");
    let answer = running.raw(format!("{head}{}\nrest", json!({"id": "a"})).as_bytes());
    let body = answer.expect_error(408, "request_timeout");
    assert!(
        body["details"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("1 lines were accepted")),
        "{body}"
    );
}

#[test]
fn the_documents_route_takes_ndjson_too() {
    let running = Running::with_books();
    let path = "/v1/collections/books/documents?refresh=true";
    let answer = running.send(
        "POST",
        path,
        &[("content-type", "application/x-ndjson")],
        b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n",
    );
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(2)));
    running
        .send("POST", "/v1/collections/none/documents/bulk", &[], b"{}")
        .expect_error(404, "collection_not_found");
    running
        .send("POST", "/v1/collections/books/documents/bulk?refresh=maybe", &[], b"{}")
        .expect_error(400, "invalid_value");
}
