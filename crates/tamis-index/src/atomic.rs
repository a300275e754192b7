//! Files that appear whole or not at all.

use crate::Error;
use crate::spill::create_unique;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes a file beside `path` with `fill`, flushes it to the device, renames it to `path`, and flushes the folder.
///
/// On an error nothing is left behind and `path` is as it was.
pub(crate) fn write<T>(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, Error>) -> Result<T, Error> {
    let name = path.file_name().unwrap_or_default().to_owned();
    let (file, temp) = create_unique(|mark| {
        let mut name = name.clone();
        name.push(format!(".{mark}.tmp"));
        path.with_file_name(name)
    })?;
    let outcome = write_and_rename(path, file, &temp, fill);
    if outcome.is_err() {
        // Whatever went wrong is reported; the leftover is in nobody's way.
        let _ = fs::remove_file(&temp);
    }
    outcome
}

fn write_and_rename<T>(
    path: &Path,
    file: File,
    temp: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let value = fill(&mut out).map_err(|error| match error {
        Error::Write { source, .. } => Error::io(temp)(source),
        other => other,
    })?;
    out.flush().map_err(Error::io(temp))?;
    out.get_ref().sync_all().map_err(Error::io(temp))?;
    drop(out);
    fs::rename(temp, path).map_err(Error::io(path))?;
    // Only Unix can flush a folder; elsewhere the rename is as durable as the system makes it.
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let handle = File::open(folder).map_err(Error::io(folder))?;
        handle.sync_all().map_err(Error::io(folder))?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        let put = |content: &[u8]| {
            let written = write(&path, |out| out.write_all(content).map_err(Error::io(Path::new("out"))));
            written.expect("writable");
            assert_eq!(fs::read(&path).expect("there"), content);
        };
        put(b"first");
        put(b"second");
        let failed: Result<(), _> = write(&path, |out| {
            out.write_all(b"half").map_err(Error::io(Path::new("out")))?;
            Err(Error::SectionName { name: String::new() })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("there"), b"second");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no leftover");
        let nowhere = write(&dir.path().join("no/such/file"), |_| Ok(()));
        assert!(matches!(nowhere, Err(Error::Io { .. })));
    }
}
