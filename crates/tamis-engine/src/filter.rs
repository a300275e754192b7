//! Filter expressions: which documents a search may return.

mod evaluate;
mod lexer;
mod parser;

use crate::Error;
use crate::schema::{FieldSchema, FieldValue};
use roaring::RoaringBitmap;
use std::ops::Bound;
use tantivy::index::SegmentReader;

/// The longest expression, in bytes.
pub const MAX_FILTER_BYTES: usize = 16 << 10;

/// The most values of one expression.
pub const MAX_FILTER_VALUES: usize = 4096;

/// The most levels of brackets and `NOT`.
pub const MAX_FILTER_DEPTH: usize = 32;

/// A filter expression that fits a schema.
///
/// ```text
/// expression = conjunction { "OR" conjunction }
/// conjunction = factor { "AND" factor }
/// factor     = "NOT" factor | "(" expression ")" | "EXISTS" "(" field ")" | field test
/// test       = ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value
///            | [ "NOT" ] "IN" "[" value { "," value } "]"
///            | "BETWEEN" value "AND" value                      (both ends included)
/// value      = "text" | 'text' | word                           (quotes take \" \' \\ as escapes)
/// ```
///
/// Example: `year >= 1990 AND (lang = "en" OR tags IN ["a", "b"]) AND NOT draft = true`.
///
/// Words of the grammar are written in any case; `AND` binds tighter than `OR`. A value is read by the type
/// of its field: integers and floats in digits, `true` and `false`, dates as `2024-05-01` or RFC 3339
/// (unquoted too), keywords compared byte by byte. A field with several values passes a test when one of
/// them does; `!=`, `NOT IN` and `NOT` hold for every other document, also for those without the field.
/// A filter has at most 16 KiB, 4,096 values and 32 levels of brackets and `NOT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test { field: String, test: Test },
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Exists,
    OneOf(Vec<FieldValue>),
    Range(Bound<FieldValue>, Bound<FieldValue>),
}

impl Filter {
    /// Reads `expression` over the fields of `schema`.
    ///
    /// # Errors
    /// [`Error::BadFilter`] with the place, the reason and, for an unknown field, the nearest name.
    pub fn parse(expression: &str, schema: &FieldSchema) -> Result<Self, Error> {
        parser::parse(expression, schema).map(|root| Self { root })
    }

    /// tantivy's numbers of the segment's documents that pass, deleted ones included.
    pub(crate) fn matching(&self, reader: &SegmentReader) -> tantivy::Result<RoaringBitmap> {
        evaluate::matching(&self.root, reader)
    }
}
