//! Tensors in memory as a safetensors file.

use crate::Error;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::path::Path;

/// A tensor as a file holds it.
pub(crate) struct StoredTensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Row by row, little endian.
    pub(crate) bytes: Vec<u8>,
}

impl StoredTensor {
    /// Numbers in single precision.
    pub(crate) fn single_precision(name: &str, shape: &[usize], values: &[f32]) -> Self {
        Self {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

/// The bytes of a file of `tensors`; the same for the same tensors in any order. `path` is what errors call it.
pub(crate) fn write_tensors(path: &Path, tensors: &[StoredTensor]) -> Result<Vec<u8>, Error> {
    let failed = |reason: String| Error::Write {
        path: path.to_owned(),
        source: std::io::Error::other(reason),
    };
    let mut views = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        views.push((tensor.name.as_str(), view.map_err(|error| failed(error.to_string()))?));
    }
    let notes = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(notes)).map_err(|error| failed(error.to_string()))
}
