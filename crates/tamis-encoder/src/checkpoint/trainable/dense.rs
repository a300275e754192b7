//! A dense sentence encoder as a function of its weights.
//!
//! Its hidden states are there too, by token, for heads of other kinds over the same transformer. Poolings are those of
//! sentence-transformers (Reimers and Gurevych, EMNLP 2019).

use super::opening::{check, device};
use super::transformer::TrainableTransformer;
use super::writing::tensors;
use super::{Pass, TrainableOptions, from, place};
use crate::checkpoint::config::ModelConfig;
use crate::checkpoint::dense_layout::{DenseFiles, DensePooling, dense_files};
use crate::checkpoint::layout::prompts;
use crate::checkpoint::policy::LongText;
use crate::checkpoint::tokenizer::{TextTokenizer, TokenizerUse, Tokens};
use crate::checkpoint::weights::Frozen;
use crate::checkpoint::{WEIGHTS_INDEX_NAME, WEIGHTS_NAME};
use crate::convert::{Target, list, write_tensors};
use crate::training::{NamedVariable, TextModel, dropout};
use crate::{Error, InputKind};
use candle_core::{D, DType, Device, Tensor};
use rayon::prelude::*;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A dense encoder whose vectors can be differentiated.
pub struct TrainableDense {
    path: PathBuf,
    files: DenseFiles,
    transformer: TrainableTransformer,
    tokenizer: TextTokenizer,
    /// Of documents, of queries.
    prompts: [String; 2],
    dtype: DType,
    device: Device,
}

/// The texts of a step, split into tokens.
pub struct DenseTexts {
    documents: Vec<Tokens>,
    queries: Vec<Tokens>,
}

impl DenseTexts {
    pub(super) fn of(&self, kind: InputKind) -> &[Tokens] {
        match kind {
            InputKind::Document => &self.documents,
            InputKind::Query => &self.queries,
        }
    }

    /// The token ids of text `at` of `kind`, special ones included: one for each of its hidden states.
    #[must_use]
    pub fn ids(&self, kind: InputKind, at: usize) -> &[u32] {
        &self.of(kind)[at].ids
    }
}

/// Hidden states of some texts, one text after the other.
pub struct TextStates {
    /// `[tokens, width]`.
    pub(crate) states: Tensor,
    /// The rows of each text.
    pub(crate) ranges: Vec<Range<usize>>,
}

impl TrainableDense {
    /// Opens the encoder in `dir`. Of `options` what concerns the transformer and the length of texts counts.
    ///
    /// # Errors
    /// As [`crate::DenseEncoder::open`], and when an option is out of its range.
    pub fn open(dir: &Path, options: &TrainableOptions) -> Result<Self, Error> {
        Self::open_as(dir, false, options, DType::F32)
    }

    /// With `traced` tokens are known by the bytes that they are of.
    pub(super) fn open_as(dir: &Path, traced: bool, options: &TrainableOptions, dtype: DType) -> Result<Self, Error> {
        check(dir, options)?;
        let device = device(options)?;
        let path = dir.canonicalize().map_err(|source| Error::Read {
            path: dir.to_owned(),
            source,
        })?;
        let files = dense_files(&path)?;
        let config = ModelConfig::read(&files.dir.join("config.json"))?;
        let usage = TokenizerUse {
            with_special: true,
            max_length: options.max_length,
            positions: config.positions,
            long_text: LongText::Truncate,
            words: traced,
        };
        let tokenizer = TextTokenizer::read(&files.dir, usage)?;
        tokenizer.check_fits(config.vocabulary)?;
        if traced {
            tokenizer.check_traces(&files.dir)?;
        }
        let frozen = Frozen {
            embeddings: options.frozen_embeddings || options.frozen_layers > 0,
            layers: options.frozen_layers,
        };
        let rate = options.dropout.map_or_else(|| config.dropout(), Ok)?;
        let transformer = TrainableTransformer::new(
            (files.dir.clone(), "shared"),
            (config, rate),
            Vec::new(),
            (frozen, options.activation_cache_bytes),
            (dtype, &device),
        )?;
        transformer.graph(true)?;
        Ok(Self {
            prompts: prompts(&path)?,
            path,
            files,
            transformer,
            tokenizer,
            dtype,
            device,
        })
    }

    /// What is put before documents.
    pub(super) fn document_prompt(&self) -> &str {
        &self.prompts[0]
    }

    pub(super) fn place(&self) -> (DType, &Device) {
        (self.dtype, &self.device)
    }

    /// How hidden states become one vector, and whether it is scaled to length 1.
    pub(super) fn pooling(&self) -> (DensePooling, bool) {
        (self.files.pooling, self.files.normalised)
    }

    /// Width of a vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.transformer.config.width
    }

    /// The last hidden states of the texts at `range` of one kind.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn states(
        &self,
        texts: &DenseTexts,
        kind: InputKind,
        range: Range<usize>,
        pass: Pass,
    ) -> Result<TextStates, Error> {
        let start = range.start;
        let ids: Vec<&[u32]> = texts.of(kind)[range]
            .iter()
            .map(|tokens| tokens.ids.as_slice())
            .collect();
        let graph = self.transformer.graph(pass.tracked)?;
        let rate = self.transformer.dropout;
        let drop = pass.randomness.filter(|_| rate > 0.0).map(|randomness| {
            move |x: &Tensor, rows: &[usize], site: usize| {
                let site = place(kind, site).map_err(candle_core::Error::wrap)?;
                dropout(x, rate, site, rows, from(randomness, start)?).map_err(candle_core::Error::wrap)
            }
        });
        let drop = drop.as_ref().map(|drop| drop as _);
        let (states, rows) = self.transformer.hidden(&graph, &ids, drop)?;
        Ok(TextStates {
            states,
            ranges: rows.ranges,
        })
    }

    /// One vector for each text of `states`, `[texts, width]`, as the encoder pools and scales them.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn pooled(&self, states: &TextStates) -> Result<Tensor, Error> {
        let pooled = pool(self.files.pooling, states)?;
        if !self.files.normalised {
            return Ok(pooled);
        }
        let length = pooled.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
        Ok(pooled.broadcast_div(&length)?)
    }

    /// Writes the encoder as it stands to `dir`, in the layout that it was opened from; the directory appears complete or
    /// not at all and takes the place of one of that name.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn export(&self, dir: &Path) -> Result<(), Error> {
        self.save(dir)
    }

    /// Copies the encoder as it was opened into `folder` of `target`.
    pub(super) fn copy_into(&self, target: &Target, folder: &Path) -> Result<(), Error> {
        let mut files = Vec::new();
        list(&self.path, Path::new(""), &mut files)?;
        let copy = |file: PathBuf| target.copy(&self.path.join(&file), &folder.join(&file));
        files.into_iter().try_for_each(copy)
    }

    /// Writes the encoder as it stands into `folder` of `target`.
    pub(super) fn save_into(&self, target: &Target, folder: &Path) -> Result<(), Error> {
        let mut files = Vec::new();
        list(&self.path, Path::new(""), &mut files)?;
        for file in files {
            let ends = |ending: &&str| file.extension().is_some_and(|found| found == *ending);
            let weights = ["safetensors", "bin", "onnx"].iter().any(ends);
            let index = file.file_name().is_some_and(|name| name == WEIGHTS_INDEX_NAME);
            if !weights && !index {
                target.copy(&self.path.join(&file), &folder.join(&file))?;
            }
        }
        let dir = self.files.dir.strip_prefix(&self.path).unwrap_or(Path::new(""));
        let path = folder.join(dir).join(WEIGHTS_NAME);
        target.write_bytes(&path, &write_tensors(&path, &tensors(&self.transformer)?)?)
    }
}

/// One vector for each text.
fn pool(pooling: DensePooling, of: &TextStates) -> Result<Tensor, Error> {
    let (rows, width) = of.states.dims2()?;
    let (dtype, device) = (of.states.dtype(), of.states.device());
    let pick = |at: &dyn Fn(&Range<usize>) -> usize| {
        let rows = of
            .ranges
            .iter()
            .map(|range| u32::try_from(at(range)).map_err(candle_core::Error::wrap));
        let rows = rows.collect::<Result<Vec<u32>, _>>()?;
        of.states
            .index_select(&Tensor::from_vec(rows, of.ranges.len(), device)?, 0)
    };
    match pooling {
        DensePooling::Cls => Ok(pick(&|range| range.start)?),
        DensePooling::LastToken => Ok(pick(&|range| range.end.saturating_sub(1))?),
        DensePooling::Max => {
            let largest = |range: &Range<usize>| {
                let columns = of.states.narrow(0, range.start, range.len())?.t()?.contiguous()?;
                let at = columns.detach().argmax_keepdim(1)?;
                columns.gather(&at, 1)?.reshape((1, width))
            };
            let rows = of
                .ranges
                .iter()
                .map(largest)
                .collect::<Result<Vec<_>, candle_core::Error>>()?;
            Ok(Tensor::cat(&rows, 0)?)
        }
        DensePooling::Mean | DensePooling::MeanSqrtLen => {
            let share = |range: &Range<usize>| {
                #[expect(clippy::cast_precision_loss, reason = "texts stay far below 2^52 tokens")]
                let count = range.len() as f64;
                match pooling {
                    DensePooling::Mean => count.recip(),
                    _ => count.sqrt().recip(),
                }
            };
            let shares = match dtype {
                DType::F64 => Tensor::from_vec(shares(of, rows, share), (of.ranges.len(), rows), device)?,
                #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of the states")]
                _ => Tensor::from_vec(
                    shares(of, rows, |range| share(range) as f32),
                    (of.ranges.len(), rows),
                    device,
                )?,
            };
            Ok(shares.matmul(&of.states)?)
        }
    }
}

/// A matrix `[texts, rows]` with the share that each row of a text has in its vector.
fn shares<T: Clone + Default>(of: &TextStates, rows: usize, share: impl Fn(&Range<usize>) -> T) -> Vec<T> {
    let mut shares = vec![T::default(); of.ranges.len() * rows];
    for (text, range) in of.ranges.iter().enumerate() {
        shares[text * rows + range.start..text * rows + range.end].fill(share(range));
    }
    shares
}

impl TextModel for TrainableDense {
    type Texts = DenseTexts;

    fn variables(&self) -> Vec<NamedVariable> {
        let named = self.transformer.variables();
        named.map(|(name, var)| NamedVariable { name, var }).collect()
    }

    fn read(&self, queries: &[&str], documents: &[&str]) -> Result<DenseTexts, Error> {
        let split = |prompt: &str, texts: &[&str], first: usize| {
            let one = |(text, content): (usize, &&str)| {
                let windows = self.tokenizer.split(prompt, content);
                let mut windows = windows.map_err(|reason| Error::Tokenise {
                    text: first + text,
                    reason,
                })?;
                Ok(windows.swap_remove(0))
            };
            texts.par_iter().enumerate().map(one).collect::<Result<Vec<_>, Error>>()
        };
        let [of_documents, of_queries] = &self.prompts;
        Ok(DenseTexts {
            queries: split(of_queries, queries, 0)?,
            documents: split(of_documents, documents, queries.len())?,
        })
    }

    fn represent(&self, texts: &DenseTexts, kind: InputKind, range: Range<usize>, pass: Pass) -> Result<Tensor, Error> {
        if range.is_empty() {
            return Ok(Tensor::zeros((0, self.width()), self.dtype, &self.device)?);
        }
        self.pooled(&self.states(texts, kind, range, pass)?)
    }

    fn tokens(&self, texts: &DenseTexts) -> usize {
        let all = texts.queries.iter().chain(&texts.documents);
        all.map(|tokens| tokens.ids.len()).sum()
    }

    fn term_recall(&self, _: &DenseTexts, _: usize) -> Result<Option<(Tensor, Tensor)>, Error> {
        Ok(None)
    }

    fn vocabulary(&self) -> Option<usize> {
        Some(self.width())
    }

    fn idf(&self) -> Option<Vec<f32>> {
        None
    }

    fn save(&self, dir: &Path) -> Result<(), Error> {
        let target = Target::replace(dir)?;
        self.save_into(&target, Path::new(""))?;
        target.finish()
    }
}
