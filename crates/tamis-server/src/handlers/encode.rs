//! Texts to sparse vectors.

use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::web::{Data, Payload};
use tamis_encoder::{Encoder, InputKind};

use crate::body;
use crate::clock::milliseconds;
use crate::failure::{Code, Detail, ErrorBody, Failure};
use crate::state::{State, blocking};
use crate::wire::encode::{EncodeAnswer, EncodeBody, EncodeKind, EncodedText};
use crate::wire::search::TermWeights;

/// The model of a request that names none.
const DEFAULT_MODEL: &str = "lexical";

/// Encodes texts with the model of a collection, or with a model by name.
#[utoipa::path(post, path = "/v1/encode", tag = "encode", request_body = EncodeBody, responses(
    (status = 200, description = "One vector a text, in the same order", body = EncodeAnswer),
    (status = 400, description = "The body is wrong, or there is no such model", body = ErrorBody),
    (status = 404, description = "No such collection", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 429, description = "All places are taken; see Retry-After", body = ErrorBody),
))]
pub async fn encode(state: Data<State>, mut payload: Payload) -> Result<HttpResponse, Failure> {
    let bytes = body::read(
        &mut payload,
        state.options.max_body_bytes,
        state.options.body_idle_timeout,
    )
    .await?;
    let wanted: EncodeBody = body::parse(&bytes)?;
    check(&wanted, state.options.max_encode_texts)?;
    let permit = state.admission.enter().await?;
    let answer = blocking(move || {
        let _permit = permit;
        let started = Instant::now();
        let encoder = encoder(&state, &wanted)?;
        let answer = encoded(encoder.as_ref(), &wanted, started)?;
        state.metrics.encode(started.elapsed());
        Ok(answer)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

fn check(wanted: &EncodeBody, max_texts: usize) -> Result<(), Failure> {
    let wrong = |path: &str, reason: String| {
        let detail = Detail {
            path: Some(path.to_owned()),
            reason: reason.clone(),
            ..Detail::default()
        };
        Err(Failure::new(Code::InvalidValue, format!("{reason}.")).detail(detail))
    };
    if wanted.texts.len() > max_texts {
        return wrong(
            "$.texts",
            format!(
                "{} texts are more than the {max_texts} of one request",
                wanted.texts.len()
            ),
        );
    }
    if wanted.model.is_some() && wanted.collection.is_some() {
        return wrong(
            "$.model",
            "Either `model` or `collection` names the model, not both".to_owned(),
        );
    }
    Ok(())
}

fn encoder(state: &State, wanted: &EncodeBody) -> Result<Arc<dyn Encoder>, Failure> {
    let Some(name) = &wanted.collection else {
        return state.encoder(wanted.model.as_deref().unwrap_or(DEFAULT_MODEL));
    };
    state.collection(name)?.encoder().cloned().ok_or_else(|| {
        Failure::new(
            Code::InvalidModel,
            format!("Collection `{name}` has no model: its documents bring their own vectors."),
        )
    })
}

fn encoded(encoder: &dyn Encoder, wanted: &EncodeBody, started: Instant) -> Result<EncodeAnswer, Failure> {
    let texts: Vec<&str> = wanted.texts.iter().map(String::as_str).collect();
    let kind = match wanted.kind {
        EncodeKind::Document => InputKind::Document,
        EncodeKind::Query => InputKind::Query,
    };
    let encodings = encoder.encode(kind, &texts).map_err(|error| Failure::from(&error))?;
    let vectors = encodings.into_iter().map(|encoding| EncodedText {
        vector: TermWeights(encoding.tokens),
        num_tokens: encoding.num_tokens,
        truncated: encoding.truncated,
    });
    Ok(EncodeAnswer {
        model: encoder.name().to_owned(),
        fingerprint: encoder.fingerprint().to_string(),
        kind: wanted.kind,
        vectors: vectors.collect(),
        took_ms: milliseconds(started.elapsed()),
    })
}
