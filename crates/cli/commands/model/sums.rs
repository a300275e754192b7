//! `SHA256SUMS`: a digest and a path a line, as `sha256sum` writes and checks them.

use crate::exit::{Exit, failure};
use crate::output::Sink;
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

/// The file of checksums.
pub const FILE_NAME: &str = "SHA256SUMS";

/// Digests by path, relative to the directory, with `/` between folders.
pub type Sums = BTreeMap<String, String>;

/// The digests of all files below `dir`; hidden ones are no part of a model.
pub fn of(dir: &Path) -> anyhow::Result<Sums> {
    let mut sums = Sums::new();
    add(dir, "", &mut sums)?;
    Ok(sums)
}

fn add(dir: &Path, prefix: &str, sums: &mut Sums) -> anyhow::Result<()> {
    let read = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(read)? {
        let entry = entry.with_context(read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let (path, relative) = (entry.path(), format!("{prefix}{name}"));
        if name.starts_with('.') || relative == FILE_NAME {
            continue;
        }
        if entry.file_type()?.is_dir() {
            add(&path, &format!("{relative}/"), sums)?;
        } else if path.is_file() {
            sums.insert(relative, digest(&path)?);
        }
    }
    Ok(())
}

/// The digest of a file, 64 hexadecimal digits.
fn digest(path: &Path) -> anyhow::Result<String> {
    let read = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(read)?;
    let mut buffer = vec![0; 1 << 18];
    let mut hasher = Sha256::new();
    loop {
        let len = file.read(&mut buffer).with_context(read)?;
        if len == 0 {
            break;
        }
        hasher.update(&buffer[..len]);
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Writes `sums` to `dir`.
pub fn write(dir: &Path, sums: &Sums) -> anyhow::Result<()> {
    let mut sink = Sink::create(Some(&dir.join(FILE_NAME)))?;
    for (path, digest) in sums {
        writeln!(sink, "{digest}  {path}")?;
    }
    sink.finish()
}

/// Reads the checksums of `dir`; `None` where there are none.
pub fn read(dir: &Path) -> anyhow::Result<Option<Sums>> {
    let path = dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut sums = Sums::new();
    for (number, line) in text.lines().enumerate() {
        let parsed = line.split_once(' ').and_then(|(digest, rest)| {
            // The second sign says text or binary, which are the same here.
            let name = rest.strip_prefix([' ', '*'])?;
            let name = name.strip_prefix("./").unwrap_or(name);
            let is_digest = digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_digest.then(|| (name.to_owned(), digest.to_ascii_lowercase()))
        });
        let Some((name, digest)) = parsed else {
            let message = format!(
                "{}:{}: a SHA-256 digest and a path expected",
                path.display(),
                number + 1
            );
            return Err(failure(Exit::Corrupt, message));
        };
        sums.insert(name, digest);
    }
    Ok(Some(sums))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256sum() {
        let dir = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(dir.path().join("sub")).expect("writable");
        fs::write(dir.path().join("sub/empty"), "").expect("writable");
        fs::write(dir.path().join("abc"), "abc").expect("writable");
        fs::write(dir.path().join(".hidden"), "x").expect("writable");
        let sums = of(dir.path()).expect("readable");
        let expected = [
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "sub/empty",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
        ];
        assert_eq!(
            sums,
            expected
                .map(|(path, digest)| (path.to_owned(), digest.to_owned()))
                .into()
        );
        write(dir.path(), &sums).expect("writable");
        assert_eq!(read(dir.path()).expect("valid"), Some(sums.clone()));
        assert_eq!(
            of(dir.path()).expect("readable"),
            sums,
            "the sums themselves are not counted"
        );
        fs::write(dir.path().join(FILE_NAME), "abc  x\n").expect("writable");
        assert!(read(dir.path()).is_err());
    }
}
