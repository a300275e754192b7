//! What can go wrong between a model on disk and a vector.

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
    #[error("model {spec:?}: no such directory; give \"lexical\" or the path of a checkpoint directory")]
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
}
