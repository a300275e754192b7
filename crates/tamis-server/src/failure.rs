//! The one table of error codes: what the answer of a failed request says and which status it has.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde::Serialize;
use utoipa::ToSchema;

/// Declares [`Code`] and its table together, so that no code can lack a row.
macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $kind:literal $meaning:literal;)+) => {
        /// Stable names of everything a request can fail with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $meaning] $variant,)+ }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in answers.
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name,)+ } }

            /// The HTTP status it is sent with.
            pub fn status(self) -> u16 { match self { $(Self::$variant => $status,)+ } }

            /// The family of the error.
            pub fn kind(self) -> &'static str { match self { $(Self::$variant => $kind,)+ } }

            /// One sentence for the documentation.
            pub fn meaning(self) -> &'static str { match self { $(Self::$variant => $meaning,)+ } }
        }
    };
}

codes! {
    MalformedJson "malformed_json" 400 "invalid_request" "The body is not JSON; line and column say where it breaks.";
    UnknownField "unknown_field" 400 "invalid_request" "The body or the query string names a field that does not exist here; the closest one is suggested.";
    InvalidValue "invalid_value" 400 "invalid_request" "A field is missing, has the wrong type or is out of range.";
    InvalidQuery "invalid_query" 400 "invalid_request" "The search cannot be run as asked, for example because it has neither text nor vector.";
    InvalidFilter "invalid_filter" 400 "invalid_request" "The filter expression has a mistake or names a field the collection does not have.";
    InvalidDocument "invalid_document" 400 "invalid_request" "A document does not fit the collection: no id, an unknown field, a value of another type.";
    InvalidCollection "invalid_collection" 400 "invalid_request" "A collection cannot be created like this: its name, its fields or its model.";
    InvalidModel "invalid_model" 400 "invalid_request" "The model cannot be opened or cannot do what was asked.";
    HostNotAllowed "host_not_allowed" 403 "auth" "The Host header names another machine; a service on loopback answers to loopback names only.";
    OriginNotAllowed "origin_not_allowed" 403 "auth" "A page from another origin tried to write; browsers may do so only from the service's own page.";
    RouteNotFound "route_not_found" 404 "not_found" "There is nothing at this path; /openapi.json lists every route.";
    CollectionNotFound "collection_not_found" 404 "not_found" "There is no collection of that name.";
    DocumentNotFound "document_not_found" 404 "not_found" "The collection has no document of that id.";
    MethodNotAllowed "method_not_allowed" 405 "invalid_request" "The path exists but not with this method; the Allow header lists the methods.";
    RequestTimeout "request_timeout" 408 "timeout" "The body stopped arriving.";
    CollectionExists "collection_exists" 409 "conflict" "A collection of that name exists already, with another configuration.";
    ModelMismatch "model_mismatch" 409 "conflict" "The model is not the one the collection was built with.";
    Conflict "conflict" 409 "conflict" "The request contradicts the present state.";
    BodyTooLarge "body_too_large" 413 "limit" "The body is larger than the limit; send NDJSON to the bulk route instead.";
    LineTooLong "line_too_long" 413 "limit" "A line of the NDJSON body is longer than the limit.";
    UnsupportedEncoding "unsupported_encoding" 415 "invalid_request" "The body is compressed; send it as it is.";
    TooManySearches "too_many_searches" 429 "limit" "All places for searches are taken; the Retry-After header says when to try again.";
    OutOfResources "out_of_resources" 503 "unavailable" "Memory, disk space or a lock could not be had.";
    CorruptData "corrupt_data" 500 "corrupt" "Data on disk fails its checks; nothing was answered from it.";
    Internal "internal" 500 "internal" "A fault of the service; the request id finds it in the log.";
}

/// One precise place of a mistake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Detail {
    /// Where in the body or query string, as a path such as `$.limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Line of the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong there.
    pub reason: String,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

/// The JSON object of every error answer and of every failed line of a bulk answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What happened, for a person.
    pub message: String,
    /// Stable name of the error, for a program.
    pub code: String,
    /// Family: invalid_request, auth, not_found, conflict, limit, timeout, unavailable, corrupt or internal.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where this code is explained, on this server.
    pub link: String,
    /// The id of the request, also in the `x-request-id` header; left out inside bulk items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The exact places, when there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

/// A request that failed: a code of the table, a sentence, and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    message: String,
    details: Vec<Detail>,
    retry_after_seconds: Option<u32>,
    allow: Option<String>,
}

impl Failure {
    /// A failure with its sentence for a person.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
            retry_after_seconds: None,
            allow: None,
        }
    }

    /// Adds one place of the mistake.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.details.push(detail);
        self
    }

    /// Asks the client to wait before it tries again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Names the methods the path has.
    #[must_use]
    pub fn allow(mut self, methods: String) -> Self {
        self.allow = Some(methods);
        self
    }

    /// The code of the table.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Seconds the client is asked to wait.
    #[cfg(test)]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after_seconds
    }

    /// The JSON object that describes the failure.
    pub fn body(&self, request_id: Option<&str>) -> ErrorBody {
        ErrorBody {
            message: self.message.clone(),
            code: self.code.name().to_owned(),
            kind: self.code.kind().to_owned(),
            link: format!("/errors#{}", self.code.name()),
            request_id: request_id.map(str::to_owned),
            details: self.details.clone(),
        }
    }

    /// The whole answer.
    pub fn response(&self, request_id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponse::build(self.http_status());
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((header::ALLOW, methods.as_str()));
        }
        response.json(self.body(request_id))
    }

    fn http_status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Failure {}

impl actix_web::ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.http_status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        let kinds = [
            "invalid_request",
            "auth",
            "not_found",
            "conflict",
            "limit",
            "timeout",
            "unavailable",
            "corrupt",
            "internal",
        ];
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        for code in Code::ALL {
            assert!(
                kinds.contains(&code.kind()),
                "{}: unknown family {}",
                code.name(),
                code.kind()
            );
            assert!(
                StatusCode::from_u16(code.status()).expect("a status").as_u16() >= 400,
                "{}",
                code.name()
            );
            assert!(
                code.name()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{}",
                code.name()
            );
            assert_eq!(code.kind() == "not_found", code.status() == 404, "{}", code.name());
            assert_eq!(code.kind() == "conflict", code.status() == 409, "{}", code.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len(), "two codes share a name");
    }
}
