//! Writing the sections of an index.

use crate::encode::{ListEncoder, Window};
use crate::forward::{BASE_BITS, ForwardEncoder, TAIL_BYTES};
use crate::layout::{
    FILE_KIND, FORWARD, FORWARD_BASES, FORWARD_STARTS, ID_ENDS, ID_TEXT, LISTS, META, Meta, ORDER_DOCS,
    ORDER_POSITIONS, POSTINGS, TERMS, TermRecord, VOCABULARY, window_len,
};
use crate::sort::{SortLimits, SortedRange, TermSorter};
use crate::spill::Spill;
use crate::spool::Spool;
use crate::validate::summary;
use crate::{BuildReport, Error, Extras, IndexOptions, external_ids};
use std::io::{self, Write};
use std::path::PathBuf;
use tamis_core::Quantiser;
use tamis_core::container::ContainerWriter;

/// Collected documents and every decision about them.
pub(crate) struct Build {
    pub options: IndexOptions,
    pub spill_dir: PathBuf,
    pub spool: Spool,
    pub document_frequencies: Vec<u32>,
    pub num_docs: u32,
    pub num_postings: u64,
    pub num_saturated: u64,
    pub quantiser: Quantiser,
    /// The document at each position, where documents are reordered.
    pub order: Option<Vec<u32>>,
}

impl Build {
    /// Writes the whole file.
    pub(crate) fn write<W: Write>(mut self, extras: &Extras, out: W) -> Result<(W, BuildReport), Error> {
        let mut sections = Sections::new(out)?;
        let num_terms = u32::try_from(self.document_frequencies.len()).expect("terms are below 2^26");
        let meta = Meta {
            num_docs: self.num_docs,
            num_terms,
            num_postings: self.num_postings,
            num_saturated: self.num_saturated,
            window_bits: self.options.window_bits,
            step: self.quantiser.step(),
            reordered: self.order.is_some(),
        };
        sections.bytes(META, &meta.to_bytes())?;
        let positions = self.order.take().map(|docs| sections.order(&docs)).transpose()?;

        let frequencies = std::mem::take(&mut self.document_frequencies);
        let limits = SortLimits {
            bytes: self.options.half_budget() / 4 * 3,
            window_bits: self.options.window_bits,
            num_docs: self.num_docs,
        };
        let mut sorter = TermSorter::new(&frequencies, limits, &self.spill_dir)?;
        self.write_forward(&mut sections, &mut sorter, positions.as_deref())?;
        let mut stats = self.spool.stats();
        drop(self.spool);

        let mut lists = Spill::new(&self.spill_dir, self.options.half_budget() / 4);
        let mut writer = ListWriter {
            meta,
            encoder: ListEncoder::default(),
            lists: &mut lists,
            terms: Vec::with_capacity(12 * (frequencies.len() + 1)),
            open: None,
            num_lists: 0,
            offset: 0,
            num_dense_columns: 0,
            block_bytes: 0,
        };
        let ascending = positions.is_none();
        let sort_stats = sections.fill(POSTINGS, |out| {
            sorter.finish(ascending, |range| writer.range(range, out))
        })?;
        let (terms, num_dense_columns, block_bytes) = writer.finish();
        stats.add(sort_stats);
        stats.add(lists.stats());
        sections.fill(LISTS, |out| {
            let mut reader = lists.read()?;
            reader.copy_to(out).map_err(refused(LISTS))
        })?;
        drop(lists);
        sections.bytes(TERMS, &terms)?;
        sections.extras(extras)?;
        let section_bytes = std::mem::take(&mut sections.lengths);
        let (out, bytes) = sections.finish()?;
        let report = BuildReport {
            num_docs: self.num_docs,
            num_terms,
            num_postings: self.num_postings,
            num_saturated: self.num_saturated,
            quantiser: self.quantiser,
            bytes,
            section_bytes,
            spilled_runs: stats.runs,
            spilled_bytes: stats.bytes,
            num_dense_columns,
            block_bytes,
        };
        Ok((out, report))
    }

    /// Writes the forward index while every posting goes to `sorter`.
    fn write_forward<W: Write>(
        &mut self,
        sections: &mut Sections<W>,
        sorter: &mut TermSorter<'_>,
        positions: Option<&[u32]>,
    ) -> Result<(), Error> {
        let (mut bases, mut starts) = (Vec::new(), Vec::with_capacity(4 * self.num_docs as usize));
        let mut documents = self.spool.read(self.quantiser)?;
        sections.fill(FORWARD, |out| {
            let (mut postings, mut record) = (Vec::new(), Vec::new());
            let (mut encoder, mut offset, mut base, mut doc) = (ForwardEncoder::default(), 0u64, 0u64, 0u32);
            while documents.next(&mut postings)? {
                if doc.is_multiple_of(1 << BASE_BITS) {
                    base = offset;
                    bases.extend_from_slice(&base.to_le_bytes());
                }
                let start = u32::try_from(offset - base).map_err(|_| Error::TooLarge {
                    what: "bytes of 1,024 documents in the forward index",
                    found: offset - base,
                    limit: u64::from(u32::MAX),
                })?;
                starts.extend_from_slice(&start.to_le_bytes());
                record.clear();
                encoder.encode(&postings, &mut record);
                out.write_all(&record).map_err(refused(FORWARD))?;
                offset += record.len() as u64;
                let position = positions.map_or(doc, |positions| positions[doc as usize]);
                for &(term, impact) in &postings {
                    sorter.push(term, position, impact)?;
                }
                doc += 1;
            }
            out.write_all(&[0; TAIL_BYTES]).map_err(refused(FORWARD))
        })?;
        sections.bytes(FORWARD_BASES, &bases)?;
        sections.bytes(FORWARD_STARTS, &starts)
    }
}

/// Writes the lists of sorted postings, and collects the directory.
struct ListWriter<'a> {
    meta: Meta,
    encoder: ListEncoder,
    lists: &'a mut Spill,
    terms: Vec<u8>,
    /// The term that is being written: its id, its first list and how often it has each impact.
    open: Option<(u32, u32, Box<[u32; 256]>)>,
    num_lists: u32,
    offset: u64,
    num_dense_columns: u64,
    block_bytes: u64,
}

impl ListWriter<'_> {
    fn range(&mut self, range: &SortedRange, out: &mut dyn Write) -> Result<(), Error> {
        for (term, slots) in range.terms() {
            self.begin(term);
            if let Some((_, _, histogram)) = &mut self.open {
                slots
                    .iter()
                    .for_each(|slot| histogram[usize::from(slot.to_le_bytes()[0])] += 1);
            }
            let window_bits = self.meta.window_bits;
            let window_of = |slot: &u64| slot >> 8 >> window_bits;
            for slots in slots.chunk_by(|a, b| window_of(a) == window_of(b)) {
                let number = u32::try_from(window_of(&slots[0])).expect("positions are below 2^32");
                self.list(slots, number, out)?;
            }
        }
        Ok(())
    }

    /// Makes `term` the one that is being written; it may be already.
    fn begin(&mut self, term: u32) {
        match &mut self.open {
            Some((open, _, _)) if *open == term => {}
            Some((open, first_list, histogram)) => {
                debug_assert_eq!(*open + 1, term, "ranges are consecutive");
                push_record(&mut self.terms, summary(*first_list, histogram));
                (*open, *first_list) = (term, self.num_lists);
                histogram.fill(0);
            }
            None => self.open = Some((term, 0, Box::new([0; 256]))),
        }
    }

    fn list(&mut self, slots: &[u64], number: u32, out: &mut dyn Write) -> Result<(), Error> {
        let window = Window {
            number,
            start: u64::from(number) << self.meta.window_bits,
            len: window_len(self.meta.num_docs, self.meta.window_bits, number),
        };
        let list = self.encoder.encode(slots, window, self.offset);
        out.write_all(list.bytes).map_err(refused(POSTINGS))?;
        self.offset += list.bytes.len() as u64;
        self.num_dense_columns += u64::from(list.record.dense);
        self.block_bytes += list.num_block_bytes as u64;
        let too_large = |what, found, limit| Error::TooLarge { what, found, limit };
        if self.offset >= 1 << 48 {
            return Err(too_large("bytes of postings", self.offset, 1 << 48));
        }
        self.lists.push(bytemuck::bytes_of(&list.record.to_words()))?;
        let next = self.num_lists.checked_add(1);
        let limit = u64::from(u32::MAX);
        self.num_lists = next.ok_or_else(|| too_large("lists of one term in one window", limit + 1, limit))?;
        Ok(())
    }

    /// The content of section `terms`, and counts.
    fn finish(mut self) -> (Vec<u8>, u64, u64) {
        if let Some((_, first_list, histogram)) = &self.open {
            push_record(&mut self.terms, summary(*first_list, histogram));
        }
        let end = TermRecord {
            first_list: self.num_lists,
            ..TermRecord::default()
        };
        push_record(&mut self.terms, end);
        (self.terms, self.num_dense_columns, self.block_bytes)
    }
}

fn push_record(terms: &mut Vec<u8>, record: TermRecord) {
    terms.extend_from_slice(bytemuck::bytes_of(&record.to_words()));
}

fn refused(section: &str) -> impl Fn(io::Error) -> Error + '_ {
    |source| Error::Write {
        section: section.to_owned(),
        source,
    }
}

/// A container being written, with the length of each section.
struct Sections<W: Write> {
    container: ContainerWriter<Counted<W>>,
    lengths: Vec<(String, u64)>,
}

impl<W: Write> Sections<W> {
    fn new(out: W) -> Result<Self, Error> {
        let out = Counted { out, num_bytes: 0 };
        Ok(Self {
            container: ContainerWriter::new(out, FILE_KIND).map_err(refused("header"))?,
            lengths: Vec::new(),
        })
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.fill(name, |out| out.write_all(bytes).map_err(refused(name)))
    }

    /// Writes a section with `fill`, whose own error comes through.
    fn fill<T>(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> Result<T, Error>) -> Result<T, Error> {
        let (mut outcome, mut len) = (None, 0);
        let written = self.container.section_with(name, |out| {
            let mut out = Counted { out, num_bytes: 0 };
            let filled = outcome.insert(fill(&mut out));
            len = out.num_bytes;
            filled
                .as_ref()
                .map(|_| ())
                .map_err(|error| io::Error::other(error.to_string()))
        });
        self.lengths.push((name.to_owned(), len));
        match (outcome, written) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(source)) => Err(refused(name)(source)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => unreachable!("a section is written by calling its closure"),
        }
    }

    /// Writes both maps of the order `docs`, and gives the position of each document.
    fn order(&mut self, docs: &[u32]) -> Result<Vec<u32>, Error> {
        let mut positions = vec![0; docs.len()];
        for (position, &doc) in (0..).zip(docs) {
            positions[doc as usize] = position;
        }
        self.bytes(ORDER_DOCS, bytemuck::cast_slice(docs))?;
        self.bytes(ORDER_POSITIONS, bytemuck::cast_slice(&positions))?;
        Ok(positions)
    }

    fn extras(&mut self, extras: &Extras) -> Result<(), Error> {
        if let Some(vocabulary) = &extras.vocabulary {
            self.bytes(VOCABULARY, &vocabulary.to_bytes())?;
        }
        if let Some(ids) = &extras.external_ids {
            self.bytes(ID_ENDS, &external_ids::ends(ids)?)?;
            self.fill(ID_TEXT, |out| {
                ids.iter()
                    .try_for_each(|id| out.write_all(id.as_bytes()))
                    .map_err(refused(ID_TEXT))
            })?;
        }
        extras
            .sections
            .iter()
            .try_for_each(|(name, bytes)| self.bytes(name, bytes))
    }

    /// Completes the file; gives the output and the number of bytes written.
    fn finish(self) -> Result<(W, u64), Error> {
        let counted = self.container.finish().map_err(refused("trailer"))?;
        Ok((counted.out, counted.num_bytes))
    }
}

/// Counts what passes through.
struct Counted<W> {
    out: W,
    num_bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.num_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
