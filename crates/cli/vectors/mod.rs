//! Encoded vectors on their way out: formats, and output that survives being killed.

mod array;
mod codec;
mod lines;
mod matrix;
mod npy;
mod parts;
mod spool;

pub use array::Array;
pub use codec::{read_tokens, write_tokens};
pub use matrix::Layout;
pub use parts::Parts;

use crate::encoding::Tokens;
use crate::exit::{Exit, failure};
use std::path::Path;
use tamis_core::{IntegerRule, Vocabulary};

/// A text with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The user's id.
    pub id: String,
    /// The text, for formats that repeat it.
    pub content: Option<String>,
    /// Ascending by token.
    pub tokens: Tokens,
}

/// The form of the output, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// JSON lines {"id", "vector"}
    Jsonl,
    /// JSON lines {"id", "content", "vector"} with whole numbers, as Anserini and Pyserini index them
    Anserini,
    /// A sparse matrix as `tamis index` reads it, with the ids and the tokens of its columns in files beside it
    Csr,
    /// A sparse matrix as scipy.sparse.load_npz reads it, with the same files beside it
    Npz,
    /// A NumPy array of dense vectors as numpy.load reads it, with the ids in a file beside it: of dense encoders alone
    Npy,
}

/// The form of sparse vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SparseFormat {
    /// Our JSON lines.
    Jsonl,
    /// Anserini's.
    Anserini,
    /// A matrix in compressed rows.
    Matrix(Layout),
}

impl Format {
    /// As a form of sparse vectors, if it is one.
    pub fn sparse(self) -> Option<SparseFormat> {
        match self {
            Self::Jsonl => Some(SparseFormat::Jsonl),
            Self::Anserini => Some(SparseFormat::Anserini),
            Self::Csr => Some(SparseFormat::Matrix(Layout::Csr)),
            Self::Npz => Some(SparseFormat::Matrix(Layout::Npz)),
            Self::Npy => None,
        }
    }
}

impl SparseFormat {
    /// Whether it repeats the text.
    pub fn has_content(self) -> bool {
        self == Self::Anserini
    }
}

/// Takes vectors one by one.
pub trait VectorWriter {
    /// Adds one vector.
    fn add(&mut self, encoded: &Encoded) -> anyhow::Result<()>;

    /// Completes the output; only now it appears.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

/// Opens the output `path`, or stdout. Matrices number their columns as `vocabulary` does, new tokens after it.
pub fn writer(
    format: SparseFormat,
    path: Option<&Path>,
    rule: Option<IntegerRule>,
    vocabulary: Vocabulary,
) -> anyhow::Result<Box<dyn VectorWriter>> {
    let layout = match format {
        SparseFormat::Jsonl => return Ok(Box::new(lines::Lines::create(path, rule, false)?)),
        SparseFormat::Anserini => {
            let rule = rule.unwrap_or(IntegerRule::Splade);
            return Ok(Box::new(lines::Lines::create(path, Some(rule), true)?));
        }
        SparseFormat::Matrix(layout) => layout,
    };
    let path = path.filter(|path| *path != Path::new("-"));
    let path = path.ok_or_else(|| failure(Exit::Usage, "a matrix needs --output: its ids and tokens lie beside it"))?;
    Ok(Box::new(matrix::Matrix::create(path, layout, rule, vocabulary)?))
}

/// The weights by `rule`, those that become 0 left out; unchanged without one.
fn quantised(rule: Option<IntegerRule>, tokens: &Tokens) -> Tokens {
    let Some(rule) = rule else { return tokens.clone() };
    #[expect(clippy::cast_precision_loss, reason = "impacts are far below 2^24")]
    let weighted = tokens
        .iter()
        .map(|(token, weight)| (token.clone(), rule.integer(*weight) as f32));
    weighted.filter(|&(_, weight)| weight > 0.0).collect()
}
