//! BEIR collections: every container, and everything that can be wrong with one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tamis_eval::{BeirCollection, Document, Error, Query};
use tempfile::TempDir;

const CORPUS: &str = "{\"_id\":\"d1\",\"title\":\"One\",\"text\":\"first\",\"metadata\":{\"x\":1}}\n\
                      {\"_id\":2,\"text\":\"sécond\\n\"}\n\n{\"_id\":\"d3\",\"title\":null,\"text\":null}\n";
const QUERIES: &str = "{\"_id\":\"q1\",\"text\":\"what\"}\n{\"_id\":\"q2\",\"text\":\"why\"}\n";
const TEST: &str = "query-id\tcorpus-id\tscore\nq2\td1\t2\n";
const TRAIN: &str = "query-id\tcorpus-id\tscore\nq1\t2\t1\nq9\t2\t1\n";

type Files = Vec<(&'static str, Vec<u8>)>;

fn files() -> Files {
    vec![
        ("corpus.jsonl", CORPUS.into()),
        ("queries.jsonl", QUERIES.into()),
        ("qrels/test.tsv", TEST.into()),
        ("qrels/train.tsv", TRAIN.into()),
    ]
}

fn with(name: &'static str, content: &str) -> Files {
    let mut files = files();
    files.retain(|(other, _)| *other != name);
    files.push((name, content.into()));
    files
}

fn folder_of(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("qrels")).expect("writable");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("writable");
    }
    folder
}

fn tar_of(files: &Files, prefix: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len().try_into().expect("small"));
        header.set_mode(0o644);
        archive
            .append_data(&mut header, format!("{prefix}{name}"), content.as_slice())
            .expect("in memory");
    }
    archive.into_inner().expect("in memory")
}

fn zip_of(files: &Files, prefix: &str, method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, content) in files {
        archive
            .start_file(format!("{prefix}{name}"), options)
            .expect("in memory");
        archive.write_all(content).expect("in memory");
    }
    archive.finish().expect("in memory").into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("in memory")
}

fn saved(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("writable");
    path
}

fn check(path: &Path) {
    let collection = BeirCollection::open(path).expect("a collection");
    assert_eq!(collection.splits(), ["test", "train"]);
    let documents: Vec<Document> = collection
        .documents()
        .expect("a corpus")
        .map(|one| one.expect("clean"))
        .collect();
    let document = |id: &str, title: &str, text: &str| Document {
        id: id.into(),
        title: title.into(),
        text: text.into(),
    };
    assert_eq!(
        documents,
        [
            document("d1", "One", "first"),
            document("2", "", "sécond\n"),
            document("d3", "", "")
        ]
    );
    let query = |id: &str, text: &str| Query {
        id: id.into(),
        text: text.into(),
    };
    assert_eq!(
        collection.queries().expect("queries"),
        [query("q1", "what"), query("q2", "why")]
    );
    let test = collection.qrels("test").expect("judgements");
    assert_eq!((test.num_judgements(), test.grade("q2", "d1")), (1, Some(2)));
    assert_eq!(
        collection.judged_queries(&test).expect("all have text"),
        [query("q2", "why")]
    );
    let train = collection.qrels("train").expect("judgements");
    let error = collection.judged_queries(&train).expect_err("q9 has no text");
    assert!(
        error
            .to_string()
            .ends_with("judges query \"q9\", but its queries.jsonl has no such query"),
        "{error}"
    );
    let error = collection.qrels("dev").expect_err("there is no dev");
    assert!(
        error
            .to_string()
            .ends_with("has no split \"dev\": there are test, train"),
        "{error}"
    );
}

/// The message of the first error that reading everything gives.
fn first_error(path: &Path) -> Error {
    fn read(path: &Path) -> Result<(), Error> {
        let collection = BeirCollection::open(path)?;
        collection.documents()?.try_for_each(|document| document.map(drop))?;
        collection.queries()?;
        collection
            .splits()
            .iter()
            .try_for_each(|split| collection.qrels(split).map(drop))
    }
    read(path).expect_err("the collection is broken")
}

#[test]
fn folders_and_archives_of_every_kind_read_the_same() {
    let folder = folder_of(&files());
    check(folder.path());
    let compressed: Files = vec![
        ("corpus.jsonl.gz", gzip(CORPUS.as_bytes())),
        ("queries.jsonl.zst", zstd(QUERIES.as_bytes())),
        ("qrels/test.tsv.gz", gzip(TEST.as_bytes())),
        ("qrels/train.tsv", TRAIN.into()),
    ];
    check(folder_of(&compressed).path());
    let place = tempfile::tempdir().expect("a temporary folder");
    for (number, files) in [files(), compressed].iter().enumerate() {
        for prefix in ["", "./", "scifact/", "a/b/"] {
            let tar = tar_of(files, prefix);
            check(&saved(&place, "c.tar", &tar));
            check(&saved(&place, "c.tar.gz", &gzip(&tar)));
            check(&saved(&place, "c.tar.zst", &zstd(&tar)));
            // Two frames, as parallel compressors write them.
            let (head, tail) = tar.split_at(700);
            check(&saved(&place, "two.tar.zst", &[zstd(head), zstd(tail)].concat()));
            for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
                check(&saved(&place, "c.zip", &zip_of(files, prefix, method)));
            }
        }
        assert!(number < 2);
    }
}

#[test]
fn a_long_folder_name_is_read_through_its_extended_header() {
    let place = tempfile::tempdir().expect("a temporary folder");
    check(&saved(
        &place,
        "c.tar",
        &tar_of(&files(), &format!("{}/", "x".repeat(300))),
    ));
}

#[test]
fn the_name_is_the_folder_or_the_archive_without_endings() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let tar = tar_of(&files(), "other/");
    for name in ["sci.fact.tar.zst", "sci.fact.tar", "sci.fact.tgz"] {
        let path = saved(&place, name, &tar);
        assert_eq!(BeirCollection::open(&path).expect("a collection").name(), "sci.fact");
    }
}

#[test]
fn broken_lines_are_named_with_file_line_and_column() {
    for (name, content, expected) in [
        (
            "corpus.jsonl",
            "{\"_id\":\"a\",\"text\":\"b\"}\n{\"_id\":\"b\"}\n",
            "corpus.jsonl, line 2, column 11: expected an object with \"_id\", \"text\" and perhaps \"title\", but missing field `text`",
        ),
        (
            "corpus.jsonl",
            "{\"text\":\"b\"}",
            "corpus.jsonl, line 1, column 12: expected an object with \"_id\", \"text\" and perhaps \"title\", but missing field `_id`",
        ),
        (
            "corpus.jsonl",
            "{\"_id\":\"a\",\"text\":\"b\"}\n\n{\"_id\":\"a\",\"text\":\"c\"}",
            "corpus.jsonl, line 3: the id \"a\" was used by an earlier line",
        ),
        (
            "corpus.jsonl",
            "{\"_id\":\"\",\"text\":\"b\"}",
            "corpus.jsonl, line 1: the id is empty",
        ),
        (
            "corpus.jsonl",
            "{\"_id\":1.5,\"text\":\"b\"}",
            "but invalid type: floating point `1.5`, expected an id (a string or an integer)",
        ),
        (
            "corpus.jsonl",
            "{\"_id\":\"a\",\"text\":\"b",
            "line 1, column 20: expected an object with \"_id\", \"text\" and perhaps \"title\", but EOF while parsing a string",
        ),
        (
            "queries.jsonl",
            "{\"_id\":\"a\",\"text\":\"b\"}\n[\"c\",\"d\"]",
            "queries.jsonl, line 2, column 1: expected an object with \"_id\" and \"text\", but the line does not begin with {",
        ),
        (
            "queries.jsonl",
            "{\"_id\":\"a\",\"text\":\"b\"}\n{\"_id\":\"a\",\"text\":\"b\"}",
            "queries.jsonl, line 2: the id \"a\" was used by an earlier line",
        ),
        (
            "qrels/test.tsv",
            "query-id\tcorpus-id\tscore\nq1\td1\n",
            "test.tsv, line 2: expected `query-id corpus-id score` separated by tabs, found 2 columns",
        ),
    ] {
        let folder = folder_of(&with(name, content));
        let message = first_error(folder.path()).to_string();
        assert!(message.contains(expected), "{message}\nlacks\n{expected}");
    }
}

#[test]
fn the_iterator_of_documents_ends_after_an_error() {
    let folder = folder_of(&with(
        "corpus.jsonl",
        "{\"_id\":\"a\",\"text\":\"b\"}\nx\n{\"_id\":\"c\",\"text\":\"b\"}\n",
    ));
    let collection = BeirCollection::open(folder.path()).expect("a collection");
    let documents: Vec<bool> = collection
        .documents()
        .expect("a corpus")
        .map(|document| document.is_ok())
        .collect();
    assert_eq!(documents, [true, false]);
}

#[test]
fn what_is_no_collection_is_refused_with_the_reason() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let save = |bytes: &[u8]| saved(&place, "c", bytes);
    assert!(matches!(first_error(Path::new("no such place")), Error::Open { .. }));
    assert!(matches!(first_error(place.path()), Error::NoCorpus { .. }));
    assert!(matches!(first_error(&save(b"")), Error::UnknownArchive { .. }));
    assert!(matches!(
        first_error(&save(CORPUS.as_bytes())),
        Error::UnknownArchive { .. }
    ));
    assert!(matches!(
        first_error(&save(&gzip(CORPUS.as_bytes()))),
        Error::DamagedArchive { .. }
    ));
    assert!(matches!(
        first_error(&save(&tar_of(&vec![("other.txt", Vec::new())], ""))),
        Error::NoCorpus { .. }
    ));
    let mut two = files();
    two.push(("nested/corpus.jsonl", CORPUS.into()));
    assert!(
        matches!(first_error(&save(&tar_of(&two, ""))), Error::SeveralCollections { folders, .. } if folders == ["", "nested"])
    );
    let mut twice = files();
    twice.push(("corpus.jsonl.gz", gzip(CORPUS.as_bytes())));
    assert!(matches!(first_error(folder_of(&twice).path()), Error::DuplicatePart { part, .. } if part == "the corpus"));
    let mut repeated = files();
    repeated.extend(files());
    assert!(matches!(
        first_error(&save(&tar_of(&repeated, "c/"))),
        Error::DuplicatePart { .. }
    ));
    let corpus_only: Files = vec![("corpus.jsonl", CORPUS.into())];
    let error = first_error(folder_of(&corpus_only).path());
    assert!(matches!(error, Error::NoQueries { .. }));
    let collection = folder_of(&corpus_only);
    let error = BeirCollection::open(collection.path())
        .expect("a corpus")
        .qrels("test")
        .expect_err("there are none");
    assert!(
        error
            .to_string()
            .ends_with("has no split \"test\": there are none (qrels/*.tsv)"),
        "{error}"
    );
}

#[test]
fn hostile_archives_are_refused() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let climbing = zip_of(&files(), "../../", zip::CompressionMethod::Stored);
    assert!(matches!(
        first_error(&saved(&place, "climbing", &climbing)),
        Error::UnsafeMember { .. }
    ));

    // A name record that claims, and has, four MiB.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(4 << 20);
    header.set_cksum();
    let bomb = [
        header.as_bytes().as_slice(),
        &vec![b'x'; 4 << 20],
        &tar_of(&files(), ""),
    ]
    .concat();
    let error = first_error(&saved(&place, "bomb", &zstd(&bomb)));
    assert!(error.to_string().contains("longer than 1 MiB"), "{error}");

    // A member that claims more than the archive holds.
    let mut header = tar::Header::new_gnu();
    header.set_path("corpus.jsonl").expect("short");
    header.set_size(1 << 40);
    header.set_cksum();
    let error = first_error(&saved(
        &place,
        "claims",
        &[header.as_bytes().as_slice(), CORPUS.as_bytes()].concat(),
    ));
    assert!(
        matches!(error, Error::DamagedArchive { .. } | Error::Read { .. }),
        "{error}"
    );

    // A link is no corpus.
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive
        .append_link(&mut header, "corpus.jsonl", "/etc/hostname")
        .expect("in memory");
    let linked = archive.into_inner().expect("in memory");
    assert!(matches!(
        first_error(&saved(&place, "linked", &linked)),
        Error::NoCorpus { .. }
    ));
}

#[test]
fn damage_at_any_byte_is_an_error_or_changes_nothing() {
    let place = tempfile::tempdir().expect("a temporary folder");
    for archive in [
        zip_of(&files(), "c/", zip::CompressionMethod::Deflated),
        gzip(&tar_of(&files(), "c/")),
        zstd(&tar_of(&files(), "c/")),
    ] {
        for at in (0..archive.len()).step_by(3) {
            let mut bytes = archive.clone();
            bytes[at] ^= 0x55;
            // Not every byte matters (time stamps, padding); none may bring the reader down.
            if let Ok(collection) = BeirCollection::open(&saved(&place, "flipped", &bytes)) {
                let _ = collection.documents().map(Iterator::count);
                let _ = collection.queries();
                let _ = collection.qrels("test");
            }
            // A cut always loses the end of something.
            if let Ok(collection) = BeirCollection::open(&saved(&place, "cut", &archive[..at])) {
                let read = collection
                    .documents()
                    .and_then(|documents| documents.collect::<Result<Vec<_>, _>>());
                assert!(read.is_err() || collection.qrels("train").is_err(), "cut at {at}");
            }
        }
    }
}

#[test]
fn a_changed_byte_in_a_zip_member_is_noticed() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let mut archive = zip_of(&files(), "", zip::CompressionMethod::Stored);
    let at = archive
        .windows(5)
        .position(|window| window == b"first")
        .expect("stored as it is");
    archive[at] = b'F';
    let error = first_error(&saved(&place, "changed.zip", &archive));
    assert!(error.to_string().contains("CRC-32"), "{error}");
}
