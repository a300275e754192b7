//! Writing, reading and deleting documents.

use std::time::Instant;

use actix_web::http::header;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value};

use crate::body;
use crate::clock::milliseconds;
use crate::failure::{Code, ErrorBody, Failure};
use crate::handlers::bulk;
use crate::state::{State, blocking};
use crate::wire::document::{
    AddAnswer, AddItem, DeleteAnswer, DeleteBody, DocumentBody, DocumentsBody, WriteQuery, document, invalid_document,
};

/// One document or an array of them.
#[derive(Debug)]
enum Given {
    One(Map<String, Value>),
    Many(Vec<Map<String, Value>>),
}

/// Writes a document, or an array of documents; one of the same id is replaced. With the content type
/// `application/x-ndjson` the body is taken as by the bulk route.
#[utoipa::path(post, path = "/v1/collections/{collection}/documents", operation_id = "add_documents", tag = "documents",
    params(("collection" = String, Path, description = "Name of the collection"), WriteQuery),
    request_body(content((DocumentsBody = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "What became of the documents; failed ones of an array are in `items`", body = AddAnswer),
        (status = 400, description = "The body or its only document is wrong", body = ErrorBody),
        (status = 404, description = "No such collection", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 503, description = "Out of disk or memory", body = ErrorBody),
    ),
)]
pub async fn add(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
    mut payload: Payload,
) -> Result<HttpResponse, Failure> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if kind.contains("ndjson") || kind.contains("jsonl") {
        return bulk::bulk(state, name, request, payload).await;
    }
    let started = Instant::now();
    let query: WriteQuery = body::query(&request)?;
    let collection = state.collection(&name)?;
    let bytes = body::read(
        &mut payload,
        state.options.max_body_bytes,
        state.options.body_idle_timeout,
    )
    .await?;
    let writes = state.clone();
    let mut answer = blocking(move || {
        let (documents, mut items) = parsed(given(&bytes)?)?;
        let (positions, documents): (Vec<usize>, Vec<_>) = documents.into_iter().unzip();
        let alone = positions.len() == 1 && matches!(bytes.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{'));
        let report = collection.add(documents)?;
        if report.added > 0 {
            writes.wrote(&name);
        }
        for refused in &report.failed {
            let failure = invalid_document(refused);
            if alone {
                return Err(failure);
            }
            let position = positions.get(refused.position).copied().unwrap_or_default();
            items.push(AddItem::new(position, Some(refused.id.clone()), &failure));
        }
        items.sort_by_key(|item| item.position);
        if query.refresh {
            collection.commit()?;
        }
        Ok(AddAnswer {
            took_ms: 0.0,
            errors: !items.is_empty(),
            accepted: report.added,
            failed: items.len(),
            refreshed: query.refresh,
            items,
        })
    })
    .await?;
    answer.took_ms = milliseconds(started.elapsed());
    Ok(HttpResponse::Ok().json(answer))
}

/// An object or an array of objects.
fn given(bytes: &[u8]) -> Result<Given, Failure> {
    match body::parse(bytes)? {
        Value::Object(object) => Ok(Given::One(object)),
        Value::Array(values) => {
            let objects = values.into_iter().enumerate().map(|(position, value)| match value {
                Value::Object(object) => Ok(object),
                _ => Err(Failure::new(
                    Code::InvalidValue,
                    format!("Element {position} of the array is not an object."),
                )),
            });
            Ok(Given::Many(objects.collect::<Result<_, _>>()?))
        }
        _ => Err(Failure::new(
            Code::InvalidValue,
            "The body must be a document (an object) or an array of documents.",
        )),
    }
}

type Parsed = (Vec<(usize, tamis_engine::Document)>, Vec<AddItem>);

/// Documents with their positions in the body, and the items of those that are no documents.
fn parsed(given: Given) -> Result<Parsed, Failure> {
    let objects = match given {
        Given::One(object) => return Ok((vec![(0, document(object)?)], Vec::new())),
        Given::Many(objects) => objects,
    };
    let mut documents = Vec::with_capacity(objects.len());
    let mut items = Vec::new();
    for (position, object) in objects.into_iter().enumerate() {
        let id = object.get("id").and_then(Value::as_str).map(str::to_owned);
        match document(object) {
            Ok(document) => documents.push((position, document)),
            Err(failure) => items.push(AddItem::new(position, id, &failure)),
        }
    }
    Ok((documents, items))
}

/// A document as it is stored.
#[utoipa::path(get, path = "/v1/collections/{collection}/documents/{id}", operation_id = "get_document", tag = "documents",
    params(
        ("collection" = String, Path, description = "Name of the collection"),
        ("id" = String, Path, description = "The document's id, percent-encoded"),
    ),
    responses(
        (status = 200, description = "The document", body = DocumentBody),
        (status = 404, description = "No such collection or document", body = ErrorBody),
    ),
)]
pub async fn get(state: Data<State>, path: Path<(String, String)>) -> Result<HttpResponse, Failure> {
    let (name, id) = path.into_inner();
    let found = blocking(move || Ok(state.collection(&name)?.searcher().document(&id)?)).await?;
    Ok(HttpResponse::Ok().json(DocumentBody::from(found)))
}

/// Deletes a document.
#[utoipa::path(delete, path = "/v1/collections/{collection}/documents/{id}", operation_id = "delete_document", tag = "documents",
    params(
        ("collection" = String, Path, description = "Name of the collection"),
        ("id" = String, Path, description = "The document's id, percent-encoded"),
        WriteQuery,
    ),
    responses(
        (status = 200, description = "It is deleted", body = DeleteAnswer),
        (status = 404, description = "No such collection or document", body = ErrorBody),
        (status = 503, description = "Out of disk or memory", body = ErrorBody),
    ),
)]
pub async fn delete(
    state: Data<State>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Failure> {
    let query: WriteQuery = body::query(&request)?;
    let (name, id) = path.into_inner();
    let answer = delete_ids(state, name, vec![id.clone()], query.refresh).await?;
    if answer.deleted == 0 {
        return Err(Failure::new(
            Code::DocumentNotFound,
            format!("Document `{id}` not found."),
        ));
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// Deletes documents by their ids.
#[utoipa::path(post, path = "/v1/collections/{collection}/documents/delete", operation_id = "delete_documents", tag = "documents",
    params(("collection" = String, Path, description = "Name of the collection"), WriteQuery),
    request_body = DeleteBody,
    responses(
        (status = 200, description = "They are deleted, or did not exist", body = DeleteAnswer),
        (status = 400, description = "The body is wrong", body = ErrorBody),
        (status = 404, description = "No such collection", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 503, description = "Out of disk or memory", body = ErrorBody),
    ),
)]
pub async fn delete_many(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
    mut payload: Payload,
) -> Result<HttpResponse, Failure> {
    let query: WriteQuery = body::query(&request)?;
    let bytes = body::read(
        &mut payload,
        state.options.max_body_bytes,
        state.options.body_idle_timeout,
    )
    .await?;
    let wanted: DeleteBody = body::parse(&bytes)?;
    let answer = delete_ids(state, name.into_inner(), wanted.ids, query.refresh).await?;
    Ok(HttpResponse::Ok().json(answer))
}

async fn delete_ids(
    state: Data<State>,
    name: String,
    ids: Vec<String>,
    refresh: bool,
) -> Result<DeleteAnswer, Failure> {
    let started = Instant::now();
    blocking(move || {
        let collection = state.collection(&name)?;
        let deleted = collection.delete(&ids)?;
        state.wrote(&name);
        if refresh {
            collection.commit()?;
        }
        let took_ms = milliseconds(started.elapsed());
        Ok(DeleteAnswer {
            requested: ids.len(),
            deleted,
            refreshed: refresh,
            took_ms,
        })
    })
    .await
}
