//! The model-free encoder: BM25 written as impacts over stemmed words.
//!
//! A document's weight of a term is BM25's saturated, length-normalised term frequency; a query's weight is
//! how often the term occurs, and the searcher multiplies it by the term's IDF in the index it searches. The
//! inner product of the two is BM25 up to quantisation, so exact impact search over it is exact BM25. No
//! trained model takes part, and its description says so.
//!
//! Source: Robertson et al. (TREC-3), with Lucene's IDF that cannot be negative; the defaults k1 = 0.9 and
//! b = 0.4 are those of Trotman, Puurula and Burgess (ADCS 2014). Ours keeps the average length fixed,
//! so that a document's weights depend on the document alone and never change as a collection grows.

mod analyzer;
mod bm25;
mod porter;

pub use analyzer::{Analyzer, STOP_WORDS, Token, surface_form};
pub use bm25::{AverageLength, Lexical, LexicalOptions, idf};
