//! Searching an immutable snapshot of a collection.

use crate::Error;
use crate::document::StoredDocument;
use crate::request::SearchRequest;
use crate::response::{Explanation, SearchResponse};

/// A snapshot of a collection at one commit: cheap to get and to clone, never changes, never blocks
/// and is never blocked by writers.
#[derive(Clone)]
pub struct Searcher {}

impl Searcher {
    /// Answers `request`.
    ///
    /// Hits are ordered by descending score, equal scores by ascending id (bytes); the same for any
    /// layout of segments.
    ///
    /// # Errors
    /// When the request cannot be answered as it stands: its message says which part and why.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, Error> {
        request.validate()?;
        Err(Error::internal("searching", "not ready"))
    }

    /// Explains the score of document `id` for `request`, whether or not it would be returned.
    ///
    /// # Errors
    /// [`Error::DocumentNotFound`], and as [`Searcher::search`].
    pub fn explain(&self, request: &SearchRequest, id: &str) -> Result<Explanation, Error> {
        request.validate()?;
        Err(Error::DocumentNotFound { id: id.to_owned() })
    }

    /// The stored document `id`.
    ///
    /// # Errors
    /// [`Error::DocumentNotFound`].
    pub fn document(&self, id: &str) -> Result<StoredDocument, Error> {
        Err(Error::DocumentNotFound { id: id.to_owned() })
    }

    /// The commit this is a snapshot of.
    #[must_use]
    pub fn generation(&self) -> u64 {
        0
    }

    /// Live documents.
    #[must_use]
    pub fn num_docs(&self) -> u64 {
        0
    }
}
