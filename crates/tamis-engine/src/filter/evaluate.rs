//! A tree to the documents that pass, from the columns of tantivy's fast fields.

use super::{Node, Test};
use crate::fields::column_name;
use crate::schema::FieldValue;
use roaring::RoaringBitmap;
use std::ops::{Bound, RangeInclusive};
use tantivy::DateTime;
use tantivy::columnar::{Column, StrColumn};
use tantivy::index::SegmentReader;

pub(super) fn matching(node: &Node, reader: &SegmentReader) -> tantivy::Result<RoaringBitmap> {
    match node {
        Node::All(nodes) => {
            let mut passing = everything(reader);
            for node in nodes {
                if passing.is_empty() {
                    break;
                }
                passing &= matching(node, reader)?;
            }
            Ok(passing)
        }
        Node::Any(nodes) => {
            let mut passing = RoaringBitmap::new();
            for node in nodes {
                passing |= matching(node, reader)?;
            }
            Ok(passing)
        }
        Node::Not(node) => Ok(everything(reader) - matching(node, reader)?),
        Node::Test { field, test } => evaluate(&column_name(field), test, reader),
    }
}

fn everything(reader: &SegmentReader) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..reader.max_doc());
    all
}

fn evaluate(column: &str, test: &Test, reader: &SegmentReader) -> tantivy::Result<RoaringBitmap> {
    let columns = reader.fast_fields();
    let mut found = Found::new(reader);
    // A segment without any value of a field has no column for it, so at most one of these is there.
    if let Some(column) = columns.str(column)? {
        for range in keyword_ranges(&column, test)? {
            found.add(column.ords(), range);
        }
    } else if let Some(column) = columns.column_opt::<i64>(column)? {
        for range in ranges(
            test,
            (i64::MIN, i64::MAX),
            integer,
            |n| n.checked_add(1),
            |n| n.checked_sub(1),
        ) {
            found.add(&column, range);
        }
    } else if let Some(column) = columns.column_opt::<f64>(column)? {
        let (up, down) = (|n: f64| Some(n.next_up()), |n: f64| Some(n.next_down()));
        for range in ranges(test, (f64::NEG_INFINITY, f64::INFINITY), float, up, down) {
            found.add(&column, range);
        }
    } else if let Some(column) = columns.column_opt::<bool>(column)? {
        let (up, down) = (|b: bool| (!b).then_some(true), |b: bool| b.then_some(false));
        for range in ranges(test, (false, true), boolean, up, down) {
            found.add(&column, range);
        }
    } else if let Some(column) = columns.column_opt::<DateTime>(column)? {
        let date = DateTime::from_timestamp_nanos;
        for range in ranges(
            test,
            (i64::MIN, i64::MAX),
            nanos,
            |n| n.checked_add(1),
            |n| n.checked_sub(1),
        ) {
            found.add(&column, date(*range.start())..=date(*range.end()));
        }
    }
    Ok(found.passing)
}

/// Collects the documents with a value in one of several ranges.
struct Found {
    passing: RoaringBitmap,
    num_docs: u32,
    buffer: Vec<u32>,
}

impl Found {
    fn new(reader: &SegmentReader) -> Self {
        Self {
            passing: RoaringBitmap::new(),
            num_docs: reader.max_doc(),
            buffer: Vec::new(),
        }
    }

    fn add<T: PartialOrd + Copy + std::fmt::Debug + Send + Sync + 'static>(
        &mut self,
        column: &Column<T>,
        range: RangeInclusive<T>,
    ) {
        // Ranges beyond the column's values wrap around in its packed form: cut them to what is there.
        let (least, greatest) = (column.min_value(), column.max_value());
        let start = if *range.start() < least { least } else { *range.start() };
        let end = if *range.end() > greatest {
            greatest
        } else {
            *range.end()
        };
        if start > end {
            return;
        }
        let range = start..=end;
        self.buffer.clear();
        column.get_docids_for_value_range(range, 0..self.num_docs, &mut self.buffer);
        self.passing.extend(self.buffer.iter().copied());
    }
}

fn integer(value: &FieldValue) -> Option<i64> {
    match value {
        FieldValue::Integer(number) => Some(*number),
        _ => None,
    }
}

fn nanos(value: &FieldValue) -> Option<i64> {
    match value {
        FieldValue::Date(nanos) => Some(*nanos),
        _ => None,
    }
}

fn float(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Float(number) => Some(*number),
        _ => None,
    }
}

fn boolean(value: &FieldValue) -> Option<bool> {
    match value {
        FieldValue::Bool(value) => Some(*value),
        _ => None,
    }
}

/// The ranges of values, both ends included, that pass `test`. `up` and `down` give the neighbours.
fn ranges<T: Copy>(
    test: &Test,
    (least, greatest): (T, T),
    value_of: impl Fn(&FieldValue) -> Option<T>,
    up: impl Fn(T) -> Option<T>,
    down: impl Fn(T) -> Option<T>,
) -> Vec<RangeInclusive<T>> {
    match test {
        Test::Exists => vec![least..=greatest],
        Test::OneOf(values) => values.iter().filter_map(&value_of).map(|value| value..=value).collect(),
        Test::Range(low, high) => {
            let low = match low {
                Bound::Unbounded => Some(least),
                Bound::Included(value) => value_of(value),
                Bound::Excluded(value) => value_of(value).and_then(up),
            };
            let high = match high {
                Bound::Unbounded => Some(greatest),
                Bound::Included(value) => value_of(value),
                Bound::Excluded(value) => value_of(value).and_then(down),
            };
            low.zip(high).map(|(low, high)| low..=high).into_iter().collect()
        }
    }
}

/// The ranges of dictionary ordinals that pass `test`; ordinals follow the order of bytes.
fn keyword_ranges(column: &StrColumn, test: &Test) -> tantivy::Result<Vec<RangeInclusive<u64>>> {
    let text = |value: &FieldValue| match value {
        FieldValue::Keyword(text) => text.clone(),
        _ => String::new(),
    };
    // The number of keywords below `text`, and whether `text` itself is there.
    let below = |text: &str| -> tantivy::Result<(u64, bool)> {
        let dictionary = column.dictionary();
        if let Some(ord) = dictionary.term_ord(text.as_bytes())? {
            return Ok((ord, true));
        }
        let (mut from, mut to) = (0, dictionary.num_terms() as u64);
        let mut term = String::new();
        while from < to {
            let middle = u64::midpoint(from, to);
            term.clear();
            column.ord_to_str(middle, &mut term)?;
            if term.as_str() < text {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok((from, false))
    };
    Ok(match test {
        Test::Exists => vec![0..=u64::MAX],
        Test::OneOf(values) => {
            let mut ranges = Vec::new();
            for value in values {
                if let (ord, true) = below(&text(value))? {
                    ranges.push(ord..=ord);
                }
            }
            ranges
        }
        Test::Range(low, high) => {
            let first = match low {
                Bound::Unbounded => 0,
                Bound::Included(value) => below(&text(value))?.0,
                Bound::Excluded(value) => {
                    let (ord, is_there) = below(&text(value))?;
                    ord + u64::from(is_there)
                }
            };
            let end = match high {
                Bound::Unbounded => u64::MAX,
                Bound::Excluded(value) => below(&text(value))?.0,
                Bound::Included(value) => {
                    let (ord, is_there) = below(&text(value))?;
                    ord + u64::from(is_there)
                }
            };
            end.checked_sub(1).map(|last| first..=last).into_iter().collect()
        }
    })
}
