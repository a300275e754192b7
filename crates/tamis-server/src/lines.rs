//! Lines of a streamed body, one at a time, in bounded memory.

use actix_web::web::{Bytes, BytesMut};

/// One line of the body.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole line without its line end, and its number from 1.
    Text {
        /// Number of the line.
        number: usize,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A line above the limit; its bytes were dropped as they came.
    TooLong {
        /// Number of the line.
        number: usize,
    },
}

/// Cuts pieces of a body into lines. Holds at most one line of the limit and one piece.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    pending: BytesMut,
    scanned: usize,
    overlong: bool,
    number: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            pending: BytesMut::new(),
            scanned: 0,
            overlong: false,
            number: 0,
        }
    }

    /// Takes the next piece of the body; ask [`Self::next_line`] until it has no more before pushing again.
    pub fn push(&mut self, piece: &[u8]) {
        self.pending.extend_from_slice(piece);
    }

    /// The next whole line, or nothing until more is pushed.
    pub fn next_line(&mut self) -> Option<Line> {
        if let Some(offset) = self.pending[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let mut line = self.pending.split_to(self.scanned + offset + 1);
            line.truncate(line.len() - 1);
            self.scanned = 0;
            return Some(self.line(line));
        }
        self.scanned = self.pending.len();
        if self.scanned > self.limit {
            self.overlong = true;
            self.pending.clear();
            self.scanned = 0;
        }
        None
    }

    /// The last line, when the body does not end with a line end.
    pub fn finish(&mut self) -> Option<Line> {
        if self.pending.is_empty() && !self.overlong {
            return None;
        }
        let line = self.pending.split();
        self.scanned = 0;
        Some(self.line(line))
    }

    fn line(&mut self, mut line: BytesMut) -> Line {
        self.number += 1;
        let number = self.number;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if std::mem::take(&mut self.overlong) || line.len() > self.limit {
            return Line::TooLong { number };
        }
        Line::Text {
            number,
            bytes: line.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of `body` when it arrives in pieces of `size` bytes.
    fn cut(body: &[u8], size: usize, limit: usize) -> Vec<Line> {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        for piece in body.chunks(size) {
            lines.push(piece);
            while let Some(line) = lines.next_line() {
                found.push(line);
            }
            assert!(lines.pending.len() <= limit + size, "memory is bounded");
        }
        found.extend(lines.finish());
        assert_eq!(lines.finish(), None);
        found
    }

    fn text(number: usize, bytes: &'static str) -> Line {
        Line::Text {
            number,
            bytes: Bytes::from_static(bytes.as_bytes()),
        }
    }

    #[test]
    fn lines_do_not_depend_on_the_pieces() {
        let body = b"one\r\ntwo\n\nfour is far too long\nfive\nsix";
        let expected = vec![
            text(1, "one"),
            text(2, "two"),
            text(3, ""),
            Line::TooLong { number: 4 },
            text(5, "five"),
            text(6, "six"),
        ];
        for size in 1..=body.len() {
            assert_eq!(cut(body, size, 6), expected, "pieces of {size} bytes");
        }
    }

    #[test]
    fn an_endless_line_is_one_line_too_long() {
        assert_eq!(cut(&[b'x'; 1000], 7, 10), vec![Line::TooLong { number: 1 }]);
        assert_eq!(cut(b"", 1, 10), vec![]);
    }
}
