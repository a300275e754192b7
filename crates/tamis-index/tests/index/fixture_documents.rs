//! What `index/fixture-v1.tamis` was made of.

use std::collections::BTreeMap;
use tamis_core::Vocabulary;
use tamis_index::{Extras, IndexOptions, Quantisation, ReorderOptions};

/// 560 documents in two windows of 512 positions, reordered: every form of list occurs, document 7 is empty.
pub fn documents() -> Vec<BTreeMap<u32, f32>> {
    (0..560u16)
        .map(|doc| {
            if doc == 7 {
                return BTreeMap::new();
            }
            let cluster = u32::from(doc % 5);
            let mut document = BTreeMap::from([(0, f32::from(doc % 40 + 1))]);
            document.insert(10 + cluster, f32::from(doc % 9 + 200));
            if doc % 9 == 2 {
                document.insert(1, f32::from(doc % 250 + 1));
            }
            for (term, step) in [(4, 10), (5, 11), (6, 13)] {
                if doc % step == 3 {
                    document.insert(term, f32::from(doc % 77 + 100));
                }
            }
            if doc % 5 == 1 && doc % 2 == 0 {
                document.insert(2, f32::from(doc % 100 + 1));
            }
            if doc % 30 == 0 {
                document.insert(3, 255.0);
            }
            document
        })
        .collect()
}

/// Small windows, exact integers.
pub fn options() -> IndexOptions {
    IndexOptions {
        window_bits: 9,
        quantisation: Quantisation::Exact,
        reorder: Some(ReorderOptions::default()),
        ..IndexOptions::default()
    }
}

/// One of each.
pub fn extras() -> Extras {
    let mut vocabulary = Vocabulary::new();
    for term in 0..15 {
        vocabulary.intern(&format!("term{term}")).expect("room for 15");
    }
    Extras {
        vocabulary: Some(vocabulary),
        external_ids: Some((0..560).map(|doc| format!("doc-{doc}")).collect()),
        sections: vec![("x-note".to_owned(), b"tamis".to_vec())],
    }
}
