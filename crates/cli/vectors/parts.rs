//! Output in parts, so that a run that was killed goes on where it stopped.
//!
//! `OUTPUT.parts/` holds `manifest.json` and one file a part. A part appears complete, then the manifest that counts it;
//! what the manifest does not count is made again. The manifest also says what was read for each part, so that going
//! on with another input, model or kind is refused.

use super::Encoded;
use super::codec::{read_record, write_record};
use crate::exit::{Exit, failure};
use crate::input::{Body, Record};
use crate::output::Sink;
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// What all parts were made with; nothing else is compared.
    settings: String,
    parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    /// Texts in it.
    texts: u64,
    /// Size of its file.
    bytes: u64,
    /// Digest of its file.
    digest: String,
    /// Digest of everything read up to its end.
    input: String,
}

/// The parts of one output.
pub struct Parts {
    folder: PathBuf,
    manifest: Manifest,
    /// Texts of a part; it ends with the batch that reaches them.
    part_texts: u64,
    /// Of what was read so far.
    input: blake3::Hasher,
    /// Texts read so far.
    read: u64,
    /// The part that is being filled.
    open: Vec<u8>,
    open_texts: u64,
}

impl Parts {
    /// Goes on with the parts of `output`, or starts them.
    ///
    /// `settings` is everything that decides what parts hold; parts of other settings are refused, and damaged ones
    /// too.
    pub fn open(output: &Path, settings: &str, part_texts: u64) -> anyhow::Result<Self> {
        let mut folder = output.as_os_str().to_owned();
        folder.push(".parts");
        let folder = PathBuf::from(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create folder {}", folder.display()))?;
        let path = folder.join(MANIFEST);
        let manifest = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| failure(Exit::Corrupt, format!("{}: {error}", path.display())))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Manifest {
                settings: settings.to_owned(),
                parts: Vec::new(),
            },
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let parts = Self {
            folder,
            manifest,
            part_texts,
            input: blake3::Hasher::new(),
            read: 0,
            open: Vec::new(),
            open_texts: 0,
        };
        if parts.manifest.settings != settings {
            return Err(parts.other("another model, kind, precision or form"));
        }
        parts.check()?;
        Ok(parts)
    }

    /// Texts that are done.
    pub fn num_done(&self) -> u64 {
        self.manifest.parts.iter().map(|part| part.texts).sum()
    }

    /// Takes note of the next `batch`, and says whether it was done before.
    pub fn is_done(&mut self, batch: &[Record]) -> anyhow::Result<bool> {
        batch.iter().for_each(|record| hash(&mut self.input, record));
        let before = self.read;
        self.read += batch.len() as u64;
        if before >= self.num_done() {
            return Ok(false);
        }
        let mut end = 0;
        for part in &self.manifest.parts {
            end += part.texts;
            let inside = before < end && self.read > end;
            if inside || (self.read == end && part.input != self.input.finalize().to_hex().as_str()) {
                return Err(self.other("another input"));
            }
        }
        Ok(true)
    }

    /// Adds the vectors of a batch that was not done.
    pub fn add(&mut self, batch: &[Encoded]) -> anyhow::Result<()> {
        batch.iter().for_each(|encoded| write_record(encoded, &mut self.open));
        self.open_texts += batch.len() as u64;
        if self.open_texts >= self.part_texts {
            self.close()
        } else {
            Ok(())
        }
    }

    /// Hands all vectors to `each` in order; the input has been read to its end.
    pub fn replay(&mut self, mut each: impl FnMut(&Encoded) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if self.read < self.num_done() {
            return Err(self.other("a longer input"));
        }
        self.close()?;
        for at in 0..self.manifest.parts.len() {
            let path = self.path_of(at);
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let record = read_record(&mut rest);
                each(&record.with_context(|| format!("{}: not what was written", path.display()))?)?;
            }
        }
        Ok(())
    }

    /// Removes the parts, once the output is complete.
    pub fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    /// Makes a part of what is open.
    fn close(&mut self) -> anyhow::Result<()> {
        if self.open_texts == 0 {
            return Ok(());
        }
        let path = self.path_of(self.manifest.parts.len());
        write_whole(&path, &self.open)?;
        self.manifest.parts.push(Part {
            texts: self.open_texts,
            bytes: self.open.len() as u64,
            digest: blake3::hash(&self.open).to_hex().to_string(),
            input: self.input.finalize().to_hex().to_string(),
        });
        self.open.clear();
        self.open_texts = 0;
        write_whole(&self.folder.join(MANIFEST), &serde_json::to_vec(&self.manifest)?)
    }

    /// Refuses parts that are not as the manifest has them.
    fn check(&self) -> anyhow::Result<()> {
        for (at, part) in self.manifest.parts.iter().enumerate() {
            let path = self.path_of(at);
            let digest = digest(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if digest != (part.bytes, part.digest.clone()) {
                let (folder, remedy) = (self.folder.display(), "remove the folder to start anew");
                let message = format!(
                    "{}: {} bytes with another checksum expected; {remedy}: {folder}",
                    path.display(),
                    part.bytes
                );
                return Err(failure(Exit::Corrupt, message));
            }
        }
        Ok(())
    }

    fn path_of(&self, part: usize) -> PathBuf {
        self.folder.join(format!("part-{part:06}"))
    }

    fn other(&self, what: &str) -> anyhow::Error {
        let folder = self.folder.display();
        failure(
            Exit::Mismatch,
            format!("{folder} was begun with {what}: go on with the same, or remove the folder to start anew"),
        )
    }
}

/// Size and digest of a file.
fn digest(path: &Path) -> anyhow::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let mut file = BufReader::new(File::open(path)?);
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            return Ok((bytes, hasher.finalize().to_hex().to_string()));
        }
        hasher.update(&buffer[..len]);
        bytes += len as u64;
    }
}

/// Writes a file that appears complete or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    ensure!(!path.is_dir(), "{} is a folder", path.display());
    let mut sink = Sink::create(Some(path))?;
    sink.write_all(bytes)?;
    sink.finish()
}

/// Adds what of a record decides its vector.
fn hash(hasher: &mut blake3::Hasher, record: &Record) {
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(record.id.as_bytes());
    match &record.body {
        Body::Text { title, text } => {
            part(title.as_bytes());
            part(text.as_bytes());
            // An expansion that is empty still puts a separator behind the text.
            if let Some(expansion) = record.expansion() {
                part(b"expansion");
                part(expansion.as_bytes());
            }
        }
        Body::Vector(tokens) => {
            let mut bytes = Vec::new();
            super::write_tokens(tokens, &mut bytes);
            part(&bytes);
        }
    }
}
