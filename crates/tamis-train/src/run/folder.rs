//! The folder of a run: what lies where, and how it gets there whole.
//!
//! ```text
//! recipe.toml        everything that was decided
//! log.jsonl          what happened
//! negatives-N.jsonl  candidates and teacher scores as searched before step N
//! checkpoints/N/     the state after N steps: run.json and trainer/
//! best-N/            the model after N steps, the best evaluated so far
//! model/             the model that was kept, once the run has ended
//! curves/            drawn when the run ends
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The folder of a run.
#[derive(Clone, Debug)]
pub(super) struct RunFolder {
    dir: PathBuf,
}

impl RunFolder {
    /// A place for a run: a folder that is not there yet, or empty. Nothing is written.
    pub(super) fn free(dir: &Path) -> Result<Self, Error> {
        let is_free = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(Error::RunExists { path: dir.to_owned() });
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Makes the folder.
    pub(super) fn create(&self) -> Result<(), Error> {
        create(&self.dir.join("checkpoints"))
    }

    /// A run that was started here before.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let folder = Self { dir: dir.to_owned() };
        match folder.recipe().is_file() {
            true => Ok(folder),
            false => Err(Error::NoRun { path: dir.to_owned() }),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn recipe(&self) -> PathBuf {
        self.dir.join("recipe.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log.jsonl")
    }

    pub(super) fn model(&self) -> PathBuf {
        self.dir.join("model")
    }

    pub(super) fn curves(&self) -> PathBuf {
        self.dir.join("curves")
    }

    pub(super) fn negatives(&self, step: u64) -> PathBuf {
        self.dir.join(format!("negatives-{step}.jsonl"))
    }

    pub(super) fn best(&self, step: u64) -> PathBuf {
        self.dir.join(format!("best-{step}"))
    }

    /// A place beside the others, for what is not whole yet.
    pub(super) fn unfinished(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.dir.join(format!(".{name}.tmp"));
        self.discard(&path)?;
        Ok(path)
    }

    /// Removes a folder, if it is there.
    pub(super) fn discard(&self, path: &Path) -> Result<(), Error> {
        match path.exists() {
            true => fs::remove_dir_all(path).map_err(write_error(path)),
            false => Ok(()),
        }
    }

    /// Gives what is whole now its name; what had the name goes.
    pub(super) fn complete(&self, unfinished: &Path, path: &Path) -> Result<(), Error> {
        self.discard(path)?;
        fs::rename(unfinished, path).map_err(write_error(path))?;
        sync(path.parent().unwrap_or(&self.dir))
    }

    /// Where the state after some steps lies.
    pub(super) fn checkpoint(&self, step: u64) -> PathBuf {
        self.dir.join("checkpoints").join(step.to_string())
    }

    /// The step of the newest state, if there is one.
    pub(super) fn newest_checkpoint(&self) -> Result<Option<u64>, Error> {
        Ok(self.numbered(&self.dir.join("checkpoints"), "")?.into_iter().max())
    }

    /// Removes all states, models and negatives but these.
    pub(super) fn remove_old(&self, steps: &[u64], best: Option<u64>, negatives: Option<u64>) -> Result<(), Error> {
        let remove = |path: PathBuf| fs::remove_dir_all(&path).map_err(write_error(&path));
        for other in self.numbered(&self.dir.join("checkpoints"), "")? {
            if !steps.contains(&other) {
                remove(self.checkpoint(other))?;
            }
        }
        for other in self.numbered(&self.dir, "best-")? {
            if Some(other) != best {
                remove(self.best(other))?;
            }
        }
        for other in self.numbered(&self.dir, "negatives-")? {
            if Some(other) != negatives {
                let path = self.negatives(other);
                fs::remove_file(&path).map_err(write_error(&path))?;
            }
        }
        Ok(())
    }

    /// The numbers behind `prefix` in the names of a folder.
    fn numbered(&self, dir: &Path, prefix: &str) -> Result<Vec<u64>, Error> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir).map_err(write_error(dir))? {
            let name = entry.map_err(write_error(dir))?.file_name();
            let name = name.to_string_lossy();
            let number = name.strip_prefix(prefix).map(|rest| rest.trim_end_matches(".jsonl"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Makes a folder, and those that it lies in.
pub(super) fn create(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(write_error(dir))
}

/// Copies a folder with all folders in it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    create(to)?;
    for entry in fs::read_dir(from).map_err(write_error(from))? {
        let path = entry.map_err(write_error(from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => {
                fs::copy(&path, &target).map_err(write_error(&target))?;
            }
        }
    }
    sync(to)
}

/// Writes a file and flushes it to the device.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(write_error(path))
}

/// Flushes a folder's entries; only Unix can.
pub(super) fn sync(dir: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(write_error(dir))?;
    }
    Ok(())
}

pub(super) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_place_is_taken_and_only_a_run_is_gone_on_with() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = dir.path().join("run");
        assert!(matches!(RunFolder::open(&run), Err(Error::NoRun { .. })));
        let folder = RunFolder::free(&run).expect("free");
        folder.create().expect("writable");
        assert!(matches!(RunFolder::free(&run), Err(Error::RunExists { .. })));
        write_file(&folder.recipe(), b"").expect("writable");
        assert!(RunFolder::open(&run).is_ok());
        assert_eq!(folder.newest_checkpoint().expect("readable"), None);
    }

    #[test]
    fn what_nobody_goes_on_from_is_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::free(&dir.path().join("run")).expect("free");
        folder.create().expect("writable");
        for step in [5, 10, 100] {
            fs::create_dir(folder.checkpoint(step)).expect("writable");
            fs::create_dir(folder.best(step)).expect("writable");
            fs::write(folder.negatives(step), "").expect("writable");
        }
        let unfinished = folder.unfinished("model").expect("free");
        fs::create_dir(&unfinished).expect("writable");
        folder.complete(&unfinished, &folder.model()).expect("renamed");
        assert_eq!(folder.newest_checkpoint().expect("readable"), Some(100));
        folder.remove_old(&[100], Some(10), None).expect("removable");
        assert_eq!(folder.newest_checkpoint().expect("readable"), Some(100));
        assert!(!folder.checkpoint(10).exists() && folder.best(10).exists() && !folder.best(100).exists());
        assert!(folder.model().exists() && !folder.negatives(5).exists());
        fs::create_dir(folder.best(10).join("1_Pooling")).expect("writable");
        fs::write(folder.best(10).join("1_Pooling/config.json"), "{}").expect("writable");
        copy(&folder.best(10), &folder.best(11)).expect("copied");
        assert_eq!(
            fs::read(folder.best(11).join("1_Pooling/config.json")).expect("copied"),
            b"{}"
        );
    }
}
