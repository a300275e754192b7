//! `model.safetensors`, whole or in shards: tensors by name, checked and in single precision.
//!
//! Files stay on disk: a tensor is read when it is asked for, piece by piece, so that no file is ever held beside its
//! tensors.

mod file;
mod shards;

use super::json::JsonFile;
use crate::Error;
use candle_core::{DType, Device, Tensor};
use file::SafetensorsFile;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The usual name of a weights file.
pub(crate) const FILE_NAME: &str = "model.safetensors";

/// The usual name of the list of shards.
pub(crate) const INDEX_NAME: &str = "model.safetensors.index.json";

/// Bytes that are read and converted at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The weights of one model: one file, or several shards.
pub(super) struct WeightsFile {
    /// What the weights are called in errors: the file, or the list of shards.
    pub(super) path: PathBuf,
    /// The list of shards as it was read.
    index: Option<Vec<u8>>,
    /// One, or the shards by their names.
    files: Vec<SafetensorsFile>,
    /// Where each tensor of a sharded checkpoint is.
    shard_of: BTreeMap<String, usize>,
}

/// What weights files hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeightsSummary {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Number of tensors.
    pub tensors: usize,
    /// Numbers in them by their type (`F32`, `BF16`, ...).
    pub parameters: BTreeMap<String, u64>,
    /// Size of the files.
    pub bytes: u64,
}

impl WeightsFile {
    /// Opens `model.safetensors` of `dir`, or else the shards that `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// When there is neither, a header and the length of its file disagree, or a tensor is not where the list says.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        if path.exists() {
            return Ok(Self {
                files: vec![SafetensorsFile::open(&path)?],
                path,
                index: None,
                shard_of: BTreeMap::new(),
            });
        }
        if let Some(index) = JsonFile::read_if_present(&dir.join(INDEX_NAME))? {
            let (files, shard_of) = shards::open(dir, &index)?;
            return Ok(Self {
                path: index.path,
                index: Some(index.bytes),
                files,
                shard_of,
            });
        }
        let pickled = crate::pickle::FILE_NAMES.iter().any(|name| dir.join(name).exists());
        let remedy = if pickled {
            "the weights are a pickle, which is never opened: `tamis model convert` makes a safetensors checkpoint of it"
        } else {
            "only safetensors are read: save the checkpoint with safe_serialization=True"
        };
        Err(Error::MissingFile { path, remedy })
    }

    /// The tensors.
    ///
    /// # Errors
    /// None at present: headers are checked when the files are opened.
    pub(super) fn tensors(&self) -> Result<Weights<'_>, Error> {
        Ok(Weights { files: self })
    }

    /// Adds everything that was read to `hasher`, each file with its length.
    ///
    /// # Errors
    /// When a file can no longer be read.
    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) -> Result<(), Error> {
        if let Some(index) = &self.index {
            super::hash(hasher, index);
        }
        self.files.iter().try_for_each(|file| {
            hasher.update(&file.len.to_le_bytes());
            file.read_pieces(0, file.len, PIECE_BYTES, |piece| {
                hasher.update(piece);
                Ok(())
            })
        })
    }

    /// What the files hold.
    pub(super) fn summary(&self) -> WeightsSummary {
        let mut parameters = BTreeMap::new();
        let infos = self.files.iter().flat_map(|file| file.header.tensors().into_values());
        let mut tensors = 0;
        for info in infos {
            let count: usize = info.shape.iter().product();
            *parameters.entry(format!("{:?}", info.dtype)).or_default() += count as u64;
            tensors += 1;
        }
        WeightsSummary {
            files: self.files.iter().map(|file| file.path.clone()).collect(),
            tensors,
            parameters,
            bytes: self.files.iter().map(|file| file.len).sum(),
        }
    }

    /// The file that holds `name`, with what its header says of it.
    fn place(&self, name: &str) -> Option<(&SafetensorsFile, &TensorInfo)> {
        let at = match self.index {
            Some(_) => *self.shard_of.get(name)?,
            None => 0,
        };
        let file = &self.files[at];
        Some((file, file.header.info(name)?))
    }
}

/// The tensors of one model.
pub(super) struct Weights<'a> {
    files: &'a WeightsFile,
}

impl Weights<'_> {
    /// Whether there is a tensor of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.files.place(name).is_some()
    }

    /// The tensor under the first of `names` that is there, or `None`.
    pub(super) fn find(&self, names: &[String], shape: &[usize]) -> Result<Option<Tensor>, Error> {
        let place = |name: &'_ String| Some((name.clone(), self.files.place(name)?));
        let Some((name, (file, info))) = names.iter().find_map(place) else {
            return Ok(None);
        };
        if info.shape != shape {
            return Err(Error::TensorShape {
                path: file.path.clone(),
                tensor: name,
                expected: shape.to_vec(),
                found: info.shape.clone(),
            });
        }
        let values = single_precision(file, &name, info)?;
        Ok(Some(Tensor::from_vec(values, shape, &Device::Cpu)?))
    }

    /// As [`Weights::find`], of a tensor that must be there; `remedy` tells what its absence means.
    pub(super) fn tensor(&self, names: &[String], shape: &[usize], remedy: &'static str) -> Result<Tensor, Error> {
        let missing = || Error::MissingTensor {
            path: self.files.path.clone(),
            tensor: names.join(" or "),
            remedy,
        };
        self.find(names, shape)?.ok_or_else(missing)
    }
}

/// The numbers of a tensor, all of them finite.
fn single_precision(file: &SafetensorsFile, name: &str, info: &TensorInfo) -> Result<Vec<f32>, Error> {
    let dtype = match info.dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => {
            return Err(Error::TensorType {
                path: file.path.clone(),
                tensor: name.to_owned(),
                expected: "F32, F16 or BF16",
                found: format!("{other:?}"),
            });
        }
    };
    let (start, end) = info.data_offsets;
    // The header was checked against the length of the file, so this much is there.
    let mut values: Vec<f32> = Vec::with_capacity(info.shape.iter().product());
    file.read_pieces(file.data + start as u64, (end - start) as u64, PIECE_BYTES, |piece| {
        let before = values.len();
        if dtype == DType::F32 {
            let (numbers, _) = piece.as_chunks();
            values.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        } else {
            let numbers = Tensor::from_raw_buffer(piece, dtype, &[piece.len() / 2], &Device::Cpu)?;
            values.extend(numbers.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        }
        match values[before..].iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::TensorValue {
                path: file.path.clone(),
                tensor: name.to_owned(),
                element: before + at,
            }),
        }
    })?;
    Ok(values)
}
