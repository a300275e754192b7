//! Pickled weights become safetensors: the same numbers, nothing executed, damage refused.

use crate::{copy_of, fixture};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;
use tamis_encoder::{Checkpoint, CheckpointOptions, Conversion, Encoder, Error, InputKind, convert};

/// A directory of the fixture `bert-plain` with a pickle in place of its weights.
fn with_pickle(name: &str) -> tempfile::TempDir {
    let dir = copy_of("bert-plain");
    fs::remove_file(dir.path().join("model.safetensors")).expect("there");
    let pickle = fixture("pickles").join(name);
    fs::copy(pickle, dir.path().join("pytorch_model.bin")).expect("readable");
    dir
}

/// Converts `dir` to a new directory and gives that.
fn converted(dir: &Path) -> Result<(tempfile::TempDir, Conversion), Error> {
    let parent = tempfile::tempdir().expect("temporary folder");
    let conversion = convert(dir, &parent.path().join("out"));
    let left = fs::read_dir(parent.path()).expect("readable").count();
    assert_eq!(left, usize::from(conversion.is_ok()), "all of it or nothing");
    Ok((parent, conversion?))
}

fn vectors(dir: &Path) -> Vec<tamis_encoder::SparseEncoding> {
    let encoder = Checkpoint::open(dir, &CheckpointOptions::default()).expect("a checkpoint");
    let texts = ["The miller sifts the flour.", "water wheel"];
    encoder.encode(InputKind::Document, &texts).expect("encodable")
}

#[test]
fn both_forms_give_the_vectors_of_the_safetensors_file() {
    let expected = vectors(&fixture("bert-plain"));
    for name in ["bert.bin", "bert-legacy.bin"] {
        let source = with_pickle(name);
        fs::create_dir(source.path().join("sub")).expect("writable");
        fs::write(source.path().join("sub/notes.txt"), "kept").expect("writable");
        fs::write(source.path().join("training_args.bin"), "a pickle").expect("writable");
        let (parent, conversion) = converted(source.path()).expect("whole");
        let out = parent.path().join("out");
        assert_eq!(vectors(&out), expected, "{name}");
        assert_eq!(fs::read(out.join("sub/notes.txt")).expect("copied"), b"kept");
        assert!(!out.join("pytorch_model.bin").exists() && !out.join("training_args.bin").exists());
        assert_eq!(conversion.left_out, [Path::new("training_args.bin")]);
        let mut tied: Vec<&str> = conversion.tied.iter().map(|(name, _)| name.as_str()).collect();
        tied.sort_unstable();
        assert_eq!(tied, ["cls.predictions.decoder.bias", "cls.predictions.decoder.weight"]);
    }
}

#[test]
fn embeddings_that_are_not_tied_are_both_written() {
    let source = with_pickle("bert.bin");
    let config = source.path().join("config.json");
    let text = fs::read_to_string(&config).expect("there");
    let untied = text.replacen('{', "{\"tie_word_embeddings\": false,", 1);
    let untied = untied.replace("\"tie_word_embeddings\": true", "\"tied_before\": true");
    fs::write(config, untied).expect("writable");
    let (_, conversion) = converted(source.path()).expect("whole");
    assert_eq!(conversion.tied, []);
}

#[test]
fn every_type_and_view_is_written_row_by_row() {
    let source = with_pickle("types.bin");
    let (parent, conversion) = converted(source.path()).expect("whole");
    let [expected, found] = [
        fixture("pickles").join("types.safetensors"),
        parent.path().join("out/model.safetensors"),
    ]
    .map(|path| fs::read(path).expect("there"));
    let (expected, found) = (
        SafeTensors::deserialize(&expected).expect("valid"),
        SafeTensors::deserialize(&found).expect("valid"),
    );
    assert_eq!((expected.len(), conversion.tensors), (16, 16));
    for (name, tensor) in expected.iter() {
        let other = found.tensor(name).expect("written");
        assert_eq!(
            (tensor.dtype(), tensor.shape(), tensor.data()),
            (other.dtype(), other.shape(), other.data()),
            "{name}"
        );
    }
}

#[test]
fn shards_and_what_coil_keeps_apart_are_put_together() {
    let source = with_pickle("bert.bin");
    let dir = source.path();
    fs::rename(
        dir.join("pytorch_model.bin"),
        dir.join("pytorch_model-00001-of-00001.bin"),
    )
    .expect("there");
    let index = r#"{"weight_map": {"bert.embeddings.word_embeddings.weight": "pytorch_model-00001-of-00001.bin"}}"#;
    fs::write(dir.join("pytorch_model.bin.index.json"), index).expect("writable");
    fs::copy(fixture("pickles").join("types.bin"), dir.join("model.pt")).expect("readable");
    let (parent, conversion) = converted(dir).expect("whole");
    assert_eq!(conversion.written, [Path::new("model.safetensors")]);
    let bytes = fs::read(parent.path().join("out/model.safetensors")).expect("written");
    let names = SafeTensors::deserialize(&bytes).expect("valid");
    assert!(names.tensor("transposed").is_ok() && names.tensor("bert.embeddings.word_embeddings.weight").is_ok());
    fs::write(
        dir.join("pytorch_model.bin.index.json"),
        index.replace("pytorch_model-00001", "../x"),
    )
    .expect("writable");
    let message = converted(dir).expect_err("outside").to_string();
    assert!(
        message.contains("../x") && message.contains("same directory"),
        "{message}"
    );
}

#[test]
fn a_program_that_would_run_a_command_is_refused_by_name() {
    let source = with_pickle("system.bin");
    let message = converted(source.path()).expect_err("refused").to_string();
    for needle in ["pytorch_model.bin", "archive/data.pkl, byte 2", "os.system"] {
        assert!(message.contains(needle), "{needle} is not in: {message}");
    }
}

#[test]
fn wrong_places_are_refused() {
    let source = with_pickle("bert.bin");
    let inside = convert(source.path(), &source.path().join("sub/out")).expect_err("inside");
    assert!(inside.to_string().contains("inside"), "{inside}");
    let there = convert(source.path(), source.path()).expect_err("there");
    assert!(there.to_string().contains("exists already"), "{there}");
    let parent = tempfile::tempdir().expect("temporary folder");
    let nothing = convert(&fixture("bert-plain"), &parent.path().join("out")).expect_err("nothing");
    assert!(nothing.to_string().contains("nothing to convert"), "{nothing}");
    convert(&parent.path().join("nowhere"), &parent.path().join("out")).expect_err("not there");
}
