//! What every request passes first and every answer last: its id, who may ask, security headers, metrics, and errors as JSON.

use std::net::IpAddr;
use std::time::Instant;

use actix_web::HttpMessage;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::failure::{Code, Failure};
use crate::options::ServerOptions;
use crate::state::State;

/// Name of the header that carries the request id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Route label of requests that match no route, so that hostile paths cannot grow the metrics.
const UNMATCHED: &str = "unmatched";

/// Headers of every answer. Pages may load only what this service itself serves, and may not be framed.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The middleware around all routes.
///
/// # Errors
/// Only what the framework itself fails with before a route is found.
pub async fn front(
    state: Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let from_client = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = state.request_ids.assign(from_client);
    let method = request.method().clone();
    request.extensions_mut().insert(id.clone());
    let response = match admit(request.method(), request.headers(), &state.options) {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(failure) => request.into_response(failure.response(Some(id.as_str()))),
    };
    let mut response = describe_error(response, id.as_str());
    let route = response.request().match_pattern();
    let status = response.status().as_u16();
    state.metrics.request(
        route.as_deref().unwrap_or(UNMATCHED),
        label(&method),
        status,
        started.elapsed(),
    );
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    Ok(response)
}

/// Puts the request id into a failed answer, and gives errors of the framework the shape of ours.
fn describe_error(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else {
        return response;
    };
    let failure = match error.as_error::<Failure>() {
        Some(failure) => failure.clone(),
        None if response.status().is_client_error() => Failure::new(Code::InvalidValue, format!("{error}.")),
        None => Failure::new(
            Code::Internal,
            "The service failed; the request id finds the fault in the log.",
        ),
    };
    if response.status().is_server_error() {
        tracing::error!(request_id = id, path = response.request().path(), %error, "request failed");
    }
    let answer = failure.response(Some(id));
    response.into_response(answer)
}

/// Refuses compressed bodies, and what only a hostile page would send: a service without keys must not be reachable through a visitor's browser.
/// A rebound DNS name shows in `Host`, a form on another site in `Origin`.
fn admit(method: &Method, headers: &HeaderMap, options: &ServerOptions) -> Result<(), Failure> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .filter(|encoding| *encoding != "identity");
    if encoding.is_some() {
        return Err(Failure::new(
            Code::UnsupportedEncoding,
            "Compressed bodies are not read; send the body as it is.",
        ));
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    if let Some(host) = host.filter(|_| options.host.is_loopback() && !options.insecure) {
        let name = host_name(host);
        if !is_loopback_name(&name)
            && !options
                .allowed_hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(&name))
        {
            return Err(Failure::new(
                Code::HostNotAllowed,
                format!("This service listens on loopback and does not answer to the host name `{name}`."),
            ));
        }
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Failure::new(
            Code::OriginNotAllowed,
            "Browsers may write only from this service's own page.",
        )),
    }
}

/// The name in a `Host` header, without port and brackets, in lower case.
fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.to_ascii_lowercase()
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The method as a metric label; anything unusual is one label.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    fn verdict(method: Method, pairs: &[(HeaderName, &'static str)]) -> Option<Code> {
        admit(&method, &headers(pairs), &ServerOptions::default())
            .err()
            .map(|failure| failure.code())
    }

    #[test]
    fn loopback_answers_to_loopback_names_only() {
        for host in [
            "localhost:7711",
            "127.0.0.1:7711",
            "LOCALHOST",
            "[::1]:7711",
            "tamis.localhost:80",
        ] {
            assert_eq!(verdict(Method::GET, &[(header::HOST, host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7711",
            "localhost.evil.example",
            "10.0.0.7:7711",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(
                verdict(Method::GET, &[(header::HOST, host)]),
                Some(Code::HostNotAllowed),
                "{host}"
            );
        }
        let mut options = ServerOptions {
            allowed_hosts: vec!["search.example".to_owned()],
            ..ServerOptions::default()
        };
        let asked = headers(&[(header::HOST, "search.example:443")]);
        assert!(admit(&Method::GET, &asked, &options).is_ok());
        options.allowed_hosts.clear();
        options.insecure = true;
        assert!(admit(&Method::GET, &asked, &options).is_ok());
    }

    #[test]
    fn pages_of_other_origins_may_not_write() {
        let host = (header::HOST, "localhost:7711");
        assert_eq!(verdict(Method::POST, std::slice::from_ref(&host)), None);
        assert_eq!(
            verdict(Method::POST, &[host.clone(), (header::ORIGIN, "http://localhost:7711")]),
            None
        );
        for origin in ["https://evil.example", "null", "http://localhost:9000"] {
            let pairs = [host.clone(), (header::ORIGIN, origin)];
            assert_eq!(
                verdict(Method::DELETE, &pairs),
                Some(Code::OriginNotAllowed),
                "{origin}"
            );
            assert_eq!(verdict(Method::GET, &pairs), None, "{origin}");
        }
    }
}
