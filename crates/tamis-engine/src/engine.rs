//! A directory of collections.
//!
//! ```text
//! LOCK                  held by the process that has the directory open
//! collections/NAME/     one collection each; names are checked before they become part of a path
//! tmp/                  collections that are being made or deleted; emptied when the engine is opened
//! ```

use crate::Error;
use crate::checksum::sync_directory;
use crate::collection::Collection;
use crate::config::{CollectionConfig, validate_name};
use crate::lock::DirectoryLock;
use crate::manifest::Manifest;
use crate::schema::nearest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use tamis_encoder::{CheckpointOptions, Compute, Encoder};

const COLLECTIONS: &str = "collections";
const TEMPORARY: &str = "tmp";

/// An open collection, or why it is not.
type Slot = Result<Arc<Collection>, Arc<Error>>;

/// All collections of one data directory. One process at a time may have it open.
pub struct Engine {
    data_dir: PathBuf,
    compute: Compute,
    slots: RwLock<BTreeMap<String, Slot>>,
    /// Held while a collection is made or deleted; counts them, for names of temporary directories.
    changes: Mutex<u64>,
    _lock: DirectoryLock,
}

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
        Self::open_with(data_dir, Compute::default())
    }

    /// As [`Engine::open`]; checkpoints that are opened here, now and later, compute where and how exactly `compute`
    /// says.
    ///
    /// # Errors
    /// As [`Engine::open`]. Where the device cannot be used, the collections with a checkpoint are not available.
    pub fn open_with(data_dir: &Path, compute: Compute) -> Result<Self, Error> {
        let io = |error| Error::io(data_dir, error);
        std::fs::create_dir_all(data_dir).map_err(io)?;
        let lock = DirectoryLock::acquire(data_dir)?;
        let temporary = data_dir.join(TEMPORARY);
        if temporary.exists() {
            std::fs::remove_dir_all(&temporary).map_err(io)?;
        }
        for part in [COLLECTIONS, TEMPORARY] {
            std::fs::create_dir_all(data_dir.join(part)).map_err(io)?;
        }
        let mut slots = BTreeMap::new();
        for entry in std::fs::read_dir(data_dir.join(COLLECTIONS)).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if validate_name(&name).is_ok() && entry.path().is_dir() {
                let slot = open_slot(&entry.path(), &slots, compute);
                slots.insert(name, slot);
            }
        }
        Ok(Self {
            data_dir: data_dir.to_owned(),
            compute,
            slots: RwLock::new(slots),
            changes: Mutex::new(0),
            _lock: lock,
        })
    }

    /// Where and how exactly its checkpoints compute.
    #[must_use]
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// Makes a collection. Either it is there as a whole afterwards or not at all.
    ///
    /// # Errors
    /// [`Error::CollectionExists`], and as [`Collection::create`].
    pub fn create_collection(&self, config: &CollectionConfig) -> Result<Arc<Collection>, Error> {
        self.create_collection_with(config, None)
    }

    /// As [`Engine::create_collection`], with an opened model in place of the one that `config` names:
    /// one whose options are not the default ones. The collection opens it again by its description.
    ///
    /// # Errors
    /// As [`Engine::create_collection`].
    pub fn create_collection_with(
        &self,
        config: &CollectionConfig,
        encoder: Option<Arc<dyn Encoder>>,
    ) -> Result<Arc<Collection>, Error> {
        config.validate()?;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        if self.slot(&config.name).is_some() {
            return Err(Error::CollectionExists {
                name: config.name.clone(),
            });
        }
        let temporary = self.data_dir.join(TEMPORARY).join(format!("{}-{changes}", config.name));
        let encoder = match (encoder, &config.model) {
            (None, Some(model)) => Some(self.open_model(model)?),
            (encoder, _) => encoder,
        };
        let made = Collection::create(&temporary, config, encoder);
        let encoder = match made {
            Ok(made) => made.encoder().cloned(),
            Err(error) => {
                // Swept when the engine is opened next, if not now.
                let _ = std::fs::remove_dir_all(&temporary);
                return Err(error);
            }
        };
        let path = self.path(&config.name);
        std::fs::rename(&temporary, &path).map_err(|error| Error::io(&path, error))?;
        sync_directory(&self.data_dir.join(COLLECTIONS))?;
        let collection = Arc::new(Collection::open_with(&path, encoder)?);
        self.slots_mut()
            .insert(config.name.clone(), Ok(Arc::clone(&collection)));
        Ok(collection)
    }

    /// The collection `name`.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], [`Error::BadName`], [`Error::Unavailable`].
    pub fn collection(&self, name: &str) -> Result<Arc<Collection>, Error> {
        validate_name(name)?;
        match self.slot(name) {
            Some(Ok(collection)) => Ok(collection),
            Some(Err(source)) => Err(Error::Unavailable {
                name: name.to_owned(),
                source,
            }),
            None => Err(self.not_found(name)),
        }
    }

    /// All collections by ascending name.
    #[must_use]
    pub fn list(&self) -> Vec<CollectionEntry> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let entry = |(name, slot): (&String, &Slot)| CollectionEntry {
            name: name.clone(),
            num_docs: slot.as_ref().map_or(0, |collection| collection.num_docs()),
            error: slot.as_ref().err().map(ToString::to_string),
        };
        slots.iter().map(entry).collect()
    }

    /// Deletes a collection and its files. Searches that are running on it end undisturbed.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], [`Error::BadName`], [`Error::Io`].
    pub fn delete_collection(&self, name: &str) -> Result<(), Error> {
        validate_name(name)?;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        let Some(slot) = self.slot(name) else {
            return Err(self.not_found(name));
        };
        // Nothing may be written under this name any more: it may be given again.
        if let Ok(collection) = slot {
            collection.close();
        }
        let temporary = self.data_dir.join(TEMPORARY).join(format!("{name}-{changes}"));
        let path = self.path(name);
        std::fs::rename(&path, &temporary).map_err(|error| Error::io(&path, error))?;
        self.slots_mut().remove(name);
        sync_directory(&self.data_dir.join(COLLECTIONS))?;
        std::fs::remove_dir_all(&temporary).map_err(|error| Error::io(&temporary, error))
    }

    /// Opens a model, or gives that of another collection where it is one that the program carries: such a model is the
    /// same as long as the program runs.
    fn open_model(&self, spec: &str) -> Result<Arc<dyn Encoder>, Error> {
        if let Some(open) = self.open_built_in(spec) {
            return Ok(open);
        }
        tamis_encoder::open_with(spec, &CheckpointOptions::default(), self.compute)
            .map_err(|source| Error::model(spec, source))
    }

    fn open_built_in(&self, spec: &str) -> Option<Arc<dyn Encoder>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let mut encoders = slots.values().flatten().filter_map(|collection| collection.encoder());
        let is_it = |encoder: &&Arc<dyn Encoder>| {
            let description = encoder.description();
            description["encoder"] == "built_in" && description["name"] == spec
        };
        encoders.find(is_it).cloned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data_dir.join(COLLECTIONS).join(name)
    }

    fn slot(&self, name: &str) -> Option<Slot> {
        self.slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    fn slots_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Slot>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_found(&self, name: &str) -> Error {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        Error::CollectionNotFound {
            name: name.to_owned(),
            suggestion: nearest(name, slots.keys().map(String::as_str)),
        }
    }
}

/// Opens the collection in `path`, with the model of another one where it is the same.
fn open_slot(path: &Path, others: &BTreeMap<String, Slot>, compute: Compute) -> Slot {
    let encoder = known_model(path, others);
    Collection::open_computing(path, encoder, compute)
        .map(Arc::new)
        .map_err(Arc::new)
}

fn known_model(path: &Path, others: &BTreeMap<String, Slot>) -> Option<Arc<dyn Encoder>> {
    let fingerprint = Manifest::read(path).ok()?.model?.fingerprint;
    let mut encoders = others.values().flatten().filter_map(|collection| collection.encoder());
    encoders
        .find(|encoder| encoder.fingerprint().to_string() == fingerprint)
        .cloned()
}
