//! Searching and explaining.

use std::time::Instant;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use tamis_engine::SearchRequest;

use crate::body;
use crate::failure::{ErrorBody, Failure};
use crate::request_id::RequestId;
use crate::state::{State, blocking};
use crate::wire::answer::{Circumstances, SearchAnswer};
use crate::wire::explain::ExplainBody;
use crate::wire::search::{ExplainRequest, SearchBody, SearchMode, SearchQuery};

/// Searches with a query string, for browsers and curl.
#[utoipa::path(get, path = "/v1/collections/{collection}/search", tag = "search",
    params(("collection" = String, Path, description = "Name of the collection"), SearchQuery),
    responses(
        (status = 200, description = "The hits", body = SearchAnswer),
        (status = 400, description = "The query or the filter is wrong", body = ErrorBody),
        (status = 404, description = "No such collection", body = ErrorBody),
        (status = 429, description = "All places are taken; see Retry-After", body = ErrorBody),
    ),
)]
pub async fn search_query(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Failure> {
    let query: SearchQuery = body::query(&request)?;
    answer(state, &name, request_id(&request), query.into()).await
}

/// Searches.
#[utoipa::path(post, path = "/v1/collections/{collection}/search", tag = "search",
    params(("collection" = String, Path, description = "Name of the collection")),
    request_body = SearchBody,
    responses(
        (status = 200, description = "The hits", body = SearchAnswer),
        (status = 400, description = "The query or the filter is wrong", body = ErrorBody),
        (status = 404, description = "No such collection", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 429, description = "All places are taken; see Retry-After", body = ErrorBody),
    ),
)]
pub async fn search(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
    mut payload: Payload,
) -> Result<HttpResponse, Failure> {
    let bytes = body::read(
        &mut payload,
        state.options.max_body_bytes,
        state.options.body_idle_timeout,
    )
    .await?;
    let wanted: SearchBody = body::parse(&bytes)?;
    answer(state, &name, request_id(&request), wanted).await
}

/// Explains the score of any document for a query, whether it is among the hits or not.
#[utoipa::path(post, path = "/v1/collections/{collection}/explain", tag = "search",
    params(("collection" = String, Path, description = "Name of the collection")),
    request_body = ExplainRequest,
    responses(
        (status = 200, description = "What each term contributes", body = ExplainBody),
        (status = 400, description = "The query is wrong", body = ErrorBody),
        (status = 404, description = "No such collection or document", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 429, description = "All places are taken; see Retry-After", body = ErrorBody),
    ),
)]
pub async fn explain(state: Data<State>, name: Path<String>, mut payload: Payload) -> Result<HttpResponse, Failure> {
    let bytes = body::read(
        &mut payload,
        state.options.max_body_bytes,
        state.options.body_idle_timeout,
    )
    .await?;
    let wanted: ExplainRequest = body::parse(&bytes)?;
    let (request, id) = wanted.into_parts();
    check_length(&state, &request)?;
    let collection = state.collection(&name)?;
    let permit = state.admission.enter().await?;
    let explanation = blocking(move || {
        let _permit = permit;
        Ok(collection.searcher().explain(&request, &id)?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(ExplainBody::from(explanation)))
}

async fn answer(state: Data<State>, name: &str, id: String, wanted: SearchBody) -> Result<HttpResponse, Failure> {
    let mode: SearchMode = wanted.mode;
    let request = SearchRequest::from(wanted);
    check_length(&state, &request)?;
    let collection = state.collection(name)?;
    let permit = state.admission.enter().await?;
    let answer = blocking(move || {
        let started = Instant::now();
        let response = collection.searcher().search(&request)?;
        state.metrics.search(mode.name(), started.elapsed());
        let queued = permit.queued;
        Ok(SearchAnswer::new(
            response,
            Circumstances {
                mode,
                queued,
                request_id: id,
            },
        ))
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Refuses texts that are longer than the service takes.
fn check_length(state: &State, request: &SearchRequest) -> Result<(), Failure> {
    let (len, allowed) = (
        request.query.as_ref().map_or(0, String::len),
        state.options.max_query_bytes,
    );
    if len <= allowed {
        return Ok(());
    }
    let reason = format!("{len} bytes, at most {allowed} are allowed");
    Err(tamis_engine::Error::BadRequest {
        option: "query",
        reason,
    }
    .into())
}

fn request_id(request: &HttpRequest) -> String {
    request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.as_str().to_owned())
        .unwrap_or_default()
}
