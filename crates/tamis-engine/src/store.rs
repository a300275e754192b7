//! The files of the segments, as tantivy sees them.
//!
//! tantivy publishes a commit by replacing `meta.json` and then deletes files it no longer needs. Here
//! both wait for our own manifest: `meta.json` and `.managed.json` live in memory until the manifest that
//! contains them is in place, and files are deleted only after that. So there is exactly one moment at
//! which a commit becomes real, and the commit before it stays whole until then. Length and CRC-32 of
//! every file are taken while it is written.

use crate::Error;
use crate::checksum::FileRecord;
use crc32fast::Hasher;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, MmapDirectory, TerminatingWrite, WatchCallback, WatchHandle,
    WritePtr,
};

const META: &str = "meta.json";
const MANAGED: &str = ".managed.json";

/// A tantivy directory whose commits become real through the manifest.
#[derive(Clone, Debug)]
pub(crate) struct SegmentStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    files: MmapDirectory,
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// tantivy's two books, by name.
    books: BTreeMap<String, Vec<u8>>,
    /// Every finished file.
    records: BTreeMap<String, FileRecord>,
    /// Files that tantivy has deleted and the published manifest may still name.
    doomed: BTreeSet<String>,
}

impl SegmentStore {
    /// Opens `root` with the state of a manifest: tantivy's meta (`None` for a new collection) and files.
    pub(crate) fn open(
        root: &Path,
        meta: Option<Vec<u8>>,
        records: BTreeMap<String, FileRecord>,
    ) -> Result<Self, Error> {
        let files = MmapDirectory::open(root).map_err(|error| Error::io(root, io::Error::other(error)))?;
        let mut books = BTreeMap::new();
        if let Some(meta) = meta {
            let managed: Vec<&str> = records.keys().map(String::as_str).chain([META]).collect();
            let managed = serde_json::to_vec(&managed).map_err(|error| Error::internal("listing files", error))?;
            books.insert(META.to_owned(), meta);
            books.insert(MANAGED.to_owned(), managed);
        }
        let state = State {
            books,
            records,
            doomed: BTreeSet::new(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                files,
                root: root.to_owned(),
                state: Mutex::new(state),
            }),
        })
    }

    /// tantivy's current meta, empty before the index is made.
    pub(crate) fn meta(&self) -> Vec<u8> {
        self.state().books.get(META).cloned().unwrap_or_default()
    }

    /// Records of those of `names` that exist.
    pub(crate) fn records(&self, names: impl Iterator<Item = String>) -> BTreeMap<String, FileRecord> {
        let state = self.state();
        names
            .filter_map(|name| state.records.get(&name).map(|record| (name, *record)))
            .collect()
    }

    /// Makes the names of new files durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        crate::checksum::sync_directory(&self.inner.root)
    }

    /// Deletes what tantivy has deleted and no manifest names any more.
    pub(crate) fn sweep(&self, published: &BTreeMap<String, FileRecord>) {
        let mut state = self.state();
        let gone: Vec<String> = state
            .doomed
            .iter()
            .filter(|name| !published.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            // A file that cannot be deleted now is swept when the collection is opened next.
            let _ = std::fs::remove_file(self.inner.root.join(&name));
            state.doomed.remove(&name);
            state.records.remove(&name);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Directory for SegmentStore {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.inner.files.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.state().doomed.insert(name_of(path));
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        if self.state().books.contains_key(&name_of(path)) {
            return Ok(true);
        }
        self.inner.files.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let out = self.inner.files.open_write(path)?;
        let recorder = Recorder {
            out,
            hasher: Hasher::new(),
            bytes: 0,
            name: name_of(path),
            store: self.clone(),
        };
        Ok(BufWriter::new(Box::new(recorder)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let book = self.state().books.get(&name_of(path)).cloned();
        book.ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.state().books.insert(name_of(path), data.to_vec());
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        // What tantivy writes becomes durable when it is published, not before.
        Ok(())
    }

    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        // The collection's own lock keeps other processes out, its mutex other writers; and tantivy's
        // deletions are put off, so that readers need no protection from them.
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// Counts and checksums a file while it is written.
struct Recorder {
    out: WritePtr,
    hasher: Hasher,
    bytes: u64,
    name: String,
    store: SegmentStore,
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl TerminatingWrite for Recorder {
    fn terminate_ref(&mut self, token: AntiCallToken) -> io::Result<()> {
        self.out.terminate_ref(token)?;
        let record = FileRecord {
            bytes: self.bytes,
            crc: self.hasher.clone().finalize(),
        };
        self.store.state().records.insert(self.name.clone(), record);
        Ok(())
    }
}
