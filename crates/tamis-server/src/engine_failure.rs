//! What an error of the engine means over HTTP: the one place where the two meet.

use tamis_engine::{Error, ErrorKind};

use crate::failure::{Code, Detail, Failure};

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        if matches!(
            error.kind(),
            ErrorKind::Internal | ErrorKind::Corruption | ErrorKind::Resource
        ) {
            tracing::error!(%error, "the engine failed");
        }
        let failure = Self::new(code(error), sentence(error));
        match error {
            Error::BadFilter {
                position,
                reason,
                suggestion,
            } => failure.detail(Detail {
                path: Some("$.filter".to_owned()),
                column: Some(position + 1),
                reason: reason.clone(),
                suggestion: suggestion.clone(),
                ..Detail::default()
            }),
            Error::BadRequest { option, reason } => failure.detail(place(option, reason)),
            Error::BadConfig { option, reason } => failure.detail(place(option, reason)),
            Error::CollectionNotFound {
                name,
                suggestion: Some(suggestion),
            } => failure.detail(Detail {
                reason: format!("no collection is called `{name}`"),
                suggestion: Some(suggestion.clone()),
                ..Detail::default()
            }),
            _ => failure,
        }
    }
}

impl From<&tamis_encoder::Error> for Failure {
    fn from(error: &tamis_encoder::Error) -> Self {
        Self::new(model_code(error), format!("The model failed: {error}."))
    }
}

/// A model that cannot be opened is the caller's choice; one that fails while it computes is a fault.
fn model_code(error: &tamis_encoder::Error) -> Code {
    match error {
        tamis_encoder::Error::Compute(_) | tamis_encoder::Error::NotFinite { .. } => Code::Internal,
        _ => Code::InvalidModel,
    }
}

/// The code of an error; a kind that has no closer code gets the general one.
fn code(error: &Error) -> Code {
    match error {
        Error::BadName { .. } | Error::BadConfig { .. } => Code::InvalidCollection,
        Error::BadDocument { .. } => Code::InvalidDocument,
        Error::BadRequest { .. } => Code::InvalidQuery,
        Error::BadFilter { .. } => Code::InvalidFilter,
        Error::CollectionNotFound { .. } => Code::CollectionNotFound,
        Error::DocumentNotFound { .. } => Code::DocumentNotFound,
        Error::CollectionExists { .. } => Code::CollectionExists,
        Error::Encoder(source) => model_code(source),
        Error::Model { .. } => Code::InvalidModel,
        Error::Unavailable { source, .. } => code(source),
        other => match other.kind() {
            ErrorKind::InvalidRequest => Code::InvalidValue,
            ErrorKind::NotFound => Code::CollectionNotFound,
            ErrorKind::Conflict => Code::Conflict,
            ErrorKind::Corruption => Code::CorruptData,
            ErrorKind::ModelMismatch => Code::ModelMismatch,
            ErrorKind::Resource => Code::OutOfResources,
            _ => Code::Internal,
        },
    }
}

fn place(option: &str, reason: &str) -> Detail {
    Detail {
        path: Some(format!("$.{option}")),
        reason: reason.to_owned(),
        ..Detail::default()
    }
}

/// The engine's message as a sentence.
fn sentence(error: &Error) -> String {
    let message = error.to_string();
    let mut letters = message.chars();
    let Some(first) = letters.next() else { return message };
    let stop = if message.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_engine_keep_their_place_and_suggestion() {
        let error = Error::BadFilter {
            position: 4,
            reason: "no field `yeer`".to_owned(),
            suggestion: Some("year".to_owned()),
        };
        let body = Failure::from(error).body(Some("7"));
        assert_eq!(
            (body.code.as_str(), body.kind.as_str()),
            ("invalid_filter", "invalid_request")
        );
        assert_eq!(body.details[0].path.as_deref(), Some("$.filter"));
        assert_eq!(body.details[0].column, Some(5));
        assert_eq!(body.details[0].suggestion.as_deref(), Some("year"));
        assert_eq!(body.request_id.as_deref(), Some("7"));
    }

    #[test]
    fn every_kind_has_its_status() {
        let status = |error: Error| Failure::from(error).code().status();
        assert_eq!(
            status(Error::CollectionNotFound {
                name: "x".to_owned(),
                suggestion: None
            }),
            404
        );
        assert_eq!(status(Error::DocumentNotFound { id: "x".to_owned() }), 404);
        assert_eq!(status(Error::CollectionExists { name: "x".to_owned() }), 409);
        assert_eq!(status(Error::BadName { name: "X".to_owned() }), 400);
        assert_eq!(status(Error::Locked { directory: "d".into() }), 503);
        let corrupt = || Error::Corrupt {
            path: "p".into(),
            expected: "1".to_owned(),
            found: "2".to_owned(),
        };
        assert_eq!(status(corrupt()), 500);
        assert_eq!(Failure::from(corrupt()).code(), Code::CorruptData);
        let unavailable = Error::Unavailable {
            name: "x".to_owned(),
            source: std::sync::Arc::new(corrupt()),
        };
        assert_eq!(Failure::from(unavailable).code(), Code::CorruptData);
    }
}
