//! Health, metrics, version, limits and the API's description.

use actix_web::HttpResponse;
use actix_web::http::header::{CacheControl, CacheDirective};
use actix_web::web::Data;
use tamis_engine::MAX_RESULT_WINDOW;

use crate::failure::{Code, Failure};
use crate::openapi::description;
use crate::state::{State, blocking};
use crate::wire::service::{CollectionCount, Health, Limits, SearchLoad, Stats, Version};

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, description = "The process answers", body = Health)))]
pub async fn healthz(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(health_of(&state))
}

/// The same as `/healthz`.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, description = "The process answers", body = Health)))]
pub async fn health(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(health_of(&state))
}

/// The same as `/healthz`.
#[utoipa::path(get, path = "/livez", tag = "service", responses((status = 200, description = "The process answers", body = Health)))]
pub async fn livez(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(health_of(&state))
}

/// Whether the service takes requests: every collection is open and it is not about to end.
#[utoipa::path(get, path = "/readyz", tag = "service", responses(
    (status = 200, description = "Ready", body = Health),
    (status = 503, description = "About to end", body = Health),
))]
pub async fn readyz(state: Data<State>) -> HttpResponse {
    let health = health_of(&state);
    if state.is_stopping() {
        HttpResponse::ServiceUnavailable().json(health)
    } else {
        HttpResponse::Ok().json(health)
    }
}

fn health_of(state: &State) -> Health {
    let status = if state.is_stopping() { "stopping" } else { "ok" };
    Health {
        status: status.to_owned(),
        collections: state.engine.list().len(),
    }
}

/// Counters and gauges in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "Metrics in Prometheus' text format", body = String, content_type = "text/plain")))]
pub async fn metrics(state: Data<State>) -> Result<HttpResponse, Failure> {
    let text = blocking(move || {
        let rendered = state.metrics.render(&state.snapshot());
        rendered.map_err(|error| Failure::new(Code::Internal, format!("The metrics could not be written: {error}.")))
    })
    .await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}

/// The description of every route, OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, description = "This description", body = Object)))]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(CacheControl(vec![CacheDirective::NoCache]))
        .json(description())
}

/// What is running.
#[utoipa::path(get, path = "/v1/version", tag = "service", responses((status = 200, description = "Name and version", body = Version)))]
pub async fn version() -> HttpResponse {
    HttpResponse::Ok().json(Version {
        name: "tamis".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// State and limits of the service.
#[utoipa::path(get, path = "/v1/stats", tag = "service", responses((status = 200, description = "State and limits", body = Stats)))]
pub async fn stats(state: Data<State>) -> Result<HttpResponse, Failure> {
    let stats = blocking(move || Ok(stats_of(&state))).await?;
    Ok(HttpResponse::Ok().json(stats))
}

fn stats_of(state: &State) -> Stats {
    let snapshot = state.snapshot();
    let options = &state.options;
    Stats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: state.started.elapsed().as_secs(),
        searches: SearchLoad {
            running: snapshot.running,
            waiting: snapshot.waiting,
        },
        collections: snapshot
            .documents
            .into_iter()
            .map(|(name, documents)| CollectionCount { name, documents })
            .collect(),
        limits: Limits {
            max_concurrent_searches: options.max_concurrent_searches,
            search_queue: options.search_queue,
            max_body_bytes: options.max_body_bytes,
            max_line_bytes: options.max_line_bytes,
            max_result_window: MAX_RESULT_WINDOW,
            max_query_bytes: options.max_query_bytes,
            max_encode_texts: options.max_encode_texts,
            max_bulk_items: options.max_bulk_items,
        },
    }
}
