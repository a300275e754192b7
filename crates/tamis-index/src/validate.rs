//! Every structure is checked once when an index is opened, so that later reads need no checks of their own.

use crate::Error;
use crate::forward::{BASE_BITS, ForwardDoc, TAIL_BYTES};
use crate::layout::{
    BLOCK_BITS, BLOCK_LEN, FORWARD, FORWARD_BASES, FORWARD_STARTS, KTH_STORED, LISTS, ListRecord, ListWords, Meta,
    ORDER_DOCS, ORDER_POSITIONS, POSTINGS, TERMS, TermRecord, TermWords, num_windows, window_len,
};
use crate::postings::{Blocks, Postings, WindowPostings, view};
use rayon::prelude::*;
use std::fmt::Display;
use std::path::Path;

/// What is wrong with which part of which section.
#[derive(Debug, PartialEq)]
pub(crate) struct Damage {
    section: &'static str,
    place: String,
    expected: String,
    found: String,
}

impl Damage {
    pub(crate) fn new(
        section: &'static str,
        place: impl Into<String>,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Self {
            section,
            place: place.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn at(self, path: &Path) -> Error {
        Error::Damaged {
            path: path.to_owned(),
            section: self.section,
            place: self.place,
            expected: self.expected,
            found: self.found,
        }
    }
}

/// The sections that searches read.
pub(crate) struct SearchSections<'a> {
    pub meta: Meta,
    pub terms: &'a [TermWords],
    pub lists: &'a [ListWords],
    pub postings: &'a [u8],
}

/// Checks term directory, lists and postings: everything is in range, sorted, and every maximum exact.
pub(crate) fn check_search(sections: &SearchSections<'_>) -> Result<(), Damage> {
    let Meta {
        num_terms,
        num_postings,
        ..
    } = sections.meta;
    if sections.terms.len() as u64 != u64::from(num_terms) + 1 {
        let expected = format!("{} records", u64::from(num_terms) + 1);
        return Err(Damage::new(TERMS, "length", expected, sections.terms.len()));
    }
    let firsts = || sections.terms.iter().map(|&words| words[0]);
    let ascending = firsts().is_sorted() && firsts().next() == Some(0);
    if !ascending || firsts().next_back().map(|end| end as usize) != Some(sections.lists.len()) {
        let expected = format!("0 to {} ascending", sections.lists.len());
        return Err(Damage::new(TERMS, "first lists", expected, "another sequence"));
    }
    let damage = (0..num_terms as usize)
        .into_par_iter()
        .with_min_len(64)
        .map(|term| check_term(sections, term))
        .find_map_first(Result::err);
    if let Some(damage) = damage {
        return Err(damage);
    }
    let sum: u64 = sections.terms.iter().map(|&words| u64::from(words[1])).sum();
    if sum != num_postings || sections.terms.last().is_some_and(|words| words[1..] != [0, 0]) {
        return Err(Damage::new(TERMS, "sum of document frequencies", num_postings, sum));
    }
    Ok(())
}

fn check_term(sections: &SearchSections<'_>, term: usize) -> Result<(), Damage> {
    let record = TermRecord::from_words(sections.terms[term]);
    let first = record.first_list as usize;
    let lists = &sections.lists[first..sections.terms[term + 1][0] as usize];
    let mut histogram = [0u32; 256];
    let mut previous = None;
    for (at, &words) in (first..).zip(lists) {
        let place = || format!("list {at} of term {term}");
        let Some(list) = ListRecord::from_words(words) else {
            return Err(Damage::new(LISTS, place(), "a known kind", words[3] >> 24));
        };
        let Meta {
            num_docs, window_bits, ..
        } = sections.meta;
        if previous >= Some(list.window) || list.window >= num_windows(num_docs, window_bits) {
            let expected = format!(
                "a window above the one before and below {}",
                num_windows(num_docs, window_bits)
            );
            return Err(Damage::new(LISTS, place(), expected, list.window));
        }
        previous = Some(list.window);
        let len = window_len(num_docs, window_bits, list.window);
        let Some(window) = view(&list, len, sections.postings) else {
            let expected = format!("postings within {} bytes, at an even offset", sections.postings.len());
            return Err(Damage::new(LISTS, place(), expected, format!("{list:?}")));
        };
        check_window(&window, len, &mut histogram)
            .map_err(|(expected, found)| Damage::new(POSTINGS, place(), expected, found))?;
        let num_blocks = window.blocks.num_blocks();
        if num_blocks != usize::from(list.num_blocks) {
            let expected = format!("{num_blocks} blocks");
            return Err(Damage::new(LISTS, place(), expected, list.num_blocks));
        }
    }
    let expected = summary(record.first_list, &histogram);
    if record != expected {
        let place = format!("term {term}");
        return Err(Damage::new(
            TERMS,
            place,
            format!("{expected:?}"),
            format!("{record:?}"),
        ));
    }
    Ok(())
}

/// The directory record of a term whose impacts are counted in `histogram`.
pub(crate) fn summary(first_list: u32, histogram: &[u32; 256]) -> TermRecord {
    let mut record = TermRecord {
        first_list,
        ..TermRecord::default()
    };
    for (impact, &count) in (0..=u8::MAX).zip(histogram).rev().filter(|&(_, &count)| count > 0) {
        if record.num_docs == 0 {
            record.max_impact = impact;
        }
        for (kth, &k) in record.kth.iter_mut().zip(&KTH_STORED) {
            let before = record.num_docs as usize;
            if before < k && before + count as usize >= k {
                *kth = impact;
            }
        }
        record.num_docs += count;
    }
    record
}

type Mismatch = (&'static str, String);

pub(crate) fn check_window(window: &WindowPostings<'_>, len: u32, histogram: &mut [u32; 256]) -> Result<(), Mismatch> {
    let max = match window.postings {
        Postings::List { ids, impacts } => {
            // Without early exits these run on whole vectors.
            let ascending = ids.windows(2).fold(true, |sound, pair| sound & (pair[0] < pair[1]));
            if !ascending || ids.last().is_none_or(|&id| u32::from(id) >= len) {
                return Err(("ids strictly ascending and inside the window", "others".to_owned()));
            }
            if impacts.iter().fold(false, |zero, &impact| zero | (impact == 0)) {
                return Err(("impacts above 0", "0".to_owned()));
            }
            impacts.iter().for_each(|&impact| histogram[usize::from(impact)] += 1);
            check_blocks(window.blocks, ids, impacts)?;
            impacts.iter().copied().max()
        }
        Postings::Dense { column } => {
            let (inside, padding) = column.split_at(len as usize);
            let num_docs = inside.iter().filter(|&&impact| impact > 0).count();
            if num_docs != window.num_docs as usize || padding.iter().any(|&byte| byte != 0) {
                return Err(("a column with the stated number of postings", num_docs.to_string()));
            }
            for &impact in inside.iter().filter(|&&impact| impact > 0) {
                histogram[usize::from(impact)] += 1;
            }
            let Blocks::Dense { maxima, starts: [] } = window.blocks else {
                return Err(("a row of maxima beside a dense column", format!("{:?}", window.blocks)));
            };
            let blocks = column.chunks_exact(BLOCK_LEN as usize);
            if !blocks.map(|block| block.iter().max()).eq(maxima.iter().map(Some)) {
                return Err(("the maximum of every block", "others".to_owned()));
            }
            maxima.iter().copied().max()
        }
    };
    if max != Some(window.max_impact) {
        return Err(("the stated maximum", format!("{max:?} against {}", window.max_impact)));
    }
    Ok(())
}

fn check_blocks(blocks: Blocks<'_>, ids: &[u16], impacts: &[u8]) -> Result<(), Mismatch> {
    // One (block, first, end, maximum) after the other has to account for all postings.
    let check = |block: usize, range: std::ops::Range<usize>, maximum: u8| {
        let inside = |id: &u16| usize::from(*id) >> BLOCK_BITS == block;
        ids.get(range.clone()).is_some_and(|ids| ids.iter().all(inside))
            && impacts[range].iter().copied().max().unwrap_or(0) == maximum
    };
    let bad = |expected| Err((expected, "others".to_owned()));
    match blocks {
        Blocks::None => Ok(()),
        Blocks::Sparse { blocks, maxima, starts } => {
            let num_postings = u16::try_from(ids.len()).map_err(|_| ("a list below 65,536", ids.len().to_string()))?;
            let ends = starts.iter().skip(1).copied().chain([num_postings]);
            if starts.first() != Some(&0) || !blocks.windows(2).all(|pair| pair[0] < pair[1]) {
                return bad("blocks strictly ascending from the first posting on");
            }
            let mut parts = blocks.iter().zip(starts.iter().zip(ends)).zip(maxima);
            let sound = parts.all(|((&block, (&start, end)), &maximum)| {
                start < end && check(usize::from(block), usize::from(start)..usize::from(end), maximum)
            });
            if sound {
                Ok(())
            } else {
                bad("blocks with their exact maxima")
            }
        }
        Blocks::Dense { maxima, starts } => {
            if starts.first() != Some(&0) || starts.last().map(|&end| usize::from(end)) != Some(ids.len()) {
                return bad("starts from 0 to the number of postings");
            }
            let mut parts = maxima.iter().zip(starts.windows(2)).enumerate();
            let sound = parts.all(|(block, (&maximum, pair))| {
                pair[0] <= pair[1] && check(block, usize::from(pair[0])..usize::from(pair[1]), maximum)
            });
            if sound { Ok(()) } else { bad("a row with exact maxima") }
        }
    }
}

/// The sections of the forward index.
pub(crate) struct ForwardSections<'a> {
    pub meta: Meta,
    pub bases: &'a [[u32; 2]],
    pub starts: &'a [u32],
    pub records: &'a [u8],
}

impl<'a> ForwardSections<'a> {
    /// The bytes from the record of document number `doc` on.
    #[inline]
    pub(crate) fn record(&self, doc: usize) -> Option<&'a [u8]> {
        let [low, high] = *self.bases.get(doc >> BASE_BITS)?;
        let base = u64::from(low) | u64::from(high) << 32;
        let start = base.checked_add(u64::from(*self.starts.get(doc)?))?;
        self.records.get(usize::try_from(start).ok()?..)
    }
}

/// Reads the forward index once: records follow each other and hold as many known terms as there are postings.
pub(crate) fn check_forward(forward: &ForwardSections<'_>) -> Result<(), Damage> {
    let num_docs = forward.meta.num_docs as usize;
    let num_bases = num_docs.div_ceil(1 << BASE_BITS);
    if forward.starts.len() != num_docs {
        return Err(Damage::new(FORWARD_STARTS, "length", num_docs, forward.starts.len()));
    }
    if forward.bases.len() != num_bases {
        return Err(Damage::new(FORWARD_BASES, "length", num_bases, forward.bases.len()));
    }
    let checked = (0..num_docs)
        .into_par_iter()
        .with_min_len(256)
        .map(|doc| check_document(forward, doc))
        .collect::<Result<Vec<u32>, Damage>>()?;
    let sum: u64 = checked.into_iter().map(u64::from).sum();
    if sum != forward.meta.num_postings {
        return Err(Damage::new(FORWARD, "number of terms", forward.meta.num_postings, sum));
    }
    Ok(())
}

fn check_document(forward: &ForwardSections<'_>, doc: usize) -> Result<u32, Damage> {
    let place = || format!("document {doc}");
    let damage = |expected: &str, found: &str| Damage::new(FORWARD, place(), expected, found);
    let record = forward
        .record(doc)
        .ok_or_else(|| damage("a record inside the section", "an offset outside"))?;
    let mut terms = ForwardDoc::new(record).ok_or_else(|| damage("a record", "the end of the section"))?;
    let (expected, mut found, mut last) = (terms.len(), 0u32, None);
    for (term, _) in terms.by_ref() {
        found += 1;
        last = Some(term.get());
    }
    if found as usize != expected || last >= Some(forward.meta.num_terms) {
        let expected = format!("{expected} terms below {}", forward.meta.num_terms);
        return Err(damage(&expected, &format!("{found} terms up to {last:?}")));
    }
    let rest = record.len().checked_sub(terms.num_bytes());
    let next = match forward.record(doc + 1) {
        Some(next) if doc + 1 < forward.starts.len() => next.len(),
        _ => TAIL_BYTES,
    };
    if rest != Some(next) {
        return Err(damage("records one after the other", "a gap or an overlap"));
    }
    Ok(found)
}

/// Checks that the two maps are permutations and each other's inverse.
pub(crate) fn check_order(num_docs: u32, docs: &[u32], positions: &[u32]) -> Result<(), Damage> {
    for (section, len) in [(ORDER_DOCS, docs.len()), (ORDER_POSITIONS, positions.len())] {
        if len != num_docs as usize {
            return Err(Damage::new(section, "length", num_docs, len));
        }
    }
    for (position, &doc) in (0u32..).zip(docs) {
        let back = positions.get(doc as usize).copied();
        if back != Some(position) {
            let place = format!("document {doc}");
            return Err(Damage::new(ORDER_POSITIONS, place, position, format!("{back:?}")));
        }
    }
    Ok(())
}
