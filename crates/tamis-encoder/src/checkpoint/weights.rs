//! `model.safetensors`: tensors by name, checked and in single precision.

use super::json::read_if_present;
use crate::Error;
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// The bytes of a weights file.
pub(super) struct WeightsFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl WeightsFile {
    /// Reads `model.safetensors` of `dir` whole.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("model.safetensors");
        if let Some(bytes) = read_if_present(&path)? {
            return Ok(Self { path, bytes });
        }
        let remedy = if dir.join("pytorch_model.bin").exists() {
            "pytorch_model.bin is a pickle and is not read: convert it with transformers' \
             from_pretrained(..).save_pretrained(.., safe_serialization=True)"
        } else if dir.join("model.safetensors.index.json").exists() {
            "checkpoints split over several files are not read: save it again with a larger max_shard_size"
        } else {
            "only safetensors are read: save the checkpoint with safe_serialization=True"
        };
        Err(Error::MissingFile { path, remedy })
    }

    /// The tensors, after checking that header and length agree.
    pub(super) fn tensors(&self) -> Result<Weights<'_>, Error> {
        let damaged = |error| Error::Safetensors {
            path: self.path.clone(),
            reason: format!("{error:?}"),
        };
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(damaged)?;
        Ok(Weights {
            path: &self.path,
            tensors,
        })
    }
}

/// The tensors of one file.
pub(super) struct Weights<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Weights<'_> {
    /// Whether there is a tensor of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// The tensor under the first of `names` that is there, or `None`.
    pub(super) fn find(&self, names: &[String], shape: &[usize]) -> Result<Option<Tensor>, Error> {
        let Some((name, view)) = names
            .iter()
            .find_map(|name| Some((name, self.tensors.tensor(name).ok()?)))
        else {
            return Ok(None);
        };
        if view.shape() != shape {
            return Err(Error::TensorShape {
                path: self.path.to_owned(),
                tensor: name.clone(),
                expected: shape.to_vec(),
                found: view.shape().to_vec(),
            });
        }
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                let found = format!("{other:?}");
                return Err(Error::TensorType {
                    path: self.path.to_owned(),
                    tensor: name.clone(),
                    expected: "F32, F16 or BF16",
                    found,
                });
            }
        };
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        let elements = tensor.flatten_all()?.to_vec1::<f32>()?;
        if let Some(element) = elements.iter().position(|x| !x.is_finite()) {
            return Err(Error::TensorValue {
                path: self.path.to_owned(),
                tensor: name.clone(),
                element,
            });
        }
        Ok(Some(tensor))
    }

    /// As [`Weights::find`], of a tensor that must be there; `remedy` tells what its absence means.
    pub(super) fn tensor(&self, names: &[String], shape: &[usize], remedy: &'static str) -> Result<Tensor, Error> {
        let missing = || Error::MissingTensor {
            path: self.path.to_owned(),
            tensor: names.join(" or "),
            remedy,
        };
        self.find(names, shape)?.ok_or_else(missing)
    }
}
