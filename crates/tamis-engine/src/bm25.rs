//! BM25 over tantivy's postings, with constants of our own and exact document lengths.
//!
//! Robertson et al. (TREC-3); Lucene's IDF, `ln(1 + (N - df + .5) / (df + .5))`; defaults k1 = 0.9 and b = 0.4
//! after Trotman, Puurula and Burgess (ADCS 2014). All statistics are those of the live documents of the
//! whole collection, so that scores do not depend on how documents lie in segments. Every posting is
//! scored, window by window into sums that stay in cache; a document's sum adds up its terms in the order
//! of the query, hence is the same everywhere to the bit.

use crate::Error;
use crate::allowed::Allowed;
use crate::bits::Bits;
use crate::bm25_params::Bm25Params;
use crate::ranking::{Ranked, best};
use crate::request::Mode;
use crate::response::{QueryTerm, SearchWork, TermContribution};
use crate::snapshot::{SegmentView, Snapshot};
use crate::sparse::sorted;
use crate::words::query_terms;
use tamis_core::{DocId, Hit, Score, TopK};
use tamis_encoder::lexical::idf;
use tantivy::Term;
use tantivy::postings::BlockSegmentPostings;
use tantivy::schema::IndexRecordOption;

/// Documents whose sums are collected at a time: 128 KiB of sums.
const WINDOW: u32 = 1 << 15;

/// A query text as BM25 sees it.
pub(crate) struct Bm25Query {
    params: Bm25Params,
    average: f32,
    /// Terms in order of first appearance, with IDF times their count in the query.
    words: Vec<(Term, f32)>,
    /// The same terms, heaviest first, and those that no document has.
    pub(crate) terms: Vec<QueryTerm>,
}

impl Bm25Query {
    pub(crate) fn new(query: &str, snapshot: &Snapshot) -> Result<Self, Error> {
        let (mut words, mut terms) = (Vec::new(), Vec::new());
        for (word, count) in query_terms(query) {
            let term = Term::from_field_text(snapshot.shared.fields.words, &word);
            let mut df = 0;
            for view in &snapshot.segments {
                df += live_df(view, &term)?;
            }
            #[expect(clippy::cast_precision_loss, reason = "a query has few repetitions")]
            let weight = count as f32 * idf(snapshot.num_docs, df);
            if df > 0 {
                words.push((term, weight));
            }
            terms.push(QueryTerm {
                term: word,
                weight,
                typed: true,
                df,
                max: 0.0,
                source: Mode::Bm25,
            });
        }
        terms.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.term.cmp(&b.term)));
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a mean, rounded to single precision"
        )]
        let average = (snapshot.num_words as f64 / snapshot.num_docs.max(1) as f64) as f32;
        Ok(Self {
            params: snapshot.shared.config.bm25,
            average: if average > 0.0 { average } else { 1.0 },
            words,
            terms,
        })
    }

    /// The `k` best allowed documents, and how many share a word with the query.
    pub(crate) fn search(
        &self,
        snapshot: &Snapshot,
        allowed: &[Allowed<'_>],
        k: usize,
        work: &mut SearchWork,
    ) -> Result<(Vec<Ranked<f32>>, u64), Error> {
        let mut hits = Vec::new();
        let mut total = 0;
        let mut top = TopK::new(k);
        for (segment, (view, allowed)) in snapshot.segments.iter().zip(allowed).enumerate() {
            top.reset(k, Score::ZERO);
            if !allowed.is_empty() {
                total += self.search_segment(view, allowed.tantivy_docs.as_deref(), &mut top, work)?;
            }
            hits.extend(top.drain_sorted().map(|hit| Ranked {
                segment,
                doc: hit.doc,
                score: hit.score,
            }));
        }
        let hits = best(hits, k, snapshot, Ord::cmp);
        // Positive floats are ordered like their bits, which is how they passed through `TopK`.
        let hits = hits.into_iter().map(|hit| hit.map(|score| f32::from_bits(score.get())));
        Ok((hits.collect(), total))
    }

    fn search_segment(
        &self,
        view: &SegmentView,
        allowed: Option<&Bits>,
        top: &mut TopK,
        work: &mut SearchWork,
    ) -> Result<u64, Error> {
        let mut cursors = Vec::new();
        for (term, weight) in &self.words {
            if let Some(postings) = open(view, term, IndexRecordOption::WithFreqs)? {
                work.postings += u64::from(postings.doc_freq());
                cursors.push(Cursor {
                    postings,
                    at: 0,
                    weight: *weight,
                });
            }
        }
        let (lengths, ranks) = (view.impacts.lengths(), view.impacts.ranks());
        let mut sums = vec![0.0f32; WINDOW.min(view.reader.max_doc()) as usize];
        let mut total = 0;
        let mut start = 0;
        while let Some(next) = cursors.iter().filter_map(Cursor::doc).min() {
            // Windows without a posting are passed over.
            start += (next - start) / WINDOW * WINDOW;
            for cursor in &mut cursors {
                cursor.add_window(start, &mut sums, |doc, frequency| {
                    let length = lengths.get(doc as usize).unwrap_or_default();
                    self.params.weight(frequency, length, self.average)
                });
            }
            for (doc, sum) in (start..).zip(&mut sums) {
                if *sum > 0.0 && allowed.is_none_or(|allowed| allowed.contains(doc)) {
                    total += 1;
                    let score = Score::new(sum.to_bits());
                    if score >= top.threshold() {
                        top.push(Hit::new(score, DocId::new(ranks.get(doc as usize).unwrap_or_default())));
                    }
                }
                *sum = 0.0;
            }
        }
        work.segments += 1;
        Ok(total)
    }

    /// The score of `doc` and what each term adds to it, largest first.
    pub(crate) fn explain(&self, view: &SegmentView, doc: DocId) -> Result<(f32, Vec<TermContribution>), Error> {
        let tantivy_doc = view.impacts.tantivy_doc(doc);
        let length = view.impacts.lengths().get(tantivy_doc as usize).unwrap_or_default();
        let mut score = 0.0f32;
        let mut terms = Vec::new();
        for (term, query_weight) in &self.words {
            let Some(mut postings) = open(view, term, IndexRecordOption::WithFreqs)? else {
                continue;
            };
            let at = postings.seek(tantivy_doc);
            if at >= postings.docs().len() || postings.doc(at) != tantivy_doc {
                continue;
            }
            let document_weight = self.params.weight(postings.freq(at), length, self.average);
            let product = query_weight * document_weight;
            score += product;
            terms.push(TermContribution {
                term: term.value().as_str().unwrap_or_default().to_owned(),
                query_weight: *query_weight,
                document_weight,
                product,
                share: 0.0,
                typed: true,
            });
        }
        for term in &mut terms {
            term.share = term.product / score;
        }
        Ok((score, sorted(terms)))
    }
}

/// A term's postings and how far they were read.
struct Cursor {
    postings: BlockSegmentPostings,
    /// Place in the current block.
    at: usize,
    weight: f32,
}

impl Cursor {
    fn doc(&self) -> Option<u32> {
        self.postings.docs().get(self.at).copied()
    }

    /// Adds the term's part to the sum of each document of the window that begins at `start`.
    fn add_window(&mut self, start: u32, sums: &mut [f32], weight_of: impl Fn(u32, u32) -> f32) {
        loop {
            let (docs, frequencies) = (self.postings.docs(), self.postings.freqs());
            if docs.is_empty() {
                return;
            }
            for (&doc, &frequency) in docs.iter().zip(frequencies).skip(self.at) {
                let Some(sum) = sums.get_mut((doc - start) as usize) else {
                    return;
                };
                *sum += self.weight * weight_of(doc, frequency);
                self.at += 1;
            }
            self.postings.advance();
            self.at = 0;
        }
    }
}

fn open(view: &SegmentView, term: &Term, option: IndexRecordOption) -> Result<Option<BlockSegmentPostings>, Error> {
    let failed = |error: String| Error::internal("reading postings", error);
    let words = view
        .reader
        .inverted_index(term.field())
        .map_err(|error| failed(error.to_string()))?;
    words
        .read_block_postings(term, option)
        .map_err(|error| failed(error.to_string()))
}

/// Live documents of `view` that have `term`.
fn live_df(view: &SegmentView, term: &Term) -> Result<u64, Error> {
    let Some(mut postings) = open(view, term, IndexRecordOption::Basic)? else {
        return Ok(0);
    };
    let Some(live) = &view.live_bits else {
        return Ok(u64::from(postings.doc_freq()));
    };
    let mut df = 0;
    while !postings.docs().is_empty() {
        df += postings.docs().iter().filter(|&&doc| live.contains(doc)).count() as u64;
        postings.advance();
    }
    Ok(df)
}

/// Postings of all words in all segments, deleted documents included. Reads every term dictionary.
pub(crate) fn num_postings(snapshot: &Snapshot) -> Result<u64, Error> {
    let failed = |error: String| Error::internal("counting postings", error);
    let mut count = 0;
    for view in &snapshot.segments {
        let words = view
            .reader
            .inverted_index(snapshot.shared.fields.words)
            .map_err(|error| failed(error.to_string()))?;
        let mut terms = words.terms().stream().map_err(|error| failed(error.to_string()))?;
        while let Some((_, info)) = terms.next() {
            count += u64::from(info.doc_freq);
        }
    }
    Ok(count)
}
