//! Writes the tiny index that is committed for this format version.
//!
//! ```text
//! cargo run -p tamis-index --example write_fixture -- index/fixture-v1.tamis
//! ```

#[path = "../tests/index/fixture_documents.rs"]
mod fixture_documents;

use std::error::Error;
use std::path::Path;
use tamis_core::{SparseVector, TermId};
use tamis_index::IndexBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: write_fixture FILE")?;
    let mut builder = IndexBuilder::new(fixture_documents::options(), &std::env::temp_dir())?;
    for document in fixture_documents::documents() {
        let pairs = document.into_iter().map(|(term, weight)| (TermId::new(term), weight));
        builder.add(&SparseVector::from_pairs(pairs.collect())?)?;
    }
    builder.finish(&fixture_documents::extras(), Path::new(&path))?;
    Ok(())
}
