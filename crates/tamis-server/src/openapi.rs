//! The description of the API that `/openapi.json` serves, put together from the handlers and the shapes.

use utoipa::OpenApi;

use crate::failure::ErrorBody;
use crate::handlers::{bulk, collections, documents, encode, search, service};
use crate::page;

/// All routes; a test compares them with the table of routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tamis",
        description = "Learned sparse retrieval over HTTP. Every failed request answers with an `ErrorBody`; `/errors` lists the \
            codes. Every answer carries its id in `x-request-id`. HEAD is answered wherever GET is. JSON bodies are strict: \
            a field that does not exist is an error.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "search", description = "Searching and explaining"),
        (name = "documents", description = "Writing and reading documents"),
        (name = "collections", description = "Making and removing collections"),
        (name = "encode", description = "Texts to sparse vectors"),
        (name = "service", description = "The page, health and metrics"),
    ),
    components(schemas(ErrorBody)),
    paths(
        page::index, page::style, page::script, page::icon, page::errors,
        service::openapi, service::healthz, service::health, service::livez, service::readyz, service::metrics,
        service::version, service::stats,
        encode::encode, encode::embed_sparse,
        collections::list, collections::create, collections::get, collections::head, collections::put, collections::delete,
        collections::commit,
        documents::add, documents::delete_many, documents::get, documents::delete,
        bulk::bulk,
        search::search_query, search::search, search::explain,
    ),
)]
struct Api;

/// The description as JSON.
pub fn description() -> utoipa::openapi::OpenApi {
    Api::openapi()
}
