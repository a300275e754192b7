//! A directory that appears complete or not at all.

use crate::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A directory under a temporary name until [`Target::finish`]; removed when dropped before.
pub(super) struct Target {
    unfinished: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Target {
    /// Starts `path`, which must not exist and must not lie in `source`.
    pub(super) fn create(path: &Path, source: &Path) -> Result<Self, Error> {
        let refused = |reason: &str| Error::Convert {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if fs::symlink_metadata(path).is_ok() {
            return Err(refused("it exists already; give the name of a new directory"));
        }
        let name = path.file_name().ok_or_else(|| refused("it has no name"))?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(write(parent))?;
        let parent = parent.canonicalize().map_err(write(parent))?;
        if parent.starts_with(source) {
            return Err(refused("it lies inside the directory that is converted"));
        }
        let mut unfinished = std::ffi::OsString::from(".");
        unfinished.push(&name);
        unfinished.push(format!(".{}.tmp", std::process::id()));
        let unfinished = parent.join(unfinished);
        fs::create_dir(&unfinished).map_err(write(&unfinished))?;
        Ok(Self {
            unfinished,
            path: parent.join(name),
            finished: false,
        })
    }

    /// Copies the file `from` to `to` inside the directory.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut source = File::open(from).map_err(|source| Error::Read {
            path: from.to_owned(),
            source,
        })?;
        self.write(to, |out| {
            std::io::copy(&mut source, out).map_err(write(to))?;
            Ok(())
        })
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

    /// Gives the directory its name.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        fs::rename(&self.unfinished, &self.path).map_err(write(&self.path))?;
        self.finished = true;
        // Only Unix can flush a folder; elsewhere the rename is as durable as the system makes it.
        match self.path.parent() {
            Some(parent) if cfg!(unix) => File::open(parent)
                .and_then(|folder| folder.sync_all())
                .map_err(write(parent)),
            _ => Ok(()),
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

/// An error that writing `path` failed.
pub(super) fn write(path: &Path) -> impl Fn(std::io::Error) -> Error {
    |source| Error::Write {
        path: path.to_owned(),
        source,
    }
}
