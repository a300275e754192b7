//! Which documents of a segment a search may return: live ones that pass the filter.

use crate::Error;
use crate::bits::Bits;
use crate::filter::Filter;
use crate::snapshot::SegmentView;
use roaring::RoaringBitmap;
use std::borrow::Cow;

/// The allowed documents of one segment, in both of its numberings; `None` allows all.
#[derive(Default)]
pub(crate) struct Allowed<'a> {
    /// By `DocId`, for the impact search.
    pub(crate) docs: Option<Cow<'a, RoaringBitmap>>,
    /// By tantivy's number, for BM25.
    pub(crate) tantivy_docs: Option<Cow<'a, Bits>>,
}

impl<'a> Allowed<'a> {
    /// The live documents of `view` that pass `filter`.
    pub(crate) fn new(view: &'a SegmentView, filter: Option<&Filter>) -> Result<Self, Error> {
        let Some(filter) = filter else {
            return Ok(Self {
                docs: view.live.as_ref().map(Cow::Borrowed),
                tantivy_docs: view.live_bits.as_ref().map(Cow::Borrowed),
            });
        };
        let passing = filter
            .matching(&view.reader)
            .map_err(|error| Error::internal("evaluating a filter", error))?;
        let num_docs = view.reader.max_doc();
        let (mut docs, mut tantivy_docs) = (Bits::new(num_docs), Bits::new(num_docs));
        let ranks = view.impacts.ranks();
        for doc in passing {
            if view.live_bits.as_ref().is_none_or(|live| live.contains(doc)) {
                tantivy_docs.insert(doc);
                docs.insert(ranks.get(doc as usize).unwrap_or_default());
            }
        }
        let docs = RoaringBitmap::from_sorted_iter(docs.iter())
            .map_err(|error| Error::internal("evaluating a filter", error))?;
        Ok(Self {
            docs: Some(Cow::Owned(docs)),
            tantivy_docs: Some(Cow::Owned(tantivy_docs)),
        })
    }

    /// Whether nothing can be returned.
    pub(crate) fn is_empty(&self) -> bool {
        self.docs.as_ref().is_some_and(|docs| docs.is_empty())
    }
}
