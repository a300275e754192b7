//! Texts to sparse vectors.

use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::web::{Data, Payload};
use tamis_encoder::{Encoder, InputKind, SparseEncoding};

use crate::body;
use crate::clock::milliseconds;
use crate::failure::{Code, Detail, ErrorBody, Failure};
use crate::state::{State, blocking};
use crate::wire::encode::{
    EmbedSparseBody, EncodeAnswer, EncodeBody, EncodeFormat, EncodeKind, EncodedText, EncodedVector, Inputs,
    SparseValue, TruncationDirection,
};
use crate::wire::search::TermWeights;

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
    check(&wanted)?;
    check_count("$.texts", wanted.texts.len(), state.options.max_encode_texts)?;
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

fn check(wanted: &EncodeBody) -> Result<(), Failure> {
    if wanted.model.is_some() && wanted.collection.is_some() {
        return Err(wrong(
            "$.model",
            "Either `model` or `collection` names the model, not both".to_owned(),
        ));
    }
    Ok(())
}

fn check_count(path: &str, texts: usize, max_texts: usize) -> Result<(), Failure> {
    if texts > max_texts {
        return Err(wrong(
            path,
            format!("{texts} texts are more than the {max_texts} of one request"),
        ));
    }
    Ok(())
}

fn wrong(path: &str, reason: String) -> Failure {
    let detail = Detail {
        path: Some(path.to_owned()),
        reason: reason.clone(),
        ..Detail::default()
    };
    Failure::new(Code::InvalidValue, format!("{reason}.")).detail(detail)
}

fn encoder(state: &State, wanted: &EncodeBody) -> Result<Arc<dyn Encoder>, Failure> {
    let Some(name) = &wanted.collection else {
        return state.encoder(wanted.model.as_deref().unwrap_or(&state.options.default_model));
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
    let text = |encoding: SparseEncoding| {
        let vector = match wanted.format {
            EncodeFormat::Tokens => EncodedVector::Tokens(TermWeights(encoding.tokens)),
            EncodeFormat::Ids => {
                let (indices, values) = numbered(encoder, &encoding.tokens)?.into_iter().unzip();
                EncodedVector::Ids { indices, values }
            }
        };
        Ok(EncodedText {
            vector,
            num_tokens: encoding.num_tokens,
            truncated: encoding.truncated,
        })
    };
    let vectors = encodings.into_iter().map(text).collect::<Result<Vec<_>, Failure>>()?;
    Ok(EncodeAnswer {
        model: encoder.name().to_owned(),
        fingerprint: encoder.fingerprint().to_string(),
        kind: wanted.kind,
        vectors,
        took_ms: milliseconds(started.elapsed()),
    })
}

/// Weights by the numbers of the model's vocabulary, ascending.
fn numbered(encoder: &dyn Encoder, tokens: &[(String, f32)]) -> Result<Vec<(u32, f32)>, Failure> {
    let vocabulary = encoder.vocabulary().ok_or_else(|| {
        let message = format!(
            "Model `{}` has no fixed vocabulary, so its tokens have no numbers.",
            encoder.name()
        );
        Failure::new(Code::InvalidModel, message)
    })?;
    let number = |(token, weight): &(String, f32)| {
        let id = vocabulary.id(token).ok_or_else(|| {
            let message = format!("Token {token:?} of the query side is not in the vocabulary of documents.");
            Failure::new(Code::InvalidModel, message)
        })?;
        Ok((id.get(), *weight))
    };
    let mut numbered = tokens.iter().map(number).collect::<Result<Vec<_>, Failure>>()?;
    numbered.sort_unstable_by_key(|&(id, _)| id);
    Ok(numbered)
}

/// Embeds texts as clients of text-embeddings-inference expect it: a list of index and value for each.
#[utoipa::path(post, path = "/embed_sparse", tag = "encode", request_body = EmbedSparseBody, responses(
    (status = 200, description = "One vector a text, in the same order", body = Vec<Vec<SparseValue>>),
    (status = 400, description = "The body is wrong, a text is too long, or the model cannot do it", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 429, description = "All places are taken; see Retry-After", body = ErrorBody),
))]
pub async fn embed_sparse(state: Data<State>, mut payload: Payload) -> Result<HttpResponse, Failure> {
    let bytes = body::read(
        &mut payload,
        state.options.max_body_bytes,
        state.options.body_idle_timeout,
    )
    .await?;
    let wanted: EmbedSparseBody = body::parse(&bytes)?;
    let kind = match wanted.prompt_name.as_deref() {
        Some("query") => InputKind::Query,
        None | Some("document" | "passage" | "corpus") => InputKind::Document,
        Some(other) => {
            let reason = format!("`prompt_name` is {other:?}, one of query, document, passage, corpus expected");
            return Err(wrong("$.prompt_name", reason));
        }
    };
    // The encoder cuts ends; a second way would have to be passed on to it.
    let TruncationDirection::Right = wanted.truncation_direction.unwrap_or_default();
    let texts = match wanted.inputs {
        Inputs::One(text) => vec![text],
        Inputs::Many(texts) => texts,
    };
    check_count("$.inputs", texts.len(), state.options.max_encode_texts)?;
    let (model, truncate) = (wanted.model, wanted.truncate.unwrap_or(false));
    let permit = state.admission.enter().await?;
    let answer = blocking(move || {
        let _permit = permit;
        let started = Instant::now();
        let encoder = state.encoder(model.as_deref().unwrap_or(&state.options.default_model))?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encodings = encoder.encode(kind, &texts).map_err(|error| Failure::from(&error))?;
        if let Some(text) = encodings.iter().position(|encoding| encoding.truncated && !truncate) {
            let reason = format!("Text {text} is longer than the model reads and `truncate` is not set");
            return Err(wrong(&format!("$.inputs[{text}]"), reason));
        }
        let value = |(index, value)| SparseValue { index, value };
        let vector = |encoding: &SparseEncoding| {
            let numbered = numbered(encoder.as_ref(), &encoding.tokens)?;
            Ok(numbered.into_iter().map(value).collect())
        };
        let vectors = encodings
            .iter()
            .map(vector)
            .collect::<Result<Vec<Vec<SparseValue>>, Failure>>()?;
        state.metrics.encode(started.elapsed());
        Ok(vectors)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}
