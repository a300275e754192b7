//! What all requests share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use actix_web::web;
use tamis_encoder::{CheckpointOptions, Encoder};
use tamis_engine::{Collection, Engine};

use crate::admission::Admission;
use crate::error::Error;
use crate::failure::{Code, Failure};
use crate::metrics::{Metrics, Snapshot};
use crate::options::ServerOptions;
use crate::request_id::RequestIds;

/// Models that stay open for encode requests.
const MAX_OPEN_MODELS: usize = 4;

/// What all requests share.
pub struct State {
    /// The collections.
    pub engine: Arc<Engine>,
    /// Limits and addresses.
    pub options: ServerOptions,
    /// Places for searches.
    pub admission: Admission,
    /// Counters.
    pub metrics: Metrics,
    /// Ids of requests.
    pub request_ids: RequestIds,
    /// When the service started.
    pub started: Instant,
    stopping: AtomicBool,
    uncommitted: Mutex<BTreeSet<String>>,
    /// Held while committing, so that the last commit waits for one that is under way.
    committing: Mutex<()>,
    encoders: Mutex<BTreeMap<String, Arc<dyn Encoder>>>,
}

impl State {
    /// The state of a service that just started.
    ///
    /// # Errors
    /// When the metrics cannot be registered.
    pub fn new(options: ServerOptions, engine: Arc<Engine>) -> Result<Self, Error> {
        Ok(Self {
            engine,
            admission: Admission::new(
                options.max_concurrent_searches,
                options.search_queue,
                options.queue_timeout,
            ),
            metrics: Metrics::new()?,
            request_ids: RequestIds::default(),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            uncommitted: Mutex::new(BTreeSet::new()),
            committing: Mutex::new(()),
            encoders: Mutex::new(BTreeMap::new()),
            options,
        })
    }

    /// The collection of that name.
    ///
    /// # Errors
    /// `collection_not_found`, or why it cannot be opened.
    pub fn collection(&self, name: &str) -> Result<Arc<Collection>, Failure> {
        Ok(self.engine.collection(name)?)
    }

    /// The model of that name, opened once.
    ///
    /// # Errors
    /// `invalid_model` when it cannot be opened.
    pub fn encoder(&self, spec: &str) -> Result<Arc<dyn Encoder>, Failure> {
        let mut open = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = open.get(spec) {
            return Ok(Arc::clone(encoder));
        }
        let encoder = tamis_encoder::open_with(spec, &CheckpointOptions::default(), self.engine.compute())
            .map_err(|error| Failure::from(&error))?;
        if open.len() >= MAX_OPEN_MODELS {
            open.pop_first();
        }
        open.insert(spec.to_owned(), Arc::clone(&encoder));
        Ok(encoder)
    }

    /// Remembers that a collection has writes to commit.
    pub fn wrote(&self, collection: &str) {
        self.uncommitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(collection.to_owned());
    }

    /// Commits every collection with writes; the ones that fail keep their mark, with the reason.
    pub fn commit_all(&self) -> Vec<(String, tamis_engine::Error)> {
        let _committing = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let names = std::mem::take(&mut *self.uncommitted.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failed = Vec::new();
        for name in names {
            // A collection that was deleted meanwhile has nothing left to commit.
            let Ok(collection) = self.engine.collection(&name) else {
                continue;
            };
            if let Err(error) = collection.commit() {
                self.wrote(&name);
                failed.push((name, error));
            }
        }
        failed
    }

    /// From now on the service is not ready.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the service is about to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The numbers behind the gauges.
    pub fn snapshot(&self) -> Snapshot {
        let documents = self.engine.list().into_iter().map(|entry| (entry.name, entry.num_docs));
        Snapshot {
            running: self.admission.num_running(),
            waiting: self.admission.num_waiting(),
            documents: documents.collect(),
        }
    }
}

/// Runs work that computes, reads or writes in a thread of its own, so that no other request waits for it.
///
/// # Errors
/// What the work failed with; `internal` when it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match web::block(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request's thread ended without an answer");
            Err(Failure::new(
                Code::Internal,
                "The service failed; the request id finds the fault in the log.",
            ))
        }
    }
}
