//! Making, listing, describing and removing collections.

use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Payload};
use tamis_engine::{Collection, CollectionConfig, CollectionEntry, Error};

use crate::body;
use crate::clock::milliseconds;
use crate::failure::{Code, Detail, ErrorBody, Failure};
use crate::state::{State, blocking};
use crate::wire::collection::{CollectionBody, CollectionDeleted, CollectionInfo, CollectionList, CommitAnswer};

/// Every collection, ascending by name.
#[utoipa::path(get, path = "/v1/collections", operation_id = "list_collections", tag = "collections", responses((status = 200, description = "The collections", body = CollectionList)))]
pub async fn list(state: Data<State>) -> Result<HttpResponse, Failure> {
    let collections = blocking(move || {
        let listed = state.engine.list().into_iter();
        Ok(listed.map(|entry| described(&state, entry)).collect())
    })
    .await?;
    Ok(HttpResponse::Ok().json(CollectionList { collections }))
}

/// Makes a collection.
#[utoipa::path(post, path = "/v1/collections", operation_id = "create_collection", tag = "collections", request_body = CollectionBody, responses(
    (status = 201, description = "The new collection", body = CollectionInfo),
    (status = 400, description = "Its name, fields or model are wrong", body = ErrorBody),
    (status = 409, description = "A collection of that name exists", body = ErrorBody),
))]
pub async fn create(state: Data<State>, mut payload: Payload) -> Result<HttpResponse, Failure> {
    let mut wanted: CollectionBody = read(&state, &mut payload).await?;
    let Some(name) = wanted.name.take() else {
        return Err(
            Failure::new(Code::InvalidCollection, "A collection needs a `name`.").detail(Detail {
                path: Some("$.name".to_owned()),
                reason: "missing".to_owned(),
                ..Detail::default()
            }),
        );
    };
    let config = wanted.config(name, &state.options.default_model);
    let made = blocking(move || Ok(info(&*state.engine.create_collection(&config)?))).await?;
    Ok(HttpResponse::Created()
        .insert_header(("location", format!("/v1/collections/{}", made.name)))
        .json(made))
}

/// Makes a collection unless the same one exists.
#[utoipa::path(put, path = "/v1/collections/{collection}", operation_id = "put_collection", tag = "collections",
    params(("collection" = String, Path, description = "Name of the collection")),
    request_body = CollectionBody,
    responses(
        (status = 200, description = "The collection existed, made in the same way", body = CollectionInfo),
        (status = 201, description = "The new collection", body = CollectionInfo),
        (status = 400, description = "Its name, fields or model are wrong", body = ErrorBody),
        (status = 409, description = "A collection of that name exists, made in another way", body = ErrorBody),
    ),
)]
pub async fn put(state: Data<State>, name: Path<String>, mut payload: Payload) -> Result<HttpResponse, Failure> {
    let mut wanted: CollectionBody = read(&state, &mut payload).await?;
    let name = name.into_inner();
    if wanted.name.take().is_some_and(|named| named != name) {
        return Err(Failure::new(
            Code::InvalidCollection,
            format!("The body's `name` is not the path's, `{name}`."),
        ));
    }
    let model_is_named = wanted.model.is_some();
    let config = wanted.config(name, &state.options.default_model);
    let (created, made) = blocking(move || create_if_absent(&state, config, model_is_named)).await?;
    Ok(if created {
        HttpResponse::Created().json(made)
    } else {
        HttpResponse::Ok().json(made)
    })
}

/// Makes the collection unless it exists; one that exists keeps its model where none is named.
fn create_if_absent(
    state: &State,
    mut config: CollectionConfig,
    model_is_named: bool,
) -> Result<(bool, CollectionInfo), Failure> {
    match state.engine.create_collection(&config) {
        Ok(collection) => Ok((true, info(&collection))),
        Err(Error::CollectionExists { name }) => {
            let existing = state.collection(&name)?;
            if !model_is_named {
                config.model.clone_from(&existing.config().model);
            }
            if *existing.config() == config {
                return Ok((false, info(&existing)));
            }
            Err(Failure::new(
                Code::CollectionExists,
                format!("Collection `{name}` exists already and was made in another way."),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// A collection: how it was made and how many documents it has.
#[utoipa::path(get, path = "/v1/collections/{collection}", operation_id = "get_collection", tag = "collections",
    params(("collection" = String, Path, description = "Name of the collection")),
    responses(
        (status = 200, description = "The collection", body = CollectionInfo),
        (status = 404, description = "No such collection", body = ErrorBody),
    ),
)]
pub async fn get(state: Data<State>, name: Path<String>) -> Result<HttpResponse, Failure> {
    let info = blocking(move || Ok(info(&*state.collection(&name)?))).await?;
    Ok(HttpResponse::Ok().json(info))
}

/// Whether a collection exists.
#[utoipa::path(head, path = "/v1/collections/{collection}", operation_id = "collection_exists", tag = "collections",
    params(("collection" = String, Path, description = "Name of the collection")),
    responses((status = 200, description = "It exists"), (status = 404, description = "No such collection")),
)]
pub async fn head(state: Data<State>, name: Path<String>) -> Result<HttpResponse, Failure> {
    state.collection(&name)?;
    Ok(HttpResponse::Ok().finish())
}

/// Removes a collection and its documents for good.
#[utoipa::path(delete, path = "/v1/collections/{collection}", operation_id = "delete_collection", tag = "collections",
    params(("collection" = String, Path, description = "Name of the collection")),
    responses(
        (status = 200, description = "It is gone", body = CollectionDeleted),
        (status = 404, description = "No such collection", body = ErrorBody),
    ),
)]
pub async fn delete(state: Data<State>, name: Path<String>) -> Result<HttpResponse, Failure> {
    let deleted = blocking(move || {
        state.engine.delete_collection(&name)?;
        Ok(name.into_inner())
    })
    .await?;
    Ok(HttpResponse::Ok().json(CollectionDeleted { deleted }))
}

/// Makes all accepted writes visible to searches and durable.
#[utoipa::path(post, path = "/v1/collections/{collection}/commit", operation_id = "commit_collection", tag = "collections",
    params(("collection" = String, Path, description = "Name of the collection")),
    responses(
        (status = 200, description = "Committed", body = CommitAnswer),
        (status = 404, description = "No such collection", body = ErrorBody),
        (status = 503, description = "Out of disk or memory", body = ErrorBody),
    ),
)]
pub async fn commit(state: Data<State>, name: Path<String>) -> Result<HttpResponse, Failure> {
    let started = Instant::now();
    let documents = blocking(move || {
        let collection = state.collection(&name)?;
        collection.commit()?;
        Ok(collection.num_docs())
    })
    .await?;
    Ok(HttpResponse::Ok().json(CommitAnswer {
        documents,
        took_ms: milliseconds(started.elapsed()),
    }))
}

async fn read(state: &State, payload: &mut Payload) -> Result<CollectionBody, Failure> {
    let body = body::read(payload, state.options.max_body_bytes, state.options.body_idle_timeout).await?;
    body::parse(&body)
}

/// A collection of the list; one that could not be opened is listed with the reason.
fn described(state: &State, entry: CollectionEntry) -> CollectionInfo {
    match state.engine.collection(&entry.name) {
        Ok(collection) => info(&collection),
        Err(error) => CollectionInfo::unavailable(entry.name, entry.error.unwrap_or_else(|| error.to_string())),
    }
}

fn info(collection: &Collection) -> CollectionInfo {
    let config = collection.config();
    let stats = collection.stats();
    CollectionInfo {
        name: config.name.clone(),
        model: config.model.clone(),
        fields: config.fields.clone(),
        documents: stats.num_docs,
        pending: stats.num_pending,
        generation: stats.generation,
        segments: stats.num_segments,
        terms: stats.num_terms,
        postings: stats.num_postings,
        bytes: stats.bytes,
        max_weight: config.max_weight,
        reorder: config.reorder,
        error: None,
    }
}
