//! The files of a lifted model: `lifted.json`, `stems.txt`, `lift.safetensors`.

use super::gate::Gate;
use super::table::{Lift, LiftConfig, LiftMeans, Tensors};
use crate::{Error, files};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;
use std::slice;

/// The version of the files of a model with a gate, the newest that is read.
pub const VERSION: u64 = 2;

/// That of a model without one, whose files are as they always were.
const VERSION_WITHOUT_GATE: u64 = 1;

/// The only analyser: [`crate::lexical::Analyzer`].
const ANALYZER: &str = "english";

pub(super) const CONFIG: &str = "lifted.json";
pub(super) const STEMS: &str = "stems.txt";
pub(super) const TENSORS: &str = "lift.safetensors";

pub(super) const IDF: &str = "idf";
pub(super) const MEAN: &str = "mean";
pub(super) const QUERY_MEAN: &str = "query_mean";
pub(super) const SCALES: &str = "scales";
pub(super) const ROWS: &str = "weights";
pub(super) const GATE: &str = "gate";
pub(super) const GATE_BIAS: &str = "gate_bias";

/// What [`CONFIG`] holds.
#[derive(Serialize)]
struct ConfigFile<'a> {
    version: u64,
    analyzer: &'static str,
    #[serde(flatten)]
    config: &'a LiftConfig,
}

impl Lift {
    /// The files of the table: name and content. The same table always gives the same bytes.
    ///
    /// # Errors
    /// When the tensors cannot be put together, an internal fault.
    pub fn to_files(&self) -> Result<[(&'static str, Vec<u8>); 3], Error> {
        let config = ConfigFile {
            version: match self.gate() {
                Some(_) => VERSION,
                None => VERSION_WITHOUT_GATE,
            },
            analyzer: ANALYZER,
            config: self.config(),
        };
        let config = serde_json::to_string_pretty(&config).map_err(|source| Error::Json {
            path: CONFIG.into(),
            source,
        })?;
        let (idf, scales, rows) = self.tensors();
        let (terms, width) = (self.config().terms, self.config().width);
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let rows: Vec<u8> = rows.iter().map(|value| value.cast_unsigned()).collect();
        let means = self.means();
        let [idf, scales, mean, query_mean] = [idf, scales, &means.documents, &means.queries].map(bytes);
        let failed = |error| Error::Safetensors {
            path: TENSORS.into(),
            reason: format!("{error:?}"),
        };
        let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).map_err(failed);
        let gate = self.gate();
        let [gate_weights, gate_bias] =
            gate.map_or([&[][..], &[]], |gate| [&gate.weights, slice::from_ref(&gate.bias)]);
        let [gate_weights, gate_bias] = [gate_weights, gate_bias].map(bytes);
        let mut tensors = vec![
            (IDF, view(Dtype::F32, &[terms], &idf)?),
            (MEAN, view(Dtype::F32, &[width], &mean)?),
            (QUERY_MEAN, view(Dtype::F32, &[width], &query_mean)?),
            (SCALES, view(Dtype::F32, &[terms], &scales)?),
            (ROWS, view(Dtype::I8, &[terms, width], &rows)?),
        ];
        if gate.is_some() {
            tensors.push((GATE, view(Dtype::F32, &[width], &gate_weights)?));
            tensors.push((GATE_BIAS, view(Dtype::F32, &[1], &gate_bias)?));
        }
        let tensors = safetensors::serialize(tensors, None).map_err(failed)?;
        let stems = self.stems().iter().flat_map(|stem| [stem.as_str(), "\n"]);
        Ok([
            (CONFIG, format!("{config}\n").into_bytes()),
            (STEMS, stems.collect::<String>().into_bytes()),
            (TENSORS, tensors),
        ])
    }

    /// Reads the table in `dir`.
    ///
    /// # Errors
    /// When a file is missing, damaged, of another version, or does not fit the others.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let (config, gated) = read_config(&dir.join(CONFIG))?;
        let stems = read_stems(&dir.join(STEMS))?;
        let tensors = read_tensors(&dir.join(TENSORS), &config, gated)?;
        Self::checked(dir, config, stems, tensors)
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    files::read(path)
        .map(Cow::into_owned)
        .map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::MissingFile {
                path: path.to_owned(),
                remedy: "a lifted model has lifted.json, stems.txt, lift.safetensors and dense/; copy it again",
            },
            _ => Error::Read {
                path: path.to_owned(),
                source,
            },
        })
}

/// The constants, and whether the model has a gate.
fn read_config(path: &Path) -> Result<(LiftConfig, bool), Error> {
    let json = |source| Error::Json {
        path: path.to_owned(),
        source,
    };
    let mut value: Value = serde_json::from_slice(&read_bytes(path)?).map_err(json)?;
    let field = |name: &str| value.get(name).cloned().unwrap_or(Value::Null);
    let version = field("version");
    let gated = match version.as_u64() {
        Some(VERSION_WITHOUT_GATE) => false,
        Some(VERSION) => true,
        _ => return Err(Error::field(path, "version", "1 or 2", version)),
    };
    let analyzer = field("analyzer");
    if analyzer != ANALYZER {
        return Err(Error::field(
            path,
            "analyzer",
            Value::from(ANALYZER).to_string(),
            analyzer,
        ));
    }
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| name != "version" && name != "analyzer");
    }
    Ok((serde_json::from_value(value).map_err(json)?, gated))
}

fn read_stems(path: &Path) -> Result<Vec<String>, Error> {
    let bad = |line: usize, reason: &str| Error::Stems {
        path: path.to_owned(),
        line,
        reason: reason.to_owned(),
    };
    let bytes = read_bytes(path)?;
    let line_of = |at: usize| 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
    let text = std::str::from_utf8(&bytes).map_err(|error| bad(line_of(error.valid_up_to()), "not UTF-8 text"))?;
    let lines = text
        .strip_suffix('\n')
        .ok_or_else(|| bad(line_of(text.len()), "the line has no end: the file is cut"))?;
    Ok(lines.split('\n').map(str::to_owned).collect())
}

fn read_tensors(path: &Path, config: &LiftConfig, gated: bool) -> Result<Tensors, Error> {
    let bytes = read_bytes(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Error::Safetensors {
        path: path.to_owned(),
        reason: format!("{error:?}"),
    })?;
    let (terms, width) = (config.terms, config.width);
    let find = |name: &str, dtype: Dtype, expected: &'static str, shape: &[usize]| {
        let view = file.tensor(name).map_err(|_| Error::MissingTensor {
            path: path.to_owned(),
            tensor: name.to_owned(),
            remedy: "the file is not that of a lifted model; copy it again",
        })?;
        if view.dtype() != dtype {
            return Err(Error::TensorType {
                path: path.to_owned(),
                tensor: name.to_owned(),
                expected,
                found: format!("{:?}", view.dtype()),
            });
        }
        if view.shape() != shape {
            return Err(Error::TensorShape {
                path: path.to_owned(),
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                found: view.shape().to_vec(),
            });
        }
        Ok(view.data().to_vec())
    };
    let floats = |name: &str, len: usize| {
        let bytes = find(name, Dtype::F32, "F32", &[len])?;
        let (values, _) = bytes.as_chunks();
        Ok::<Vec<f32>, Error>(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    };
    let gate = || {
        Ok::<_, Error>(Gate {
            weights: floats(GATE, width)?,
            bias: floats(GATE_BIAS, 1)?[0],
        })
    };
    let rows = find(ROWS, Dtype::I8, "I8", &[terms, width])?;
    Ok(Tensors {
        idf: floats(IDF, terms)?,
        means: LiftMeans {
            documents: floats(MEAN, width)?,
            queries: floats(QUERY_MEAN, width)?,
        },
        scales: floats(SCALES, terms)?,
        rows: rows.into_iter().map(u8::cast_signed).collect(),
        gate: gated.then(gate).transpose()?,
    })
}
