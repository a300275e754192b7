//! Scoring the allowed documents one by one, for filters that leave few.

use crate::stats::{SearchStats, Strategy};
use roaring::RoaringBitmap;
use tamis_core::{DocId, Hit, Score, TermId, TopK};
use tamis_index::Index;

/// Scores every document of `allowed` into `top`. `weights` has room for the weight of every term of
/// the index and is all zero before and after.
pub(crate) fn search(
    index: &Index,
    query: &[(TermId, u16)],
    allowed: &RoaringBitmap,
    (weights, top): (&mut Vec<u16>, &mut TopK),
) -> SearchStats {
    let num_terms = index.num_terms() as usize;
    if weights.len() < num_terms {
        weights.resize(num_terms, 0);
    }
    let known = || query.iter().filter(|(term, _)| term.index() < num_terms);
    for &(term, weight) in known() {
        weights[term.index()] = weight;
    }
    let mut stats = SearchStats {
        strategy: Strategy::Forward,
        ..SearchStats::default()
    };
    for doc in allowed.iter().take_while(|&doc| doc < index.num_docs()) {
        let doc = DocId::new(doc);
        let mut score = 0;
        for (term, impact) in index.forward(doc) {
            score += u32::from(weights[term.index()]) * u32::from(impact.get());
            stats.postings += 1;
        }
        stats.documents_scored += 1;
        if score > 0 {
            top.push(Hit::new(Score::new(score), doc));
        }
    }
    for &(term, _) in known() {
        weights[term.index()] = 0;
    }
    stats
}
