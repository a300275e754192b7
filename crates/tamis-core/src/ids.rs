//! The two id spaces. They are separate types so that one can never stand in for the other.

use std::fmt;

macro_rules! ordinal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(u32);

        impl $name {
            /// Wraps an ordinal.
            #[must_use]
            pub const fn new(ordinal: u32) -> Self {
                Self(ordinal)
            }

            /// The ordinal as stored on disk.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// The ordinal as a slice index.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl From<u32> for $name {
            fn from(ordinal: u32) -> Self {
                Self(ordinal)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ordinal! {
    /// The ordinal of a document inside one index: 0 for the first document in *tie order*.
    ///
    /// Equal scores are ranked by ascending `DocId`, so whoever builds an index decides how ties are
    /// broken by the order in which documents get their ids. Where a document physically lies after
    /// reordering is a *position*, which never leaves the index.
    DocId
}

ordinal! {
    /// The ordinal of a term inside one [`Vocabulary`](crate::Vocabulary).
    TermId
}
