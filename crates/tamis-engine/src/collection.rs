//! A collection on disk.
//!
//! ```text
//! MANIFEST    what the last commit consists of, with length and checksum of every file
//! TERMS       the vocabulary, append-only
//! LOCK        held by the process that has the collection open
//! segments/   tantivy's segments, each with its impact component (.imp)
//! spill/      files of builds that are under way
//! ```

use crate::Error;
use crate::checksum::{FileRecord, sync_directory};
use crate::config::{CollectionConfig, DEFAULT_MAX_WEIGHT};
use crate::document::{AddReport, Document};
use crate::lock::DirectoryLock;
use crate::manifest::{MANIFEST, Manifest, StoredModel};
use crate::prepare::prepare;
use crate::searcher::Searcher;
use crate::snapshot::{Shared, Snapshot};
use crate::stats::CollectionStats;
use crate::term_log::TermLog;
use crate::writer::{SEGMENTS, SPILL, Writer};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tamis_core::{Fingerprint, Quantiser, Vocabulary};
use tamis_encoder::{Compute, Encoder};

/// Documents that are prepared and added at a time; bounds the memory of a large batch.
const BATCH_DOCUMENTS: usize = 1024;

/// A collection of documents in a directory of its own.
///
/// All methods take `&self` and may be called from any thread: searches run on snapshots, writers
/// take turns.
pub struct Collection {
    shared: Arc<Shared>,
    writer: Mutex<Writer>,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Changes that wait for a commit; kept apart so that counting never waits for a writer.
    num_pending: AtomicU64,
    _lock: DirectoryLock,
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
        let encoder = match (encoder, &config.model) {
            (Some(encoder), _) => Some(encoder),
            (None, Some(model)) => Some(tamis_encoder::open(model).map_err(|source| Error::model(model, source))?),
            (None, None) => None,
        };
        let io = |error| Error::io(directory, error);
        std::fs::create_dir_all(directory).map_err(io)?;
        if std::fs::read_dir(directory).map_err(io)?.next().is_some() {
            return Err(Error::CollectionExists {
                name: directory.display().to_string(),
            });
        }
        let lock = DirectoryLock::acquire(directory)?;
        for part in [SEGMENTS, SPILL] {
            std::fs::create_dir(directory.join(part)).map_err(io)?;
        }
        let bound = encoder.as_ref().and_then(|encoder| encoder.max_weight());
        let mut config = config.clone();
        config.model = config
            .model
            .or_else(|| encoder.as_ref().map(|encoder| encoder.name().to_owned()));
        let max_weight = config.max_weight.or(bound).unwrap_or(DEFAULT_MAX_WEIGHT);
        let (log, vocabulary) = TermLog::open(directory, FileRecord { bytes: 0, crc: 0 })?;
        let shared = Arc::new(Shared::new(
            config.clone(),
            encoder.clone(),
            quantiser(max_weight)?,
            vocabulary,
        ));
        let manifest = Manifest {
            generation: 0,
            config,
            model: encoder.map(|encoder| StoredModel {
                fingerprint: encoder.fingerprint().to_string(),
                description: encoder.description(),
            }),
            max_weight,
            saturated_weights: 0,
            terms: FileRecord { bytes: 0, crc: 0 },
            files: BTreeMap::new(),
            meta: Vec::new(),
        };
        let mut writer = Writer::open(directory, &shared, log, manifest)?;
        writer.publish_empty()?;
        if let Some(parent) = directory.canonicalize().map_err(io)?.parent() {
            sync_directory(parent)?;
        }
        Self::assemble(shared, writer, lock)
    }

    /// Opens the collection in `directory` with the model it was made with.
    ///
    /// Every file's checksum is compared. What was never committed is removed.
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
        Self::open_computing(directory, encoder, Compute::default())
    }

    /// As [`Collection::open_with`]; a model that is not given computes as `compute` says.
    pub(crate) fn open_computing(
        directory: &Path,
        encoder: Option<Arc<dyn Encoder>>,
        compute: Compute,
    ) -> Result<Self, Error> {
        // Looked for first, so that no lock file is left in a directory that is something else.
        let manifest_path = directory.join(MANIFEST);
        if !manifest_path.exists() {
            return Err(Error::NotACollection {
                path: directory.to_owned(),
            });
        }
        let lock = DirectoryLock::acquire(directory)?;
        let manifest = Manifest::read(directory)?;
        let damaged = |error: Error| Error::corrupt(&manifest_path, "a valid configuration", error);
        manifest.config.validate().map_err(damaged)?;
        let quantiser = quantiser(manifest.max_weight).map_err(damaged)?;
        let encoder = open_model(&manifest, encoder, compute)?;
        sweep(directory, &manifest)?;
        let segments = directory.join(SEGMENTS);
        manifest
            .files
            .par_iter()
            .try_for_each(|(name, record)| record.verify(&segments.join(name)))?;
        let (log, vocabulary): (TermLog, Vocabulary) = TermLog::open(directory, manifest.terms)?;
        let shared = Arc::new(Shared::new(manifest.config.clone(), encoder, quantiser, vocabulary));
        let writer = Writer::open(directory, &shared, log, manifest)?;
        Self::assemble(shared, writer, lock)
    }

    fn assemble(shared: Arc<Shared>, writer: Writer, lock: DirectoryLock) -> Result<Self, Error> {
        let snapshot = Arc::new(writer.snapshot()?);
        Ok(Self {
            shared,
            writer: Mutex::new(writer),
            snapshot: RwLock::new(snapshot),
            num_pending: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Takes in documents: new ones are added, those whose id is known replace the old ones (of a batch
    /// the last one counts). Searchable, and safe on disk, after the next [`Collection::commit`].
    ///
    /// A document that is refused does not affect the others; the report names it.
    ///
    /// # Errors
    /// Only what stops the whole batch: disk, memory. All documents since the last commit are then lost.
    pub fn add(&self, documents: Vec<Document>) -> Result<AddReport, Error> {
        let mut report = AddReport::default();
        let mut documents = documents.into_iter();
        let mut position = 0;
        loop {
            let batch: Vec<Document> = documents.by_ref().take(BATCH_DOCUMENTS).collect();
            if batch.is_empty() {
                return Ok(report);
            }
            let first = position;
            position += batch.len();
            // Encoding, by far the largest part, happens outside of the lock.
            let encoder = self.shared.encoder.as_deref();
            let (ready, failed) = prepare(batch, first, &self.shared.config.fields, encoder);
            report.added += ready.len();
            report.truncated += ready.iter().filter(|document| document.truncated).count();
            report.failed.extend(failed);
            let mut writer = self.writer();
            let added = writer.add(ready, &self.current());
            self.count_pending(&writer);
            report.saturated_weights += added?;
        }
    }

    /// Deletes documents by id and returns how many of them there were. Takes effect with the next
    /// [`Collection::commit`].
    ///
    /// # Errors
    /// As [`Collection::add`].
    pub fn delete(&self, ids: &[String]) -> Result<usize, Error> {
        let mut writer = self.writer();
        let deleted = writer.delete(ids, &self.current());
        self.count_pending(&writer);
        deleted
    }

    fn count_pending(&self, writer: &Writer) {
        self.num_pending.store(writer.num_pending(), Ordering::Relaxed);
    }

    /// Makes everything added and deleted so far searchable and durable, and returns the generation.
    /// When this returns, it survives a crash of the process and of the machine.
    ///
    /// # Errors
    /// When the disk refuses; the collection then is as after the commit before.
    pub fn commit(&self) -> Result<u64, Error> {
        self.publish(Writer::commit)
    }

    /// Commits, and merges all segments into one without deleted documents.
    ///
    /// # Errors
    /// As [`Collection::commit`].
    pub fn optimize(&self) -> Result<u64, Error> {
        self.publish(Writer::optimize)
    }

    fn publish(
        &self,
        commit: impl FnOnce(&mut Writer, &Snapshot) -> Result<Option<Snapshot>, Error>,
    ) -> Result<u64, Error> {
        let mut writer = self.writer();
        let published = commit(&mut writer, &self.current());
        self.count_pending(&writer);
        if let Some(snapshot) = published? {
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        }
        Ok(self.current().stats.generation)
    }

    /// Ends writing for good: whoever still holds the collection can search it only.
    pub(crate) fn close(&self) {
        self.writer().close();
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A snapshot at the last commit.
    #[must_use]
    pub fn searcher(&self) -> Searcher {
        Searcher::new(self.current())
    }

    /// How the collection was made.
    #[must_use]
    pub fn config(&self) -> &CollectionConfig {
        &self.shared.config
    }

    /// The model, where the collection has one.
    #[must_use]
    pub fn encoder(&self) -> Option<&Arc<dyn Encoder>> {
        self.shared.encoder.as_ref()
    }

    /// Live documents at the last commit.
    #[must_use]
    pub fn num_docs(&self) -> u64 {
        self.current().num_docs
    }

    /// Counts at the last commit, and how many changes wait for the next. Never waits.
    #[must_use]
    pub fn stats(&self) -> CollectionStats {
        CollectionStats {
            num_pending: self.num_pending.load(Ordering::Relaxed),
            ..self.current().stats.clone()
        }
    }
}

fn quantiser(max_weight: f32) -> Result<Quantiser, Error> {
    Quantiser::with_max_weight(max_weight).map_err(|error| Error::BadConfig {
        option: "max_weight".to_owned(),
        reason: error.to_string(),
    })
}

/// The model of a stored collection: `given`, or the one its description leads to.
fn open_model(
    manifest: &Manifest,
    given: Option<Arc<dyn Encoder>>,
    compute: Compute,
) -> Result<Option<Arc<dyn Encoder>>, Error> {
    let Some(stored) = &manifest.model else {
        return Ok(None);
    };
    let encoder = match given {
        Some(encoder) => encoder,
        None => tamis_encoder::open_stored_with(&stored.description, compute)
            .map_err(|source| Error::model(manifest.config.model.as_deref().unwrap_or_default(), source))?,
    };
    let expected: Fingerprint = stored
        .fingerprint
        .parse()
        .map_err(|error| Error::corrupt(MANIFEST, "a fingerprint", error))?;
    if encoder.fingerprint() != expected {
        return Err(Error::ModelMismatch {
            collection: manifest.config.name.clone(),
            expected,
            found: encoder.fingerprint(),
        });
    }
    Ok(Some(encoder))
}

/// Removes what no commit names: segments that were being written, temporary files, spilled runs.
fn sweep(directory: &Path, manifest: &Manifest) -> Result<(), Error> {
    // A crash right after creation may have lost an empty directory's name.
    for part in [SEGMENTS, SPILL] {
        let path = directory.join(part);
        std::fs::create_dir_all(&path).map_err(|error| Error::io(&path, error))?;
        for entry in std::fs::read_dir(&path).map_err(|error| Error::io(&path, error))? {
            let entry = entry.map_err(|error| Error::io(&path, error))?;
            let name = entry.file_name();
            let is_known = part == SEGMENTS && name.to_str().is_some_and(|name| manifest.files.contains_key(name));
            if !is_known {
                remove(&entry.path())?;
            }
        }
    }
    let temporary = directory.join(format!("{MANIFEST}.tmp"));
    if temporary.exists() {
        remove(&temporary)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    removed.map_err(|error| Error::io(path, error))
}
