//! BEIR collections (Thakur et al., NeurIPS Datasets 2021), read from a folder or straight from an archive.

mod layout;
mod member;
mod record;
mod tar;
mod zip;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::lines::LineReader;
use crate::qrels::Qrels;
use layout::Layout;
pub use record::{Document, Documents, Query};

/// A judged collection: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`.
///
/// Opening lists the files and reads none of them; each call below reads its file anew, in one pass,
/// straight from the folder or archive. Nothing is ever unpacked to disk, and memory follows what is
/// read, never a size that an archive claims.
#[derive(Debug)]
pub struct BeirCollection {
    layout: Layout,
}

impl BeirCollection {
    /// Opens a folder, or an archive of one folder: `.tar`, `.tar.zst`, `.tar.gz` or `.zip`, told by
    /// content. Each file may itself be compressed (`corpus.jsonl.gz`, `qrels/test.tsv.zst`).
    ///
    /// A compressed tar archive is decompressed once to list it.
    ///
    /// # Errors
    /// A path that cannot be opened, an unknown or damaged archive, no or several collections in it, a
    /// file that is there twice, a member name that climbs out of the archive.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            layout: Layout::open(path)?,
        })
    }

    /// The folder or archive, as given to [`open`](Self::open).
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.layout.path
    }

    /// The collection's name: the folder's, or the archive's without its endings.
    #[must_use]
    pub fn name(&self) -> String {
        let path = &self.layout.path;
        let path = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
        let name = path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if path.is_dir() {
            return name;
        }
        let ends = [".tar.zst", ".tar.gz", ".tgz", ".tar", ".zip"];
        ends.iter()
            .find_map(|end| name.strip_suffix(end))
            .map_or_else(|| name.clone(), str::to_owned)
    }

    /// The splits that have judgements, ascending (`dev`, `test`, `train`).
    #[must_use]
    pub fn splits(&self) -> Vec<&str> {
        self.layout.splits.keys().map(String::as_str).collect()
    }

    /// Reads the documents one by one, in the order of `corpus.jsonl`.
    ///
    /// # Errors
    /// When the corpus cannot be opened; each document may then be an error of its own, after which the
    /// iterator ends.
    pub fn documents(&self) -> Result<Documents, Error> {
        Ok(Documents::new(self.layout.lines(&self.layout.corpus)?))
    }

    /// Reads all queries, in the order of `queries.jsonl`, judged or not.
    ///
    /// # Errors
    /// [`Error::NoQueries`], any failure to read, a broken line, an id that occurs twice.
    pub fn queries(&self) -> Result<Vec<Query>, Error> {
        let member = self.layout.queries.as_ref().ok_or_else(|| Error::NoQueries {
            path: self.layout.path.clone(),
        })?;
        record::read_queries(self.layout.lines(member)?)
    }

    /// Reads the queries that `qrels` judges, in the order of `queries.jsonl`.
    ///
    /// # Errors
    /// As [`queries`](Self::queries), and [`Error::QueryWithoutText`] when a judged query is not there.
    pub fn judged_queries(&self, qrels: &Qrels) -> Result<Vec<Query>, Error> {
        let mut queries = self.queries()?;
        queries.retain(|query| qrels.contains_query(&query.id));
        if queries.len() < qrels.num_queries() {
            let there: HashSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
            if let Some(query) = qrels.queries().find(|query| !there.contains(query)) {
                return Err(Error::QueryWithoutText {
                    path: self.layout.path.clone(),
                    query: query.to_owned(),
                });
            }
        }
        Ok(queries)
    }

    /// Reads the judgements of a split.
    ///
    /// # Errors
    /// [`Error::MissingSplit`], which lists the splits there are, and those of [`Qrels::read`].
    pub fn qrels(&self, split: &str) -> Result<Qrels, Error> {
        let member = self.layout.splits.get(split).ok_or_else(|| Error::MissingSplit {
            path: self.layout.path.clone(),
            split: split.to_owned(),
            available: self.layout.splits.keys().cloned().collect(),
        })?;
        Qrels::from_lines(self.layout.lines(member)?)
    }
}

impl Layout {
    fn lines(&self, member: &member::Member) -> Result<LineReader, Error> {
        let input = member.open(&self.path).map_err(|source| Error::Open {
            path: self.path.join(&member.name),
            source,
        })?;
        Ok(LineReader::new(input, self.place_name(member)))
    }
}
