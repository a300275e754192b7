//! Dense sentence encoders: teachers, and the base of sparse models; no index is built of their vectors.
//!
//! Source: Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019).

use super::batches::{Batch, in_batches};
use super::config::ModelConfig;
use super::dense_layout::{DenseFiles, DensePooling, dense_files, is_dense};
use super::dense_pooling::Pooled;
use super::hash;
use super::layout::prompts;
use super::load;
use super::policy::LongText;
use super::tokenizer::{TextTokenizer, TokenizerUse, Tokens};
use super::weights::{NamedFile, WeightsFile, in_eight_bits};
use crate::lifted::{Gate, TextGates};
use crate::transformer::{PlacedBackbone, Placement};
use crate::{Compute, Error, InputKind, Precision, files};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use tamis_core::Fingerprint;

/// Raised whenever the same files would give other vectors than before.
const REVISION: &str = "tamis dense 1";

/// A published dense sentence encoder, opened from its directory.
pub struct DenseEncoder {
    path: PathBuf,
    files: DenseFiles,
    backbone: PlacedBackbone,
    precision: Precision,
    tokenizer: TextTokenizer,
    document_prompt: String,
    query_prompt: String,
    fingerprint: Fingerprint,
}

/// Which hidden states gates read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GateStates<'a> {
    /// There are none.
    None,
    /// The last ones, of which vectors are made too.
    Last,
    /// Those behind so many last layers of their own, whose weights are in a folder.
    Own { dir: &'a Path, layers: usize },
}

/// The vector of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DenseEncoding {
    /// [`DenseEncoder::width`] finite values.
    pub values: Vec<f32>,
    /// Tokens the model read, special tokens included, after truncation.
    pub num_tokens: usize,
    /// Windows or parts in which it read them: 1 unless the text was long and is not cut.
    pub num_windows: usize,
    /// Whether the text was longer than the model reads and its end was left out.
    pub truncated: bool,
}

impl DenseEncoder {
    /// Whether the modules in `dir` make a dense encoder: a `modules.json` with a Pooling.
    ///
    /// # Errors
    /// When the file is there and is not what sentence-transformers writes.
    pub fn is_in(dir: &Path) -> Result<bool, Error> {
        is_dense(dir)
    }

    /// Opens the encoder in `dir`, computing where and how exactly `compute` says. What is longer than the directory lets
    /// the model read is read as `long_text` says; as the library that wrote the directory does, it is cut.
    ///
    /// # Errors
    /// When a file is missing, damaged, or of a kind that is not supported; the error names file, tensor or field, what
    /// was expected and what was found.
    pub fn open(dir: &Path, long_text: LongText, compute: Compute) -> Result<Self, Error> {
        Self::open_for(dir, long_text, compute, GateStates::None)
    }

    /// As [`DenseEncoder::open`]; for gates tokens are known by the bytes they are of.
    pub(crate) fn open_for(
        dir: &Path,
        long_text: LongText,
        compute: Compute,
        gates: GateStates<'_>,
    ) -> Result<Self, Error> {
        let traced = !matches!(gates, GateStates::None);
        let path = files::canonical(dir).map_err(|source| Error::Read {
            path: dir.to_owned(),
            source,
        })?;
        let files = dense_files(&path)?;
        let config = ModelConfig::read(&files.dir.join("config.json"))?;
        let usage = TokenizerUse {
            with_special: true,
            max_length: None,
            positions: config.positions,
            long_text,
            words: traced,
        };
        let tokenizer = TextTokenizer::read(&files.dir, usage)?;
        tokenizer.check_fits(config.vocabulary)?;
        if traced {
            tokenizer.check_traces(&files.dir)?;
        }
        let file = WeightsFile::read(&files.dir)?;
        let precision = compute.settled(file.is_in_eight_bits()?);
        let placement = Placement::of(Compute {
            precision: Some(precision),
            ..compute
        })?;
        let parameters = load::backbone(&config, &file.tensors()?)?;
        let mut backbone = PlacedBackbone::new(&parameters, &placement)?;
        let [document_prompt, query_prompt] = prompts(&path)?;
        let mut hasher = blake3::Hasher::new();
        let mut settings = serde_json::json!({
            "pooling": files.pooling,
            "normalised": files.normalised,
            "max_length": tokenizer.max_length,
            "prompts": [document_prompt, query_prompt],
        });
        if long_text != LongText::Truncate {
            settings["long_text"] = serde_json::json!(long_text);
        }
        let settings = settings.to_string();
        for part in [REVISION.as_bytes(), settings.as_bytes(), &config.bytes] {
            hash(&mut hasher, part);
        }
        file.hash_into(&mut hasher)?;
        if let GateStates::Own { dir, layers } = gates {
            if layers > config.layers {
                let expected = format!("at most {}, the layers of the dense encoder,", config.layers);
                return Err(Error::field(
                    &dir.with_file_name("lifted.json"),
                    "gate_layers",
                    expected,
                    layers,
                ));
            }
            let own = WeightsFile::read(dir)?;
            let layers = load::last_layers(&config, (&own.tensors()?, &file.tensors()?), layers)?;
            backbone = backbone.with_branch(layers, &parameters, &placement)?;
            own.hash_into(&mut hasher)?;
        }
        tokenizer.bytes.iter().for_each(|bytes| hash(&mut hasher, bytes));
        Ok(Self {
            backbone,
            precision,
            path,
            files,
            tokenizer,
            document_prompt,
            query_prompt,
            fingerprint: Fingerprint::new(*hasher.finalize().as_bytes()),
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes whenever anything changes that shapes vectors.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Values of a vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.backbone.width()
    }

    /// The most tokens of a text that are read, special ones included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.tokenizer.max_length
    }

    /// How hidden states become one vector, and whether it is scaled to length 1.
    #[must_use]
    pub fn pooling(&self) -> (DensePooling, bool) {
        (self.files.pooling, self.files.normalised)
    }

    /// How exactly it computes.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The weights as a lifted model stores them, in 8 bits, or `None` where they are stored so already: names and contents of files that take the place of the
    /// transformer's own weights, of `model.safetensors` or its shards. The same weights always give the same bytes.
    ///
    /// # Errors
    /// When a file can no longer be read, or holds a value that is not finite.
    pub fn weights_in_eight_bits(&self) -> Result<Option<Vec<NamedFile>>, Error> {
        in_eight_bits(&self.files.dir)
    }

    /// The directory of the transformer.
    #[must_use]
    pub fn transformer_dir(&self) -> &Path {
        &self.files.dir
    }

    pub(super) fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// What is put before documents, and before queries.
    pub(super) fn prompts(&self) -> [&str; 2] {
        [&self.document_prompt, &self.query_prompt]
    }

    /// Encodes `texts`, one vector each, in the order given; a text gets the same vector whatever else is in the batch.
    ///
    /// # Errors
    /// When a text cannot be tokenised or the model yields a value that is not finite.
    pub fn encode(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<DenseEncoding>, Error> {
        let texts = self.split(kind, texts)?;
        let parts: Vec<&Tokens> = texts.iter().flatten().collect();
        let mut pooled = in_batches(&self.backbone, &parts, false, |batch| Ok(self.pooled(&batch)))?.into_iter();
        let texts = texts.iter().enumerate();
        texts
            .map(|(text, parts)| self.finish(text, parts, pooled.by_ref().take(parts.len()).collect()))
            .collect()
    }

    /// As [`DenseEncoder::encode`] of documents, with the gate of each piece of the first part that is of the text itself:
    /// gates are learned on beginnings, with the title in sight. The encoder must have been opened to trace tokens.
    pub(crate) fn encode_gated(&self, texts: &[&str], gate: &Gate) -> Result<Vec<(DenseEncoding, TextGates)>, Error> {
        let texts = self.split(InputKind::Document, texts)?;
        let firsts: Vec<&Tokens> = texts.iter().map(|parts| &parts[0]).collect();
        let rest: Vec<&Tokens> = texts.iter().flat_map(|parts| &parts[1..]).collect();
        let firsts = in_batches(&self.backbone, &firsts, true, |batch| {
            let gates = self.gates(&batch, gate);
            Ok(self.pooled(&batch).into_iter().zip(gates).collect())
        })?;
        let mut rest = in_batches(&self.backbone, &rest, false, |batch| Ok(self.pooled(&batch)))?.into_iter();
        let texts = texts.iter().zip(firsts).enumerate();
        texts
            .map(|(text, (parts, (first, gates)))| {
                let vectors = std::iter::once(first).chain(rest.by_ref().take(parts.len() - 1));
                Ok((self.finish(text, parts, vectors.collect())?, gates))
            })
            .collect()
    }

    /// The tokens of each text, in the parts in which it is read, at least one.
    fn split(&self, kind: InputKind, texts: &[&str]) -> Result<Vec<Vec<Tokens>>, Error> {
        let prompt = match kind {
            InputKind::Document => &self.document_prompt,
            InputKind::Query => &self.query_prompt,
        };
        let split = |(text, content): (usize, &&str)| {
            let parts = self.tokenizer.split(prompt, content);
            parts.map_err(|reason| Error::Tokenise { text, reason })
        };
        texts.par_iter().enumerate().map(split).collect()
    }

    /// Each part of a batch pooled.
    fn pooled(&self, batch: &Batch<'_>) -> Vec<Pooled> {
        let width = self.width();
        let rows = batch.rows.ranges.iter();
        rows.map(|rows| {
            let hidden = &batch.hidden[rows.start * width..rows.end * width];
            Pooled::of(self.files.pooling, hidden, width)
        })
        .collect()
    }

    /// The gates of each text of a batch of first parts.
    fn gates(&self, batch: &Batch<'_>, gate: &Gate) -> Vec<TextGates> {
        let (width, before) = (self.width(), self.document_prompt.len());
        let states = batch.branch.as_ref().unwrap_or(&batch.hidden);
        let texts = batch.texts.iter().zip(&batch.rows.ranges);
        texts
            .map(|(tokens, rows)| {
                let hidden = states[rows.start * width..rows.end * width].chunks_exact(width);
                let pieces = tokens.places.iter().zip(&tokens.added).zip(hidden);
                let own = pieces.filter(|&((&(start, _), &added), _)| !added && start >= before);
                TextGates::new(own.map(|((&(start, _), _), hidden)| (start - before, gate.value(hidden))))
            })
            .collect()
    }

    /// The vector of the text numbered `text`, of those of its parts.
    fn finish(&self, text: usize, parts: &[Tokens], vectors: Vec<Pooled>) -> Result<DenseEncoding, Error> {
        let mut values = Pooled::joined(self.files.pooling, vectors);
        if self.files.normalised {
            normalise(&mut values);
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::NotFinite { text });
        }
        Ok(DenseEncoding {
            values,
            num_tokens: parts.iter().map(|part| part.ids.len()).sum(),
            num_windows: parts.len(),
            truncated: parts.iter().any(|part| part.truncated),
        })
    }
}

/// Scales to length 1; what is shorter than 1e-12 is divided by that, as PyTorch does.
fn normalise(values: &mut [f32]) {
    let length = values.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    values.iter_mut().for_each(|x| *x /= length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_scaled_to_length_one() {
        let mut values = [3.0, 4.0];
        normalise(&mut values);
        assert_eq!(values, [0.6, 0.8]);
    }
}
