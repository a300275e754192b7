//! Damaged files give errors that say what is wrong, never a panic and never another answer.

use crate::collection::{build, check_holds, large, list};
use crate::fixture_documents;
use tamis_core::container::{Container, ContainerWriter, FileKind};
use tamis_core::{DocId, TermId};
use tamis_index::{Blocks, Error, Extras, FILE_KIND, Index, IndexOptions, Postings};

fn sample() -> Vec<u8> {
    build(
        &fixture_documents::documents(),
        &fixture_documents::options(),
        &fixture_documents::extras(),
    )
    .0
}

#[test]
fn every_flipped_bit_gives_an_error_or_changes_nothing() {
    let bytes = sample();
    let documents = fixture_documents::documents();
    // One bit of each byte in turn keeps this fast; the checksum finds all of them alike.
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        match Index::from_bytes(damaged) {
            Err(error) => assert!(
                error.is_corruption() && error.to_string().contains("(bytes)"),
                "{error}"
            ),
            // Padding between sections.
            Ok(index) => check_holds(&index, &documents),
        }
    }
}

#[test]
fn every_truncation_gives_an_error() {
    let bytes = sample();
    for len in 0..bytes.len() {
        let error = Index::from_bytes(bytes[..len].to_vec()).expect_err("cut short");
        assert!(error.is_corruption(), "{error}");
    }
}

#[test]
fn errors_name_file_and_section() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.tamis");
    let mut bytes = sample();
    let range = Container::open(&bytes, FILE_KIND)
        .expect("own")
        .range("postings")
        .expect("there");
    bytes[range.start + 5] ^= 4;
    std::fs::write(&path, &bytes).expect("writable");
    let message = Index::open(&path).expect_err("damaged").to_string();
    for part in ["damaged.tamis", "postings", "expected", "found"] {
        assert!(message.contains(part), "{message}");
    }
    let newer = FileKind {
        version: FILE_KIND.version + 1,
        ..FILE_KIND
    };
    let newer = ContainerWriter::new(Vec::new(), newer)
        .and_then(ContainerWriter::finish)
        .expect("memory");
    let error = Index::from_bytes(newer).expect_err("not known yet");
    assert!(error.is_newer_version() && !error.is_corruption(), "{error}");
    std::fs::write(&path, b"").expect("writable");
    assert!(Index::open(&path).expect_err("empty").is_corruption());
}

/// `bytes` with the content of one section changed and all checksums right.
fn forged(bytes: &[u8], section: &str, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let container = Container::open(bytes, FILE_KIND).expect("own bytes");
    let mut writer = ContainerWriter::new(Vec::new(), FILE_KIND).expect("memory");
    for name in container.names() {
        let mut content = container.section(bytes, name).expect("listed").to_vec();
        if name == section {
            change(&mut content);
        }
        writer
            .section_with(name, |out| out.write_all(&content))
            .expect("memory");
    }
    writer.finish().expect("memory")
}

/// Reads everything there is; must not panic.
fn read_all(index: &Index) -> u64 {
    let mut sum = 0;
    for doc in (0..index.num_docs()).map(DocId::new) {
        sum += u64::from(index.position_of(doc)) + u64::from(index.doc_of(doc.get()).get());
        sum += index
            .forward(doc)
            .map(|(term, impact)| u64::from(term.get()) + u64::from(impact.get()))
            .sum::<u64>();
        sum += index.external_id(doc).map_or(0, str::len) as u64;
    }
    for term in (0..index.num_terms()).filter_map(|term| index.term(TermId::new(term))) {
        sum += u64::from(term.max_impact().get()) + u64::from(term.kth_impact(10));
        for window in term.windows() {
            let len = index.window_len(window.window);
            assert!(list(&window).iter().all(|&(id, _)| u32::from(id) < len));
            if let (Postings::List { ids, .. }, Blocks::Sparse { starts, .. }) = (window.postings, window.blocks) {
                sum += starts
                    .iter()
                    .map(|&start| u64::from(ids[usize::from(start)]))
                    .sum::<u64>();
            }
        }
    }
    sum
}

#[test]
fn structure_is_checked_behind_the_checksums() {
    let bytes = sample();
    let container = Container::open(&bytes, FILE_KIND).expect("own bytes");
    for name in container.names() {
        let len = container.range(name).expect("listed").len();
        let mut refused = 0;
        for at in 0..len {
            let bits = [1, 0x80, 0xff][at % 3];
            match Index::from_bytes(forged(&bytes, name, |content| content[at] ^= bits)) {
                Err(error) => {
                    assert!(error.is_corruption(), "{error}");
                    refused += 1;
                }
                Ok(index) => assert!(read_all(&index) > 0),
            }
        }
        let free = ["x-note", "ids.text", "vocabulary"].contains(&name);
        assert!(free || refused > len / 3, "{name}: {refused} of {len} changes refused");
        for cut in [1, len / 2, len] {
            let shorter = Index::from_bytes(forged(&bytes, name, |content| content.truncate(len - cut)));
            assert!(shorter.is_err() || name == "x-note", "{name} without {cut} bytes");
        }
        let longer = Index::from_bytes(forged(&bytes, name, |content| content.extend([0; 12])));
        let may_be_longer = ["x-note", "postings"].contains(&name);
        assert!(longer.is_err() || may_be_longer, "{name} with 12 bytes more");
    }
}

#[test]
fn a_lowered_block_maximum_is_found() {
    let (bytes, _) = build(&large(2000), &IndexOptions::default(), &Extras::default());
    let index = Index::from_bytes(bytes.clone()).expect("own bytes");
    let container = Container::open(&bytes, FILE_KIND).expect("own bytes");
    let postings = container.section(&bytes, "postings").expect("there");
    // The row of maxima of term 0, which every document has, follows its column at the very front.
    let row = 2048 >> 6 << 6;
    let first = index
        .term(TermId::new(0))
        .and_then(|term| term.window(0))
        .expect("in all documents");
    let Blocks::Dense { maxima, .. } = first.blocks else {
        panic!("a column has a row of maxima")
    };
    assert_eq!(&postings[row..row + maxima.len()], maxima);
    let lowered = forged(&bytes, "postings", |content| content[row + 3] -= 1);
    let error = Index::from_bytes(lowered).expect_err("no longer an upper bound");
    assert!(
        matches!(
            error,
            Error::Damaged {
                section: "postings",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("term 0"), "{error}");
}
