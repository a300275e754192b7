//! Why a query is refused.

use tamis_core::MAX_QUERY_TERMS;

/// The error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More terms than the proof that scores never wrap allows.
    #[error("the query has {found} terms, at most {MAX_QUERY_TERMS} are allowed; drop its lightest terms")]
    TooManyTerms {
        /// Terms of the query.
        found: usize,
    },
}
