//! Dense vectors as a NumPy array: a row a text, single precision.
//!
//! The header says how many rows there are, which is known at the end: rows are spooled to an unnamed file until then.
//! Beside the file lies `OUTPUT.ids.txt`, the id of each row in a line.

use super::npy::header;
use super::spool::{Spool, folder_of};
use crate::output::Sink;
use anyhow::{Context, ensure};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// An array that is being written.
pub struct Array {
    /// Nothing for stdout, beside which no ids can lie.
    path: Option<PathBuf>,
    ids: Option<Sink>,
    values: Spool,
    width: usize,
    rows: u64,
}

impl Array {
    /// Starts `path`, or stdout, for rows of `width` values.
    pub fn create(path: Option<&Path>, width: usize) -> anyhow::Result<Self> {
        let path = path.filter(|path| *path != Path::new("-"));
        let beside = |path: &Path| {
            let mut whole: OsString = path.as_os_str().to_owned();
            whole.push(".ids.txt");
            Sink::create(Some(Path::new(&whole)))
        };
        Ok(Self {
            path: path.map(Path::to_owned),
            ids: path.map(beside).transpose()?,
            values: match path {
                Some(path) => Spool::create(folder_of(path))?,
                None => Spool::create(&std::env::temp_dir())?,
            },
            width,
            rows: 0,
        })
    }

    /// Adds the vector of the text `id`.
    pub fn add(&mut self, id: &str, values: &[f32]) -> anyhow::Result<()> {
        ensure!(
            values.len() == self.width,
            "text {id:?}: {} values, {} expected",
            values.len(),
            self.width
        );
        values
            .iter()
            .try_for_each(|value| self.values.write(&value.to_le_bytes()))?;
        self.rows += 1;
        let Some(ids) = &mut self.ids else { return Ok(()) };
        ensure!(
            !id.contains(['\n', '\r']),
            "id {id:?} has a line break: the ids of an array stand one a line"
        );
        writeln!(ids, "{id}").context("cannot write the ids")
    }

    /// Completes the output; only now it appears.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let mut sink = Sink::create(self.path.as_deref())?;
        sink.write_all(&header("<f4", &format!("({}, {})", self.rows, self.width)))?;
        self.values.copy_to(&mut sink)?;
        // The array comes last: where it is, the ids are too.
        self.ids.map_or(Ok(()), Sink::finish)?;
        sink.finish()
    }
}
