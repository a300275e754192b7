//! What can go wrong when building, writing or opening an index.

use std::io;
use std::path::{Path, PathBuf};
use tamis_core::container::ContainerError;
use tamis_core::{DocId, ImpactError, TermId, VocabularyError};

/// The error of this crate; every message names the place and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output of [`IndexBuilder::finish_into`](crate::IndexBuilder::finish_into) refused bytes.
    #[error("writing section `{section}`: {source}")]
    Write {
        /// The section that was being written.
        section: String,
        /// What the output said.
        source: io::Error,
    },
    /// The file is not a whole, undamaged container of the right kind.
    #[error("{}: {source}", path.display())]
    Container {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ContainerError,
    },
    /// A section contradicts itself or another one.
    #[error("{}: section `{section}`, {place}: expected {expected}, found {found}; rebuild the index", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// Where in the section.
        place: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A stored vocabulary is not one.
    #[error("{}: {source}; rebuild the index", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: VocabularyError,
    },
    /// An option is outside its range.
    #[error("option {option} = {value}: must be {allowed}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The largest weight given is not usable.
    #[error(transparent)]
    Impact(#[from] ImpactError),
    /// A weight that is no integer impact, where exact ones were promised.
    #[error(
        "document {doc}, term {term}: weight {weight} is not an integer from 1 to 255, as Quantisation::Exact requires"
    )]
    NotInteger {
        /// The document.
        doc: DocId,
        /// The term.
        term: TermId,
        /// The weight.
        weight: f32,
    },
    /// Impacts were given to a builder that has yet to choose what an impact stands for.
    #[error(
        "document {doc} comes as impacts, which Quantisation::Auto cannot take: use Quantisation::Exact or MaxWeight"
    )]
    ImpactsNeedScale {
        /// The document.
        doc: DocId,
    },
    /// Terms of a document that are not strictly ascending.
    #[error("document {doc}: term {term} is not above the term before it ({previous})")]
    NotAscending {
        /// The document.
        doc: DocId,
        /// The offending term.
        term: TermId,
        /// Its predecessor.
        previous: TermId,
    },
    /// A term id that is too large for the directory, or not in the vocabulary.
    #[error("document {doc}: term {term} is not below {limit}, the {reason}")]
    TermOutOfRange {
        /// The document, or the last one where only the largest term is known.
        doc: DocId,
        /// The term.
        term: TermId,
        /// The first id that is too large.
        limit: u64,
        /// Where the limit comes from.
        reason: &'static str,
    },
    /// The list of external ids does not fit the documents.
    #[error("{found} external ids for {expected} documents")]
    ExternalIds {
        /// Number of documents.
        expected: u32,
        /// Number of ids.
        found: usize,
    },
    /// A section of one's own is not named `x-...`.
    #[error("section name `{name}`: sections of one's own start with \"x-\", have at most 24 bytes and differ")]
    SectionName {
        /// The name.
        name: String,
    },
    /// More of something than the format has room for.
    #[error("{what}: {found} is above the limit of {limit}; split the index")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there may be.
        limit: u64,
    },
}

impl Error {
    /// Whether the error says that a file is damaged, cut short or of another kind.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        let damaged = matches!(
            self,
            Self::Container { .. } | Self::Damaged { .. } | Self::Vocabulary { .. }
        );
        damaged && !self.is_newer_version()
    }

    /// Whether the file was written by a newer program and may be whole.
    #[must_use]
    pub fn is_newer_version(&self) -> bool {
        let Self::Container { source, .. } = self else {
            return false;
        };
        matches!(
            source,
            ContainerError::NewerVersion { .. } | ContainerError::ContainerVersion { .. }
        )
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
