//! The one entry: from a query to its hits.

use crate::filter::Filter;
use crate::params::{Algorithm, SearchParams};
use crate::quantised::QuantisedQuery;
use crate::scratch::{Scratch, recycle};
use crate::stats::SearchStats;
use crate::window::{Backoff, Part, Pass, QueryTerm, Window};
use crate::{Error, block_max, cost, exhaustive, forward, oracle};
use roaring::RoaringBitmap;
use std::cmp::Reverse;
use tamis_core::{Hit, Score, SparseVector};
use tamis_index::Index;
use tamis_kernels::Found;

/// The result of a search. It borrows the scratch: copy the hits to keep them.
#[derive(Clone, Copy, Debug)]
pub struct SearchResult<'s> {
    /// At most `k` hits that score above zero, best first; equal scores by ascending document.
    pub hits: &'s [Hit],
    /// Whether the hits are those that scoring every document gives. Always, so far: no algorithm here
    /// approximates.
    pub exact: bool,
    /// What was done.
    pub stats: SearchStats,
    /// The query as it was scored.
    pub query: &'s QuantisedQuery,
    /// What one unit of score is worth: scores times this approximate the inner product of the original
    /// vectors.
    pub score_unit: f32,
}

/// Returns the `k` best allowed documents for `query`, best first; equal scores by ascending document.
///
/// Scores are sums of integer products and never wrap. Every algorithm gives the same hits. Terms that
/// the index does not know are ignored; they still take part in quantising the query, so that a query
/// scores alike on every index. Nothing is allocated once `scratch` has grown to what a query needs.
///
/// # Errors
/// [`Error::TooManyTerms`] when the query has more than 4,096 terms.
pub fn search<'s>(
    index: &Index,
    query: &SparseVector,
    params: &SearchParams<'_>,
    scratch: &'s mut Scratch,
) -> Result<SearchResult<'s>, Error> {
    scratch.query.replace(query)?;
    scratch.hits.clear();
    let stats = if params.k == 0 {
        SearchStats::default()
    } else if params.algorithm == Algorithm::Oracle {
        let selection = (params.k, params.filter);
        oracle::search(index, scratch.query.terms(), selection, &mut scratch.hits)
    } else {
        search_terms(index, params, scratch)
    };
    Ok(SearchResult {
        hits: &scratch.hits,
        exact: true,
        stats,
        query: &scratch.query,
        score_unit: scratch.query.step() * index.quantiser().step(),
    })
}

/// Looks the terms up, and scores either the allowed documents or windows.
fn search_terms(index: &Index, params: &SearchParams<'_>, scratch: &mut Scratch) -> SearchStats {
    let mut terms: Vec<QueryTerm<'_>> = recycle(std::mem::take(&mut scratch.terms));
    terms.extend(scratch.query.terms().iter().filter_map(|&(term, weight)| {
        let postings = index.term(term)?;
        Some(QueryTerm { weight, postings })
    }));
    let allowed = params.filter.map(|filter| (filter, num_allowed(index, filter)));
    let mut stats = match allowed {
        _ if terms.is_empty() => SearchStats::default(),
        Some((_, 0)) => SearchStats::default(),
        Some((filter, count)) if params.algorithm == Algorithm::Auto && is_forward_cheaper(index, &terms, count) => {
            let Scratch {
                query,
                term_weights,
                space,
                ..
            } = &mut *scratch;
            space.top.reset(params.k, Score::ZERO);
            forward::search(index, query.terms(), filter, (term_weights, &mut space.top))
        }
        _ => search_windows(index, params, (&terms, allowed), scratch),
    };
    stats.num_terms = u32::try_from(terms.len()).expect("a query has at most 4,096 terms");
    if terms.is_empty() || matches!(allowed, Some((_, 0))) {
        scratch.space.top.reset(0, Score::ZERO);
    }
    scratch.terms = recycle(terms);
    scratch.hits.extend(scratch.space.top.drain_sorted());
    stats
}

fn num_allowed(index: &Index, filter: &RoaringBitmap) -> u64 {
    index.num_docs().checked_sub(1).map_or(0, |last| filter.rank(last))
}

fn is_forward_cheaper(index: &Index, terms: &[QueryTerm<'_>], num_allowed: u64) -> bool {
    let terms_per_doc = index.num_postings() as f64 / f64::from(index.num_docs().max(1));
    let num_postings = terms.iter().map(|term| u64::from(term.postings.num_docs())).sum();
    cost::forward(num_allowed, terms_per_doc) < cost::windows(num_postings, index.num_docs())
}

/// Visits windows, best bound first, until none can add to the result.
fn search_windows(
    index: &Index,
    params: &SearchParams<'_>,
    (terms, allowed): (&[QueryTerm<'_>], Option<(&RoaringBitmap, u64)>),
    scratch: &mut Scratch,
) -> SearchStats {
    let Scratch {
        mask,
        parts,
        order,
        space,
        ..
    } = scratch;
    let filter = allowed.map_or(Filter::All, |allowed| Filter::prepare(index, allowed, params.k, mask));
    let threshold = starting_threshold(index, terms, params.k, allowed.map(|(_, count)| count));
    space.top.reset(params.k, Score::new(threshold));
    bound_windows(index, terms, order);
    let mut pass = Pass {
        index,
        kernels: tamis_kernels::active(),
        filter,
        space,
        stats: SearchStats::default(),
        is_settled: false,
        floor: 0,
        backoff: Backoff::default(),
    };
    let mut window_parts: Vec<Part<'_>> = recycle(std::mem::take(parts));
    for &Found {
        position: number,
        sum: bound,
    } in &*order
    {
        let window = Window::new(index, number);
        let mask = filter.mask(window.first, window.len);
        let is_hopeless = params.algorithm != Algorithm::Exhaustive && bound < pass.threshold();
        if bound == 0 || is_hopeless || mask.is_some_and(|words| words.iter().all(|&word| word == 0)) {
            pass.stats.windows_skipped += 1;
            continue;
        }
        window_parts.clear();
        window_parts.extend(terms.iter().filter_map(|term| {
            let postings = term.postings.window(number)?;
            let part = Part {
                weight: term.weight,
                postings,
            };
            part.prefetch();
            Some(part)
        }));
        match params.algorithm {
            Algorithm::Exhaustive => exhaustive::score_window(&mut pass, window, &window_parts),
            Algorithm::BlockMax => block_max::score_window(&mut pass, window, &window_parts, false),
            Algorithm::Auto | Algorithm::Oracle => block_max::score_window(&mut pass, window, &window_parts, true),
        }
        pass.space.top.compact();
    }
    pass.stats.settle();
    let stats = pass.stats;
    *parts = recycle(window_parts);
    stats
}

/// A score that at least `k` allowed documents reach: what the `k`-th best document of one term gets
/// from that term alone, or the one after it for every document that is not allowed.
fn starting_threshold(index: &Index, terms: &[QueryTerm<'_>], k: usize, num_allowed: Option<u64>) -> u32 {
    let num_excluded = num_allowed.map_or(0, |allowed| u64::from(index.num_docs()) - allowed);
    let rank = k.saturating_add(usize::try_from(num_excluded).unwrap_or(usize::MAX));
    let alone = |term: &QueryTerm<'_>| u32::from(term.weight) * u32::from(term.postings.kth_impact(rank));
    terms.iter().map(alone).max().unwrap_or(0)
}

/// Fills `order` with all windows and their upper bounds, best bound first.
fn bound_windows(index: &Index, terms: &[QueryTerm<'_>], order: &mut Vec<Found>) {
    order.clear();
    order.extend((0..index.num_windows()).map(|position| Found { position, sum: 0 }));
    for term in terms {
        for postings in term.postings.windows() {
            order[postings.window as usize].sum += u32::from(term.weight) * u32::from(postings.max_impact);
        }
    }
    order.sort_unstable_by_key(|window| (Reverse(window.sum), window.position));
}
