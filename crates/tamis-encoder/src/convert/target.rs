//! A directory that appears complete or not at all.

use super::list;
use crate::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// A directory under a temporary name until [`Target::finish`]; removed when dropped before.
pub(crate) struct Target {
    unfinished: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Target {
    /// Starts `path`, which must not exist and must not lie in `source`.
    pub(crate) fn create(path: &Path, source: &Path) -> Result<Self, Error> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(refused(path, "it exists already; give the name of a new directory"));
        }
        let target = Self::started(path)?;
        if target.path.starts_with(source) {
            return Err(refused(path, "it lies inside the directory that is converted"));
        }
        Ok(target)
    }

    /// Starts `path`, which takes the place of a directory of that name when it is finished.
    pub(crate) fn replace(path: &Path) -> Result<Self, Error> {
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir()) {
            return Err(refused(path, "it is there and no directory; give another name"));
        }
        Self::started(path)
    }

    fn started(path: &Path) -> Result<Self, Error> {
        let name = path
            .file_name()
            .ok_or_else(|| refused(path, "it has no name"))?
            .to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(write(parent))?;
        let parent = parent.canonicalize().map_err(write(parent))?;
        let path = parent.join(name);
        let unfinished = hidden(&path, &format!("{}.tmp", std::process::id()));
        if unfinished.exists() {
            // Of a process that had this number and was killed.
            fs::remove_dir_all(&unfinished).map_err(write(&unfinished))?;
        }
        fs::create_dir(&unfinished).map_err(write(&unfinished))?;
        Ok(Self {
            unfinished,
            path,
            finished: false,
        })
    }

    /// Where `path` inside the directory is until it is finished.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        self.unfinished.join(path)
    }

    /// Copies the file `from` to `to` inside the directory.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut source = File::open(from).map_err(|source| Error::Read {
            path: from.to_owned(),
            source,
        })?;
        self.write(to, |out| {
            std::io::copy(&mut source, out).map_err(write(to))?;
            Ok(())
        })
    }

    /// Makes the file `to` inside the directory of `bytes`.
    pub(crate) fn write_bytes(&self, to: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.write(to, |out| out.write_all(bytes).map_err(write(to)))
    }

    /// Makes the file `to` inside the directory of a JSON value.
    pub(crate) fn write_json(&self, to: &str, value: &Value) -> Result<(), Error> {
        self.write_bytes(Path::new(to), format!("{value:#}\n").as_bytes())
    }

    /// Moves the files of the directory itself that `is_moved` picks by name into `folder` inside it.
    pub(crate) fn move_into(&self, folder: &Path, is_moved: &dyn Fn(&str) -> bool) -> Result<(), Error> {
        let whole = self.unfinished.join(folder);
        fs::create_dir_all(&whole).map_err(write(&whole))?;
        for entry in fs::read_dir(&self.unfinished).map_err(write(&self.unfinished))? {
            let entry = entry.map_err(write(&self.unfinished))?;
            let name = entry.file_name();
            if entry.path().is_file() && is_moved(&name.to_string_lossy()) {
                fs::rename(entry.path(), whole.join(&name)).map_err(write(&whole))?;
            }
        }
        Ok(())
    }

    /// Every file so far, sorted, each with its size and its BLAKE3 hash.
    pub(crate) fn files(&self) -> Result<Vec<FileSum>, Error> {
        file_sums(&self.unfinished)
    }

    /// Makes the file `to` inside the directory with `fill`, and has it on the device.
    pub(super) fn write(
        &self,
        to: &Path,
        fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.unfinished.join(to);
        let folder = path.parent().unwrap_or(&self.unfinished);
        fs::create_dir_all(folder).map_err(write(folder))?;
        let mut out = BufWriter::with_capacity(1 << 18, File::create(&path).map_err(write(&path))?);
        fill(&mut out)?;
        out.flush().map_err(write(&path))?;
        out.get_ref().sync_all().map_err(write(&path))
    }

    /// Gives the directory its name. One that had it before is [`previous`] for a moment, and then gone.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let previous = previous(&self.path);
        let replaced = self.path.exists();
        if replaced {
            if previous.exists() {
                fs::remove_dir_all(&previous).map_err(write(&previous))?;
            }
            fs::rename(&self.path, &previous).map_err(write(&previous))?;
        }
        fs::rename(&self.unfinished, &self.path).map_err(write(&self.path))?;
        self.finished = true;
        if let Some(parent) = self.path.parent().filter(|_| cfg!(unix)) {
            // Only Unix can flush a folder; elsewhere the rename is as durable as the system makes it.
            let folder = File::open(parent);
            folder.and_then(|folder| folder.sync_all()).map_err(write(parent))?;
        }
        match replaced {
            true => fs::remove_dir_all(&previous).map_err(write(&previous)),
            false => Ok(()),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.finished {
            // Why it was not finished is reported; the leftover is in nobody's way.
            let _ = fs::remove_dir_all(&self.unfinished);
        }
    }
}

/// A file of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSum {
    /// Relative to the directory.
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

/// Every file below `dir`, sorted.
pub(crate) fn file_sums(dir: &Path) -> Result<Vec<FileSum>, Error> {
    let mut paths = Vec::new();
    list(dir, Path::new(""), &mut paths)?;
    let sum = |path: PathBuf| {
        let whole = dir.join(&path);
        let read = |source| Error::Read {
            path: whole.clone(),
            source,
        };
        let mut hasher = blake3::Hasher::new();
        let mut file = File::open(&whole).map_err(read)?;
        let (mut bytes, mut piece) = (0, vec![0; 1 << 20]);
        loop {
            let len = file.read(&mut piece).map_err(read)?;
            if len == 0 {
                break;
            }
            hasher.update(&piece[..len]);
            bytes += len as u64;
        }
        Ok(FileSum {
            path,
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        })
    };
    paths.into_iter().map(sum).collect()
}

/// Where the directory `path` is while another takes its place: what a kill at that moment leaves.
pub(crate) fn previous(path: &Path) -> PathBuf {
    hidden(path, "previous")
}

/// A hidden name beside `path`.
fn hidden(path: &Path, end: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(end);
    path.with_file_name(name)
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::Convert {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// An error that writing `path` failed.
pub(crate) fn write(path: &Path) -> impl Fn(std::io::Error) -> Error {
    |source| Error::Write {
        path: path.to_owned(),
        source,
    }
}
