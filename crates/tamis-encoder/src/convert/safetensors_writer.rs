//! Writes a safetensors file tensor by tensor: the header needs only types and shapes.

use super::target::write as failed;
use crate::Error;
use crate::pickle::{Element, TensorView};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;

/// A tensor to write.
pub(super) struct Entry {
    name: String,
    element: Element,
    shape: Vec<usize>,
    /// Its file, and its place in that.
    source: (usize, usize),
}

impl Entry {
    /// Tensor `at` of file `file`.
    pub(super) fn new(name: &str, view: &TensorView, file: usize, at: usize) -> Self {
        Self {
            name: name.to_owned(),
            element: view.storage.element.written(),
            shape: view.shape.clone(),
            source: (file, at),
        }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> u64 {
        self.shape.iter().map(|&size| size as u64).product()
    }

    /// Size of its numbers.
    pub(super) fn bytes(&self) -> u64 {
        self.len() * self.element.size() as u64
    }
}

/// Writes `entries`, whose numbers `read` gives by file and place.
pub(super) fn write(
    out: &mut impl Write,
    mut entries: Vec<Entry>,
    mut read: impl FnMut(usize, usize) -> Result<Vec<u8>, Error>,
) -> Result<(), Error> {
    // Wide types first, so that every tensor is aligned.
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| (std::cmp::Reverse(entry.element.size()), entry.element);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for entry in &entries {
        let end = start + entry.bytes();
        let info = json!({"dtype": entry.element.name(), "shape": entry.shape, "data_offsets": [start, end]});
        header.insert(entry.name.clone(), info);
        start = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let failed = failed(Path::new(crate::checkpoint::WEIGHTS_NAME));
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(&failed)?;
    out.write_all(&header).map_err(&failed)?;
    for entry in &entries {
        let (file, at) = entry.source;
        out.write_all(&read(file, at)?).map_err(&failed)?;
    }
    Ok(())
}
