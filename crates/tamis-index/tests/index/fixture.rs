//! The committed index of format version 1 is opened for ever.

use crate::collection::{build, check_holds};
use crate::fixture_documents::{documents, extras, options};
use tamis_core::{DocId, Quantiser, TermId};
use tamis_index::{Blocks, Index, Postings};

static FIXTURE: &[u8] = include_bytes!("../../../../index/fixture-v1.tamis");

#[test]
fn version_1_opens_and_holds_what_was_added() {
    let index = Index::from_bytes(FIXTURE).expect("the committed file");
    check_holds(&index, &documents());
    assert_eq!(index.quantiser(), Quantiser::IDENTITY);
    assert_eq!(
        (index.num_docs(), index.window_bits(), index.num_windows()),
        (560, 9, 2)
    );
    assert!(index.is_reordered());
    assert_eq!(index.external_id(DocId::new(559)), Some("doc-559"));
    assert_eq!(
        index.vocabulary().and_then(|words| words.id("term14")),
        Some(TermId::new(14))
    );
    assert_eq!(index.extra_section("x-note"), Some(b"tamis".as_slice()));
    let mut forms = [false; 4];
    let terms = (0..index.num_terms()).filter_map(|term| index.term(TermId::new(term)));
    for window in terms.flat_map(|term| term.windows()) {
        let form = match (window.postings, window.blocks) {
            (Postings::Dense { .. }, _) => 0,
            (Postings::List { .. }, Blocks::None) => 1,
            (Postings::List { .. }, Blocks::Sparse { .. }) => 2,
            (Postings::List { .. }, Blocks::Dense { .. }) => 3,
        };
        forms[form] = true;
    }
    assert_eq!(forms, [true; 4], "column, list, list with blocks, list with a row");
}

/// Made by `cargo run -p tamis-index --example write_fixture -- index/fixture-v1.tamis`.
#[test]
fn the_builder_still_writes_the_same_bytes() {
    let (bytes, _) = build(&documents(), &options(), &extras());
    assert!(
        bytes == FIXTURE,
        "the bytes of version 1 have changed: a new version needs a new number"
    );
}
