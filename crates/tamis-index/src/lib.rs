//! The impact index: quantise, reorder, build, write, open, read.
//!
//! [`IndexBuilder`] takes sparse vectors and writes one immutable file; [`Index`] maps it, checks everything
//! once and hands out slices: one copy of the postings by term and window, block maxima beside them, and a
//! forward index by document. `index/README.md` specifies the bytes.
//!
//! Three numbers name a document. Its [`DocId`](tamis_core::DocId) counts the order of adding, which is how
//! ties are broken. Its *position* is where it lies after reordering; positions are cut into *windows* of
//! `2^window_bits` and these into *blocks* of [`BLOCK_LEN`]. Its external id is the user's string.
//!
//! ```
//! use tamis_core::{DocId, SparseVector, TermId};
//! use tamis_index::{Extras, Index, IndexBuilder, IndexOptions};
//!
//! let mut builder = IndexBuilder::new(IndexOptions::default(), &std::env::temp_dir())?;
//! let vector = SparseVector::from_pairs(vec![(TermId::new(3), 2.0), (TermId::new(1), 7.0)])?;
//! assert_eq!(builder.add(&vector)?, DocId::new(0));
//! let (bytes, report) = builder.finish_into(&Extras::default(), Vec::new())?;
//! assert_eq!((report.num_docs, report.num_postings), (1, 2));
//!
//! let index = Index::from_bytes(bytes)?;
//! assert_eq!(index.term(TermId::new(1)).expect("has a posting").max_impact().get(), 7);
//! assert!(index.term(TermId::new(2)).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atomic;
mod bits;
mod builder;
mod encode;
mod error;
mod external_ids;
mod extras;
mod finish;
mod forward;
mod index;
mod layout;
mod mmap;
mod options;
mod postings;
mod reorder;
mod report;
mod sort;
mod spill;
mod spool;
mod validate;

pub use builder::IndexBuilder;
pub use error::Error;
pub use extras::Extras;
pub use forward::ForwardDoc;
pub use index::Index;
pub use layout::{BLOCK_BITS, BLOCK_LEN, FILE_KIND, KTH_STORED, MAX_DOCS, MAX_TERMS};
pub use options::{IndexOptions, Quantisation, ReorderOptions};
pub use postings::{Blocks, Postings, TermPostings, WindowPostings};
pub use report::BuildReport;
