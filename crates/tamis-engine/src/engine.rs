//! A directory of collections.

use crate::Error;
use crate::collection::Collection;
use crate::config::CollectionConfig;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// All collections of one data directory. One process at a time may have it open.
pub struct Engine {}

/// One line of [`Engine::list`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CollectionEntry {
    /// The collection's name.
    pub name: String,
    /// Live documents; 0 when it is not available.
    pub num_docs: u64,
    /// Why it is not available, if so.
    pub error: Option<String>,
}

impl Engine {
    /// Opens the data directory, which is made if it is not there, and every collection in it.
    ///
    /// A collection that cannot be opened does not keep the others from opening; asking for it gives
    /// [`Error::Unavailable`] with the reason.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Io`].
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(data_dir).map_err(|error| Error::io(data_dir, error))?;
        Ok(Self {})
    }

    /// Makes a collection. Either it is there as a whole afterwards or not at all.
    ///
    /// # Errors
    /// [`Error::CollectionExists`], and as [`Collection::create`].
    pub fn create_collection(&self, config: &CollectionConfig) -> Result<Arc<Collection>, Error> {
        config.validate()?;
        Err(Error::internal("making a collection", "not ready"))
    }

    /// The collection `name`.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], [`Error::BadName`], [`Error::Unavailable`].
    pub fn collection(&self, name: &str) -> Result<Arc<Collection>, Error> {
        Err(Error::CollectionNotFound {
            name: name.to_owned(),
            suggestion: None,
        })
    }

    /// All collections by ascending name.
    #[must_use]
    pub fn list(&self) -> Vec<CollectionEntry> {
        Vec::new()
    }

    /// Deletes a collection and its files. Searches that are running on it end undisturbed.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], [`Error::BadName`], [`Error::Io`].
    pub fn delete_collection(&self, name: &str) -> Result<(), Error> {
        Err(Error::CollectionNotFound {
            name: name.to_owned(),
            suggestion: None,
        })
    }
}
