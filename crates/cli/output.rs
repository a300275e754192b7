//! What people and scripts see: messages on stderr, tables and JSON on stdout.
#![expect(clippy::print_stderr, reason = "the one place that prints")]

use anyhow::Context;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Prints an error message.
pub fn error(message: &str) {
    eprintln!("error: {message}");
}

/// Prints a message for people.
pub fn note(message: &str) {
    eprintln!("{message}");
}

/// Prints a line of data.
pub fn line(text: &str) {
    // A reader that went away (`tamis ... | head`) is no failure of ours.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints `value` as indented JSON.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Renders rows under a header: the first column to the left, the others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let render = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let mut lines = vec![render(&header)];
    lines.extend(rows.iter().map(|row| render(row)));
    lines.join("\n")
}

/// A number with thousands separated: 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Where a command writes its data: stdout, or a file that appears only when it is complete.
///
/// What is there and is no regular file (a pipe, `/dev/null`) is written to as it stands, never replaced; a link is
/// followed, so that the file behind it is the one that changes.
pub struct Sink {
    out: BufWriter<Box<dyn Write>>,
    /// The unfinished file and its final name.
    rename: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    /// Opens `path`, or stdout when there is none or it is `-`.
    pub fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let out: Box<dyn Write> = Box::new(io::stdout());
            return Ok(Self {
                out: BufWriter::new(out),
                rename: None,
            });
        };
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let file = File::options().write(true).open(path);
            let file = file.with_context(|| format!("cannot write {}", path.display()))?;
            return Ok(Self {
                out: BufWriter::new(Box::new(file)),
                rename: None,
            });
        }
        let mut name = path
            .file_name()
            .with_context(|| format!("{} is not a file name", path.display()))?
            .to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
        Ok(Self {
            out: BufWriter::new(Box::new(file)),
            rename: Some((temporary, path.to_owned())),
        })
    }

    /// Completes the output; a file gets its name only now.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.out.flush().context("cannot write the output")?;
        if let Some((temporary, path)) = self.rename.take() {
            File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((temporary, _)) = self.rename.take() {
            let _ = fs::remove_file(temporary);
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = vec![
            vec!["bm25".to_owned(), "0.5".to_owned()],
            vec!["x".to_owned(), "12.25".to_owned()],
        ];
        assert_eq!(
            table(&["model", "ndcg"], &rows),
            "model   ndcg\nbm25     0.5\nx      12.25"
        );
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn an_unfinished_file_never_appears() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("out.jsonl");
        let mut sink = Sink::create(Some(&path)).expect("writable");
        sink.write_all(b"half").expect("writable");
        drop(sink);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
        let mut sink = Sink::create(Some(&path)).expect("writable");
        sink.write_all(b"whole").expect("writable");
        sink.finish().expect("writable");
        assert_eq!(fs::read(&path).expect("there"), b"whole");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_a_pipe_is_written_to() {
        use std::os::unix::fs::FileTypeExt;
        let dir = tempfile::tempdir().expect("temporary folder");
        let write = |path: &Path| {
            let mut sink = Sink::create(Some(path)).expect("writable");
            sink.write_all(b"whole").expect("writable");
            sink.finish().expect("writable");
        };
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, b"old").expect("writable");
        std::os::unix::fs::symlink(&file, &link).expect("links are supported");
        write(&link);
        assert_eq!(fs::read(&file).expect("there"), b"whole");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());

        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo is part of every Unix").success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe)
        });
        write(&pipe);
        assert!(fs::metadata(&pipe).expect("there").file_type().is_fifo());
        assert_eq!(reader.join().expect("no panic").expect("readable"), b"whole");
    }
}
