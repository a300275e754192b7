//! Dense encoders whose matrices are stored in 8 bits: nearly the vectors of the original, in files that are refused
//! when they are damaged.

use super::{copy_of, fixture};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use tamis_encoder::{Compute, DenseEncoder, DeviceChoice, InputKind, LongText, Precision};

const NAME: &str = "dense-lift";
const FILES: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const TEXTS: [&str; 3] = [
    "The miller sifts flour.",
    "wheat",
    "A sieve with a mesh, and a mill by the river.",
];

fn opened(dir: &Path, precision: Option<Precision>) -> Result<DenseEncoder, tamis_encoder::Error> {
    let device = DeviceChoice::Cpu;
    DenseEncoder::open(dir, LongText::Truncate, Compute { device, precision })
}

/// The fixture with its weights in 8 bits.
fn rounded() -> tempfile::TempDir {
    let dir = copy_of(NAME);
    let original = opened(dir.path(), None).expect("whole");
    assert_eq!(original.precision(), Precision::F32);
    let files = original
        .weights_in_eight_bits()
        .expect("readable")
        .expect("not rounded yet");
    fs::remove_file(dir.path().join("model.safetensors")).expect("there");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("writable");
    }
    dir
}

fn vectors(encoder: &DenseEncoder) -> Vec<Vec<f32>> {
    let encodings = encoder.encode(InputKind::Document, &TEXTS).expect("any text");
    encodings.into_iter().map(|encoding| encoding.values).collect()
}

#[test]
fn vectors_are_nearly_those_of_the_original() {
    let dir = rounded();
    let original = vectors(&opened(&fixture(NAME), None).expect("whole"));
    for precision in [
        None,
        Some(Precision::F32),
        Some(Precision::Int16),
        Some(Precision::Int8),
    ] {
        let encoder = opened(dir.path(), precision).expect("whole");
        assert_eq!(
            encoder.precision(),
            precision.unwrap_or(Precision::Int8),
            "as stored where nothing is said"
        );
        for (found, expected) in vectors(&encoder).iter().zip(&original) {
            let cosine: f32 = found.iter().zip(expected).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.999, "{precision:?}: {cosine}");
        }
    }
    let again = opened(dir.path(), None).expect("whole").weights_in_eight_bits();
    assert!(again.expect("readable").is_none(), "it is stored so already");
}

#[test]
fn word_embeddings_have_a_file_of_their_own_and_bytes_are_always_the_same() {
    let (one, other) = (rounded(), rounded());
    for name in FILES.into_iter().chain(["model.safetensors.index.json"]) {
        let [one, other] = [&one, &other].map(|dir| fs::read(dir.path().join(name)).expect("written"));
        assert_eq!(one, other, "{name}");
    }
    let bytes = fs::read(one.path().join(FILES[0])).expect("written");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "embeddings.word_embeddings.weight",
            "embeddings.word_embeddings.weight.scale"
        ]
    );
    let index = fs::read_to_string(one.path().join("model.safetensors.index.json")).expect("written");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    assert_eq!(index["weight_map"]["embeddings.word_embeddings.weight"], FILES[0]);
    assert_eq!(index["weight_map"]["embeddings.LayerNorm.weight"], FILES[1]);
}

/// Tensors by name, and the metadata.
struct Parts {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

/// Changes the tensors of the second file and gives what is said of it.
fn refusal(change: impl FnOnce(&mut Parts)) -> String {
    let dir = rounded();
    let path = dir.path().join(FILES[1]);
    let bytes = fs::read(&path).expect("written");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let parts = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (name, parts)
    });
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("whole");
    let mut parts = Parts {
        tensors: tensors.collect(),
        metadata: header.metadata().clone().expect("a mark"),
    };
    change(&mut parts);
    let views = parts.tensors.iter().map(|(name, (dtype, shape, data))| {
        (
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), data).expect("fits"),
        )
    });
    fs::write(
        &path,
        safetensors::serialize(views, Some(parts.metadata)).expect("serialises"),
    )
    .expect("writable");
    let message = opened(dir.path(), None).err().expect("refused").to_string();
    assert!(
        message.contains(FILES[1]) || message.contains("index.json"),
        "{message}"
    );
    message
}

const QUERY: &str = "encoder.layer.0.attention.self.query.weight";

#[test]
fn damage_is_named_with_file_tensor_expected_and_found() {
    let scale = format!("{QUERY}.scale");
    let message = refusal(|parts| drop(parts.metadata.insert("tamis.int8_rows".to_owned(), "2".to_owned())));
    assert!(
        message.contains("\"1\" expected") && message.contains("\"2\" found"),
        "{message}"
    );
    let message = refusal(|parts| parts.metadata.clear());
    assert!(
        message.contains("I8") && message.contains("F32, F16 or BF16 expected"),
        "{message}"
    );
    let message = refusal(|parts| parts.tensors.get_mut(QUERY).expect("there").2[5] = 0x80);
    assert!(
        message.contains(QUERY) && message.contains("-128 (element 5)") && message.contains("-127 to 127"),
        "{message}"
    );
    let message = refusal(|parts| {
        let values = &mut parts.tensors.get_mut(&scale).expect("there").2;
        values[4..8].copy_from_slice(&(-0.5f32).to_le_bytes());
    });
    assert!(
        message.contains(&scale) && message.contains("-0.5 (element 1)"),
        "{message}"
    );
    let message = refusal(|parts| {
        let values = &mut parts.tensors.get_mut(&scale).expect("there").2;
        values[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(message.contains(&scale) && message.contains("not finite"), "{message}");
    let message = refusal(|parts| {
        let tensor = parts.tensors.get_mut(&scale).expect("there");
        tensor.1 = vec![1, tensor.1[0]];
    });
    assert!(message.contains(&scale) && message.contains("shape"), "{message}");
    let message = refusal(|parts| {
        let tensor = parts.tensors.get_mut(&scale).expect("there");
        tensor.0 = Dtype::I32;
    });
    assert!(message.contains(&scale) && message.contains("I32"), "{message}");
}

#[test]
fn a_scale_that_is_missing_everywhere_is_missed() {
    let scale = format!("{QUERY}.scale");
    let dir = rounded();
    let index = dir.path().join("model.safetensors.index.json");
    let mut list: Value = serde_json::from_slice(&fs::read(&index).expect("written")).expect("JSON");
    list["weight_map"].as_object_mut().expect("an object").remove(&scale);
    fs::write(&index, list.to_string()).expect("writable");
    let message = opened(dir.path(), None).err().expect("refused").to_string();
    assert!(
        message.contains(&scale) && message.contains("the list has no such tensor"),
        "{message}"
    );

    // A single file needs no list.
    let dir = rounded();
    let mut tensors = BTreeMap::new();
    let files = FILES.map(|name| fs::read(dir.path().join(name)).expect("written"));
    for bytes in &files {
        tensors.extend(SafeTensors::deserialize(bytes).expect("whole").tensors());
    }
    tensors.remove(&scale);
    let metadata = HashMap::from([("tamis.int8_rows".to_owned(), "1".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).expect("serialises");
    fs::write(dir.path().join("model.safetensors"), bytes).expect("writable");
    let message = opened(dir.path(), None).err().expect("refused").to_string();
    assert!(message.contains(&scale) && message.contains("8 bits"), "{message}");
}
