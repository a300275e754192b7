//! Exit codes, and which error gets which.

use std::fmt;
use std::io;
use std::process::ExitCode;
use tamis_engine::ErrorKind;

/// Shown below `--help`.
pub const HELP: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 partly done, 4 not found, 5 damaged data,
6 version or model mismatch, 7 resource limit or lock, 8 network, 9 threshold not met.
Data goes to stdout, messages to stderr; TAMIS_LOG=info shows more of them.";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// It failed for a reason without a code of its own.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Some documents or queries failed, the rest was done.
    Partial = 3,
    /// A file, index, collection or document is not there.
    NotFound = 4,
    /// Stored data is damaged.
    Corrupt = 5,
    /// Written by another version, or by another model.
    Mismatch = 6,
    /// A limit was reached or a lock is held.
    Resource = 7,
    /// An address cannot be bound or reached.
    Network = 8,
    /// A figure is below the threshold that was asked for.
    Threshold = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

/// An error with `message`, ending in `exit`.
pub fn failure(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    let message = message.into();
    Failure { exit, message }.into()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints `error` with all its causes and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let mut message = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Errors of libraries often repeat their cause: say it once.
        if !message.ends_with(&cause) {
            let separator = if message.is_empty() { "" } else { ": " };
            message = format!("{message}{separator}{cause}");
        }
    }
    crate::output::error(&message);
    classify(error).into()
}

fn classify(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    None.or_else(|| cause.downcast_ref().map(|failure: &Failure| failure.exit))
        .or_else(|| cause.downcast_ref().map(of_engine))
        .or_else(|| cause.downcast_ref().and_then(of_index))
        .or_else(|| cause.downcast_ref().and_then(of_encoder))
        .or_else(|| cause.downcast_ref().and_then(of_eval))
        .or_else(|| cause.downcast_ref().and_then(of_server))
        .or_else(|| cause.downcast_ref().and_then(of_train))
        .or_else(|| cause.downcast_ref().and_then(of_io))
}

fn of_engine(error: &tamis_engine::Error) -> Exit {
    match error.kind() {
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Corruption => Exit::Corrupt,
        ErrorKind::ModelMismatch => Exit::Mismatch,
        ErrorKind::Resource => Exit::Resource,
        _ => Exit::Failed,
    }
}

fn of_index(error: &tamis_index::Error) -> Option<Exit> {
    match error {
        error if error.is_newer_version() => Some(Exit::Mismatch),
        error if error.is_corruption() => Some(Exit::Corrupt),
        tamis_index::Error::TooLarge { .. } => Some(Exit::Resource),
        _ => None,
    }
}

fn of_encoder(error: &tamis_encoder::Error) -> Option<Exit> {
    use tamis_encoder::Error;
    match error {
        Error::UnknownModel { .. } | Error::MissingFile { .. } => Some(Exit::NotFound),
        Error::Safetensors { .. }
        | Error::Shard { .. }
        | Error::Pickle { .. }
        | Error::Json { .. }
        | Error::Tokenizer { .. }
        | Error::QueryTable { .. }
        | Error::MissingTensor { .. }
        | Error::TensorShape { .. }
        | Error::TensorType { .. }
        | Error::TensorValue { .. }
        | Error::TensorRange { .. } => Some(Exit::Corrupt),
        Error::Unsupported { .. } => Some(Exit::Mismatch),
        Error::TrainingState { .. } => Some(Exit::Corrupt),
        Error::DevicePrecision { .. } | Error::DeviceNotBuilt { .. } | Error::TrainingOption { .. } => {
            Some(Exit::Usage)
        }
        _ => None,
    }
}

fn of_eval(error: &tamis_eval::Error) -> Option<Exit> {
    use tamis_eval::Error;
    match error {
        Error::DamagedArchive { .. } => Some(Exit::Corrupt),
        Error::MissingSplit { .. } | Error::NoCorpus { .. } | Error::NoQueries { .. } => Some(Exit::NotFound),
        _ => None,
    }
}

fn of_server(error: &tamis_server::Error) -> Option<Exit> {
    use tamis_server::Error;
    match error {
        Error::NotLoopback { .. } | Error::Option { .. } => Some(Exit::Usage),
        Error::PortInUse { .. } | Error::Listen { .. } => Some(Exit::Network),
        _ => None,
    }
}

fn of_train(error: &tamis_train::Error) -> Option<Exit> {
    use tamis_train::Error;
    match error {
        Error::LiftOption { .. }
        | Error::OutputExists { .. }
        | Error::CollectionExists { .. }
        | Error::RecipeOption { .. }
        | Error::Recipe { .. }
        | Error::UnknownPreset { .. }
        | Error::Assignment { .. }
        | Error::RunExists { .. }
        | Error::TooFewRows { .. }
        | Error::TooFewPassages { .. }
        | Error::NeverEvaluated { .. } => Some(Exit::Usage),
        Error::NoRun { .. } | Error::NoPairs { .. } => Some(Exit::NotFound),
        Error::Checkpoint { .. } => Some(Exit::Corrupt),
        Error::DataChanged { .. } => Some(Exit::Mismatch),
        Error::Encode(error) => of_encoder(error),
        Error::Read(error) => of_eval(error),
        _ => None,
    }
}

fn of_io(error: &io::Error) -> Option<Exit> {
    match error.kind() {
        io::ErrorKind::NotFound => Some(Exit::NotFound),
        io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory => Some(Exit::Resource),
        _ => None,
    }
}
