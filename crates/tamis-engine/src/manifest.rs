//! The manifest: what a commit consists of. Replacing it is the moment at which a commit becomes real.
//!
//! A section container (kind `tamismft`, version 1) with two sections: `commit`, this module's JSON, and
//! `meta`, tantivy's `meta.json` of the same commit.

use crate::Error;
use crate::checksum::{FileRecord, replace_file};
use crate::config::CollectionConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tamis_core::container::{Container, ContainerError, ContainerWriter, FileKind};

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "MANIFEST";

const KIND: FileKind = FileKind {
    name: *b"tamismft",
    version: 1,
};

/// Everything a commit consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Counts commits from 0, the empty collection.
    pub(crate) generation: u64,
    /// How the collection was made.
    pub(crate) config: CollectionConfig,
    /// The model.
    pub(crate) model: Option<StoredModel>,
    /// The weight that impact 255 stands for.
    pub(crate) max_weight: f32,
    /// Weights cut to that range so far.
    pub(crate) saturated_weights: u64,
    /// The part of the term log that belongs to this commit.
    pub(crate) terms: FileRecord,
    /// The files of the segments.
    pub(crate) files: BTreeMap<String, FileRecord>,
    /// tantivy's `meta.json`.
    #[serde(skip)]
    pub(crate) meta: Vec<u8>,
}

/// What is kept of a model, to open it again and to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredModel {
    /// Its fingerprint in hexadecimal.
    pub(crate) fingerprint: String,
    /// What the encoder says of itself.
    pub(crate) description: serde_json::Value,
}

impl Manifest {
    /// Puts this manifest in place of the one before, durably.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), Error> {
        let body = serde_json::to_vec(self).map_err(|error| Error::internal("writing the manifest", error))?;
        let encode = || -> std::io::Result<Vec<u8>> {
            let mut writer = ContainerWriter::new(Vec::new(), KIND)?;
            writer.section("commit", &body)?;
            writer.section("meta", &self.meta)?;
            writer.finish()
        };
        let bytes = encode().map_err(|error| Error::internal("writing the manifest", error))?;
        replace_file(directory, MANIFEST, &bytes)
    }

    /// Reads and checks the manifest of the collection in `directory`.
    pub(crate) fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(MANIFEST);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotACollection {
                    path: directory.to_owned(),
                });
            }
            Err(error) => return Err(Error::io(path, error)),
        };
        let damaged = |error: ContainerError| match error {
            ContainerError::NewerVersion { .. } | ContainerError::ContainerVersion { .. } => Error::NewerVersion {
                path: path.clone(),
                reason: error.to_string(),
            },
            _ => Error::corrupt(&path, "a manifest", error),
        };
        let container = Container::open(&bytes, KIND).map_err(damaged)?;
        container.verify(&bytes).map_err(damaged)?;
        let body = container.section(&bytes, "commit").map_err(damaged)?;
        let mut manifest: Self =
            serde_json::from_slice(body).map_err(|error| Error::corrupt(&path, "section `commit`", error))?;
        manifest.meta = container.section(&bytes, "meta").map_err(damaged)?.to_vec();
        if let Some(name) = manifest.files.keys().find(|name| name.contains(['/', '\\', '\0'])) {
            return Err(Error::corrupt(&path, "plain file names", name));
        }
        Ok(manifest)
    }
}
