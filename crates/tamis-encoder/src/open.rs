//! From a name, a path or a stored description to an encoder.

use crate::built_in::{self, LEXICAL};
use crate::lexical::{Lexical, LexicalOptions};
use crate::{Checkpoint, CheckpointOptions, Compute, Encoder, Error, LiftedEncoder, files};
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the model `spec`: `lexical`, the name of a model that the program carries ([`crate::model_names`]), or the path of the directory of a checkpoint or of a lifted model.
///
/// # Errors
/// When there is no such model, or its files are missing, damaged or of a kind that is not supported; the error names
/// the file and what was expected of it.
pub fn open(spec: &str) -> Result<Arc<dyn Encoder>, Error> {
    open_with(spec, &CheckpointOptions::default(), Compute::default())
}

/// As [`open`], a checkpoint with `options`, computing where and how exactly `compute` says; the lexical encoder has
/// neither.
///
/// # Errors
/// As [`open`], and when the options do not fit the checkpoint, or its device cannot be used or does not have the
/// precision.
pub fn open_with(spec: &str, options: &CheckpointOptions, compute: Compute) -> Result<Arc<dyn Encoder>, Error> {
    if spec == LEXICAL {
        return Ok(Arc::new(Lexical::new(LexicalOptions::default())?));
    }
    let dir = built_in::dir(spec).unwrap_or_else(|| spec.into());
    let dir = dir.as_path();
    if !files::is_dir(dir) {
        return Err(Error::UnknownModel { spec: spec.to_owned() });
    }
    if LiftedEncoder::is_in(dir) {
        return Ok(Arc::new(LiftedEncoder::open_with(dir, options, compute)?));
    }
    Ok(Arc::new(Checkpoint::open_with(dir, options, compute)?))
}

/// Opens again what wrote `description` ([`Encoder::description`]).
///
/// The caller compares fingerprints: a checkpoint directory may have changed since.
///
/// # Errors
/// When the description is not one, and as [`open`].
pub fn open_stored(description: &Value) -> Result<Arc<dyn Encoder>, Error> {
    open_stored_with(description, Compute::default())
}

/// As [`open_stored`], computing where and how exactly `compute` says: neither is part of a description.
///
/// # Errors
/// As [`open_stored`] and [`open_with`].
pub fn open_stored_with(description: &Value, compute: Compute) -> Result<Arc<dyn Encoder>, Error> {
    match description.get("encoder").and_then(Value::as_str) {
        Some("lexical") => {
            let options: LexicalOptions = field(description, "options")?;
            Ok(Arc::new(Lexical::new(options)?))
        }
        Some("checkpoint") => {
            let options: CheckpointOptions = field(description, "options")?;
            let path = directory(description)?;
            Ok(Arc::new(Checkpoint::open_with(&path, &options, compute)?))
        }
        Some("built_in") => {
            let name: String = field(description, "name")?;
            let dir = built_in::dir(&name).ok_or(Error::UnknownModel { spec: name })?;
            Ok(Arc::new(LiftedEncoder::open_described(&dir, description, compute)?))
        }
        Some("lifted") => {
            let path = directory(description)?;
            Ok(Arc::new(LiftedEncoder::open_described(&path, description, compute)?))
        }
        Some(other) => Err(bad(format!(
            "field \"encoder\" is {other:?}, which this version does not know"
        ))),
        None => Err(bad("field \"encoder\" is missing".to_owned())),
    }
}

/// The directory that a description names.
fn directory(description: &Value) -> Result<PathBuf, Error> {
    let path: PathBuf = field(description, "path")?;
    if path.is_dir() {
        return Ok(path);
    }
    Err(Error::UnknownModel {
        spec: path.display().to_string(),
    })
}

fn field<T: for<'de> Deserialize<'de>>(description: &Value, name: &str) -> Result<T, Error> {
    let value = description
        .get(name)
        .ok_or_else(|| bad(format!("field {name:?} is missing")))?;
    T::deserialize(value).map_err(|error| bad(format!("field {name:?}: {error}")))
}

fn bad(reason: String) -> Error {
    Error::Description { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_described_opens_again() {
        let options = LexicalOptions {
            average_length: 33.0,
            ..Default::default()
        };
        let lexical = Lexical::new(options).expect("in range");
        let again = open_stored(&lexical.description()).expect("own description");
        assert_eq!(again.fingerprint(), lexical.fingerprint());
        assert_eq!(again.description(), lexical.description());
        assert_ne!(open("lexical").expect("built in").fingerprint(), lexical.fingerprint());
    }

    #[test]
    fn other_descriptions_are_refused() {
        for (description, needle) in [
            (json!({}), "\"encoder\" is missing"),
            (json!({"encoder": "psychic"}), "psychic"),
            (json!({"encoder": "lexical"}), "\"options\" is missing"),
            (json!({"encoder": "lexical", "options": {"k1": "much"}}), "options"),
            (json!({"encoder": "lexical", "options": {"k9": 1.0}}), "k9"),
        ] {
            let message = open_stored(&description).err().expect("refused").to_string();
            assert!(message.contains(needle), "{message}");
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        let message = open("no-such-model").err().expect("refused").to_string();
        assert!(
            message.contains("no-such-model") && message.contains("lexical"),
            "{message}"
        );
    }
}
