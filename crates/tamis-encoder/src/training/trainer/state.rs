//! A run on disk: what goes on from it gives the same bytes as a run that was never stopped.
//!
//! A directory with `model/` (a checkpoint of all values as they are), `optimiser.safetensors` and `state.json`: the
//! version, the step, the configuration, controller and document frequencies, and size and hash of every other file. It
//! appears complete or not at all.

use super::Trainer;
use crate::convert::{FileSum, StoredTensor, Target, file_sums, previous, write_tensors};
use crate::training::{
    ControllerState, DocumentFrequencies, TextModel, TrainableModel, TrainableOptions, TrainerConfig,
};
use crate::{CheckpointOptions, Error};
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Raised when older states can no longer be gone on with.
const VERSION: u32 = 1;

const STATE: &str = "state.json";
const OPTIMISER: &str = "optimiser.safetensors";
const MODEL: &str = "model";

/// What `state.json` holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    step: u64,
    config: TrainerConfig,
    controller: Option<ControllerState>,
    frequencies: Option<DocumentFrequencies>,
    files: Vec<FileSum>,
}

impl<M: TextModel> Trainer<M> {
    /// Writes everything that going on needs to `dir`, in the place of a state that is there; a kill at any moment leaves
    /// the old one or the new one.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let target = Target::replace(dir)?;
        self.model.save(&target.inside(Path::new(MODEL)))?;
        let tensors = self.optimiser.state()?;
        let tensors = tensors.iter().map(|(name, tensor)| stored(name, tensor));
        let tensors = tensors.collect::<Result<Vec<_>, Error>>()?;
        let path = Path::new(OPTIMISER);
        target.write_bytes(path, &write_tensors(path, &tensors)?)?;
        let state = State {
            version: VERSION,
            step: self.step,
            config: self.config.clone(),
            controller: self.controller.as_ref().map(|controller| controller.state()),
            frequencies: self.frequencies.clone(),
            files: target.files()?,
        };
        let state = serde_json::to_value(state).map_err(|source| Error::Json {
            path: PathBuf::from(STATE),
            source,
        })?;
        target.write_bytes(Path::new(STATE), format!("{:#}\n", exact(state)).as_bytes())?;
        target.finish()
    }

    /// As [`Trainer::resume`], of any model: `open` opens it from the directory that [`TextModel::save`] wrote.
    ///
    /// # Errors
    /// As [`Trainer::resume`].
    pub fn resume_with(
        dir: &Path,
        open: impl FnOnce(&Path, &TrainableOptions) -> Result<M, Error>,
    ) -> Result<Self, Error> {
        let (dir, state) = read(dir)?;
        let model = open(&dir.join(MODEL), &state.config.model)?;
        Self::restored(model, &dir, state)
    }

    /// Goes on from the state in `dir` with `model`, which was opened from its `model` folder.
    fn restored(model: M, dir: &Path, state: State) -> Result<Self, Error> {
        let mut trainer = Self::new(model, state.config)?;
        let path = dir.join(OPTIMISER);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        let device = trainer
            .variables
            .first()
            .map_or(Device::Cpu, |variable| variable.var.device().clone());
        trainer.optimiser.restore(&tensors(&path, &bytes, &device)?)?;
        let damaged = |reason: &str| Error::TrainingState {
            path: dir.join(STATE),
            reason: reason.to_owned(),
        };
        match (&mut trainer.controller, state.controller) {
            (Some(controller), Some(saved)) => controller.restore(saved)?,
            (None, None) => (),
            _ => return Err(damaged("controller and configuration contradict each other")),
        }
        if trainer.frequencies.is_some() != state.frequencies.is_some() {
            return Err(damaged("document frequencies and configuration contradict each other"));
        }
        if let Some(weights) = state.frequencies.as_ref().and_then(DocumentFrequencies::weights) {
            trainer.columns.set_document_frequency(weights);
        }
        trainer.frequencies = state.frequencies;
        trainer.step = state.step;
        trainer.steer();
        Ok(trainer)
    }
}

impl Trainer {
    /// Goes on from the state in `dir`; what is computed from here on has the same bytes as in the run that was saved.
    ///
    /// # Errors
    /// When there is no state, or a file is missing, damaged or of another version.
    pub fn resume(dir: &Path) -> Result<Self, Error> {
        Self::resume_with(dir, |model, options| {
            TrainableModel::open(model, &CheckpointOptions::default(), options)
        })
    }
}

/// The state in `dir`, or what a kill left of it while it was replaced, with its directory. Every file is checked.
fn read(dir: &Path) -> Result<(PathBuf, State), Error> {
    let kept = previous(dir);
    let dir = if !dir.exists() && kept.exists() {
        kept
    } else {
        dir.to_owned()
    };
    let path = dir.join(STATE);
    let bytes = std::fs::read(&path).map_err(|source| Error::Read {
        path: path.clone(),
        source,
    })?;
    let json = |source| Error::Json {
        path: path.clone(),
        source,
    };
    let damaged = |reason: String| Error::TrainingState {
        path: path.clone(),
        reason,
    };
    let value: Value = serde_json::from_slice(&bytes).map_err(json)?;
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => (),
        version => {
            let found = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            return Err(damaged(format!(
                "version {found} of a state, {VERSION} expected: train anew, or with the \
                                        program that wrote it"
            )));
        }
    }
    let value = inexact(value).map_err(|text| damaged(format!("{text:?} is no number")))?;
    let state: State = serde_json::from_value(value).map_err(json)?;
    let mut found = file_sums(&dir)?;
    found.retain(|file| file.path != Path::new(STATE));
    for file in &state.files {
        match found.iter().find(|other| other.path == file.path) {
            Some(other) if other == file => (),
            Some(_) => {
                return Err(damaged(format!(
                    "{} has changed since it was written",
                    file.path.display()
                )));
            }
            None => return Err(damaged(format!("{} is missing", file.path.display()))),
        }
    }
    Ok((dir, state))
}

fn stored(name: &str, tensor: &Tensor) -> Result<StoredTensor, Error> {
    let flat = tensor.flatten_all()?;
    let (dtype, bytes) = match tensor.dtype() {
        DType::I64 => {
            let values = flat.to_vec1::<i64>()?;
            (
                Dtype::I64,
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            )
        }
        DType::F64 => {
            let values = flat.to_vec1::<f64>()?;
            (
                Dtype::F64,
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            )
        }
        _ => {
            let values = flat.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            return Ok(StoredTensor::single_precision(name, tensor.dims(), &values));
        }
    };
    Ok(StoredTensor {
        name: name.to_owned(),
        dtype,
        shape: tensor.dims().to_vec(),
        bytes,
    })
}

/// The tensors of a file that [`stored`] made.
fn tensors(path: &Path, bytes: &[u8], device: &Device) -> Result<Vec<(String, Tensor)>, Error> {
    let damaged = |reason: String| Error::Safetensors {
        path: path.to_owned(),
        reason,
    };
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::I64 => DType::I64,
            other => return Err(damaged(format!("tensor {name:?} is of type {other:?}"))),
        };
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device)?;
        Ok((name.to_owned(), tensor))
    };
    file.iter().map(tensor).collect()
}

/// Numbers that the reader would not give back to the bit, as text: `"bits 3fb999999999999a"`.
fn exact(value: Value) -> Value {
    each_leaf(value, &|leaf| match leaf.as_f64().filter(|_| leaf.is_f64()) {
        Some(number) => {
            let read = serde_json::from_str::<f64>(&leaf.to_string());
            match read.is_ok_and(|read| read.to_bits() == number.to_bits()) {
                true => leaf,
                false => Value::String(format!("{BITS}{:016x}", number.to_bits())),
            }
        }
        None => leaf,
    })
}

const BITS: &str = "bits ";

/// What [`exact`] was given.
fn inexact(value: Value) -> Result<Value, String> {
    let wrong = std::cell::RefCell::new(None);
    let value = each_leaf(value, &|leaf| {
        let Some(bits) = leaf.as_str().and_then(|text| text.strip_prefix(BITS)) else {
            return leaf;
        };
        match u64::from_str_radix(bits, 16)
            .map(f64::from_bits)
            .ok()
            .and_then(serde_json::Number::from_f64)
        {
            Some(number) => Value::Number(number),
            None => {
                *wrong.borrow_mut() = Some(leaf.to_string());
                leaf
            }
        }
    });
    match wrong.into_inner() {
        Some(text) => Err(text),
        None => Ok(value),
    }
}

fn each_leaf(value: Value, change: &dyn Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.into_iter().map(|value| each_leaf(value, change)).collect()),
        Value::Object(map) => {
            let fields = map.into_iter().map(|(name, value)| (name, each_leaf(value, change)));
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        leaf => change(leaf),
    }
}

/// The name of the weights in a saved model's folder, for messages and tests.
#[cfg(test)]
pub(super) fn weights_of(dir: &Path) -> PathBuf {
    dir.join(MODEL).join(crate::checkpoint::WEIGHTS_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_come_back_to_the_bit() {
        let numbers: Vec<f64> = (1u64..2000)
            .map(|at| f64::from_bits(at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2))
            .collect();
        let value = json!({"a": numbers, "b": [1, -3, "text", null, true], "c": 0.1});
        let text = exact(value).to_string();
        assert!(text.contains("\"c\":0.1"), "plain numbers stay readable");
        let back = inexact(serde_json::from_str(&text).expect("JSON")).expect("own text");
        let read: Vec<u64> = back["a"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|x| x.as_f64().expect("one").to_bits())
            .collect();
        assert_eq!(read, numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>());
        assert_eq!(back["b"], json!([1, -3, "text", null, true]));
        assert!(inexact(json!({"a": "bits x"})).is_err());
    }
}
