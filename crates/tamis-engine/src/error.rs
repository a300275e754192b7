//! What can go wrong, sorted by who can put it right.

use std::path::PathBuf;
use std::sync::Arc;
use tamis_core::Fingerprint;

/// Who can put an error right; the server and the command line map each kind once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is at fault: change it.
    InvalidRequest,
    /// What was named does not exist.
    NotFound,
    /// What was named exists already, or changed meanwhile.
    Conflict,
    /// Stored bytes are not those that were written: restore or rebuild.
    Corruption,
    /// The collection belongs to another model, or to a newer version of this program.
    ModelMismatch,
    /// Disk, memory, file permissions or a lock held elsewhere.
    Resource,
    /// A fault of this program.
    Internal,
}

/// Everything the engine reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A collection name outside of the allowed pattern.
    #[error(
        "collection name `{name}` is not allowed: use 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// A value of a configuration is out of range.
    #[error("{option}: {reason}")]
    BadConfig {
        /// The option, as it is spelt in the configuration.
        option: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// A document that cannot be stored.
    #[error("document `{id}`: {reason}")]
    BadDocument {
        /// Its id as given, cut at 64 characters.
        id: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// A request that cannot be answered as it stands.
    #[error("{option}: {reason}")]
    BadRequest {
        /// The part of the request.
        option: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// A filter expression that does not follow the grammar or the schema.
    #[error("filter, at byte {position}: {reason}{}", suggestion.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default())]
    BadFilter {
        /// Byte offset in the expression.
        position: usize,
        /// What is wrong.
        reason: String,
        /// The nearest field name, where a field is unknown.
        suggestion: Option<String>,
    },
    /// No collection of that name.
    #[error("collection `{name}` not found{}", suggestion.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default())]
    CollectionNotFound {
        /// The name.
        name: String,
        /// The nearest existing name.
        suggestion: Option<String>,
    },
    /// No document of that id.
    #[error("document `{id}` not found")]
    DocumentNotFound {
        /// The id.
        id: String,
    },
    /// There is no collection in that directory.
    #[error("{}: no collection here (no MANIFEST)", path.display())]
    NotACollection {
        /// The directory.
        path: PathBuf,
    },
    /// A collection of that name exists.
    #[error("collection `{name}` exists already")]
    CollectionExists {
        /// The name.
        name: String,
    },
    /// Stored bytes are damaged.
    #[error("{}: damaged: {expected} expected, {found} found; restore the file from a copy or rebuild the collection", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The collection was made with another model.
    #[error(
        "collection `{collection}` was made with model {expected}, this model is {found}: open it with the model it was made with, or index again"
    )]
    ModelMismatch {
        /// The collection.
        collection: String,
        /// Fingerprint in the manifest.
        expected: Fingerprint,
        /// Fingerprint of the model at hand.
        found: Fingerprint,
    },
    /// The collection was made by a newer program.
    #[error("{}: written by a newer version: {reason}", path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Version found and known.
        reason: String,
    },
    /// Another process has the directory open.
    #[error("{}: in use by another process (it holds the file LOCK)", directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The encoder failed on a text.
    #[error("model: {0}")]
    Encoder(#[source] Box<tamis_encoder::Error>),
    /// The model of a collection cannot be opened.
    #[error("model `{model}` cannot be opened: {source}")]
    Model {
        /// The model as it was named.
        model: String,
        /// The encoder's reason.
        source: Box<tamis_encoder::Error>,
    },
    /// The collection was deleted while it was in use.
    #[error("collection `{name}` was deleted")]
    Deleted {
        /// The collection.
        name: String,
    },
    /// A collection could not be opened when the engine started.
    #[error("collection `{name}` is not available: {source}")]
    Unavailable {
        /// The collection.
        name: String,
        /// Why it could not be opened.
        source: Arc<Error>,
    },
    /// A fault of this program or of a library below it.
    #[error("internal error while {doing}: {message}")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// What was reported.
        message: String,
    },
}

impl From<tamis_encoder::Error> for Error {
    fn from(error: tamis_encoder::Error) -> Self {
        Self::Encoder(Box::new(error))
    }
}

impl Error {
    /// Who can put it right.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName { .. }
            | Self::BadConfig { .. }
            | Self::BadDocument { .. }
            | Self::BadRequest { .. }
            | Self::BadFilter { .. } => ErrorKind::InvalidRequest,
            Self::CollectionNotFound { .. }
            | Self::DocumentNotFound { .. }
            | Self::NotACollection { .. }
            | Self::Model { .. }
            | Self::Deleted { .. } => ErrorKind::NotFound,
            Self::CollectionExists { .. } => ErrorKind::Conflict,
            Self::Corrupt { .. } => ErrorKind::Corruption,
            Self::ModelMismatch { .. } | Self::NewerVersion { .. } => ErrorKind::ModelMismatch,
            Self::Locked { .. } | Self::Io { .. } => ErrorKind::Resource,
            Self::Unavailable { source, .. } => source.kind(),
            Self::Encoder(_) | Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn model(model: &str, source: tamis_encoder::Error) -> Self {
        Self::Model {
            model: model.to_owned(),
            source: Box::new(source),
        }
    }

    pub(crate) fn internal(doing: &'static str, message: impl ToString) -> Self {
        Self::Internal {
            doing,
            message: message.to_string(),
        }
    }

    pub(crate) fn document(id: &str, reason: impl Into<String>) -> Self {
        Self::BadDocument {
            id: id.chars().take(64).collect(),
            reason: reason.into(),
        }
    }

    pub(crate) fn request(option: &'static str, reason: impl Into<String>) -> Self {
        Self::BadRequest {
            option,
            reason: reason.into(),
        }
    }

    pub(crate) fn corrupt(path: impl Into<PathBuf>, expected: impl ToString, found: impl ToString) -> Self {
        Self::Corrupt {
            path: path.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}
