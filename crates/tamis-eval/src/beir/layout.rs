//! Which files of a folder or archive make the collection.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::member::{Location, Member};
use super::{tar, zip};
use crate::error::Error;
use crate::text_file::Compression;

const TAR_MAGIC: &[u8] = b"ustar";
const TAR_MAGIC_OFFSET: usize = 257;
const ZIP_MAGICS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
const COMPRESSED_ENDINGS: [&str; 2] = [".gz", ".zst"];

/// The parts of a collection and where they lie.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) path: PathBuf,
    is_folder: bool,
    pub(super) corpus: Member,
    pub(super) queries: Option<Member>,
    pub(super) splits: BTreeMap<String, Member>,
}

/// What a file of a collection is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Corpus,
    Queries,
    Split(String),
}

impl Part {
    /// The part, and the folder of the collection, that a member's name says; `None` for any other file.
    fn of_name(name: &str) -> Option<(Self, &str)> {
        let name = name.strip_prefix("./").unwrap_or(name);
        let plain = COMPRESSED_ENDINGS
            .iter()
            .find_map(|ending| name.strip_suffix(ending))
            .unwrap_or(name);
        let (folder, file) = plain.rsplit_once('/').unwrap_or(("", plain));
        match file {
            "corpus.jsonl" => return Some((Self::Corpus, folder)),
            "queries.jsonl" => return Some((Self::Queries, folder)),
            _ => {}
        }
        let split = file
            .strip_suffix(".tsv")
            .filter(|split| !split.is_empty() && !split.starts_with('.'))?;
        let collection = if folder == "qrels" {
            ""
        } else {
            folder.strip_suffix("/qrels")?
        };
        Some((Self::Split(split.to_owned()), collection))
    }

    fn name(&self) -> String {
        match self {
            Self::Corpus => "the corpus".to_owned(),
            Self::Queries => "the queries".to_owned(),
            Self::Split(split) => format!("the split {split:?}"),
        }
    }
}

impl Layout {
    /// Lists a folder or archive and finds the one collection in it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let cannot_open = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let is_folder = fs::metadata(path).map_err(cannot_open)?.is_dir();
        let members = if is_folder {
            folder_members(path).map_err(cannot_open)?
        } else {
            match ArchiveKind::of_file(path).map_err(cannot_open)? {
                Some(ArchiveKind::Zip) => zip::members(path)?,
                Some(ArchiveKind::Tar) => tar::members(path)?,
                None => return Err(Error::UnknownArchive { path: path.to_owned() }),
            }
        };
        Self::of_members(path, is_folder, members)
    }

    fn of_members(path: &Path, is_folder: bool, members: Vec<Member>) -> Result<Self, Error> {
        let mut parts: Vec<(Part, String, Member)> = Vec::new();
        for member in members {
            if member.name.split(['/', '\\']).any(|step| step == "..") {
                return Err(Error::UnsafeMember {
                    path: path.to_owned(),
                    member: member.name,
                });
            }
            if let Some((part, folder)) = Part::of_name(&member.name) {
                let folder = folder.to_owned();
                parts.push((part, folder, member));
            }
        }
        let folders: BTreeSet<String> = parts
            .iter()
            .filter(|(part, ..)| *part == Part::Corpus)
            .map(|(_, folder, _)| folder.clone())
            .collect();
        if folders.len() > 1 {
            return Err(Error::SeveralCollections {
                path: path.to_owned(),
                folders: folders.into_iter().collect(),
            });
        }
        let no_corpus = || Error::NoCorpus { path: path.to_owned() };
        let root = folders.first().ok_or_else(no_corpus)?;
        let (mut corpus, mut queries, mut splits) = (None, None, BTreeMap::new());
        for (part, _, member) in parts.into_iter().filter(|(_, folder, _)| folder == root) {
            let second = member.name.clone();
            let first = match &part {
                Part::Corpus => corpus.replace(member),
                Part::Queries => queries.replace(member),
                Part::Split(split) => splits.insert(split.clone(), member),
            };
            if let Some(first) = first {
                return Err(Error::DuplicatePart {
                    path: path.to_owned(),
                    part: part.name(),
                    first: first.name,
                    second,
                });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            is_folder,
            corpus: corpus.ok_or_else(no_corpus)?,
            queries,
            splits,
        })
    }

    /// The name of a member in error messages.
    pub(super) fn place_name(&self, member: &Member) -> String {
        if self.is_folder {
            self.path.join(&member.name).display().to_string()
        } else {
            format!("{}:{}", self.path.display(), member.name)
        }
    }
}

/// The files of the folder and of its `qrels`, sorted, so that errors do not depend on the file system.
fn folder_members(path: &Path) -> io::Result<Vec<Member>> {
    let mut names = Vec::new();
    for (folder, prefix) in [(path.to_owned(), ""), (path.join("qrels"), "qrels/")] {
        let entries = match fs::read_dir(&folder) {
            Err(error) if !prefix.is_empty() && error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(name) = name.to_str()
                && fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file())
            {
                names.push(format!("{prefix}{name}"));
            }
        }
    }
    names.sort_unstable();
    Ok(names
        .into_iter()
        .map(|name| Member {
            name,
            location: Location::File,
        })
        .collect())
}

enum ArchiveKind {
    Tar,
    Zip,
}

impl ArchiveKind {
    /// Told by the first bytes, after decompression for tar; `None` for any other file.
    fn of_file(path: &Path) -> io::Result<Option<Self>> {
        let mut start = Vec::new();
        File::open(path)?.take(4).read_to_end(&mut start)?;
        if ZIP_MAGICS.contains(&start.as_slice()) {
            return Ok(Some(Self::Zip));
        }
        if Compression::of_bytes(&start) != Compression::Plain {
            return Ok(Some(Self::Tar));
        }
        let mut header = Vec::new();
        File::open(path)?.take(512).read_to_end(&mut header)?;
        Ok(header[TAR_MAGIC_OFFSET.min(header.len())..]
            .starts_with(TAR_MAGIC)
            .then_some(Self::Tar))
    }
}
