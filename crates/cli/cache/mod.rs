//! The encode cache: vectors by what they are made of, so that a text is encoded once.
//!
//! The key is a digest of text, kind, model (its fingerprint and all settings in force), device and precision, so a hit
//! is the vector that the model would give. Entries are only ever added. Any number of runs may use one folder at a
//! time; killing one loses at most what it had not written yet.

mod segment;
mod store;

use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Key, Store};
use tamis_core::{Fingerprint, Vocabulary};
use tamis_encoder::{Compute, Encoder, Error, InputKind, QueryWeighting, SparseEncoding};

/// Raised whenever the same model would give other vectors than before.
const REVISION: &[u8] = b"tamis encode cache 2";

/// What a cache was good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheReport {
    /// Texts whose vector was there.
    pub hits: u64,
    /// Texts that were encoded.
    pub misses: u64,
}

/// An encoder that looks into a cache first.
pub struct CachingEncoder {
    inner: Arc<dyn Encoder>,
    /// Digest state of revision, model, device and precision.
    model: blake3::Hasher,
    store: Mutex<Store>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CachingEncoder {
    /// Puts the cache in `folder`, which is made where there is none, before `inner`, which computes as `compute` says.
    pub fn open(folder: &Path, inner: Arc<dyn Encoder>, compute: Compute) -> anyhow::Result<Self> {
        let store = Store::open(folder).with_context(|| format!("cannot use the cache {}", folder.display()))?;
        let mut model = blake3::Hasher::new();
        model.update(REVISION);
        model.update(inner.fingerprint().as_bytes());
        // A description also has what a fingerprint leaves out; the place does not count. Neither knows where and how
        // exactly the model computes, which changes the last digits.
        let mut description = inner.description();
        if let Some(fields) = description.as_object_mut() {
            fields.remove("path");
        }
        for part in [description.to_string(), serde_json::to_string(&compute)?] {
            model.update(&(part.len() as u64).to_le_bytes());
            model.update(part.as_bytes());
        }
        Ok(Self {
            inner,
            model,
            store: Mutex::new(store),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// What the cache was good for so far.
    pub fn report(&self) -> CacheReport {
        CacheReport {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    /// Has everything on the device; an error is one of writing, now or before, after which nothing more was stored.
    pub fn finish(&self) -> anyhow::Result<CacheReport> {
        self.lock().sync().context("vectors could not be added to the cache")?;
        Ok(self.report())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, kind: InputKind, text: &str) -> Key {
        let mut hasher = self.model.clone();
        hasher.update(&[match kind {
            InputKind::Document => 0,
            InputKind::Query => 1,
        }]);
        hasher.update(text.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

impl Encoder for CachingEncoder {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.inner.fingerprint()
    }

    fn encode(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<SparseEncoding>, Error> {
        let keys: Vec<Key> = texts.iter().map(|text| self.key(kind, text)).collect();
        let mut found: Vec<Option<SparseEncoding>> = {
            let mut store = self.lock();
            keys.iter().map(|key| store.get(key)).collect()
        };
        let missing: Vec<usize> = (0..texts.len()).filter(|&at| found[at].is_none()).collect();
        self.hits
            .fetch_add((texts.len() - missing.len()) as u64, Ordering::Relaxed);
        self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        if !missing.is_empty() {
            let missing_texts: Vec<&str> = missing.iter().map(|&at| texts[at]).collect();
            let encoded = self.inner.encode(kind, &missing_texts)?;
            let mut store = self.lock();
            for (at, encoding) in missing.into_iter().zip(encoded) {
                store.insert(&keys[at], &encoding);
                found[at] = Some(encoding);
            }
            store.flush();
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn query_weighting(&self) -> QueryWeighting {
        self.inner.query_weighting()
    }

    fn max_weight(&self) -> Option<f32> {
        self.inner.max_weight()
    }

    fn description(&self) -> serde_json::Value {
        self.inner.description()
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        self.inner.vocabulary()
    }
}
