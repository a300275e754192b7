//! Integer scores, and why they never wrap.

use std::fmt;

/// The largest impact of a document weight.
pub const MAX_IMPACT: u32 = 255;

/// The largest integer weight of a query term (12 bits).
pub const MAX_QUERY_WEIGHT: u32 = 4095;

/// The most terms one query may have.
pub const MAX_QUERY_TERMS: usize = 4096;

/// The score of a document: the sum over query terms of query weight times impact.
///
/// It never wraps: a query has at most [`MAX_QUERY_TERMS`] distinct terms, each adding at most
/// [`MAX_QUERY_WEIGHT`] * [`MAX_IMPACT`], and 4,096 * 4,095 * 255 = 4,277,145,600 is below 2^32 (checked
/// at compile time below).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Score(u32);

const _: () = assert!(MAX_QUERY_TERMS as u64 * MAX_QUERY_WEIGHT as u64 * MAX_IMPACT as u64 <= u32::MAX as u64);

impl Score {
    /// The score of a document that shares no term with the query.
    pub const ZERO: Self = Self(0);

    /// Wraps a sum.
    #[must_use]
    pub const fn new(sum: u32) -> Self {
        Self(sum)
    }

    /// The sum.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
