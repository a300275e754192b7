//! An index gives back exactly what was added.

use crate::collection::{Documents, build, check_holds, documents, vector};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tamis_core::{DocId, Impact, Quantiser, SparseVector, TermId, Vocabulary};
use tamis_index::{Error, Extras, Index, IndexBuilder, IndexOptions, Quantisation, ReorderOptions};

fn options(window_bits: u32, reorder: bool) -> IndexOptions {
    IndexOptions {
        window_bits,
        reorder: reorder.then(ReorderOptions::default),
        ..IndexOptions::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn gives_back_what_was_added(documents in documents(700), window_bits in 8u32..=16, reorder in any::<bool>()) {
        let (bytes, report) = build(&documents, &options(window_bits, reorder), &Extras::default());
        prop_assert_eq!(report.bytes, bytes.len() as u64);
        let index = Index::from_bytes(bytes).expect("own bytes");
        check_holds(&index, &documents);
        prop_assert_eq!(index.is_reordered(), reorder);
        prop_assert_eq!((report.num_docs, report.num_terms), (index.num_docs(), index.num_terms()));
        prop_assert_eq!(report.num_postings, index.num_postings());
        let sections: Vec<_> = index.sections().map(|(name, bytes)| (name.to_owned(), bytes.len() as u64)).collect();
        prop_assert_eq!(report.section_bytes, sections);
    }
}

#[test]
fn nothing_and_empty_documents_are_collections_too() {
    let one = BTreeMap::from([(4, 2.5f32)]);
    let empty = BTreeMap::new();
    let collections: [Documents; 4] = [
        vec![],
        vec![one.clone()],
        vec![empty.clone(); 3],
        vec![empty.clone(), one, empty],
    ];
    for documents in collections {
        for reorder in [false, true] {
            let (bytes, report) = build(&documents, &options(8, reorder), &Extras::default());
            assert_eq!(report.num_docs as usize, documents.len());
            check_holds(&Index::from_bytes(bytes).expect("own bytes"), &documents);
        }
    }
}

#[test]
fn integer_weights_are_kept_exactly() {
    let documents: Documents = (1..=255).map(|weight| BTreeMap::from([(3, weight as f32)])).collect();
    for quantisation in [Quantisation::Auto, Quantisation::Exact] {
        let options = IndexOptions {
            quantisation,
            ..IndexOptions::default()
        };
        let (bytes, report) = build(&documents, &options, &Extras::default());
        assert_eq!((report.quantiser, report.num_saturated), (Quantiser::IDENTITY, 0));
        let index = Index::from_bytes(bytes).expect("own bytes");
        for (doc, impact) in (0u32..).zip(1..=255u8) {
            let found: Vec<_> = index.forward(DocId::new(doc)).collect();
            assert_eq!(found, [(TermId::new(3), Impact::new(impact).expect("positive"))]);
        }
    }
}

#[test]
fn other_weights_are_within_half_a_step_of_the_largest() {
    let documents: Documents = (1..500u32)
        .map(|at| BTreeMap::from([(at % 7, at as f32 * 0.013)]))
        .collect();
    let (bytes, report) = build(&documents, &IndexOptions::default(), &Extras::default());
    let index = Index::from_bytes(bytes).expect("own bytes");
    let (step, largest) = (report.quantiser.step(), 499.0 * 0.013);
    assert!((step * 255.0 - largest).abs() < 1e-5);
    assert_eq!(index.quantiser(), report.quantiser);
    for (doc, document) in (0u32..).zip(&documents) {
        for (term, impact) in index.forward(DocId::new(doc)) {
            let error = (document[&term.get()] - report.quantiser.weight(impact)).abs();
            assert!(error <= step * 0.5001, "document {doc}");
        }
    }
}

#[test]
fn saturation_is_counted_and_impacts_are_taken_as_they_are() {
    let spill = tempfile::tempdir().expect("a folder");
    let options = IndexOptions {
        quantisation: Quantisation::MaxWeight(2.55),
        ..IndexOptions::default()
    };
    let mut builder = IndexBuilder::new(options, spill.path()).expect("valid");
    let pair = |term, weight| (TermId::new(term), weight);
    let heavy = SparseVector::from_pairs(vec![pair(0, 9.0), pair(1, 2.55), pair(2, 0.5)]).expect("valid");
    builder.add(&heavy).expect("valid");
    let impacts = [(TermId::new(2), Impact::new(7).expect("positive"))];
    assert_eq!(builder.add_impacts(&impacts).expect("valid"), DocId::new(1));
    let (bytes, report) = builder.finish_into(&Extras::default(), Vec::new()).expect("memory");
    let index = Index::from_bytes(bytes).expect("own bytes");
    assert_eq!((report.num_saturated, index.num_saturated()), (1, 1));
    let read = |doc| {
        index
            .forward(DocId::new(doc))
            .map(|(_, impact)| impact.get())
            .collect::<Vec<_>>()
    };
    assert_eq!((read(0), read(1)), (vec![255, 255, 50], vec![7]));
}

#[test]
fn what_cannot_be_indexed_is_refused_and_changes_nothing() {
    let spill = tempfile::tempdir().expect("a folder");
    let make = |quantisation| {
        let options = IndexOptions {
            quantisation,
            ..IndexOptions::default()
        };
        IndexBuilder::new(options, spill.path())
    };
    assert!(matches!(make(Quantisation::MaxWeight(0.0)), Err(Error::Impact(_))));
    let wide = IndexOptions {
        window_bits: 17,
        ..IndexOptions::default()
    };
    assert!(matches!(
        IndexBuilder::new(wide, spill.path()),
        Err(Error::BadOption {
            option: "window_bits",
            ..
        })
    ));

    let impact = |value| Impact::new(value).expect("positive");
    let mut auto = make(Quantisation::Auto).expect("valid");
    let given = auto.add_impacts(&[(TermId::new(1), impact(3))]);
    assert!(matches!(given, Err(Error::ImpactsNeedScale { .. })));

    let mut exact = make(Quantisation::Exact).expect("valid");
    let fraction = vector(&BTreeMap::from([(1, 2.0), (5, 1.5)]));
    assert!(matches!(
        exact.add(&fraction),
        Err(Error::NotInteger { weight: 1.5, .. })
    ));
    let far = vector(&BTreeMap::from([(u32::MAX, 2.0)]));
    assert!(matches!(exact.add(&far), Err(Error::TermOutOfRange { .. })));
    let unsorted = [(TermId::new(4), impact(3)), (TermId::new(4), impact(3))];
    assert!(matches!(exact.add_impacts(&unsorted), Err(Error::NotAscending { .. })));
    let (_, report) = exact.finish_into(&Extras::default(), Vec::new()).expect("memory");
    assert_eq!((report.num_docs, report.num_postings, report.num_terms), (0, 0, 0));
}

#[test]
fn extras_come_back_and_must_fit() {
    let documents: Documents = vec![BTreeMap::from([(0, 1.0)]), BTreeMap::from([(1, 2.0)])];
    let mut vocabulary = Vocabulary::new();
    for term in ["sieve", "horsehair"] {
        vocabulary.intern(term).expect("room");
    }
    let extras = Extras {
        vocabulary: Some(vocabulary),
        external_ids: Some(vec!["a/1".to_owned(), "é".to_owned()]),
        sections: vec![("x-note".to_owned(), vec![1, 2, 3])],
    };
    let (bytes, _) = build(&documents, &IndexOptions::default(), &extras);
    let index = Index::from_bytes(bytes).expect("own bytes");
    assert_eq!(
        index.vocabulary().and_then(|words| words.term(TermId::new(1))),
        Some("horsehair")
    );
    assert_eq!(index.external_id(DocId::new(0)), Some("a/1"));
    assert_eq!(index.external_id(DocId::new(1)), Some("é"));
    assert_eq!(index.external_id(DocId::new(2)), None);
    assert_eq!(index.extra_section("x-note"), Some([1, 2, 3].as_slice()));
    assert_eq!(
        (index.extra_section("x-other"), index.extra_section("meta")),
        (None, None)
    );

    let refused = |change: &dyn Fn(&mut Extras)| {
        let mut changed = extras.clone();
        change(&mut changed);
        let spill = tempfile::tempdir().expect("a folder");
        let mut builder = IndexBuilder::new(IndexOptions::default(), spill.path()).expect("valid");
        documents.iter().for_each(|document| {
            builder.add(&vector(document)).expect("valid");
        });
        builder
            .finish_into(&changed, Vec::new())
            .map(|_| ())
            .expect_err("does not fit")
    };
    let error = refused(&|extras| extras.vocabulary = Some(Vocabulary::new()));
    assert!(matches!(error, Error::TermOutOfRange { .. }), "{error}");
    let error = refused(&|extras| extras.external_ids = Some(vec![]));
    assert!(matches!(error, Error::ExternalIds { expected: 2, found: 0 }), "{error}");
    for name in ["note", "x-a name that is far too long", "x-note"] {
        let error = refused(&|extras| extras.sections.push((name.to_owned(), vec![])));
        assert!(matches!(error, Error::SectionName { .. }), "{error}");
    }
}

#[test]
fn a_file_appears_whole_and_is_replaced_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("collection.tamis");
    for num_docs in [3u16, 5] {
        let documents: Documents = (0..num_docs)
            .map(|doc| BTreeMap::from([(1, f32::from(doc) + 0.5)]))
            .collect();
        let mut builder = IndexBuilder::new(IndexOptions::default(), folder.path()).expect("valid");
        for document in &documents {
            builder.add(&vector(document)).expect("valid");
        }
        let report = builder.finish(&Extras::default(), &path).expect("writable");
        let index = Index::open(&path).expect("own file");
        assert_eq!(index.size_bytes(), report.bytes);
        check_holds(&index, &documents);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1);
    let missing = Index::open(&folder.path().join("no.tamis")).expect_err("no such file");
    assert!(missing.to_string().contains("no.tamis") && !missing.is_corruption());
}
