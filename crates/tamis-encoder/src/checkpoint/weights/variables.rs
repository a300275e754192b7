//! Variables by their stored names: what training changes, in the place of the files that it was read from.
//!
//! A loader that asks for tensors by name gets variables instead and need not know: whatever it makes of them (maps side
//! by side, halves exchanged, the first row of a table) is a differentiable function of what is stored, and what is
//! stored can be written back under its own name.

use super::{Source, Weights, WeightsFile, check_shape};
use crate::Error;
use candle_core::{DType, Device, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which parts of a transformer stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::checkpoint) struct Frozen {
    /// Everything called embeddings: words, positions, token types and their norm. A decoder that is tied to the words
    /// is frozen with them.
    pub(in crate::checkpoint) embeddings: bool,
    /// So many layers, counted from the input.
    pub(in crate::checkpoint) layers: usize,
}

impl Frozen {
    /// Whether the tensor of this name is of a part that stays as it is.
    fn holds(self, name: &str) -> bool {
        let mut parts = name.split('.');
        while let Some(part) = parts.next() {
            match part {
                "embeddings" => return self.embeddings,
                "layer" | "layers" => {
                    let number = parts.next().and_then(|number| number.parse::<usize>().ok());
                    return number.is_some_and(|number| number < self.layers);
                }
                _ => (),
            }
        }
        false
    }
}

/// The tensors of one weights file that were asked for, in memory: each is read once.
pub(in crate::checkpoint) struct VariableStore {
    files: WeightsFile,
    frozen: Frozen,
    dtype: DType,
    device: Device,
    /// Second names of tensors, with the first.
    twins: BTreeMap<String, String>,
    read: Mutex<BTreeMap<String, Stored>>,
}

/// A tensor that was asked for.
#[derive(Clone)]
enum Stored {
    Trained(Var),
    Frozen(Tensor),
}

impl VariableStore {
    /// Nothing is read yet.
    pub(in crate::checkpoint) fn new(files: WeightsFile, frozen: Frozen, (dtype, device): (DType, &Device)) -> Self {
        Self {
            files,
            frozen,
            dtype,
            device: device.clone(),
            twins: BTreeMap::new(),
            read: Mutex::default(),
        }
    }

    /// Has one variable for each of `twins`, (second name, first name), whose tensors are stored equal.
    pub(in crate::checkpoint) fn share(&mut self, twins: Vec<(String, String)>) -> Result<(), Error> {
        for (twin, name) in twins {
            if self.files.stored(&twin)? == self.files.stored(&name)? {
                self.twins.insert(twin, name);
            }
        }
        Ok(())
    }

    /// The variables by every name that the file has for them.
    pub(in crate::checkpoint) fn written(&self) -> Vec<(String, Var)> {
        let variables = self.variables();
        let of = |name: &String| variables.iter().find(|(other, _)| other == name);
        let twins = self.twins.iter();
        let twins: Vec<(String, Var)> = twins
            .filter_map(|(twin, name)| Some((twin.clone(), of(name)?.1.clone())))
            .collect();
        [variables.clone(), twins].concat()
    }

    /// The tensors, for a loader; those that are not `tracked` leave no trace in what is computed from them.
    pub(in crate::checkpoint) fn weights(&self, tracked: bool) -> Weights<'_> {
        Weights {
            source: Source::Variables { store: self, tracked },
        }
    }

    pub(in crate::checkpoint) fn files(&self) -> &WeightsFile {
        &self.files
    }

    pub(super) fn place(&self) -> (DType, &Device) {
        (self.dtype, &self.device)
    }

    /// The variables that were asked for so far, by name.
    pub(in crate::checkpoint) fn variables(&self) -> Vec<(String, Var)> {
        let trained = |(name, stored): (&String, &Stored)| match stored {
            Stored::Trained(var) => Some((name.clone(), var.clone())),
            Stored::Frozen(_) => None,
        };
        self.lock().iter().filter_map(trained).collect()
    }

    /// The tensor as it stands now.
    pub(super) fn tensor(&self, name: &str, shape: &[usize], tracked: bool) -> Result<Tensor, Error> {
        let name = self.twins.get(name).map_or(name, String::as_str);
        let stored = self.lock().get(name).cloned();
        let stored = match stored {
            Some(stored) => stored,
            None => self.read(name, shape)?,
        };
        let tensor = match &stored {
            Stored::Trained(var) if tracked => var.as_tensor().clone(),
            Stored::Trained(var) => var.as_tensor().detach(),
            Stored::Frozen(tensor) => tensor.clone(),
        };
        check_shape(&self.files.path, name, shape, tensor.dims())?;
        Ok(tensor)
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Stored, Error> {
        let tensor = self.files.read_tensor(name, shape)?;
        let tensor = tensor.to_dtype(self.dtype)?.to_device(&self.device)?;
        let stored = match self.frozen.holds(name) {
            true => Stored::Frozen(tensor),
            false => Stored::Trained(Var::from_tensor(&tensor)?),
        };
        self.lock().insert(name.to_owned(), stored.clone());
        Ok(stored)
    }

    /// The map is whole between any two statements, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_the_names_of_every_family() {
        let frozen = Frozen {
            embeddings: true,
            layers: 2,
        };
        for name in [
            "bert.embeddings.LayerNorm.weight",
            "model.embeddings.tok_embeddings.weight",
            "embeddings.word_embeddings.weight",
            "bert.encoder.layer.1.output.dense.bias",
            "distilbert.transformer.layer.0.ffn.lin1.weight",
            "model.layers.1.attn.Wqkv.weight",
        ] {
            assert!(frozen.holds(name), "{name}");
            assert!(!Frozen::default().holds(name), "{name}");
        }
        for name in [
            "bert.encoder.layer.2.output.dense.bias",
            "model.layers.10.attn.Wqkv.weight",
            "cls.predictions.bias",
            "vocab_layer_norm.weight",
            "tok_proj.weight",
            "model.final_norm.weight",
        ] {
            assert!(!frozen.holds(name), "{name}");
        }
    }
}
