//! Writing the impact component of a segment: with new documents, and when segments are merged.

use crate::Error;
use crate::impacts::{DOCS, EXTENSION, ImpactCache, LENGTHS, RANKS, SegmentImpacts, TERMS};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tamis_core::{DocId, Impact, TermId};
use tamis_index::{Extras, IndexBuilder, IndexOptions};
use tantivy::directory::TerminatingWrite;
use tantivy::index::{Segment, SegmentComponent, SegmentReader};
use tantivy::indexer::doc_id_mapping::{DocIdMapping, MappingType};
use tantivy::plugin::{PluginMergeContext, PluginWriter, PluginWriterContext, SegmentPlugin};
use tantivy::schema::document::{ErasedDocument, Value};
use tantivy::schema::{Field, Schema};
use tantivy::{TantivyDocument, TantivyError};

/// What hands a document over in tantivy's custom field: its number of words, then (term, impact) pairs
/// by ascending term of the collection. Little endian.
pub(crate) fn payload(num_words: u32, impacts: &[(TermId, Impact)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + PAIR_BYTES * impacts.len());
    bytes.extend_from_slice(&num_words.to_le_bytes());
    for (term, impact) in impacts {
        bytes.extend_from_slice(&term.get().to_le_bytes());
        bytes.push(impact.get());
    }
    bytes
}

const PAIR_BYTES: usize = 5;

/// The plugin that gives every segment its impact component.
pub(crate) struct ImpactPlugin {
    pub(crate) shared: Arc<ComponentWriter>,
}

/// What all writers of components share.
pub(crate) struct ComponentWriter {
    pub(crate) id: Field,
    pub(crate) impacts: Field,
    pub(crate) options: IndexOptions,
    pub(crate) spill: PathBuf,
    pub(crate) cache: Arc<ImpactCache>,
}

impl SegmentPlugin for ImpactPlugin {
    fn extensions(&self) -> &[&str] {
        &[EXTENSION]
    }

    fn create_writer(&self, _: &PluginWriterContext<'_>) -> tantivy::Result<Box<dyn PluginWriter>> {
        Ok(Box::new(NewDocuments {
            shared: Arc::clone(&self.shared),
            ids: Vec::new(),
            lengths: Vec::new(),
            pairs: Vec::new(),
            ends: Vec::new(),
            bytes: 0,
        }))
    }

    fn merge(&self, context: PluginMergeContext<'_>) -> tantivy::Result<()> {
        // The mapping tells its kind only; for these two kinds the order is readers in order, live
        // documents in order.
        if context.doc_id_mapping.mapping_type() == MappingType::Shuffled {
            return Err(internal("sorted segments are not supported"));
        }
        self.shared
            .merge(context.readers, context.target_segment)
            .map_err(|error| internal(&error.to_string()))
    }
}

fn internal(message: &str) -> TantivyError {
    TantivyError::InternalError(format!("impact component: {message}"))
}

/// Documents of a segment that is being collected, in tantivy's order.
struct NewDocuments {
    shared: Arc<ComponentWriter>,
    ids: Vec<String>,
    lengths: Vec<u32>,
    pairs: Vec<u8>,
    /// Where each document's pairs end.
    ends: Vec<usize>,
    bytes: usize,
}

impl PluginWriter for NewDocuments {
    fn add_document(&mut self, _: tantivy::DocId, document: &dyn ErasedDocument, _: &Schema) -> tantivy::Result<()> {
        let document = document
            .as_any()
            .downcast_ref::<TantivyDocument>()
            .ok_or_else(|| internal("another kind of document"))?;
        let id = document
            .get_first(self.shared.id)
            .and_then(|id| id.as_str().map(str::to_owned));
        let payload = document.get_first(self.shared.impacts);
        let payload = payload.as_ref().and_then(|payload| payload.as_custom());
        let (Some(id), Some((length, pairs))) = (id, payload.and_then(<[u8]>::split_first_chunk::<4>)) else {
            return Err(internal("a document without id or impacts"));
        };
        self.bytes += id.len() + pairs.len() + 64;
        self.ids.push(id);
        self.lengths.push(u32::from_le_bytes(*length));
        self.pairs.extend_from_slice(pairs);
        self.ends.push(self.pairs.len());
        Ok(())
    }

    fn serialize(self: Box<Self>, segment: &Segment, mapping: Option<&DocIdMapping>) -> tantivy::Result<()> {
        if mapping.is_some() {
            return Err(internal("sorted segments are not supported"));
        }
        let Self {
            shared,
            ids,
            lengths,
            pairs,
            ends,
            ..
        } = *self;
        let term_of = |pair: &[u8]| u32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]);
        let mut terms: Vec<u32> = pairs.chunks_exact(PAIR_BYTES).map(term_of).collect();
        terms.sort_unstable();
        terms.dedup();
        let rows = (0..).zip(ids).map(|(doc, id)| Row {
            id,
            doc,
            origin: (0, doc),
        });
        let impacts = |(_, doc): (u32, u32), out: &mut Vec<(TermId, Impact)>| {
            let doc = doc as usize;
            let start = doc.checked_sub(1).map_or(0, |before| ends[before]);
            for pair in pairs[start..ends[doc]].chunks_exact(PAIR_BYTES) {
                let local = terms.binary_search(&term_of(pair)).expect("collected above");
                if let (Ok(local), Some(impact)) = (u32::try_from(local), Impact::new(pair[4])) {
                    out.push((TermId::new(local), impact));
                }
            }
        };
        let content = Content {
            rows: rows.collect(),
            lengths,
            terms: &terms,
        };
        let written = shared.write(segment, content, impacts);
        written.map_err(|error| internal(&error.to_string()))
    }

    fn mem_usage(&self) -> usize {
        self.bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// One document of a component.
struct Row {
    id: String,
    /// tantivy's number in the new segment.
    doc: u32,
    /// Where its impacts come from.
    origin: (u32, u32),
}

struct Content<'a> {
    rows: Vec<Row>,
    lengths: Vec<u32>,
    terms: &'a [u32],
}

impl ComponentWriter {
    /// Writes the component: documents in the order of their ids, each with what `impacts` gives for it.
    fn write(
        &self,
        segment: &Segment,
        content: Content<'_>,
        mut impacts: impl FnMut((u32, u32), &mut Vec<(TermId, Impact)>),
    ) -> Result<(), Error> {
        let Content {
            mut rows,
            lengths,
            terms,
        } = content;
        rows.sort_unstable_by(|a, b| a.id.cmp(&b.id).then(a.doc.cmp(&b.doc)));
        let failed = |error: tamis_index::Error| Error::internal("building an impact component", error);
        let mut builder = IndexBuilder::new(self.options.clone(), &self.spill).map_err(failed)?;
        let mut ranks = vec![0; rows.len()];
        let mut scratch = Vec::new();
        for (rank, row) in (0..).zip(&rows) {
            ranks[row.doc as usize] = rank;
            scratch.clear();
            impacts(row.origin, &mut scratch);
            builder.add_impacts(&scratch).map_err(failed)?;
        }
        let docs: Vec<u32> = rows.iter().map(|row| row.doc).collect();
        let section = |name: &str, values: &[u32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name.to_owned(), bytes)
        };
        let extras = Extras {
            vocabulary: None,
            sections: vec![
                section(DOCS, &docs),
                section(RANKS, &ranks),
                section(LENGTHS, &lengths),
                section(TERMS, terms),
            ],
            external_ids: Some(rows.into_iter().map(|row| row.id).collect()),
        };
        let out = segment
            .open_write(SegmentComponent::Custom(EXTENSION.to_owned()))
            .map_err(|error| Error::internal("opening an impact component", error))?;
        let (out, _) = builder.finish_into(&extras, out).map_err(failed)?;
        out.terminate()
            .map_err(|error| Error::io(self.file_of(segment.id().uuid_string()), error))
    }

    /// Rebuilds the component from the live documents of the segments that are merged.
    fn merge(&self, readers: &[SegmentReader], target: &Segment) -> Result<(), Error> {
        let mut sources = Vec::with_capacity(readers.len());
        for reader in readers {
            let path = self.file_of(reader.segment_id().uuid_string());
            sources.push(self.cache.get(reader, &path)?);
        }
        let mut terms: Vec<u32> = sources
            .iter()
            .flat_map(|source| source.terms().iter().collect::<Vec<_>>())
            .collect();
        terms.sort_unstable();
        terms.dedup();
        let new_terms: Vec<Vec<u32>> = sources.iter().map(|source| renumber(source, &terms)).collect();
        let (mut rows, mut lengths) = (Vec::new(), Vec::new());
        for (number, (reader, source)) in (0..).zip(readers.iter().zip(&sources)) {
            for old in reader.doc_ids_alive() {
                let rank = source.ranks().get(old as usize).unwrap_or_default();
                rows.push(Row {
                    id: source.id(DocId::new(rank)).to_owned(),
                    doc: u32::try_from(rows.len()).map_err(|error| Error::internal("merging segments", error))?,
                    origin: (number, rank),
                });
                lengths.push(source.lengths().get(old as usize).unwrap_or_default());
            }
        }
        let content = Content {
            rows,
            lengths,
            terms: &terms,
        };
        self.write(target, content, |(number, rank), out| {
            let new_terms = &new_terms[number as usize];
            let forward = sources[number as usize].index().forward(DocId::new(rank));
            out.extend(forward.map(|(term, impact)| (TermId::new(new_terms[term.index()]), impact)));
        })
    }

    fn file_of(&self, segment: String) -> PathBuf {
        Path::new(&segment).with_extension(EXTENSION)
    }
}

/// Where each of the source's terms is among `terms`, which contain them all.
fn renumber(source: &SegmentImpacts, terms: &[u32]) -> Vec<u32> {
    let mut at = 0;
    let position = |term: u32| {
        while terms[at as usize] < term {
            at += 1;
        }
        at
    };
    source.terms().iter().map(position).collect()
}
