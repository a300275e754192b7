//! What can go wrong between a model on disk and a vector.

use crate::{DeviceChoice, Precision};
use std::path::{Path, PathBuf};

/// An error of this crate. Messages name the place and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A constant of the lexical encoder is out of range.
    #[error("lexical encoder: {name} is {value}, expected {expected}")]
    LexicalOption {
        /// The option.
        name: &'static str,
        /// What was given.
        value: f32,
        /// What is allowed.
        expected: &'static str,
    },
    /// Neither a built-in encoder nor a directory.
    #[error("model {spec:?}: no such directory; give \"tamis-small\", \"lexical\" or the path of a model's directory")]
    UnknownModel {
        /// The name or path that was asked for.
        spec: String,
    },
    /// A stored description is not one that an encoder wrote.
    #[error("stored model description: {reason}")]
    Description {
        /// What is missing or out of place.
        reason: String,
    },
    /// A file is there but cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that the checkpoint needs is not there.
    #[error("{}: no such file; {remedy}", path.display())]
    MissingFile {
        /// Where it was looked for.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A file is not JSON, or not of the expected form.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A field of a configuration file is missing or out of range.
    #[error("{}: field {field:?}: {expected} expected, {found} found", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is allowed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The checkpoint is of a kind that is not supported.
    #[error("{}: {found} is not supported; supported are {supported}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it may say.
        supported: &'static str,
    },
    /// The weights file is damaged.
    #[error("{}: not a whole safetensors file ({reason}); copy it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the header or the length contradicts.
        reason: String,
    },
    /// The shards of a checkpoint contradict their list.
    #[error("{}: tensor {tensor:?}: {reason}; copy the checkpoint again", path.display())]
    Shard {
        /// The list of shards.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Where it is and where it should be.
        reason: String,
    },
    /// A pickle is damaged, or asks for something that weights do not need.
    #[error("{}: {part}: {reason}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// The part of the file: an entry of its archive, with the offset in it where that is known.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint cannot be converted as asked.
    #[error("{}: {reason}", path.display())]
    Convert {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A tensor is not in the weights file.
    #[error("{}: tensor {tensor:?} is missing; {remedy}", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// Its name, or its accepted names.
        tensor: String,
        /// What that means.
        remedy: &'static str,
    },
    /// A tensor does not have the shape that the configuration calls for.
    #[error("{}: tensor {tensor:?} has shape {found:?}, {expected:?} expected by the configuration", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape called for.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor holds numbers of a type that is not read there.
    #[error("{}: tensor {tensor:?} is of type {found}, {expected} expected", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The types that are read.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// A tensor holds an infinity or a NaN.
    #[error("{}: tensor {tensor:?} holds a value that is not finite (element {element})", path.display())]
    TensorValue {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The first such element, counted row by row.
        element: usize,
    },
    /// A tensor holds a number that its form does not have.
    #[error("{}: tensor {tensor:?} holds {found} (element {element}), {expected} expected; copy the model again", path.display())]
    TensorRange {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The first such element, counted row by row.
        element: usize,
        /// The numbers there are.
        expected: &'static str,
        /// The number found.
        found: String,
    },
    /// A tokenizer file is damaged or does not fit the model.
    #[error("{}: tokenizer: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A query table does not fit its tokenizer.
    #[error("{}: query table: {reason}", path.display())]
    QueryTable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The stems of a lifted model are not as they are written.
    #[error("{}, line {line}: {reason}", path.display())]
    Stems {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// An option of checkpoints that lifted models do not have.
    #[error("{}: a lifted model does not have {option}: leave that out", path.display())]
    LiftedOption {
        /// The directory.
        path: PathBuf,
        /// The option.
        option: &'static str,
    },
    /// A text could not be split into tokens.
    #[error("text {text} of the batch cannot be tokenised: {reason}")]
    Tokenise {
        /// Its place in the batch, from 0.
        text: usize,
        /// The tokenizer's word on it.
        reason: String,
    },
    /// The directory has one side of a model, and the other was asked for.
    #[error("{}: this is the {} side of a model alone; open it from the other side's directory, whose tamis.json \
             names this one as query_model", path.display(), other(*kind))]
    OneSided {
        /// The directory.
        path: PathBuf,
        /// What was to be encoded.
        kind: crate::InputKind,
    },
    /// The model overflowed on a text.
    #[error("the model gives text {text} of the batch a weight that is not finite; its weights are unusable")]
    NotFinite {
        /// Its place in the batch, from 0.
        text: usize,
    },
    /// A name that is no device.
    #[error("device {found:?}: \"cpu\", \"cuda\" or \"cuda:N\" expected")]
    UnknownDevice {
        /// What was asked for.
        found: String,
    },
    /// A name that is no precision.
    #[error("precision {found:?}: \"f32\", \"int16\" or \"int8\" expected")]
    UnknownPrecision {
        /// What was asked for.
        found: String,
    },
    /// A precision that the device does not have.
    #[error("precision {precision} on device {device}: only the CPU computes in integers; leave out one of the two")]
    DevicePrecision {
        /// The device.
        device: DeviceChoice,
        /// The precision.
        precision: Precision,
    },
    /// The program was built without support for the device.
    #[error("device {device}: this program was built without CUDA; build it with `--features cuda`, or use the CPU")]
    DeviceNotBuilt {
        /// The device.
        device: DeviceChoice,
    },
    /// The device is not there or does not start.
    #[error("device {device} cannot be used: {source}")]
    Device {
        /// The device.
        device: DeviceChoice,
        /// The driver's word on it.
        source: candle_core::Error,
    },
    /// A model or an option is of a kind that cannot be trained.
    #[error("{}: cannot be trained: {setting}: {expected} expected, {found} found", path.display())]
    Untrainable {
        /// The directory.
        path: PathBuf,
        /// What is in the way.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// An option of training is out of range.
    #[error("training: {option} is {value}; {allowed} expected")]
    TrainingOption {
        /// Where it stands, as in `loss.kl.student_temperature`.
        option: String,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A tensor given to training does not fit what it is used with.
    #[error("training: {input} has shape {found:?}, {expected} expected")]
    TrainingShape {
        /// The tensor.
        input: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape called for.
        expected: String,
    },
    /// A loss or penalty needs something that the batch does not hold.
    #[error("training: {objective} needs {needed}")]
    TrainingInput {
        /// The loss or penalty.
        objective: String,
        /// What is missing.
        needed: &'static str,
    },
    /// A pair of a batch cannot be left out.
    #[error("training: excluded pair of query {query} and document {document}: {reason}")]
    ExcludedPair {
        /// The query's place in the batch, from 0.
        query: u32,
        /// The document's place in the batch, from 0.
        document: u32,
        /// Why not.
        reason: &'static str,
    },
    /// A score of a teacher cannot be used.
    #[error("teacher {teacher}: the score of query {query} for candidate {candidate} {reason}")]
    TeacherScore {
        /// The teacher's place in the list, from 0.
        teacher: usize,
        /// The query's place in the batch, from 0.
        query: usize,
        /// The candidate's place in the query's list, from 0.
        candidate: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Training has diverged.
    #[error(
        "the gradient of {variable:?} is not finite (element {element}); lower the learning rate or clip gradients"
    )]
    GradientNotFinite {
        /// The first such variable.
        variable: String,
        /// The first such element, counted row by row.
        element: usize,
    },
    /// A saved optimiser does not fit the model.
    #[error("state of the optimiser: tensor {tensor:?} {reason}")]
    OptimiserState {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A saved run cannot be gone on with.
    #[error("{}: {reason}", path.display())]
    TrainingState {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A tensor operation failed: an internal fault.
    #[error("tensor operation: {0}")]
    Compute(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn field(path: &Path, field: &str, expected: impl Into<String>, found: impl ToString) -> Self {
        Self::Field {
            path: path.to_owned(),
            field: field.to_owned(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }

    pub(crate) fn tokenizer(path: &Path, reason: impl ToString) -> Self {
        Self::Tokenizer {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// The name of the side that `kind` is not.
fn other(kind: crate::InputKind) -> &'static str {
    match kind {
        crate::InputKind::Document => "query",
        crate::InputKind::Query => "document",
    }
}
