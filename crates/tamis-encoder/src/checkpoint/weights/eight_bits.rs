//! Matrices stored in 8 bits: a row is its integers, from -127 to 127, times a scale of its own.
//!
//! A tensor `NAME` of type I8 and shape `[rows, columns]` has its scales in `NAME.scale`, F32 and `[rows]`. Files that
//! hold such tensors say so in their metadata, [`MARK`] with the [`VERSION`] of this form. Rounding is that of
//! [`tamis_kernels::PackedMatrix`] in 8 bits, so that packing what was stored gives the same integers again.

use super::file::SafetensorsFile;
use super::{PIECE_BYTES, WeightsFile, single_precision};
use crate::Error;
use safetensors::Dtype;
use safetensors::tensor::{TensorInfo, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// What files with matrices in 8 bits have in their metadata.
const MARK: &str = "tamis.int8_rows";

/// The version of the form, as the value of [`MARK`].
const VERSION: &str = "1";

/// The largest integer.
const LARGEST: i8 = 127;

/// The names of the files that are written: word embeddings, and everything else. A later model that keeps its
/// embeddings has the same first file again.
const FILES: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// A file that is to be written: its name and its content.
pub type NamedFile = (&'static str, Vec<u8>);

/// How names of word embeddings end, in all families.
const EMBEDDINGS: [&str; 2] = ["word_embeddings.weight", "tok_embeddings.weight"];

fn scale_name(name: &str) -> String {
    format!("{name}.scale")
}

/// Whether `file` holds matrices in 8 bits.
///
/// # Errors
/// When it does so in another version of the form.
pub(super) fn is_marked(file: &SafetensorsFile) -> Result<bool, Error> {
    let metadata = file.header.metadata().as_ref();
    match metadata.and_then(|metadata| metadata.get(MARK)) {
        None => Ok(false),
        Some(version) if version == VERSION => Ok(true),
        Some(version) => {
            let field = format!("__metadata__.{MARK}");
            Err(Error::field(
                &file.path,
                &field,
                format!("{VERSION:?}"),
                format!("{version:?}"),
            ))
        }
    }
}

/// The numbers of the I8 tensor `name` in single precision.
pub(super) fn read(
    files: &WeightsFile,
    file: &SafetensorsFile,
    name: &str,
    info: &TensorInfo,
) -> Result<Vec<f32>, Error> {
    let &[rows, columns] = info.shape.as_slice() else {
        return Err(Error::TensorShape {
            path: file.path.clone(),
            tensor: name.to_owned(),
            expected: vec![1, info.shape.iter().product()],
            found: info.shape.clone(),
        });
    };
    let scales = scales(files, file, name, rows)?;
    let (start, end) = info.data_offsets;
    let mut values: Vec<f32> = Vec::with_capacity(rows * columns);
    file.read_pieces(file.data + start as u64, (end - start) as u64, PIECE_BYTES, |piece| {
        for &byte in piece {
            let element = values.len();
            let integer = byte.cast_signed();
            if integer < -LARGEST {
                return Err(Error::TensorRange {
                    path: file.path.clone(),
                    tensor: name.to_owned(),
                    element,
                    expected: "-127 to 127",
                    found: integer.to_string(),
                });
            }
            values.push(f32::from(integer) * scales[element / columns]);
        }
        Ok(())
    })?;
    Ok(values)
}

/// The scales of the rows of `name`, in whichever shard they are.
fn scales(files: &WeightsFile, file: &SafetensorsFile, name: &str, rows: usize) -> Result<Vec<f32>, Error> {
    let tensor = scale_name(name);
    let Some((holder, info)) = files.place(&tensor) else {
        return Err(Error::MissingTensor {
            path: file.path.clone(),
            tensor,
            remedy: "the matrix it belongs to is stored in 8 bits; copy the model again",
        });
    };
    let path = || holder.path.clone();
    if info.dtype != Dtype::F32 {
        let found = format!("{:?}", info.dtype);
        return Err(Error::TensorType {
            path: path(),
            tensor,
            expected: "F32",
            found,
        });
    }
    if info.shape != [rows] {
        let found = info.shape.clone();
        return Err(Error::TensorShape {
            path: path(),
            tensor,
            expected: vec![rows],
            found,
        });
    }
    let scales = single_precision(holder, &tensor, info)?;
    match scales.iter().position(|&scale| scale < 0.0) {
        None => Ok(scales),
        Some(element) => Err(Error::TensorRange {
            path: path(),
            tensor,
            element,
            expected: "0 or more",
            found: scales[element].to_string(),
        }),
    }
}

/// A tensor as it is written.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The weights in `dir` with every matrix in 8 bits and everything else in single precision: the names and contents of
/// the files to write, one where there are no word embeddings. Tensors that are no floating-point numbers (stored position ids) are left out.
///
/// `None` where they are stored so already. The same weights always give the same bytes. Memory: the result.
///
/// # Errors
/// When a tensor cannot be read or holds a value that is not finite.
pub(crate) fn in_eight_bits(dir: &Path) -> Result<Option<Vec<NamedFile>>, Error> {
    let source = WeightsFile::read(dir)?;
    if source.is_in_eight_bits()? {
        return Ok(None);
    }
    let mut parts: [Vec<(String, Stored)>; 2] = Default::default();
    let mut total = 0u64;
    for name in source.names() {
        let Some((file, info)) = source.place(&name) else {
            continue;
        };
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            continue;
        }
        let values = single_precision(file, &name, info)?;
        let part = &mut parts[usize::from(!EMBEDDINGS.iter().any(|end| name.ends_with(end)))];
        for (name, stored) in stored(&name, &info.shape, &values) {
            total += stored.bytes.len() as u64;
            part.push((name, stored));
        }
    }
    if parts[0].is_empty() {
        parts[1].sort_by(|a, b| a.0.cmp(&b.0));
        return Ok(Some(vec![(super::FILE_NAME, serialised(dir, &parts[1])?)]));
    }
    let mut written = Vec::with_capacity(FILES.len() + 1);
    let mut places = serde_json::Map::new();
    for (file, mut tensors) in FILES.into_iter().zip(parts) {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        places.extend(tensors.iter().map(|(name, _)| (name.clone(), file.into())));
        written.push((file, serialised(dir, &tensors)?));
    }
    places.sort_keys();
    let index = serde_json::json!({"metadata": {"total_size": total}, "weight_map": places});
    written.push((super::INDEX_NAME, format!("{index:#}\n").into_bytes()));
    Ok(Some(written))
}

/// A tensor as one or two that are stored.
fn stored(name: &str, shape: &[usize], values: &[f32]) -> Vec<(String, Stored)> {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let single = |shape: &[usize], values: &[f32]| Stored {
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: bytes(values),
    };
    let &[rows, columns] = shape else {
        return vec![(name.to_owned(), single(shape, values))];
    };
    let (mut integers, mut scales) = (Vec::with_capacity(values.len()), Vec::with_capacity(rows));
    for row in values.chunks_exact(columns.max(1)) {
        scales.push(tamis_kernels::quantise_row(row, &mut integers));
    }
    let integers = Stored {
        dtype: Dtype::I8,
        shape: shape.to_vec(),
        bytes: integers.into_iter().map(i8::cast_unsigned).collect(),
    };
    vec![
        (name.to_owned(), integers),
        (scale_name(name), single(&[rows], &scales)),
    ]
}

fn serialised(dir: &Path, tensors: &[(String, Stored)]) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::Safetensors {
        path: dir.to_owned(),
        reason: format!("{error:?}"),
    };
    let views = tensors.iter().map(|(name, stored)| {
        let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes).map_err(failed)?;
        Ok((name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, Error>>()?;
    // One entry only: the order of several is not settled.
    let metadata = HashMap::from([(MARK.to_owned(), VERSION.to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(failed)
}
