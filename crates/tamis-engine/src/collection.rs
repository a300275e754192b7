//! A collection on disk.

use crate::Error;
use crate::config::CollectionConfig;
use crate::document::{AddReport, Document};
use crate::searcher::Searcher;
use crate::stats::CollectionStats;
use std::path::Path;
use std::sync::Arc;
use tamis_encoder::Encoder;

/// A collection of documents in a directory of its own.
///
/// All methods take `&self` and may be called from any thread: searches run on snapshots, writers
/// take turns.
pub struct Collection {
    config: CollectionConfig,
    encoder: Option<Arc<dyn Encoder>>,
}

impl Collection {
    /// Makes an empty collection in `directory`, which must not exist yet or be empty, and opens it.
    ///
    /// `encoder` is the opened model of `config.model`; give `None` to have it opened.
    ///
    /// # Errors
    /// When the configuration is not valid, the directory is in use, or the model cannot be opened.
    pub fn create(
        directory: &Path,
        config: &CollectionConfig,
        encoder: Option<Arc<dyn Encoder>>,
    ) -> Result<Self, Error> {
        config.validate()?;
        std::fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
        Ok(Self {
            config: config.clone(),
            encoder,
        })
    }

    /// Opens the collection in `directory` with the model it was made with.
    ///
    /// # Errors
    /// [`Error::NotACollection`], [`Error::Locked`], [`Error::Corrupt`], [`Error::ModelMismatch`], or
    /// when the model cannot be opened any more.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_with(directory, None)
    }

    /// Opens the collection in `directory` with an opened model, for instance one that has moved.
    ///
    /// # Errors
    /// As [`Collection::open`]; [`Error::ModelMismatch`] when the encoder's fingerprint is another.
    pub fn open_with(directory: &Path, encoder: Option<Arc<dyn Encoder>>) -> Result<Self, Error> {
        let _ = encoder;
        Err(Error::NotACollection {
            path: directory.to_owned(),
        })
    }

    /// Takes in documents: new ones are added, those whose id is known replace the old ones.
    /// Searchable, and safe on disk, after the next [`Collection::commit`].
    ///
    /// A document that is refused does not affect the others; the report names it.
    ///
    /// # Errors
    /// Only what stops the whole batch: disk, memory, the model. All documents since the last commit
    /// are then lost.
    pub fn add(&self, documents: Vec<Document>) -> Result<AddReport, Error> {
        let _ = documents;
        Err(Error::internal("adding documents", "not ready"))
    }

    /// Deletes documents by id and returns how many of them there were. Takes effect with the next
    /// [`Collection::commit`].
    ///
    /// # Errors
    /// As [`Collection::add`].
    pub fn delete(&self, ids: &[String]) -> Result<usize, Error> {
        let _ = ids;
        Err(Error::internal("deleting documents", "not ready"))
    }

    /// Makes everything added and deleted so far searchable and durable, and returns the generation.
    /// When this returns, it survives a crash of the process and of the machine.
    ///
    /// # Errors
    /// When the disk refuses; the collection then is as after the commit before.
    pub fn commit(&self) -> Result<u64, Error> {
        Err(Error::internal("committing", "not ready"))
    }

    /// Commits and merges all segments into one.
    ///
    /// # Errors
    /// As [`Collection::commit`].
    pub fn optimize(&self) -> Result<u64, Error> {
        Err(Error::internal("merging", "not ready"))
    }

    /// A snapshot at the last commit.
    #[must_use]
    pub fn searcher(&self) -> Searcher {
        Searcher {}
    }

    /// How the collection was made.
    #[must_use]
    pub fn config(&self) -> &CollectionConfig {
        &self.config
    }

    /// The model, where the collection has one.
    #[must_use]
    pub fn encoder(&self) -> Option<&Arc<dyn Encoder>> {
        self.encoder.as_ref()
    }

    /// Live documents at the last commit.
    #[must_use]
    pub fn num_docs(&self) -> u64 {
        0
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> CollectionStats {
        CollectionStats::default()
    }
}
