//! Builds indexes, reads them back, and damages them.

mod collection;
mod damage;
mod determinism;
mod fixture;
mod fixture_documents;
mod round_trip;
