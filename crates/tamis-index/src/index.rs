//! An opened index.

use crate::external_ids::ExternalIds;
use crate::forward::ForwardDoc;
use crate::layout::{
    BLOCK_LEN, FILE_KIND, FORWARD, FORWARD_BASES, FORWARD_STARTS, ID_ENDS, ID_TEXT, LISTS, ListWords, META, Meta,
    ORDER_DOCS, ORDER_POSITIONS, POSTINGS, TERMS, TermRecord, TermWords, VOCABULARY, num_windows, window_len,
};
use crate::mmap::SharedSlice;
use crate::postings::TermPostings;
use crate::validate::{Damage, ForwardSections, SearchSections, check_forward, check_order, check_search};
use crate::{Error, extras::EXTRA_PREFIX};
use bytemuck::{AnyBitPattern, NoUninit};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tamis_core::container::Container;
use tamis_core::{DocId, Quantiser, TermId, Vocabulary};

/// An immutable impact index, mapped from a file or borrowed from someone else's bytes.
///
/// Opening checks every checksum and every structure once; nothing that is read afterwards can panic or
/// leave its bounds. Reading allocates nothing and takes no lock, so one index serves any number of threads.
pub struct Index {
    bytes: SharedSlice<u8>,
    container: Container,
    meta: Meta,
    quantiser: Quantiser,
    terms: SharedSlice<TermWords>,
    lists: SharedSlice<ListWords>,
    postings: SharedSlice<u8>,
    forward: Forward,
    order: Option<Order>,
    vocabulary: Option<Vocabulary>,
    external_ids: Option<ExternalIds>,
}

struct Forward {
    bases: SharedSlice<[u32; 2]>,
    starts: SharedSlice<u32>,
    records: SharedSlice<u8>,
}

struct Order {
    docs: SharedSlice<u32>,
    positions: SharedSlice<u32>,
}

impl Index {
    /// Maps the file at `path` and checks every section once, in parallel.
    ///
    /// The file must not be changed while the index is open; a finished index never is, the builder
    /// replaces whole files.
    ///
    /// # Errors
    /// When the file cannot be read, is no index, of a newer version, or damaged anywhere: the error names
    /// path, section, what was expected and what was found.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::new(SharedSlice::map(path)?, path)
    }

    /// Reads an index from bytes owned by someone else, such as a section of a larger file.
    ///
    /// Bytes at an address that is a multiple of 8 are used in place, others are copied once.
    ///
    /// # Errors
    /// As [`Index::open`]; the path in errors is `(bytes)`.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Self::new(SharedSlice::aligned(Arc::new(bytes)), &PathBuf::from("(bytes)"))
    }

    fn new(bytes: SharedSlice<u8>, path: &Path) -> Result<Self, Error> {
        let damaged = |source| Error::Container {
            path: path.to_owned(),
            source,
        };
        let container = Container::open(&bytes, FILE_KIND).map_err(damaged)?;
        container.verify(&bytes).map_err(damaged)?;
        let sections = Sections {
            bytes: &bytes,
            container: &container,
            path,
        };
        let (meta, quantiser) = sections.meta()?;
        let (terms, lists) = (sections.get(TERMS)?, sections.get(LISTS)?);
        let postings = sections.get(POSTINGS)?;
        let search = SearchSections {
            meta,
            terms: &terms,
            lists: &lists,
            postings: &postings,
        };
        check_search(&search).map_err(|damage| damage.at(path))?;
        let forward = Forward {
            bases: sections.get(FORWARD_BASES)?,
            starts: sections.get(FORWARD_STARTS)?,
            records: sections.get(FORWARD)?,
        };
        check_forward(&forward.sections(meta)).map_err(|damage| damage.at(path))?;
        let order = sections.order(meta)?;
        let vocabulary = sections.vocabulary(meta)?;
        let external_ids = sections.external_ids(meta)?;
        Ok(Self {
            meta,
            quantiser,
            terms,
            lists,
            postings,
            forward,
            order,
            vocabulary,
            external_ids,
            container,
            bytes,
        })
    }

    /// Number of documents, empty ones included.
    #[inline]
    #[must_use]
    pub fn num_docs(&self) -> u32 {
        self.meta.num_docs
    }

    /// One above the largest term with a posting; 0 when there is none.
    #[inline]
    #[must_use]
    pub fn num_terms(&self) -> u32 {
        self.meta.num_terms
    }

    /// Number of (document, term) pairs.
    #[inline]
    #[must_use]
    pub fn num_postings(&self) -> u64 {
        self.meta.num_postings
    }

    /// Weights that were too heavy for the quantiser and are stored as impact 255.
    #[must_use]
    pub fn num_saturated(&self) -> u64 {
        self.meta.num_saturated
    }

    /// A window is `2^window_bits` positions, 8 to 16.
    #[inline]
    #[must_use]
    pub fn window_bits(&self) -> u32 {
        self.meta.window_bits
    }

    /// Number of windows; the last one may be short.
    #[inline]
    #[must_use]
    pub fn num_windows(&self) -> u32 {
        num_windows(self.meta.num_docs, self.meta.window_bits)
    }

    /// Number of positions in window `window`, 0 beyond the last.
    #[inline]
    #[must_use]
    pub fn window_len(&self, window: u32) -> u32 {
        window_len(self.meta.num_docs, self.meta.window_bits, window)
    }

    /// Number of blocks of [`BLOCK_LEN`] positions in window `window`, the last one may be short.
    #[inline]
    #[must_use]
    pub fn num_blocks(&self, window: u32) -> u32 {
        self.window_len(window).div_ceil(BLOCK_LEN)
    }

    /// What an impact stands for.
    #[inline]
    #[must_use]
    pub fn quantiser(&self) -> Quantiser {
        self.quantiser
    }

    /// Size of the whole file in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether positions differ from document ids.
    #[must_use]
    pub fn is_reordered(&self) -> bool {
        self.meta.reordered
    }

    /// Every section with its content, in file order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &[u8])> + '_ {
        let content = |name| self.container.section(&self.bytes, name).unwrap_or_default();
        self.container.names().map(move |name| (name, content(name)))
    }

    /// The postings of `term`; `None` when it has none or is unknown. Two contiguous reads.
    #[inline]
    #[must_use]
    pub fn term(&self, term: TermId) -> Option<TermPostings<'_>> {
        let [words, next] = self.terms.get(term.index()..)?.first_chunk()?;
        let record = TermRecord::from_words(*words);
        let lists = &self.lists[record.first_list as usize..next[0] as usize];
        (!lists.is_empty()).then_some(TermPostings {
            record,
            lists,
            postings: &self.postings,
            num_docs: self.meta.num_docs,
            window_bits: self.meta.window_bits,
        })
    }

    /// Document frequency of `term`, 0 when it is unknown.
    #[inline]
    #[must_use]
    pub fn term_df(&self, term: TermId) -> u32 {
        self.terms.get(term.index()).map_or(0, |words| words[1])
    }

    /// The document at `position`.
    ///
    /// # Panics
    /// When `position` is not below [`Index::num_docs`].
    #[inline]
    #[must_use]
    pub fn doc_of(&self, position: u32) -> DocId {
        assert!(
            position < self.meta.num_docs,
            "position is below the number of documents"
        );
        let order = self.order.as_ref();
        DocId::new(order.map_or(position, |order| order.docs[position as usize]))
    }

    /// The position of `doc`.
    ///
    /// # Panics
    /// When `doc` is not below [`Index::num_docs`].
    #[inline]
    #[must_use]
    pub fn position_of(&self, doc: DocId) -> u32 {
        assert!(
            doc.get() < self.meta.num_docs,
            "document is below the number of documents"
        );
        let order = self.order.as_ref();
        order.map_or(doc.get(), |order| order.positions[doc.index()])
    }

    /// The terms of `doc` with their impacts, by ascending term.
    ///
    /// # Panics
    /// When `doc` is not below [`Index::num_docs`].
    #[must_use]
    pub fn forward(&self, doc: DocId) -> ForwardDoc<'_> {
        let record = self.forward.sections(self.meta).record(doc.index());
        let record = record.expect("document is below the number of documents, and open checked every record");
        ForwardDoc::new(record).expect("open checked every record")
    }

    /// The term dictionary, if one was stored.
    #[must_use]
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.as_ref()
    }

    /// The user's own id of `doc`, if ids were stored and there is such a document.
    #[must_use]
    pub fn external_id(&self, doc: DocId) -> Option<&str> {
        self.external_ids.as_ref()?.get(doc)
    }

    /// The content of a section that was given as an extra; its name starts with `x-`.
    #[must_use]
    pub fn extra_section(&self, name: &str) -> Option<&[u8]> {
        let content = name
            .starts_with(EXTRA_PREFIX)
            .then(|| self.container.section(&self.bytes, name));
        content?.ok()
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("meta", &self.meta)
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

impl Forward {
    #[inline]
    fn sections(&self, meta: Meta) -> ForwardSections<'_> {
        ForwardSections {
            meta,
            bases: &self.bases,
            starts: &self.starts,
            records: &self.records,
        }
    }
}

/// Sections of a file whose checksums were compared.
struct Sections<'a> {
    bytes: &'a SharedSlice<u8>,
    container: &'a Container,
    path: &'a Path,
}

impl Sections<'_> {
    fn get<T: AnyBitPattern + NoUninit>(&self, name: &'static str) -> Result<SharedSlice<T>, Error> {
        let range = self.container.range(name).map_err(|source| Error::Container {
            path: self.path.to_owned(),
            source,
        })?;
        let len = range.len();
        self.bytes.section(range).ok_or_else(|| {
            let expected = format!("a multiple of {} bytes", size_of::<T>());
            Damage::new(name, "length", expected, len).at(self.path)
        })
    }

    fn meta(&self) -> Result<(Meta, Quantiser), Error> {
        let bytes = self.get::<u8>(META)?;
        let damage = |expected: &str, found: String| Damage::new(META, "record", expected, found).at(self.path);
        let record =
            <&[u8; Meta::BYTES]>::try_from(&bytes[..]).map_err(|_| damage("48 bytes", bytes.len().to_string()))?;
        let meta =
            Meta::from_bytes(record).ok_or_else(|| damage("known flags and blocks of 64", format!("{record:?}")))?;
        if !(8..=16).contains(&meta.window_bits) {
            return Err(damage("window_bits from 8 to 16", meta.window_bits.to_string()));
        }
        let quantiser = Quantiser::from_step(meta.step).map_err(|error| damage("a step", error.to_string()))?;
        Ok((meta, quantiser))
    }

    fn order(&self, meta: Meta) -> Result<Option<Order>, Error> {
        if !meta.reordered {
            return Ok(None);
        }
        let (docs, positions) = (self.get(ORDER_DOCS)?, self.get(ORDER_POSITIONS)?);
        check_order(meta.num_docs, &docs, &positions).map_err(|damage| damage.at(self.path))?;
        Ok(Some(Order { docs, positions }))
    }

    fn vocabulary(&self, meta: Meta) -> Result<Option<Vocabulary>, Error> {
        if !self.container.has(VOCABULARY) {
            return Ok(None);
        }
        let bytes = self.get::<u8>(VOCABULARY)?;
        let vocabulary = Vocabulary::from_bytes(&bytes).map_err(|source| Error::Vocabulary {
            path: self.path.to_owned(),
            source,
        })?;
        if vocabulary.len() < meta.num_terms as usize {
            let expected = format!("{} terms", meta.num_terms);
            return Err(Damage::new(VOCABULARY, "length", expected, vocabulary.len()).at(self.path));
        }
        Ok(Some(vocabulary))
    }

    fn external_ids(&self, meta: Meta) -> Result<Option<ExternalIds>, Error> {
        if !self.container.has(ID_ENDS) {
            return Ok(None);
        }
        let (ends, text) = (self.get(ID_ENDS)?, self.get(ID_TEXT)?);
        let ids = ExternalIds::new(ends, text, meta.num_docs).map_err(|damage| damage.at(self.path))?;
        Ok(Some(ids))
    }
}
