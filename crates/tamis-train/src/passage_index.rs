//! An impact index over the passages of a training set, and queries put to it.

use std::borrow::Cow;
use std::path::Path;

use rayon::prelude::*;
use tamis_core::{DocId, SparseVector, TermId, Vocabulary};
use tamis_encoder::{Encoder, InputKind, SparseEncoding, joined};
use tamis_index::{Extras, Index, IndexBuilder, IndexOptions, Quantisation};
use tamis_query::QuantisedQuery;

use crate::error::Error;
use crate::training_set::Passage;

/// Texts that one call of the encoder gets.
pub(crate) const BATCH_TEXTS: usize = 64;
/// Passages that are encoded before any is indexed: bounds the vectors in memory.
const WAVE_TEXTS: usize = 64 * BATCH_TEXTS;

/// The passages of a set as `encoder` sees them; a passage's document id is its number.
pub(crate) struct PassageIndex<'a> {
    encoder: &'a dyn Encoder,
    vocabulary: Vocabulary,
    pub(crate) index: Index,
}

impl<'a> PassageIndex<'a> {
    /// Encodes on all threads of the current pool; the index is the same for any number of them.
    pub(crate) fn build(
        passages: &'a [Passage],
        with_titles: bool,
        encoder: &'a dyn Encoder,
        spill_dir: &Path,
    ) -> Result<Self, Error> {
        let quantisation = encoder.max_weight().map_or(Quantisation::Auto, Quantisation::MaxWeight);
        let options = IndexOptions {
            quantisation,
            // Searched once and thrown away: ordering would cost more than it saves.
            reorder: None,
            ..IndexOptions::default()
        };
        let mut builder = IndexBuilder::new(options, spill_dir)?;
        let mut vocabulary = Vocabulary::new();
        for wave in passages.chunks(WAVE_TEXTS) {
            let encoded: Vec<Vec<SparseEncoding>> = wave
                .par_chunks(BATCH_TEXTS)
                .map(|batch| {
                    let title = |passage: &'a Passage| with_titles.then_some(passage.title.as_str());
                    let texts: Vec<Cow<'_, str>> = batch.iter().map(|one| joined(title(one), &one.text)).collect();
                    encode(encoder, InputKind::Document, &texts)
                })
                .collect::<Result<_, _>>()?;
            for SparseEncoding { tokens, .. } in encoded.into_iter().flatten() {
                let mut pairs = Vec::with_capacity(tokens.len());
                for (token, weight) in &tokens {
                    pairs.push((vocabulary.intern(token)?, *weight));
                }
                builder.add(&vector(encoder, pairs)?)?;
            }
        }
        let (bytes, _) = builder.finish_into(&Extras::default(), Vec::new())?;
        Ok(Self {
            encoder,
            vocabulary,
            index: Index::from_bytes(bytes)?,
        })
    }

    /// The vectors of some queries over the terms of this index; terms that no passage has are left out.
    pub(crate) fn query_vectors(&self, queries: &[&str]) -> Result<Vec<SparseVector>, Error> {
        let queries = self.queries(queries)?.into_iter();
        Ok(queries.map(|(vector, _)| vector).collect())
    }

    /// The vectors of some queries, each with the number of its weights, those included that no passage has.
    pub(crate) fn queries(&self, queries: &[&str]) -> Result<Vec<(SparseVector, usize)>, Error> {
        let encoded = encode(self.encoder, InputKind::Query, queries)?;
        let vector = |encoding: &SparseEncoding| {
            let vector = vector(self.encoder, self.known_terms(encoding))?;
            Ok((vector, encoding.tokens.len()))
        };
        encoded.iter().map(vector).collect()
    }

    fn known_terms(&self, encoding: &SparseEncoding) -> Vec<(TermId, f32)> {
        let num_docs = u64::from(self.index.num_docs());
        let weighted = |(token, weight): &(String, f32)| {
            let term = self.vocabulary.id(token)?;
            let df = u64::from(self.index.term_df(term));
            let factor = self.encoder.query_weighting().factor(num_docs, df);
            Some((term, weight * factor))
        };
        encoding.tokens.iter().filter_map(weighted).collect()
    }

    /// What the search scores one passage: the sum over the terms it shares with the query.
    pub(crate) fn score_of(&self, query: &QuantisedQuery, passage: u32) -> u32 {
        let mut terms = query.terms().iter().peekable();
        let mut score = 0;
        for (term, impact) in self.index.forward(DocId::new(passage)) {
            while terms.next_if(|(other, _)| *other < term).is_some() {}
            if let Some((_, weight)) = terms.next_if(|(other, _)| *other == term) {
                score += u32::from(*weight) * u32::from(impact.get());
            }
        }
        score
    }
}

pub(crate) fn encode(
    encoder: &dyn Encoder,
    kind: InputKind,
    texts: &[impl AsRef<str>],
) -> Result<Vec<SparseEncoding>, Error> {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    let encoded = encoder.encode(kind, &texts)?;
    if encoded.len() != texts.len() {
        let (encoder, expected, found) = (encoder.name().to_owned(), texts.len(), encoded.len());
        return Err(Error::EncodedCount {
            encoder,
            expected,
            found,
        });
    }
    Ok(encoded)
}

fn vector(encoder: &dyn Encoder, pairs: Vec<(TermId, f32)>) -> Result<SparseVector, Error> {
    SparseVector::from_pairs(pairs).map_err(|source| Error::Vector {
        encoder: encoder.name().to_owned(),
        source,
    })
}
