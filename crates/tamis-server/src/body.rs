//! Reading what a request carries: JSON bodies and query strings, strictly, with errors that name the place.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut, Payload, Query};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::failure::{Code, Detail, Failure};
use crate::suggestion::closest;

/// The next piece of a body, or nothing at its end.
///
/// # Errors
/// `request_timeout` when nothing arrives for `idle`, `invalid_value` when the connection breaks or the transfer is malformed.
pub async fn next_piece(payload: &mut Payload, idle: Duration) -> Result<Option<Bytes>, Failure> {
    match tokio::time::timeout(idle, payload.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => Err(broken_transfer(&error)),
        Err(_) => Err(Failure::new(
            Code::RequestTimeout,
            format!("No further piece of the body arrived for {} s.", idle.as_secs_f32()),
        )),
    }
}

/// The whole body.
///
/// # Errors
/// As [`next_piece`], and `body_too_large` above `limit` bytes.
pub async fn read(payload: &mut Payload, limit: usize, idle: Duration) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(piece) = next_piece(payload, idle).await? {
        if body.len() + piece.len() > limit {
            return Err(Failure::new(
                Code::BodyTooLarge,
                format!(
                    "The body is larger than {limit} bytes; send documents as NDJSON to the bulk route, which has no such limit."
                ),
            ));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// Parses one JSON value.
///
/// # Errors
/// `malformed_json` with line and column, `unknown_field` with a suggestion, or `invalid_value`.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::new(
            Code::MalformedJson,
            "The body is empty; a JSON object is expected.",
        ));
    }
    serde_json::from_slice(body).map_err(|error| json_failure(&error))
}

/// Parses the query string.
///
/// # Errors
/// `unknown_field` with a suggestion, or `invalid_value`.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Failure> {
    match Query::<T>::from_query(request.query_string()) {
        Ok(query) => Ok(query.into_inner()),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.strip_prefix("Query deserialize error: ").unwrap_or(&reason);
            Err(value_failure(reason, None, "query string"))
        }
    }
}

/// What a JSON error in a whole body means to the client.
pub fn json_failure(error: &serde_json::Error) -> Failure {
    let reason = reason_of(error);
    let place = (error.line() > 0).then(|| (error.line(), error.column()));
    if error.is_data() {
        return value_failure(&reason, place, "body");
    }
    let (line, column) = place.unwrap_or((1, 1));
    let message = format!("The body is not valid JSON at line {line}, column {column}: {reason}.");
    Failure::new(Code::MalformedJson, message).detail(Detail {
        line: Some(line),
        column: Some(column),
        reason,
        ..Detail::default()
    })
}

/// What a JSON error in one line of an NDJSON body means to the client; the item that carries it names the line.
pub fn line_failure(error: &serde_json::Error) -> Failure {
    let reason = reason_of(error);
    if error.is_data() {
        return value_failure(&reason, None, "line");
    }
    let column = error.column();
    Failure::new(
        Code::MalformedJson,
        format!("The line is not valid JSON at column {column}: {reason}."),
    )
    .detail(Detail {
        column: Some(column),
        reason,
        ..Detail::default()
    })
}

/// Serde's message without the place at its end.
fn reason_of(error: &serde_json::Error) -> String {
    let full = error.to_string();
    full.rsplit_once(" at line ")
        .map_or(full.as_str(), |(reason, _)| reason)
        .to_owned()
}

/// A value that was read but does not fit. Serde says "unknown field `x`, expected one of `a`, `b`"; the names in it give
/// the path and the suggestion (a test pins that form).
fn value_failure(reason: &str, place: Option<(usize, usize)>, source: &str) -> Failure {
    let mut detail = Detail {
        line: place.map(|(line, _)| line),
        column: place.map(|(_, column)| column),
        reason: reason.to_owned(),
        ..Detail::default()
    };
    let mut names = reason.split('`').skip(1).step_by(2);
    let subject = names.next().unwrap_or_default();
    if reason.starts_with("unknown field `") {
        detail.path = Some(format!("$.{subject}"));
        detail.suggestion = closest(subject, names).map(str::to_owned);
        let hint = detail
            .suggestion
            .as_ref()
            .map(|name| format!(" Did you mean `{name}`?"))
            .unwrap_or_default();
        return Failure::new(
            Code::UnknownField,
            format!("Unknown field `{subject}` in the {source}.{hint}"),
        )
        .detail(detail);
    }
    if reason.starts_with("unknown variant `") {
        detail.suggestion = closest(subject, names).map(str::to_owned);
    }
    let at = place
        .map(|(line, column)| format!(" at line {line}, column {column}"))
        .unwrap_or_default();
    Failure::new(Code::InvalidValue, format!("The {source} does not fit{at}: {reason}.")).detail(detail)
}

fn broken_transfer(error: &PayloadError) -> Failure {
    Failure::new(
        Code::InvalidValue,
        format!("The body could not be read to its end: {error}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        limit: u32,
        #[serde(default)]
        filter: String,
        #[serde(default)]
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Sparse,
        Fused,
    }

    fn failure(body: &str) -> Failure {
        parse::<Sample>(body.as_bytes()).expect_err("the body is wrong")
    }

    #[test]
    fn a_good_body_is_read() {
        let sample: Sample = parse(br#"{"limit":3,"filter":"a = b","mode":"sparse"}"#).expect("valid");
        assert_eq!((sample.limit, sample.filter.as_str()), (3, "a = b"));
        assert!(matches!(sample.mode, Some(Mode::Sparse)));
        let fused: Sample = parse(br#"{"mode":"fused"}"#).expect("valid");
        assert!(matches!(fused.mode, Some(Mode::Fused)));
    }

    #[test]
    fn broken_json_names_line_and_column() {
        let failure = failure("{\"limit\": 3,\n \"filter\" \"x\"}");
        assert_eq!(failure.code(), Code::MalformedJson);
        let body = failure.body(None);
        assert_eq!((body.details[0].line, body.details[0].column), (Some(2), Some(11)));
        assert!(body.message.contains("line 2, column 11"), "{}", body.message);
        assert!(
            !body.details[0].reason.contains("at line"),
            "{}",
            body.details[0].reason
        );
    }

    #[test]
    fn unknown_fields_get_a_suggestion() {
        let body = failure(r#"{"limti": 3}"#).body(None);
        assert_eq!(body.code, "unknown_field");
        assert_eq!(body.details[0].path.as_deref(), Some("$.limti"));
        assert_eq!(body.details[0].suggestion.as_deref(), Some("limit"));
        assert!(body.message.contains("Did you mean `limit`?"), "{}", body.message);
        assert_eq!(failure(r#"{"zzzzzz": 3}"#).body(None).details[0].suggestion, None);
    }

    #[test]
    fn wrong_types_and_variants_are_invalid_values() {
        assert_eq!(failure(r#"{"limit": "three"}"#).code(), Code::InvalidValue);
        let body = failure(r#"{"mode": "spars"}"#).body(None);
        assert_eq!(body.code, "invalid_value");
        assert_eq!(body.details[0].suggestion.as_deref(), Some("sparse"));
    }

    #[test]
    fn an_empty_body_says_so() {
        let failure = failure(" \n");
        assert_eq!(failure.code(), Code::MalformedJson);
        assert!(failure.to_string().contains("empty"), "{failure}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "[".repeat(10_000);
        let failure = parse::<serde_json::Value>(deep.as_bytes()).expect_err("too deep");
        assert_eq!(failure.code(), Code::MalformedJson);
    }
}
