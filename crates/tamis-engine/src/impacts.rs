//! The impact component of a segment, opened.

use crate::Error;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tamis_core::{DocId, TermId};
use tamis_index::Index;
use tantivy::index::{SegmentComponent, SegmentId, SegmentReader};

/// The component's file extension.
pub(crate) const EXTENSION: &str = "imp";

/// tantivy's number of each document, by `DocId`.
pub(crate) const DOCS: &str = "x-docs";
/// `DocId` of each document, by tantivy's number.
pub(crate) const RANKS: &str = "x-ranks";
/// Words of each document, by tantivy's number.
pub(crate) const LENGTHS: &str = "x-lengths";
/// The collection's term id of each of the index's terms.
pub(crate) const TERMS: &str = "x-terms";

/// The impact index of one segment with the maps between its ids and those around it.
///
/// A `DocId` is the rank of the document's external id in byte order (documents that were replaced within
/// one commit share an id; at most one of them is alive). Terms are numbered densely within the segment,
/// in the order of the collection's term ids, so that a small segment has a small directory.
pub(crate) struct SegmentImpacts {
    index: Index,
}

/// Little-endian u32 values in a section.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(&'a [u8]);

impl Words<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len() / 4
    }

    pub(crate) fn get(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(4 * at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        let chunks = self.0.chunks_exact(4);
        chunks.map(|bytes| u32::from_le_bytes(bytes.try_into().expect("chunks of four")))
    }

    /// Where `value` is among ascending values.
    fn position(&self, value: u32) -> Option<usize> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.get(middle)?.cmp(&value) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        None
    }
}

impl SegmentImpacts {
    /// Opens the component of `reader`'s segment and checks its maps; errors name `path`.
    pub(crate) fn open(reader: &SegmentReader, path: &Path) -> Result<Self, Error> {
        let file = reader
            .open_read(SegmentComponent::Custom(EXTENSION.to_owned()))
            .map_err(|error| Error::internal("opening an impact component", error))?;
        let bytes = file.read_bytes().map_err(|error| Error::io(path, error))?;
        let index = Index::from_bytes(bytes).map_err(|error| {
            if error.is_corruption() {
                Error::corrupt(path, "an impact index", error)
            } else {
                Error::internal("opening an impact component", error)
            }
        })?;
        let impacts = Self { index };
        impacts.check(reader.max_doc(), path)?;
        Ok(impacts)
    }

    fn check(&self, num_docs: u32, path: &Path) -> Result<(), Error> {
        let bad = |section: &str, expected: String, found: String| {
            Error::corrupt(path, format!("section `{section}`: {expected}"), found)
        };
        if self.index.num_docs() != num_docs {
            return Err(Error::corrupt(
                path,
                format!("{num_docs} documents"),
                self.index.num_docs(),
            ));
        }
        for section in [DOCS, RANKS, LENGTHS] {
            let bytes = self.index.extra_section(section).map_or(0, <[u8]>::len);
            if bytes != 4 * num_docs as usize {
                return Err(bad(
                    section,
                    format!("{} bytes", 4 * u64::from(num_docs)),
                    bytes.to_string(),
                ));
            }
        }
        for (doc, rank) in (0..).zip(self.words(RANKS).iter()) {
            if self.words(DOCS).get(rank as usize) != Some(doc) {
                return Err(bad(
                    RANKS,
                    format!("the inverse of `{DOCS}`"),
                    format!("{rank} at {doc}"),
                ));
            }
        }
        let terms = self.words(TERMS);
        if !terms.iter().is_sorted_by(|a, b| a < b) || terms.len() < self.index.num_terms() as usize {
            return Err(bad(TERMS, "ascending terms".to_owned(), "others".to_owned()));
        }
        let ids = (0..num_docs).map(|doc| self.index.external_id(DocId::new(doc)));
        if !ids.is_sorted_by(|a, b| a.is_some() && a <= b) {
            return Err(bad("ids", "ascending ids".to_owned(), "others".to_owned()));
        }
        Ok(())
    }

    fn words(&self, section: &str) -> Words<'_> {
        Words(self.index.extra_section(section).unwrap_or_default())
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The external id of `doc`.
    pub(crate) fn id(&self, doc: DocId) -> &str {
        self.index.external_id(doc).unwrap_or_default()
    }

    /// All documents of external id `id`, a range of `DocId`s.
    pub(crate) fn find(&self, id: &str) -> std::ops::Range<u32> {
        let partition = |is_before: &dyn Fn(&str) -> bool| {
            let (mut from, mut to) = (0, self.index.num_docs());
            while from < to {
                let middle = u32::midpoint(from, to);
                if is_before(self.id(DocId::new(middle))) {
                    from = middle + 1;
                } else {
                    to = middle;
                }
            }
            from
        };
        partition(&|known| known < id)..partition(&|known| known <= id)
    }

    /// tantivy's number of `doc`.
    pub(crate) fn tantivy_doc(&self, doc: DocId) -> u32 {
        self.words(DOCS)
            .get(doc.index())
            .expect("open checked the length of the map")
    }

    /// `DocId`s by tantivy's numbers.
    pub(crate) fn ranks(&self) -> Words<'_> {
        self.words(RANKS)
    }

    /// Numbers of words by tantivy's numbers.
    pub(crate) fn lengths(&self) -> Words<'_> {
        self.words(LENGTHS)
    }

    /// The collection's term ids of the index's terms, ascending.
    pub(crate) fn terms(&self) -> Words<'_> {
        self.words(TERMS)
    }

    /// The index's id of the collection's `term`.
    pub(crate) fn local_term(&self, term: TermId) -> Option<TermId> {
        let at = self.terms().position(term.get())?;
        u32::try_from(at).ok().map(TermId::new)
    }
}

/// Components that are in use, by segment, so that a merge need not open them a second time. An entry
/// goes when the last snapshot that uses the segment goes.
#[derive(Default)]
pub(crate) struct ImpactCache(Mutex<HashMap<SegmentId, Weak<SegmentImpacts>>>);

impl ImpactCache {
    /// The component of `reader`'s segment, opened now if nobody has it open.
    pub(crate) fn get(&self, reader: &SegmentReader, path: &Path) -> Result<Arc<SegmentImpacts>, Error> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = known().get(&reader.segment_id()).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let opened = Arc::new(SegmentImpacts::open(reader, path)?);
        let mut known = known();
        known.retain(|_, impacts| impacts.strong_count() > 0);
        known.insert(reader.segment_id(), Arc::downgrade(&opened));
        Ok(opened)
    }
}
