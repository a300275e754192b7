//! Text to sparse vector.
//!
//! Every model stands behind one interface, [`Encoder`]: texts in, weights over token strings out. [`open`] takes the
//! model-free [`lexical`] encoder by name or a checkpoint directory by path.
//!
//! ```
//! use tamis_encoder::{InputKind, open};
//! let encoder = open("lexical")?;
//! let vectors = encoder.encode(InputKind::Document, &["Flour falls through the sieve."])?;
//! let terms: Vec<&str> = vectors[0].tokens.iter().map(|(term, _)| term.as_str()).collect();
//! assert_eq!(terms, ["fall", "flour", "siev", "through"]);
//! # Ok::<(), tamis_encoder::Error>(())
//! ```

mod built_in;
mod checkpoint;
mod compute;
mod convert;
mod encoder;
mod error;
mod files;
pub mod lexical;
mod lifted;
mod open;
mod pickle;
pub mod training;
mod transformer;

pub use built_in::{DEFAULT_MODEL, LEXICAL, TAMIS_SMALL, model_names};
pub use checkpoint::{
    Checkpoint, CheckpointOptions, Cleaning, DenseEncoder, DenseEncoding, DensePooling, Expansion, Finding, HeadKind,
    LongText, NamedFile, QuantisationHint, Rounding, Scatter, Setting, SettingSource, SideOptions, SpecialTokens,
    StopWords, TermUnit, WeightsSummary, preset_names,
};
pub use compute::{Compute, DeviceChoice, Precision};
pub use convert::{Conversion, convert};
pub use encoder::{Encoder, InputKind, QueryWeighting, SparseEncoding, joined};
pub use error::Error;
pub use lifted::{
    Expander, Gate, Lift, LiftConfig, LiftMeans, LiftedEncoder, MAX_LIFT_TERMS, QueryExpansion, VERSION as LIFT_VERSION,
};
pub use open::{open, open_stored, open_stored_with, open_with};
#[doc(hidden)]
pub use transformer::step_probe as probe;
pub use transformer::{Norm, Pooling, SpladeActivation};
