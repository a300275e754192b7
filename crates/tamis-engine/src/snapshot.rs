//! An immutable view of a collection at one commit.

use crate::Error;
use crate::bits::Bits;
use crate::config::CollectionConfig;
use crate::fields::{Fields, Source};
use crate::impacts::{EXTENSION, ImpactCache, SegmentImpacts};
use crate::stats::CollectionStats;
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use tamis_core::{DocId, Quantiser, TermId, Vocabulary};
use tamis_encoder::Encoder;
use tamis_query::Scratch;
use tantivy::index::{SegmentId, SegmentReader};
use tantivy::schema::Value;
use tantivy::store::StoreReader;
use tantivy::{Index, TantivyDocument};

/// Blocks of stored documents kept decompressed, per segment.
const STORE_CACHE_BLOCKS: usize = 32;

/// What all snapshots of a collection share.
pub(crate) struct Shared {
    pub(crate) config: CollectionConfig,
    pub(crate) encoder: Option<Arc<dyn Encoder>>,
    pub(crate) fields: Fields,
    pub(crate) quantiser: Quantiser,
    /// Only ever grows, so that a snapshot can use a later state of it: terms it does not know yet have no
    /// postings in its segments.
    pub(crate) vocabulary: RwLock<Vocabulary>,
    pub(crate) cache: Arc<ImpactCache>,
    scratches: Mutex<Vec<Scratch>>,
}

impl Shared {
    pub(crate) fn new(
        config: CollectionConfig,
        encoder: Option<Arc<dyn Encoder>>,
        quantiser: Quantiser,
        vocabulary: Vocabulary,
    ) -> Self {
        Self {
            fields: Fields::new(&config.fields),
            config,
            encoder,
            quantiser,
            vocabulary: RwLock::new(vocabulary),
            cache: Arc::default(),
            scratches: Mutex::default(),
        }
    }

    pub(crate) fn vocabulary(&self) -> RwLockReadGuard<'_, Vocabulary> {
        self.vocabulary.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` with the memory of an earlier search.
    pub(crate) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let pool = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = pool().pop();
        let mut scratch = taken.unwrap_or_default();
        let result = work(&mut scratch);
        pool().push(scratch);
        result
    }
}

/// One segment of a snapshot.
pub(crate) struct SegmentView {
    id: SegmentId,
    delete_opstamp: Option<u64>,
    pub(crate) reader: SegmentReader,
    store: StoreReader,
    pub(crate) impacts: Arc<SegmentImpacts>,
    /// Live documents; `None` when all are.
    pub(crate) live: Option<RoaringBitmap>,
    /// The same by tantivy's numbers.
    pub(crate) live_bits: Option<Bits>,
    pub(crate) num_live: u32,
    /// How many deleted documents have each of the segment's terms.
    deleted_df: HashMap<TermId, u32>,
    live_words: u64,
}

impl SegmentView {
    fn open(reader: SegmentReader, delete_opstamp: Option<u64>, cache: &ImpactCache) -> Result<Self, Error> {
        let path = Path::new(&reader.segment_id().uuid_string()).with_extension(EXTENSION);
        let impacts = cache.get(&reader, &path)?;
        let store = reader
            .get_store_reader(STORE_CACHE_BLOCKS)
            .map_err(|error| Error::io(path.with_extension("store"), error))?;
        let mut view = Self {
            id: reader.segment_id(),
            delete_opstamp,
            store,
            live: None,
            live_bits: None,
            num_live: reader.num_docs(),
            deleted_df: HashMap::new(),
            live_words: impacts.lengths().iter().map(u64::from).sum(),
            impacts,
            reader,
        };
        view.count_deletes();
        Ok(view)
    }

    fn count_deletes(&mut self) {
        let Some(alive) = self.reader.alive_bitset().filter(|_| self.reader.has_deletes()) else {
            return;
        };
        let mut live = RoaringBitmap::new();
        let mut live_bits = Bits::new(self.reader.max_doc());
        for (doc, rank) in (0..).zip(self.impacts.ranks().iter()) {
            if alive.is_alive(doc) {
                live.insert(rank);
                live_bits.insert(doc);
                continue;
            }
            self.live_words -= u64::from(self.impacts.lengths().get(doc as usize).unwrap_or_default());
            for (term, _) in self.impacts.index().forward(DocId::new(rank)) {
                *self.deleted_df.entry(term).or_default() += 1;
            }
        }
        live.optimize();
        self.live = Some(live);
        self.live_bits = Some(live_bits);
    }

    pub(crate) fn is_live(&self, doc: DocId) -> bool {
        self.live.as_ref().is_none_or(|live| live.contains(doc.get()))
    }

    /// The live document of external id `id`.
    pub(crate) fn find(&self, id: &str) -> Option<DocId> {
        self.impacts.find(id).map(DocId::new).find(|&doc| self.is_live(doc))
    }

    /// Live documents that have the segment's term `local`.
    fn live_df(&self, local: TermId) -> u64 {
        let deleted = self.deleted_df.get(&local).copied().unwrap_or_default();
        u64::from(self.impacts.index().term_df(local).saturating_sub(deleted))
    }

    /// Title, text and fields of `doc`.
    pub(crate) fn source(&self, doc: DocId, fields: &Fields) -> Result<Source, Error> {
        let failed = |error: String| Error::internal("reading a stored document", error);
        let stored: TantivyDocument = self
            .store
            .get(self.impacts.tantivy_doc(doc))
            .map_err(|error| failed(error.to_string()))?;
        let bytes = stored.get_first(fields.source);
        let bytes = bytes.as_ref().and_then(|value| value.as_bytes()).unwrap_or_default();
        serde_json::from_slice(bytes).map_err(|error| failed(error.to_string()))
    }
}

/// The segments of one commit with what is counted over them.
pub(crate) struct Snapshot {
    pub(crate) shared: Arc<Shared>,
    pub(crate) segments: Vec<Arc<SegmentView>>,
    pub(crate) num_docs: u64,
    pub(crate) num_words: u64,
    pub(crate) stats: CollectionStats,
}

impl Snapshot {
    /// Opens the segments of `metas`; those that are as in `before` are taken from there.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        index: &Index,
        metas: &[tantivy::SegmentMeta],
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let failed = |error: tantivy::TantivyError| Error::internal("opening a segment", error);
        let mut segments = Vec::with_capacity(metas.len());
        for meta in metas {
            let known = before.and_then(|before| {
                let same =
                    |view: &&Arc<SegmentView>| view.id == meta.id() && view.delete_opstamp == meta.delete_opstamp();
                before.segments.iter().find(same)
            });
            segments.push(match known {
                Some(view) => Arc::clone(view),
                None => {
                    let reader = SegmentReader::open(&index.segment(meta.clone())).map_err(failed)?;
                    Arc::new(SegmentView::open(reader, meta.delete_opstamp(), &shared.cache)?)
                }
            });
        }
        let num_docs: u64 = segments.iter().map(|view| u64::from(view.num_live)).sum();
        let num_words = segments.iter().map(|view| view.live_words).sum();
        let all: u64 = segments.iter().map(|view| u64::from(view.reader.max_doc())).sum();
        let stats = CollectionStats {
            num_docs,
            num_deleted: all - num_docs,
            num_segments: segments.len() as u64,
            num_terms: shared.vocabulary().len() as u64,
            num_postings: segments.iter().map(|view| view.impacts.index().num_postings()).sum(),
            num_words,
            ..CollectionStats::default()
        };
        Ok(Self {
            shared: Arc::clone(shared),
            segments,
            num_docs,
            num_words,
            stats,
        })
    }

    /// The segment and number of the live document `id`.
    pub(crate) fn find(&self, id: &str) -> Option<(usize, DocId)> {
        let mut segments = self.segments.iter().enumerate();
        segments.find_map(|(at, segment)| segment.find(id).map(|doc| (at, doc)))
    }

    /// Live documents that have `term`.
    pub(crate) fn df(&self, term: TermId) -> u64 {
        let in_segment = |view: &Arc<SegmentView>| {
            let local = view.impacts.local_term(term);
            local.map_or(0, |local| view.live_df(local))
        };
        self.segments.iter().map(in_segment).sum()
    }
}
