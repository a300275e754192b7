//! The naive way: each document by itself, term by term, over the forward index.
//!
//! It shares nothing with the other algorithms but the order of hits, and sorts all of them: it is
//! what they are tested against.

use crate::stats::{SearchStats, Strategy};
use roaring::RoaringBitmap;
use tamis_core::{DocId, Hit, Score, TermId};
use tamis_index::Index;

/// Fills `hits` with the `k` best documents.
pub(crate) fn search(
    index: &Index,
    query: &[(TermId, u16)],
    (k, filter): (usize, Option<&RoaringBitmap>),
    hits: &mut Vec<Hit>,
) -> SearchStats {
    let mut stats = SearchStats {
        strategy: Strategy::Oracle,
        ..SearchStats::default()
    };
    for doc in (0..index.num_docs()).filter(|&doc| filter.is_none_or(|allowed| allowed.contains(doc))) {
        let doc = DocId::new(doc);
        let mut score = 0;
        for (term, impact) in index.forward(doc) {
            if let Ok(at) = query.binary_search_by_key(&term, |&(term, _)| term) {
                score += u32::from(query[at].1) * u32::from(impact.get());
                stats.postings += 1;
            }
        }
        stats.documents_scored += 1;
        if score > 0 {
            hits.push(Hit::new(Score::new(score), doc));
        }
    }
    hits.sort_unstable();
    hits.truncate(k);
    stats
}
