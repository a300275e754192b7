//! Lines of a text file from outside: bounded, checked, and named by number in every error.

use std::io::{self, BufRead};
use std::path::Path;
use std::str;

use crate::error::{Error, Place};
use crate::text_file;

/// The longest line that is read, in bytes. Longer ones are refused: a record of this size is damage or an attack.
pub const MAX_LINE_BYTES: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the lines of a UTF-8 text file, one at a time, into one buffer.
///
/// Lines end with a line feed, or a carriage return and a line feed; blank lines are passed over but
/// counted, and a byte order mark is dropped. Memory is the longest line, at most [`MAX_LINE_BYTES`].
pub struct LineReader {
    input: Box<dyn BufRead + Send>,
    file: String,
    number: u64,
    limit: usize,
    buffer: Vec<u8>,
}

/// One line and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The text without its line end; not blank.
    pub text: &'a str,
    /// The line number, counted from 1.
    pub number: u64,
    file: &'a str,
}

impl Line<'_> {
    /// The place of this line, for errors.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            file: self.file.to_owned(),
            line: self.number,
            column: None,
        }
    }

    /// The place of `part` within this line; `part` must be a slice of [`text`](Self::text).
    #[must_use]
    pub fn place_of(&self, part: &str) -> Place {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        self.place().at_column(offset + 1)
    }
}

impl LineReader {
    /// Opens a text file; gzip and zstd are told by their first bytes and read through.
    ///
    /// # Errors
    /// [`Error::Open`] when the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let input = text_file::open(path).map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::new(input, path.display().to_string()))
    }

    /// Reads from `input`; `file` is its name in errors.
    #[must_use]
    pub fn new(input: Box<dyn BufRead + Send>, file: String) -> Self {
        Self {
            input,
            file,
            number: 0,
            limit: MAX_LINE_BYTES,
            buffer: Vec::new(),
        }
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// A failed read, a line that is too long, bytes that are not UTF-8.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        while self.fill_buffer()? {
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = match str::from_utf8(&self.buffer) {
                Ok(text) => text,
                Err(error) => {
                    return Err(Error::NotUtf8 {
                        place: self.place().at_column(error.valid_up_to() + 1),
                    });
                }
            };
            return Ok(Some(Line {
                text,
                number: self.number,
                file: &self.file,
            }));
        }
        Ok(None)
    }

    /// Puts the next line into the buffer, without its end; false at the end of the file.
    fn fill_buffer(&mut self) -> Result<bool, Error> {
        self.buffer.clear();
        let room = u64::try_from(self.limit).unwrap_or(u64::MAX).saturating_add(2);
        let read = io::Read::take(&mut self.input, room)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| Error::Read {
                file: self.file.clone(),
                lines_read: self.number,
                source,
            })?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
        }
        if self.buffer.len() > self.limit {
            return Err(Error::LineTooLong {
                place: self.place(),
                limit: self.limit,
            });
        }
        if self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(true)
    }

    fn place(&self) -> Place {
        Place {
            file: self.file.clone(),
            line: self.number,
            column: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn reader(bytes: &[u8]) -> LineReader {
        LineReader::new(Box::new(Cursor::new(bytes.to_vec())), "file".to_owned())
    }

    fn all(bytes: &[u8]) -> Vec<(u64, String)> {
        let mut lines = reader(bytes);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("the text is clean") {
            found.push((line.number, line.text.to_owned()));
        }
        found
    }

    #[test]
    fn blank_lines_are_counted_but_not_given() {
        assert_eq!(
            all(b"\xef\xbb\xbfa\r\n\n  \nb"),
            [(1, "a".to_owned()), (4, "b".to_owned())]
        );
        assert_eq!(all(b""), []);
    }

    #[test]
    fn bytes_that_are_not_text_are_placed_to_the_column() {
        let mut lines = reader(b"fine\nab\xffc\n");
        lines.next_line().expect("the first line is clean");
        let error = lines.next_line().expect_err("the second line is not UTF-8");
        assert_eq!(
            error.to_string(),
            "file, line 2, column 3: the bytes are not UTF-8 text"
        );
    }

    #[test]
    fn a_line_without_end_stops_at_the_limit() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        let mut lines = LineReader::new(Box::new(endless), "bomb".to_owned());
        lines.limit = 1000;
        let error = lines.next_line().expect_err("the line never ends");
        assert!(matches!(error, Error::LineTooLong { limit: 1000, .. }), "{error}");
        assert!(lines.buffer.capacity() < 100_000);
    }

    #[test]
    fn the_limit_itself_fits() {
        let mut lines = reader(b"12345\r\n123456\n");
        lines.limit = 5;
        assert_eq!(
            lines
                .next_line()
                .expect("five bytes fit")
                .expect("there is a line")
                .text,
            "12345"
        );
        assert!(lines.next_line().is_err());
    }

    #[test]
    fn a_part_knows_its_column() {
        let mut lines = reader(b"one two\n");
        let line = lines.next_line().expect("clean").expect("there is a line");
        assert_eq!(line.place_of(&line.text[4..]).column, Some(5));
    }
}
