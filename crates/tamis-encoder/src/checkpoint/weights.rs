//! `model.safetensors`, whole or in shards: tensors by name, checked and in single precision.
//!
//! Files stay on disk: a tensor is read when it is asked for, piece by piece, so that no file is ever held beside its
//! tensors.

mod eight_bits;
mod file;
mod shards;
mod variables;

use super::json::JsonFile;
use crate::{Error, files};
use candle_core::{DType, Device, Tensor};
use file::SafetensorsFile;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
pub(super) use variables::{Frozen, VariableStore};

pub use eight_bits::NamedFile;
pub(crate) use eight_bits::in_eight_bits;

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
        if files::exists(&path) {
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
        let pickled = crate::pickle::FILE_NAMES
            .iter()
            .any(|name| files::exists(&dir.join(name)));
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
        Ok(Weights {
            source: Source::Files(self),
        })
    }

    /// The names of all tensors, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let headers = self.files.iter().map(|file| file.header.tensors());
        let mut names: Vec<String> = headers.flat_map(|tensors| tensors.into_keys()).collect();
        names.sort();
        names
    }

    /// A tensor as it is stored: its type, its shape, its bytes.
    ///
    /// # Errors
    /// When it is not there or can no longer be read.
    pub(super) fn stored(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), Error> {
        let (file, info) = self.place(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
            remedy: "it was there when the checkpoint was opened",
        })?;
        let (start, end) = info.data_offsets;
        let mut bytes = Vec::with_capacity(end - start);
        file.read_pieces(file.data + start as u64, (end - start) as u64, PIECE_BYTES, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok((info.dtype, info.shape.clone(), bytes))
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

    /// Whether matrices are stored in 8 bits.
    ///
    /// # Errors
    /// When they are so in a form of another version.
    pub(super) fn is_in_eight_bits(&self) -> Result<bool, Error> {
        let marked = self.files.iter().map(eight_bits::is_marked);
        Ok(marked.collect::<Result<Vec<_>, _>>()?.contains(&true))
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

/// The tensors of one model: of its files, or the variables that were read from them.
pub(super) struct Weights<'a> {
    source: Source<'a>,
}

/// Where tensors come from.
enum Source<'a> {
    Files(&'a WeightsFile),
    Variables {
        store: &'a VariableStore,
        /// Whether what is computed from them can be differentiated.
        tracked: bool,
    },
}

impl Weights<'_> {
    fn files(&self) -> &WeightsFile {
        match &self.source {
            Source::Files(files) => files,
            Source::Variables { store, .. } => store.files(),
        }
    }

    /// Whether there is a tensor of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.files().place(name).is_some()
    }

    /// Zeros of the type and on the device of all other tensors.
    pub(super) fn zeros(&self, len: usize) -> Result<Tensor, Error> {
        let (dtype, device) = match &self.source {
            Source::Files(_) => (DType::F32, &Device::Cpu),
            Source::Variables { store, .. } => store.place(),
        };
        Ok(Tensor::zeros(len, dtype, device)?)
    }

    /// The tensor under the first of `names` that is there, or `None`.
    pub(super) fn find(&self, names: &[String], shape: &[usize]) -> Result<Option<Tensor>, Error> {
        let Some(name) = names.iter().find(|name| self.contains(name)) else {
            return Ok(None);
        };
        match &self.source {
            Source::Files(files) => files.read_tensor(name, shape).map(Some),
            Source::Variables { store, tracked } => store.tensor(name, shape, *tracked).map(Some),
        }
    }

    /// As [`Weights::find`], of a tensor that must be there; `remedy` tells what its absence means.
    pub(super) fn tensor(&self, names: &[String], shape: &[usize], remedy: &'static str) -> Result<Tensor, Error> {
        let missing = || Error::MissingTensor {
            path: self.files().path.clone(),
            tensor: names.join(" or "),
            remedy,
        };
        self.find(names, shape)?.ok_or_else(missing)
    }
}

impl WeightsFile {
    /// Reads tensor `name`, which must be of `shape`.
    pub(super) fn read_tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let missing = || Error::MissingTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
            remedy: "copy the checkpoint again",
        };
        let (file, info) = self.place(name).ok_or_else(missing)?;
        check_shape(&file.path, name, shape, &info.shape)?;
        let values = match info.dtype {
            Dtype::I8 if eight_bits::is_marked(file)? => eight_bits::read(self, file, name, info)?,
            _ => single_precision(file, name, info)?,
        };
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// Refuses a tensor of another shape than the configuration calls for.
fn check_shape(path: &Path, name: &str, expected: &[usize], found: &[usize]) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::TensorShape {
        path: path.to_owned(),
        tensor: name.to_owned(),
        expected: expected.to_vec(),
        found: found.to_vec(),
    })
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
