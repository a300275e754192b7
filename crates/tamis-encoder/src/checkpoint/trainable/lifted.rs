//! Lifted models as functions of their dense encoder and their gate.
//!
//! The first columns of a representation are the stems of the step's queries, the others the dense vector: of a document
//! its gated lexical weights and `factor (e - mean)`, of a query its idf-weighted bag and `W^T q`. The product of the two
//! is the score before the expansion is cut to its largest entries. W, the idf table and the queries with them stay as
//! they are: documents learn to meet them, and W is solved for again afterwards.

use super::options::TrainableOptions;
use super::opening::{check, device, untrainable};
use super::transformer::TrainableTransformer;
use super::{Pass, from, place};
use crate::checkpoint::config::ModelConfig;
use crate::checkpoint::dense_layout::{DenseFiles, DensePooling, dense_files};
use crate::checkpoint::layout::prompts;
use crate::checkpoint::policy::LongText;
use crate::checkpoint::tokenizer::{TextTokenizer, TokenizerUse, Tokens};
use crate::checkpoint::weights::Frozen;
use crate::lexical::Analyzer;
use crate::lifted::{Gate, Lift, LiftedEncoder};
use crate::training::{NamedVariable, dropout};
use crate::{Error, InputKind};
use candle_core::{D, DType, Device, Tensor, Var};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A lifted model whose document side can be differentiated.
pub struct TrainableLift {
    path: PathBuf,
    lift: Lift,
    files: DenseFiles,
    tokenizer: TextTokenizer,
    prompt: String,
    transformer: TrainableTransformer,
    gate: [Var; 2],
    /// `[1, width]`.
    mean: Tensor,
    dtype: DType,
    device: Device,
}

/// The texts of one step.
pub struct LiftedTexts {
    queries: Vec<QueryText>,
    documents: Vec<DocumentText>,
    /// Stems of the queries.
    stems: usize,
}

struct QueryText {
    /// Columns with their weights.
    bag: Vec<(usize, f32)>,
    /// `W^T q`.
    vector: Vec<f32>,
}

struct DocumentText {
    tokens: Tokens,
    /// Whether each token is of the text itself.
    own: Vec<bool>,
    occurrences: Vec<Occurrence>,
}

/// An occurrence of a stem that a query has.
struct Occurrence {
    column: usize,
    /// The first token of its word; none where the model does not read it.
    token: Option<usize>,
    /// What it adds to the weight of its stem, times its gate.
    weight: f32,
}

impl TrainableLift {
    /// Opens the lifted model in `dir`; without a gate it gets one at rest.
    ///
    /// Takes four bytes a parameter, and as much again while it is opened.
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others, an option is out of range, or the dense encoder does
    /// anything but average its hidden states and scale them to length 1.
    pub fn open(dir: &Path, options: &TrainableOptions) -> Result<Self, Error> {
        Self::open_as(dir, options, DType::F32)
    }

    /// As [`TrainableLift::open`], in double precision: for comparing gradients with finite differences.
    #[doc(hidden)]
    pub fn open_in_double(dir: &Path, options: &TrainableOptions) -> Result<Self, Error> {
        Self::open_as(dir, options, DType::F64)
    }

    fn open_as(dir: &Path, options: &TrainableOptions, dtype: DType) -> Result<Self, Error> {
        check(dir, options)?;
        let device = device(options)?;
        let lift = Lift::read(dir)?;
        let dense = LiftedEncoder::dense_dir(dir);
        let files = dense_files(&dense)?;
        if files.pooling != DensePooling::Mean || !files.normalised {
            let found = format!("{:?}, {}", files.pooling, if files.normalised { "normalised" } else { "as it is" });
            return Err(untrainable(dir, "pooling", found, "the mean of hidden states, normalised"));
        }
        let config = ModelConfig::read(&files.dir.join("config.json"))?;
        let usage = TokenizerUse {
            with_special: true,
            max_length: None,
            positions: config.positions,
            long_text: LongText::Truncate,
            words: true,
        };
        let tokenizer = TextTokenizer::read(&files.dir, usage)?;
        tokenizer.check_fits(config.vocabulary)?;
        let [prompt, _] = prompts(&dense)?;
        let frozen = Frozen {
            embeddings: options.frozen_embeddings || options.frozen_layers > 0,
            layers: options.frozen_layers,
        };
        let dropout = options.dropout.map_or_else(|| config.dropout(), Ok)?;
        let (weights_dir, place) = (files.dir.clone(), (dtype, &device));
        let transformer = TrainableTransformer::new(
            (weights_dir, "dense"),
            (config, dropout),
            Vec::new(),
            (frozen, options.activation_cache_bytes),
            place,
        )?;
        // Reads every tensor that takes part.
        transformer.graph(true)?;
        let width = lift.config().width;
        if transformer.config.width != width {
            let config = dir.join("lifted.json");
            let expected = format!("{}, the width of the dense encoder,", transformer.config.width);
            return Err(Error::field(&config, "width", expected, width));
        }
        let rest = || Gate {
            weights: vec![0.0; width],
            bias: 0.0,
        };
        let gate = lift.gate().cloned().unwrap_or_else(rest);
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &device)?.to_dtype(dtype);
        Ok(Self {
            gate: [
                Var::from_tensor(&tensor(&gate.weights, &[width, 1])?)?,
                Var::from_tensor(&tensor(&[gate.bias], &[1])?)?,
            ],
            mean: tensor(&lift.means().documents, &[1, width])?,
            path: dir.to_owned(),
            lift,
            files,
            tokenizer,
            prompt,
            transformer,
            dtype,
            device,
        })
    }

    /// The variables, sorted by name: `dense.` and the tensor's name, `gate.bias`, `gate.weight`.
    #[must_use]
    pub fn variables(&self) -> Vec<NamedVariable> {
        let dense = self.transformer.variables();
        let [weights, bias] = &self.gate;
        let gate = [("gate.bias", bias), ("gate.weight", weights)];
        let gate = gate.map(|(name, var)| (name.to_owned(), var.clone()));
        let mut variables: Vec<NamedVariable> =
            dense.chain(gate).map(|(name, var)| NamedVariable { name, var }).collect();
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        variables
    }

    /// The gate as it stands.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn gate(&self) -> Result<Gate, Error> {
        let [weights, bias] = &self.gate;
        let values = |var: &Var| var.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        Ok(Gate {
            weights: values(weights)?,
            bias: values(bias)?[0],
        })
    }

    /// The table, with the gate as it stands.
    ///
    /// # Errors
    /// When the gate is not finite or a tensor operation fails.
    pub fn lift(&self) -> Result<Lift, Error> {
        self.lift.clone().with_gate(Some(self.gate()?))
    }

    /// The directory that it was opened from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Splits the texts of one step.
    ///
    /// # Errors
    /// When a text cannot be split; its number counts queries first, then documents.
    pub fn read(&self, queries: &[&str], documents: &[&str]) -> Result<LiftedTexts, Error> {
        let bags: Vec<HashMap<String, u32>> = queries.iter().map(|query| bag(query)).collect();
        let stems: BTreeSet<&str> = bags.iter().flat_map(|bag| bag.keys().map(String::as_str)).collect();
        let columns: HashMap<&str, usize> = stems.iter().zip(0..).map(|(&stem, at)| (stem, at)).collect();
        let document = |(at, text): (usize, &&str)| {
            let tokens = self.tokenizer.split(&self.prompt, text);
            let mut tokens = tokens.map_err(|reason| Error::Tokenise {
                text: queries.len() + at,
                reason,
            })?;
            Ok(self.document(text, tokens.swap_remove(0), &columns))
        };
        Ok(LiftedTexts {
            queries: bags.iter().map(|bag| self.query(bag, &columns)).collect(),
            documents: documents.par_iter().enumerate().map(document).collect::<Result<_, Error>>()?,
            stems: columns.len(),
        })
    }

    fn query(&self, bag: &HashMap<String, u32>, columns: &HashMap<&str, usize>) -> QueryText {
        // In the order of the columns, so that sums are always the same.
        let mut stems: Vec<(usize, &str, u32)> =
            bag.iter().map(|(stem, &count)| (columns[stem.as_str()], stem.as_str(), count)).collect();
        stems.sort_unstable();
        let mut query = QueryText {
            bag: Vec::with_capacity(stems.len()),
            vector: vec![0.0; self.lift.config().width],
        };
        for (column, stem, count) in stems {
            #[expect(clippy::cast_precision_loss, reason = "repetitions in a query")]
            let weight = count as f32 * self.lift.idf(stem);
            query.bag.push((column, weight));
            self.lift.add_row(stem, weight, &mut query.vector);
        }
        query
    }

    fn document(&self, text: &str, tokens: Tokens, columns: &HashMap<&str, usize>) -> DocumentText {
        let before = self.prompt.len();
        let own = tokens.places.iter().zip(&tokens.added).map(|(&(start, _), &added)| !added && start >= before);
        let own: Vec<bool> = own.collect();
        let starts: Vec<(usize, usize)> =
            (0..own.len()).filter(|&at| own[at]).map(|at| (tokens.places[at].0 - before, at)).collect();
        let words: Vec<_> = Analyzer.tokens(text).collect();
        let mut counts: HashMap<&str, u32> = HashMap::new();
        words.iter().for_each(|word| *counts.entry(word.text.as_ref()).or_default() += 1);
        let occurrence = |word: &crate::lexical::Token<'_>| {
            let column = *columns.get(word.text.as_ref())?;
            let first = starts.partition_point(|&(start, _)| start < word.start);
            let token = starts.get(first).filter(|&&(start, _)| start < word.end).map(|&(_, at)| at);
            let count = counts[word.text.as_ref()];
            #[expect(clippy::cast_precision_loss, reason = "lengths and counts only shape a smooth weight")]
            let weight = self.lift.config().lexical.document_weight(count, words.len() as f32) / count as f32;
            Some(Occurrence { column, token, weight })
        };
        DocumentText {
            occurrences: words.iter().filter_map(occurrence).collect(),
            own,
            tokens,
        }
    }

    /// Representations of some texts of one kind, `[texts, stems + width]`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn represent_part(
        &self,
        texts: &LiftedTexts,
        kind: InputKind,
        range: Range<usize>,
        pass: Pass,
    ) -> Result<Tensor, Error> {
        match kind {
            InputKind::Query => self.represent_queries(&texts.queries[range], texts.stems),
            InputKind::Document => {
                let start = range.start;
                self.represent_documents(&texts.documents[range], texts.stems, start, pass)
            }
        }
    }

    fn represent_queries(&self, queries: &[QueryText], stems: usize) -> Result<Tensor, Error> {
        let columns = stems + self.lift.config().width;
        let mut values = vec![0f32; queries.len() * columns];
        for (row, query) in values.chunks_exact_mut(columns).zip(queries) {
            query.bag.iter().for_each(|&(column, weight)| row[column] = weight);
            row[stems..].copy_from_slice(&query.vector);
        }
        self.tensor(values, (queries.len(), columns))
    }

    fn represent_documents(
        &self,
        documents: &[DocumentText],
        stems: usize,
        start: usize,
        pass: Pass,
    ) -> Result<Tensor, Error> {
        if documents.is_empty() {
            return self.tensor(Vec::new(), (0, stems + self.lift.config().width));
        }
        let graph = self.transformer.graph(pass.tracked)?;
        let ids: Vec<&[u32]> = documents.iter().map(|document| document.tokens.ids.as_slice()).collect();
        let rate = self.transformer.dropout;
        let drop = pass.randomness.filter(|_| rate > 0.0).map(|randomness| {
            move |x: &Tensor, rows: &[usize], site: usize| {
                let site = place(InputKind::Document, site).map_err(candle_core::Error::wrap)?;
                dropout(x, rate, site, rows, from(randomness, start)?).map_err(candle_core::Error::wrap)
            }
        });
        let (hidden, rows) = self.transformer.hidden(&graph, &ids, drop.as_ref().map(|drop| drop as _))?;
        let vectors = self.vectors(&hidden, &rows.ranges)?;
        let lexical = self.lexical_weights(&hidden, documents, (&rows.ranges, stems), pass)?;
        Ok(match lexical {
            Some(lexical) => Tensor::cat(&[lexical, vectors], 1)?,
            None => vectors,
        })
    }

    /// `factor (e - mean)`, `[texts, width]`.
    fn vectors(&self, hidden: &Tensor, ranges: &[Range<usize>]) -> Result<Tensor, Error> {
        let average = self.averages(ranges.iter().map(|range| range.clone().collect()), hidden.dim(0)?)?;
        let sums = average.matmul(hidden)?;
        let length = (sums.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?;
        let centred = sums.broadcast_div(&length)?.broadcast_sub(&self.mean)?;
        Ok((centred * f64::from(self.lift.config().factor))?)
    }

    /// Gated lexical weights over the stems, `[texts, stems]`; none without stems.
    fn lexical_weights(
        &self,
        hidden: &Tensor,
        documents: &[DocumentText],
        (ranges, stems): (&[Range<usize>], usize),
        pass: Pass,
    ) -> Result<Option<Tensor>, Error> {
        if stems == 0 {
            return Ok(None);
        }
        let [weights, bias] = &self.gate;
        let [weights, bias] = match pass.tracked {
            true => [weights.as_tensor().clone(), bias.as_tensor().clone()],
            false => [weights.detach(), bias.detach()],
        };
        // 2 sigma(x) is 1 + tanh(x / 2), which cannot overflow.
        let gates = (((hidden.matmul(&weights)?.broadcast_add(&bias)? * 0.5)?.tanh()? + 1.0)?).squeeze(1)?;
        let tokens = hidden.dim(0)?;
        let own = ranges.iter().zip(documents).map(|(range, document)| {
            let own = document.own.iter().enumerate().filter(|&(_, &own)| own);
            own.map(|(at, _)| range.start + at).collect()
        });
        let means = self.averages(own, tokens)?.matmul(&gates.unsqueeze(1)?)?.squeeze(1)?;
        // A text without tokens of its own has gates of 1.
        let bare = documents.iter().map(|document| f32::from(u8::from(!document.own.contains(&true))));
        let means = (means + self.tensor(bare.collect(), documents.len())?)?;
        let all = Tensor::cat(&[gates, means], 0)?;
        let (mut from, mut to, mut factors) = (Vec::new(), Vec::new(), Vec::new());
        for (text, (document, range)) in documents.iter().zip(ranges).enumerate() {
            for occurrence in &document.occurrences {
                let row = occurrence.token.map_or(tokens + text, |token| range.start + token);
                from.push(index(row)?);
                to.push(index(text * stems + occurrence.column)?);
                factors.push(occurrence.weight);
            }
        }
        let lexical = self.tensor(vec![0.0; documents.len() * stems], documents.len() * stems)?;
        let len = factors.len();
        let lexical = match len {
            0 => lexical,
            _ => {
                let from = Tensor::from_vec(from, len, &self.device)?;
                let to = Tensor::from_vec(to, len, &self.device)?;
                let weights = (all.index_select(&from, 0)? * self.tensor(factors, len)?)?;
                lexical.index_add(&to, &weights, 0)?
            }
        };
        Ok(Some(lexical.reshape((documents.len(), stems))?))
    }

    /// A matrix `[texts, rows]` that averages the rows of each text; zeros for a text without any.
    fn averages(&self, texts: impl Iterator<Item = Vec<usize>>, rows: usize) -> Result<Tensor, Error> {
        let mut values = Vec::new();
        let mut num_texts = 0;
        for own in texts {
            let start = values.len();
            values.resize(start + rows, 0f32);
            #[expect(clippy::cast_precision_loss, reason = "texts stay far below 2^24 tokens")]
            let share = 1.0 / own.len() as f32;
            own.into_iter().for_each(|row| values[start + row] = share);
            num_texts += 1;
        }
        self.tensor(values, (num_texts, rows))
    }

    fn tensor<S: Into<candle_core::Shape>>(&self, values: Vec<f32>, shape: S) -> Result<Tensor, Error> {
        Ok(Tensor::from_vec(values, shape, &self.device)?.to_dtype(self.dtype)?)
    }
}

impl LiftedTexts {
    /// Tokens of all documents, special ones included; queries are not read by a model.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.documents.iter().map(|document| document.tokens.ids.len()).sum()
    }

    /// Stems of the queries: the first columns.
    #[must_use]
    pub fn stems(&self) -> usize {
        self.stems
    }
}

/// The stems of a query, with how often each is there.
fn bag(query: &str) -> HashMap<String, u32> {
    let mut bag = HashMap::new();
    for token in Analyzer.tokens(query) {
        *bag.entry(token.text.into_owned()).or_default() += 1;
    }
    bag
}

fn index(at: usize) -> Result<u32, Error> {
    Ok(u32::try_from(at).map_err(candle_core::Error::wrap)?)
}
