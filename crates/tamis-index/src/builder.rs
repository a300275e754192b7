//! Collecting documents.

use crate::finish::Build;
use crate::layout::{MAX_DOCS, MAX_TERMS};
use crate::reorder::KeptTerms;
use crate::spool::Spool;
use crate::{BuildReport, Error, Extras, IndexOptions, Quantisation, atomic};
use std::io::Write;
use std::path::{Path, PathBuf};
use tamis_core::{DocId, Impact, Quantiser, SparseVector, TermId};

/// Builds an index from documents that are added one by one.
///
/// The bytes that come out depend on the documents, the options that shape an index, and the extras: not on
/// the memory budget, the number of threads or the time. See [`IndexOptions::memory_budget_bytes`] for the
/// memory that is used; what does not fit goes to files in `spill_dir`, which disappear with the builder.
pub struct IndexBuilder {
    options: IndexOptions,
    spill_dir: PathBuf,
    spool: Spool,
    document_frequencies: Vec<u32>,
    num_docs: u32,
    num_postings: u64,
    num_saturated: u64,
    max_weight: f32,
    all_integers: bool,
    /// The scale, where it does not depend on the documents.
    quantiser: Option<Quantiser>,
    kept: Option<KeptTerms>,
}

impl IndexBuilder {
    /// A builder without documents that spills to files in the existing folder `spill_dir`.
    ///
    /// # Errors
    /// When an option is out of range.
    pub fn new(options: IndexOptions, spill_dir: &Path) -> Result<Self, Error> {
        options.validate()?;
        let quantiser = match options.quantisation {
            Quantisation::Auto => None,
            Quantisation::Exact => Some(Quantiser::IDENTITY),
            Quantisation::MaxWeight(max) => Some(Quantiser::with_max_weight(max)?),
        };
        Ok(Self {
            spill_dir: spill_dir.to_owned(),
            spool: Spool::new(spill_dir, options.half_budget(), options.quantisation),
            document_frequencies: Vec::new(),
            num_docs: 0,
            num_postings: 0,
            num_saturated: 0,
            max_weight: 0.0,
            all_integers: true,
            quantiser,
            kept: options.reorder.map(KeptTerms::new),
            options,
        })
    }

    /// Number of documents added so far.
    #[must_use]
    pub fn num_docs(&self) -> u32 {
        self.num_docs
    }

    /// Adds a document, which may be empty, and gives its id: 0, 1, 2, ... in the order of adding.
    ///
    /// # Errors
    /// When a term is too large, a weight is not an integer although the quantisation is exact, the builder
    /// is full, or spilling fails. After a spilling error the builder is of no more use; after another one it
    /// is as it was before.
    pub fn add(&mut self, vector: &SparseVector) -> Result<DocId, Error> {
        let doc = self.next_doc(vector.terms().last().copied())?;
        if self.options.quantisation == Quantisation::Exact {
            let bad = vector.iter().find(|&(_, weight)| !Quantiser::is_integer_impact(weight));
            if let Some((term, weight)) = bad {
                return Err(Error::NotInteger { doc, term, weight });
            }
        }
        match self.quantiser {
            None => self.spool.push_weights(vector.iter())?,
            Some(quantiser) => {
                self.num_saturated += quantiser.num_saturated(vector) as u64;
                let impacts = vector.iter().map(|(term, weight)| (term, quantiser.impact(weight)));
                self.spool.push_impacts(impacts)?;
            }
        }
        self.max_weight = self.max_weight.max(vector.max_weight());
        self.all_integers &= vector
            .weights()
            .iter()
            .all(|&weight| Quantiser::is_integer_impact(weight));
        if let Some(kept) = &mut self.kept {
            kept.push(vector.iter());
        }
        Ok(self.count(vector.terms().iter().copied(), doc))
    }

    /// Adds a document whose weights are quantised already, with strictly ascending terms.
    ///
    /// The impacts are taken as they are: whoever gives them has used the same scale.
    ///
    /// # Errors
    /// As [`IndexBuilder::add`]; also when terms are not ascending, or the quantisation is
    /// [`Quantisation::Auto`], which has yet to choose a scale.
    pub fn add_impacts(&mut self, impacts: &[(TermId, Impact)]) -> Result<DocId, Error> {
        let doc = self.next_doc(impacts.last().map(|&(term, _)| term))?;
        if self.quantiser.is_none() {
            return Err(Error::ImpactsNeedScale { doc });
        }
        if let Some(pair) = impacts.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(Error::NotAscending {
                doc,
                term: pair[1].0,
                previous: pair[0].0,
            });
        }
        self.spool.push_impacts(impacts.iter().copied())?;
        if let Some(kept) = &mut self.kept {
            kept.push(impacts.iter().map(|&(term, impact)| (term, f32::from(impact.get()))));
        }
        Ok(self.count(impacts.iter().map(|&(term, _)| term), doc))
    }

    /// The id of the next document, if there is room for it and its largest term.
    fn next_doc(&self, largest: Option<TermId>) -> Result<DocId, Error> {
        let doc = DocId::new(self.num_docs);
        if self.num_docs == MAX_DOCS - 1 {
            return Err(Error::TooLarge {
                what: "documents of one index",
                found: u64::from(MAX_DOCS),
                limit: u64::from(MAX_DOCS - 1),
            });
        }
        match largest {
            Some(term) if term.get() >= MAX_TERMS => Err(Error::TermOutOfRange {
                doc,
                term,
                limit: u64::from(MAX_TERMS),
                reason: "largest directory of terms",
            }),
            _ => Ok(doc),
        }
    }

    fn count(&mut self, terms: impl Iterator<Item = TermId>, doc: DocId) -> DocId {
        for term in terms {
            if term.index() >= self.document_frequencies.len() {
                self.document_frequencies.resize(term.index() + 1, 0);
            }
            self.document_frequencies[term.index()] += 1;
            self.num_postings += 1;
        }
        self.num_docs += 1;
        doc
    }

    /// Writes the index to `path`, which appears or is replaced only when everything is on disk.
    ///
    /// A temporary file in the same folder is written, flushed to the device and renamed; then the folder is
    /// flushed.
    ///
    /// # Errors
    /// When extras do not fit the documents, or reading spilled bytes or writing fails; `path` is then as it
    /// was before.
    pub fn finish(self, extras: &Extras, path: &Path) -> Result<BuildReport, Error> {
        atomic::write(path, |out| Ok(self.finish_into(extras, out)?.1))
    }

    /// Writes the index to `out` from front to back and gives `out` back, flushed.
    ///
    /// # Errors
    /// As [`IndexBuilder::finish`].
    pub fn finish_into<W: Write>(self, extras: &Extras, out: W) -> Result<(W, BuildReport), Error> {
        extras.validate(self.num_docs)?;
        if let Some(vocabulary) = &extras.vocabulary
            && vocabulary.len() < self.document_frequencies.len()
        {
            let last = self.document_frequencies.len() - 1;
            return Err(Error::TermOutOfRange {
                doc: DocId::new(self.num_docs - 1),
                term: TermId::new(u32::try_from(last).unwrap_or(u32::MAX)),
                limit: vocabulary.len() as u64,
                reason: "number of terms in the vocabulary",
            });
        }
        let quantiser = match self.quantiser {
            Some(quantiser) => quantiser,
            None if self.all_integers => Quantiser::IDENTITY,
            None => Quantiser::with_max_weight(self.max_weight)?,
        };
        let order = self.kept.map(|kept| kept.order(self.document_frequencies.len()));
        let build = Build {
            options: self.options,
            spill_dir: self.spill_dir,
            spool: self.spool,
            document_frequencies: self.document_frequencies,
            num_docs: self.num_docs,
            num_postings: self.num_postings,
            num_saturated: self.num_saturated,
            quantiser,
            order,
        };
        build.write(extras, out)
    }
}
