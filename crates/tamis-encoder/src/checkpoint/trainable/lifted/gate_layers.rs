//! Layers that gates have of their own: the encoder's last ones, copied and learned, while its vectors stay.
//!
//! What gates learn changes the states that vectors are made of, and W was solved for the vectors as they were. With a
//! few layers apart both keep what serves them.

use super::TrainableDense;
use super::untrainable;
use crate::Error;
use crate::checkpoint::WEIGHTS_NAME;
use crate::checkpoint::config::ModelConfig;
use crate::checkpoint::dense_layout::dense_files;
use crate::checkpoint::trainable::TrainableOptions;
use crate::checkpoint::trainable::writing::values;
use crate::checkpoint::weights::WeightsFile;
use crate::convert::{StoredTensor, Target, write_tensors};
use crate::lifted::{Lift, LiftedEncoder};
use crate::training::{NamedVariable, TextModel};
use std::path::Path;

/// What the names of the dense encoder's variables begin with.
const PREFIX: &str = "shared.";

/// How many layers the gate of the model in `dir` has of its own: those it has, or is to get.
pub(super) fn count(dir: &Path, lift: &Lift, options: &TrainableOptions) -> Result<usize, Error> {
    let has = lift.config().gate_layers;
    let count = options.gate_layers.max(has);
    if has > 0 && options.gate_layers > 0 && has != options.gate_layers {
        let found = options.gate_layers.to_string();
        return Err(untrainable(dir, "gate_layers", found, "as many as the model has"));
    }
    let factor = lift.config().factor;
    if count > 0 && factor != 0.0 {
        let found = format!("{count} with a factor of {factor}");
        let expected = "a model of `tamis lift --factor 0`: vectors take no part while its gate learns";
        return Err(untrainable(dir, "gate_layers", found, expected));
    }
    Ok(count)
}

/// `options` with everything below the gate's layers frozen.
pub(super) fn options(path: &Path, count: usize, options: &TrainableOptions) -> Result<TrainableOptions, Error> {
    if count == 0 {
        return Ok(options.clone());
    }
    let files = dense_files(&LiftedEncoder::dense_dir(path))?;
    let layers = ModelConfig::read(&files.dir.join("config.json"))?.layers;
    if count > layers {
        let expected = "no more than the dense encoder has";
        return Err(untrainable(path, "gate_layers", count.to_string(), expected));
    }
    Ok(TrainableOptions {
        frozen_embeddings: true,
        frozen_layers: options.frozen_layers.max(layers - count),
        ..options.clone()
    })
}

/// Gives the layers the values that the model has for them.
pub(super) fn restore(path: &Path, lift: &Lift, dense: &TrainableDense) -> Result<(), Error> {
    let variables = dense.variables();
    let of_layer = |variable: &&NamedVariable| variable.name.split('.').any(|part| part == "layer" || part == "layers");
    if let Some(other) = variables.iter().find(|variable| !of_layer(variable)) {
        let expected = "an encoder without a norm behind its last layer";
        return Err(untrainable(path, "gate_layers", other.name.clone(), expected));
    }
    if lift.config().gate_layers == 0 {
        return Ok(());
    }
    let file = WeightsFile::read(&LiftedEncoder::gate_dir(path))?;
    let weights = file.tensors()?;
    for NamedVariable { name, var } in variables {
        let stored = name.strip_prefix(PREFIX).unwrap_or(&name).to_owned();
        let remedy = "the layers of the gate are incomplete; copy the model again";
        let tensor = weights.tensor(&[stored], var.dims(), remedy)?;
        var.set(&tensor.to_dtype(var.dtype())?.to_device(var.device())?)?;
    }
    Ok(())
}

/// Writes the layers as they stand.
pub(super) fn save(dense: &TrainableDense, target: &Target) -> Result<(), Error> {
    let path = LiftedEncoder::gate_dir(Path::new("")).join(WEIGHTS_NAME);
    let tensor = |variable: NamedVariable| {
        let name = variable.name.strip_prefix(PREFIX).unwrap_or(&variable.name);
        let values = values(variable.var.as_tensor())?;
        Ok(StoredTensor::single_precision(name, variable.var.dims(), &values))
    };
    let tensors = dense.variables().into_iter().map(tensor);
    let tensors = tensors.collect::<Result<Vec<_>, Error>>()?;
    target.write_bytes(&path, &write_tensors(&path, &tensors)?)
}
