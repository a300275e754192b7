//! The writing side of a collection: one writer at a time, commits through the manifest.

use crate::Error;
use crate::component::{ComponentWriter, ImpactPlugin, payload};
use crate::fields::Fields;
use crate::manifest::Manifest;
use crate::prepare::Prepared;
use crate::snapshot::{Shared, Snapshot};
use crate::store::SegmentStore;
use crate::term_log::TermLog;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tamis_core::{Impact, SparseVector, TermId};
use tamis_index::{IndexOptions, Quantisation, ReorderOptions};
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy, NoMergePolicy};
use tantivy::{Index, IndexMeta, IndexWriter, TantivyDocument};

/// The directory of segment files within a collection.
pub(crate) const SEGMENTS: &str = "segments";

/// The directory for files of builds that are under way.
pub(crate) const SPILL: &str = "spill";

/// A segment is merged when this share of its documents is deleted.
const MERGE_DELETED_SHARE: f32 = 0.3;

/// The state of the writing side.
pub(crate) struct Writer {
    directory: PathBuf,
    shared: Arc<Shared>,
    store: SegmentStore,
    index: Index,
    /// Made when it is first needed, gone after an error.
    open: Option<IndexWriter>,
    term_log: TermLog,
    /// The manifest in place.
    published: Manifest,
    /// Ids added (`true`) or deleted since then.
    pending: HashMap<String, bool>,
    saturated_weights: u64,
    is_closed: bool,
}

fn tantivy_failed(doing: &'static str) -> impl Fn(tantivy::TantivyError) -> Error {
    move |error| match error {
        tantivy::TantivyError::IoError(error) => Error::Io {
            path: PathBuf::from(SEGMENTS),
            source: std::io::Error::new(error.kind(), error.to_string()),
        },
        other => Error::internal(doing, other),
    }
}

impl Writer {
    /// Opens the writing side of the collection in `directory` at commit `published`.
    pub(crate) fn open(
        directory: &Path,
        shared: &Arc<Shared>,
        term_log: TermLog,
        published: Manifest,
    ) -> Result<Self, Error> {
        let (store, index) = open_index(directory, shared, &published)?;
        Ok(Self {
            directory: directory.to_owned(),
            shared: Arc::clone(shared),
            store,
            index,
            open: None,
            term_log,
            saturated_weights: published.saturated_weights,
            published,
            pending: HashMap::new(),
            is_closed: false,
        })
    }

    /// Writes the manifest of a new, empty collection.
    pub(crate) fn publish_empty(&mut self) -> Result<(), Error> {
        let (_, meta) = self.current()?;
        self.published.meta = meta;
        self.published.write(&self.directory)
    }

    /// Ends writing for good.
    pub(crate) fn close(&mut self) {
        self.open = None;
        self.pending.clear();
        self.is_closed = true;
    }

    /// The index's current meta and the bytes it was read from.
    fn current(&self) -> Result<(IndexMeta, Vec<u8>), Error> {
        // A merge may end between the two reads.
        loop {
            let bytes = self.store.meta();
            let meta = self
                .index
                .load_metas()
                .map_err(tantivy_failed("reading the index's meta"))?;
            if self.store.meta() == bytes {
                return Ok((meta, bytes));
            }
        }
    }

    /// The published commit as a snapshot.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Error> {
        let (meta, _) = self.current()?;
        let mut snapshot = Snapshot::open(&self.shared, &self.index, &meta.segments, None)?;
        self.count(&mut snapshot, &self.published);
        Ok(snapshot)
    }

    fn count(&self, snapshot: &mut Snapshot, manifest: &Manifest) {
        snapshot.stats.generation = manifest.generation;
        snapshot.stats.saturated_weights = manifest.saturated_weights;
        let files: u64 = manifest.files.values().map(|record| record.bytes).sum();
        snapshot.stats.bytes = files + manifest.terms.bytes;
    }

    /// Documents added or deleted since the commit.
    pub(crate) fn num_pending(&self) -> u64 {
        self.pending.len() as u64
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed {
            return Err(Error::Deleted {
                name: self.shared.config.name.clone(),
            });
        }
        Ok(())
    }

    fn exists(&self, id: &str, snapshot: &Snapshot) -> bool {
        let pending = self.pending.get(id).copied();
        pending.unwrap_or_else(|| snapshot.find(id).is_some())
    }

    fn tantivy(&mut self, merging: bool) -> Result<&mut IndexWriter, Error> {
        self.check_open()?;
        if self.open.is_none() {
            let options = IndexWriterOptions::builder()
                .num_worker_threads(1)
                .num_merge_threads(1)
                .memory_budget_per_thread(self.shared.config.writer_memory_bytes)
                .build();
            let writer = self.index.writer_with_options(options);
            let writer: IndexWriter = writer.map_err(tantivy_failed("opening the writer"))?;
            if merging {
                let mut policy = LogMergePolicy::default();
                policy.set_del_docs_ratio_before_merge(MERGE_DELETED_SHARE);
                writer.set_merge_policy(Box::new(policy));
            } else {
                writer.set_merge_policy(Box::new(NoMergePolicy));
            }
            self.open = Some(writer);
        }
        self.open
            .as_mut()
            .ok_or_else(|| Error::internal("opening the writer", "it is gone"))
    }

    /// Adds prepared documents; returns how many weights were cut. On an error everything since the
    /// last commit is lost.
    pub(crate) fn add(&mut self, documents: Vec<Prepared>, snapshot: &Snapshot) -> Result<u64, Error> {
        self.check_open()?;
        let mut saturated = 0;
        for document in documents {
            match self.add_one(document, snapshot) {
                Ok(cut) => saturated += cut,
                Err(error) => return Err(self.abandon(error)),
            }
        }
        self.saturated_weights += saturated;
        Ok(saturated)
    }

    fn add_one(&mut self, document: Prepared, snapshot: &Snapshot) -> Result<u64, Error> {
        let (impacts, saturated) = self.quantise(&document.tokens)?;
        let fields = &self.shared.fields;
        let mut stored = TantivyDocument::new();
        stored.add_text(fields.id, &document.id);
        stored.add_text(fields.words, &document.words);
        stored.add_bytes(fields.source, &document.source);
        stored.add_custom(fields.impacts, &payload(document.num_words, &impacts));
        fields.add_values(&mut stored, &document.values);
        let replaced = self
            .exists(&document.id, snapshot)
            .then(|| fields.id_term(&document.id));
        let writer = self.tantivy(true)?;
        if let Some(term) = replaced {
            writer.delete_term(term);
        }
        writer
            .add_document(stored)
            .map_err(tantivy_failed("adding a document"))?;
        self.pending.insert(document.id, true);
        Ok(saturated)
    }

    /// Impacts of `tokens`, ascending by term; new terms enter the vocabulary.
    fn quantise(&self, tokens: &[(String, f32)]) -> Result<(Vec<(TermId, Impact)>, u64), Error> {
        let mut pairs = Vec::with_capacity(tokens.len());
        {
            let vocabulary = self.shared.vocabulary();
            pairs.extend(tokens.iter().map(|(token, weight)| (vocabulary.id(token), *weight)));
        }
        if pairs.iter().any(|(term, _)| term.is_none()) {
            let mut vocabulary = self.shared.vocabulary.write().unwrap_or_else(PoisonError::into_inner);
            for ((term, _), (token, _)) in pairs.iter_mut().zip(tokens) {
                let id = vocabulary
                    .intern(token)
                    .map_err(|error| Error::internal("adding a term", error))?;
                *term = Some(id);
            }
        }
        let pairs = pairs.into_iter().filter_map(|(term, weight)| Some((term?, weight)));
        let vector =
            SparseVector::from_pairs(pairs.collect()).map_err(|error| Error::internal("adding a vector", error))?;
        let quantiser = self.shared.quantiser;
        let impacts = vector.iter().map(|(term, weight)| (term, quantiser.impact(weight)));
        Ok((impacts.collect(), quantiser.num_saturated(&vector) as u64))
    }

    /// Deletes documents by id; returns how many there were.
    pub(crate) fn delete(&mut self, ids: &[String], snapshot: &Snapshot) -> Result<usize, Error> {
        let mut deleted = 0;
        for id in ids {
            if !self.exists(id, snapshot) {
                continue;
            }
            let term = self.shared.fields.id_term(id);
            self.tantivy(true)?.delete_term(term);
            self.pending.insert(id.clone(), false);
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Commits; `None` when there is nothing to commit.
    pub(crate) fn commit(&mut self, before: &Snapshot) -> Result<Option<Snapshot>, Error> {
        self.check_open()?;
        if !self.pending.is_empty() {
            let committed = self.tantivy(true)?.commit();
            if let Err(error) = committed {
                return Err(self.abandon(tantivy_failed("committing")(error)));
            }
        } else if self.store.meta() == self.published.meta {
            return Ok(None);
        }
        match self.publish(before) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error) => Err(self.abandon(error)),
        }
    }

    /// Commits and merges all segments into one without deleted documents.
    pub(crate) fn optimize(&mut self, before: &Snapshot) -> Result<Option<Snapshot>, Error> {
        self.check_open()?;
        let merged = self.commit_merged();
        if let Err(error) = merged {
            return Err(self.abandon(error));
        }
        if self.store.meta() == self.published.meta {
            return Ok(None);
        }
        let published = self.publish(before);
        self.open = None;
        match published {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error) => Err(self.abandon(error)),
        }
    }

    fn commit_merged(&mut self) -> Result<(), Error> {
        if let Some(mut writer) = self.open.take() {
            writer.commit().map_err(tantivy_failed("committing"))?;
            writer.wait_merging_threads().map_err(tantivy_failed("merging"))?;
        }
        let (meta, _) = self.current()?;
        let is_merged =
            matches!(meta.segments.as_slice(), [] | [_]) && meta.segments.iter().all(|segment| !segment.has_deletes());
        if is_merged {
            return Ok(());
        }
        let ids: Vec<_> = meta.segments.iter().map(tantivy::SegmentMeta::id).collect();
        // tantivy keeps the files of every segment whose meta somebody holds.
        drop(meta);
        let merge = self.tantivy(false)?.merge(&ids);
        merge.wait().map_err(tantivy_failed("merging"))?;
        Ok(())
    }

    /// Makes tantivy's current state the collection's: segments, terms and their names reach the disk,
    /// then the manifest, then files that are no longer needed go.
    fn publish(&mut self, before: &Snapshot) -> Result<Snapshot, Error> {
        let (meta, bytes) = self.current()?;
        let mut snapshot = Snapshot::open(&self.shared, &self.index, &meta.segments, Some(before))?;
        let terms = self.term_log.append(&self.shared.vocabulary())?;
        self.store.sync()?;
        let names = meta.list_segment_files();
        let names = names.iter().map(|path| path.to_string_lossy().into_owned());
        let manifest = Manifest {
            generation: self.published.generation + 1,
            saturated_weights: self.saturated_weights,
            terms,
            files: self.store.records(names),
            meta: bytes,
            ..self.published.clone()
        };
        manifest.write(&self.directory)?;
        self.store.sweep(&manifest.files);
        self.count(&mut snapshot, &manifest);
        self.published = manifest;
        self.pending.clear();
        Ok(snapshot)
    }

    /// Goes back to the commit that is in place, and hands the error on.
    fn abandon(&mut self, error: Error) -> Error {
        self.open = None;
        self.pending.clear();
        self.saturated_weights = self.published.saturated_weights;
        // A manifest may have been put in place before the error: what is on disk decides.
        let reopened = Manifest::read(&self.directory).and_then(|published| {
            let (store, index) = open_index(&self.directory, &self.shared, &published)?;
            Ok((published, store, index))
        });
        match reopened {
            Ok((published, store, index)) => {
                (self.published, self.store, self.index) = (published, store, index);
                error
            }
            Err(second) => Error::internal("going back to the last commit", format!("{error}; then {second}")),
        }
    }
}

/// Opens tantivy's index at commit `published`.
fn open_index(directory: &Path, shared: &Arc<Shared>, published: &Manifest) -> Result<(SegmentStore, Index), Error> {
    let fields = &shared.fields;
    let meta = Some(published.meta.clone()).filter(|meta| !meta.is_empty());
    let store = SegmentStore::open(&directory.join(SEGMENTS), meta, published.files.clone())?;
    let writer = ComponentWriter {
        id: fields.id,
        impacts: fields.impacts,
        options: IndexOptions {
            quantisation: Quantisation::MaxWeight(published.max_weight),
            reorder: shared.config.reorder.then(ReorderOptions::default),
            memory_budget_bytes: shared.config.writer_memory_bytes,
            ..IndexOptions::default()
        },
        spill: directory.join(SPILL),
        cache: Arc::clone(&shared.cache),
    };
    let plugin = ImpactPlugin {
        shared: Arc::new(writer),
    };
    let index = Index::builder()
        .schema(fields.schema.clone())
        .tokenizers(Fields::tokenizers())
        .register_plugin(Arc::new(plugin))
        .open_or_create(store.clone())
        .map_err(tantivy_failed("opening the index"))?;
    Ok((store, index))
}
