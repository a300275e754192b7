//! Ranking by the inner product of query vector and document vector, over the impact indexes.

use crate::Error;
use crate::allowed::Allowed;
use crate::ranking::{Ranked, best};
use crate::request::{Mode, SearchRequest};
use crate::response::{QueryTerm, SearchWork, TermContribution};
use crate::snapshot::{SegmentView, Snapshot};
use crate::words::TypedTokens;
use tamis_core::{DocId, MAX_QUERY_TERMS, SparseVector, TermId};
use tamis_encoder::{InputKind, QueryWeighting, SparseEncoding};
use tamis_query::{Algorithm, QuantisedQuery, SearchParams, search};

/// A query vector in the terms of the collection.
pub(crate) struct SparseQuery {
    /// Terms that some live document has.
    vector: SparseVector,
    quantised: QuantisedQuery,
    /// The weight that one unit of score stands for.
    unit: f64,
    /// All terms, heaviest first.
    pub(crate) terms: Vec<QueryTerm>,
    pub(crate) truncated: bool,
}

impl SparseQuery {
    /// Encodes the request's query, or takes its vector.
    ///
    /// Terms without a live document take no part, so that integer weights depend on the query and the
    /// collection's live documents alone.
    pub(crate) fn new(request: &SearchRequest, snapshot: &Snapshot) -> Result<Self, Error> {
        let (encoded, weighting) = encode(request, snapshot)?;
        let typed = request.query.as_deref().map(TypedTokens::new);
        let vocabulary = snapshot.shared.vocabulary();
        let mut terms = Vec::with_capacity(encoded.tokens.len());
        let mut pairs = Vec::with_capacity(encoded.tokens.len());
        for (token, weight) in encoded.tokens {
            let term = vocabulary.id(&token);
            let df = term.map_or(0, |term| snapshot.df(term));
            let mut term_weight = weight;
            if let Some(term) = term.filter(|_| df > 0) {
                term_weight *= weighting.factor(snapshot.num_docs, df);
                pairs.push((term, term_weight));
            }
            terms.push(QueryTerm {
                typed: typed.as_ref().is_none_or(|typed| typed.contains(&token)),
                weight: term_weight,
                df,
                max: term.map_or(0.0, |term| largest_weight(snapshot, term)),
                source: Mode::Sparse,
                term: token,
            });
        }
        drop(vocabulary);
        let refused = |reason: String| Error::request("vector", reason);
        let vector = SparseVector::from_pairs(pairs).map_err(|error| refused(error.to_string()))?;
        let quantised = QuantisedQuery::new(&vector).map_err(|error| refused(error.to_string()))?;
        let mut query = Self {
            unit: f64::from(quantised.step() * snapshot.shared.quantiser.step()),
            vector,
            quantised,
            terms,
            truncated: encoded.truncated,
        };
        query.report_quantised(snapshot);
        Ok(query)
    }

    /// Replaces reported weights by those that are searched.
    fn report_quantised(&mut self, snapshot: &Snapshot) {
        let vocabulary = snapshot.shared.vocabulary();
        let weights = self.quantised.terms();
        for term in self.terms.iter_mut().filter(|term| term.df > 0) {
            let id = vocabulary.id(&term.term);
            let at = id.and_then(|id| weights.binary_search_by_key(&id, |&(term, _)| term).ok());
            if let Some(at) = at {
                term.weight = f32::from(weights[at].1) * self.quantised.step();
            }
        }
        drop(vocabulary);
        self.terms
            .sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.term.cmp(&b.term)));
    }

    /// The `k` best allowed documents.
    pub(crate) fn search(
        &self,
        snapshot: &Snapshot,
        allowed: &[Allowed<'_>],
        (k, algorithm): (usize, Algorithm),
        work: &mut SearchWork,
    ) -> Result<Vec<Ranked<f32>>, Error> {
        let mut hits = Vec::new();
        for (segment, (view, allowed)) in snapshot.segments.iter().zip(allowed).enumerate() {
            let vector = self.in_segment(view)?;
            let params = SearchParams {
                k,
                algorithm,
                filter: allowed.docs.as_deref(),
            };
            snapshot.shared.with_scratch(|scratch| {
                let result = search(view.impacts.index(), &vector, &params, scratch)
                    .map_err(|error| Error::request("vector", error.to_string()))?;
                hits.extend(result.hits.iter().map(|hit| Ranked {
                    segment,
                    doc: hit.doc,
                    score: hit.score,
                }));
                work.segments += 1;
                work.postings += result.stats.postings;
                work.blocks_scored += u64::from(result.stats.blocks_scored);
                work.blocks_skipped += u64::from(result.stats.blocks_skipped);
                let name = result.stats.strategy.name();
                if !work.algorithms.iter().any(|known| known == name) {
                    work.algorithms.push(name.to_owned());
                }
                Ok::<_, Error>(())
            })?;
        }
        let hits = best(hits, k, snapshot, Ord::cmp);
        Ok(hits
            .into_iter()
            .map(|hit| hit.map(|score| self.score(u64::from(score.get()))))
            .collect())
    }

    fn score(&self, sum: u64) -> f32 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a sum below 2^32 is exact in a double; a score is reported in single precision"
        )]
        let score = (sum as f64 * self.unit) as f32;
        score
    }

    /// The vector in the terms of `view`'s index. Terms it does not have get numbers beyond its own: they
    /// match nothing, but weigh in when the query is quantised.
    fn in_segment(&self, view: &SegmentView) -> Result<SparseVector, Error> {
        let mut beyond = view
            .impacts
            .index()
            .num_terms()
            .max(u32::try_from(view.impacts.terms().len()).unwrap_or(0));
        let pairs = self.vector.iter().map(|(term, weight)| {
            let local = view.impacts.local_term(term).unwrap_or_else(|| {
                beyond += 1;
                TermId::new(beyond)
            });
            (local, weight)
        });
        SparseVector::from_pairs(pairs.collect()).map_err(|error| Error::internal("searching a segment", error))
    }

    /// The score of `doc` and what each term adds to it, largest first.
    pub(crate) fn explain(&self, snapshot: &Snapshot, view: &SegmentView, doc: DocId) -> (f32, Vec<TermContribution>) {
        let forward: Vec<_> = view.impacts.index().forward(doc).collect();
        let vocabulary = snapshot.shared.vocabulary();
        let mut sum = 0;
        let mut found = Vec::new();
        for &(term, weight) in self.quantised.terms() {
            let local = view.impacts.local_term(term);
            let at = local.and_then(|local| forward.binary_search_by_key(&local, |&(term, _)| term).ok());
            let Some(at) = at else { continue };
            let impact = forward[at].1;
            let product = u64::from(weight) * u64::from(impact.get());
            sum += product;
            let text = vocabulary.term(term).unwrap_or_default();
            found.push((
                product,
                TermContribution {
                    term: text.to_owned(),
                    query_weight: f32::from(weight) * self.quantised.step(),
                    document_weight: snapshot.shared.quantiser.weight(impact),
                    product: self.score(product),
                    share: 0.0,
                    typed: self.terms.iter().any(|known| known.typed && known.term == text),
                },
            ));
        }
        let terms = found.into_iter().map(|(product, mut contribution)| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "a share between 0 and 1"
            )]
            {
                contribution.share = (product as f64 / sum as f64) as f32;
            }
            contribution
        });
        (self.score(sum), sorted(terms.collect()))
    }
}

/// Largest product first.
pub(crate) fn sorted(mut terms: Vec<TermContribution>) -> Vec<TermContribution> {
    terms.sort_by(|a, b| b.product.total_cmp(&a.product).then_with(|| a.term.cmp(&b.term)));
    terms
}

/// The tokens of the query, and what their weights still need.
fn encode(request: &SearchRequest, snapshot: &Snapshot) -> Result<(SparseEncoding, QueryWeighting), Error> {
    if let Some(vector) = &request.vector {
        crate::document::check_vector(vector, MAX_QUERY_TERMS).map_err(|reason| Error::request("vector", reason))?;
        let encoded = SparseEncoding {
            tokens: vector.clone(),
            num_tokens: vector.len(),
            num_windows: 0,
            truncated: false,
        };
        return Ok((encoded, QueryWeighting::Model));
    }
    let query = request.query.as_deref().unwrap_or_default();
    let Some(encoder) = &snapshot.shared.encoder else {
        return Err(Error::request(
            "query",
            format!(
                "collection `{}` has no model: give a vector, or use mode bm25",
                snapshot.shared.config.name
            ),
        ));
    };
    let encoded = encoder.encode(InputKind::Query, &[query])?;
    Ok((
        encoded.into_iter().next().unwrap_or_default(),
        encoder.query_weighting(),
    ))
}

fn largest_weight(snapshot: &Snapshot, term: TermId) -> f32 {
    let in_segment = |view: &std::sync::Arc<SegmentView>| {
        let local = view.impacts.local_term(term)?;
        let postings = view.impacts.index().term(local)?;
        Some(snapshot.shared.quantiser.weight(postings.max_impact()))
    };
    snapshot.segments.iter().filter_map(in_segment).fold(0.0, f32::max)
}
