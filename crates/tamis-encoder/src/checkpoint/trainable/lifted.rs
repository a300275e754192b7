//! Lifted models as functions of their dense encoder and their gate.
//!
//! The first columns of a representation are the stems of the step's queries, the others the dense vector: of a document
//! its gated lexical weights and `factor (e - mean)`, of a query its idf-weighted bag and `W^T q`. The product of the two
//! is the score before the expansion is cut to its largest entries. W stays as it is: documents learn to meet it, and it
//! is solved for again afterwards. The idf table is learned where `train_query_table` says so.

mod gate_layers;
mod query_weights;

use super::dense::{DenseTexts, TrainableDense};
use super::opening::untrainable;
use super::{Pass, TrainableOptions};
use crate::checkpoint::dense_layout::DensePooling;
use crate::checkpoint::tokenizer::Tokens;
use crate::convert::Target;
use crate::lexical::{Analyzer, Token};
use crate::lifted::{Gate, Lift, LiftedEncoder};
use crate::training::{NamedVariable, TextModel};
use crate::{Error, InputKind};
use candle_core::{DType, Tensor, Var};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

use query_weights::{QueryWeights, Stems};

/// A lifted model that can be differentiated.
pub struct TrainableLift {
    lift: Lift,
    dense: TrainableDense,
    gate: [Var; 2],
    query_weights: QueryWeights,
    /// How many last layers are the gate's alone, and learned in the place of the encoder's.
    gate_layers: usize,
    /// `[1, width]`.
    mean: Tensor,
}

/// The texts of one step.
pub struct LiftedTexts {
    /// Of each query its columns, and how often it has their stems.
    queries: Vec<Vec<(usize, u32)>>,
    documents: Vec<DocumentText>,
    /// The documents as the dense encoder reads them.
    dense: DenseTexts,
    /// Of the queries: a column each.
    stems: Stems,
}

struct DocumentText {
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
        let path = dir.canonicalize().map_err(|source| Error::Read {
            path: dir.to_owned(),
            source,
        })?;
        let lift = Lift::read(&path)?;
        let gate_layers = gate_layers::count(dir, &lift, options)?;
        let options = &gate_layers::options(&path, gate_layers, options)?;
        let dense = TrainableDense::open_as(&LiftedEncoder::dense_dir(&path), true, options, dtype)?;
        if gate_layers > 0 {
            gate_layers::restore(&path, &lift, &dense)?;
        }
        let (pooling, normalised) = dense.pooling();
        if pooling != DensePooling::Mean || !normalised {
            let found = format!("{pooling:?}, {}", if normalised { "normalised" } else { "as it is" });
            return Err(untrainable(
                dir,
                "pooling",
                found,
                "the mean of hidden states, normalised",
            ));
        }
        let width = lift.config().width;
        if dense.width() != width {
            let expected = format!("{}, the width of the dense encoder,", dense.width());
            return Err(Error::field(&path.join("lifted.json"), "width", expected, width));
        }
        let rest = || Gate {
            weights: vec![0.0; width],
            bias: 0.0,
        };
        let gate = lift.gate().cloned().unwrap_or_else(rest);
        let (_, device) = dense.place();
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, device)?.to_dtype(dtype);
        Ok(Self {
            gate: [
                Var::from_tensor(&tensor(&gate.weights, &[width, 1])?)?,
                Var::from_tensor(&tensor(&[gate.bias], &[1])?)?,
            ],
            query_weights: QueryWeights::new(&lift, options.train_query_table, (dtype, device))?,
            gate_layers,
            mean: tensor(&lift.means().documents, &[1, width])?,
            lift,
            dense,
        })
    }

    /// The variables, sorted by name: `shared.` and the name of a tensor of the dense encoder, `gate.bias`, `gate.weight`,
    /// and where it is learned `query.idf`.
    #[must_use]
    pub fn variables(&self) -> Vec<NamedVariable> {
        let [weights, bias] = &self.gate;
        let gate = [("gate.bias", bias), ("gate.weight", weights)];
        let gate = gate.map(|(name, var)| NamedVariable {
            name: name.to_owned(),
            var: var.clone(),
        });
        let mut variables = self.dense.variables();
        variables.extend(gate);
        variables.extend(self.query_weights.variable());
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

    /// The table, with gate and query weights as they stand.
    ///
    /// # Errors
    /// When one of them is not finite or a tensor operation fails.
    pub fn lift(&self) -> Result<Lift, Error> {
        let lift = self.lift.clone().with_gate(Some(self.gate()?))?;
        let lift = lift.with_gate_layers(self.gate_layers);
        match self.query_weights.learned()? {
            Some(idf) => lift.with_idf(idf),
            None => Ok(lift),
        }
    }

    /// Writes the model as it stands to `dir`, where [`LiftedEncoder`] opens it; the directory appears complete or not at
    /// all and takes the place of one of that name. W is what it was: `tamis lift` solves for it again.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn export(&self, dir: &Path) -> Result<(), Error> {
        let target = Target::replace(dir)?;
        for (name, bytes) in self.lift()?.to_files()? {
            target.write_bytes(Path::new(name), &bytes)?;
        }
        match self.gate_layers {
            0 => self.dense.save_into(&target, Path::new("dense"))?,
            _ => {
                self.dense.copy_into(&target, Path::new("dense"))?;
                gate_layers::save(&self.dense, &target)?;
            }
        }
        target.finish()
    }

    /// Splits the texts of one step.
    ///
    /// # Errors
    /// When a text cannot be split; its number counts queries first, then documents.
    pub fn read(&self, queries: &[&str], documents: &[&str]) -> Result<LiftedTexts, Error> {
        let bags: Vec<HashMap<String, u32>> = queries.par_iter().map(|query| bag(query)).collect();
        let stems: BTreeSet<&str> = bags.iter().flat_map(|bag| bag.keys().map(String::as_str)).collect();
        let columns: HashMap<&str, usize> = stems.iter().zip(0..).map(|(&stem, at)| (stem, at)).collect();
        let dense = self.dense.read(&[], documents).map_err(|error| match error {
            Error::Tokenise { text, reason } => Error::Tokenise {
                text: queries.len() + text,
                reason,
            },
            other => other,
        })?;
        let read = documents.par_iter().zip(dense.of(InputKind::Document));
        let query = |bag: &HashMap<String, u32>| {
            let mut query: Vec<(usize, u32)> = bag
                .iter()
                .map(|(stem, &count)| (columns[stem.as_str()], count))
                .collect();
            // So that sums are always the same.
            query.sort_unstable();
            query
        };
        Ok(LiftedTexts {
            queries: bags.iter().map(query).collect(),
            documents: read
                .map(|(text, tokens)| self.document(text, tokens, &columns))
                .collect(),
            stems: Stems::of(&self.lift, stems.iter().copied()),
            dense,
        })
    }

    fn document(&self, text: &str, tokens: &Tokens, columns: &HashMap<&str, usize>) -> DocumentText {
        let before = self.dense.document_prompt().len();
        let own = tokens
            .places
            .iter()
            .zip(&tokens.added)
            .map(|(&(start, _), &added)| !added && start >= before);
        let own: Vec<bool> = own.collect();
        let starts: Vec<(usize, usize)> = (0..own.len())
            .filter(|&at| own[at])
            .map(|at| (tokens.places[at].0 - before, at))
            .collect();
        let words: Vec<_> = Analyzer.tokens(text).collect();
        let mut counts: HashMap<&str, u32> = HashMap::new();
        words
            .iter()
            .for_each(|word| *counts.entry(word.text.as_ref()).or_default() += 1);
        let occurrence = |word: &Token<'_>| {
            let column = *columns.get(word.text.as_ref())?;
            let first = starts.partition_point(|&(start, _)| start < word.start);
            let token = starts
                .get(first)
                .filter(|&&(start, _)| start < word.end)
                .map(|&(_, at)| at);
            let count = counts[word.text.as_ref()];
            #[expect(
                clippy::cast_precision_loss,
                reason = "lengths and counts only shape a smooth weight"
            )]
            let weight = self.lift.config().lexical.document_weight(count, words.len() as f32) / count as f32;
            Some(Occurrence { column, token, weight })
        };
        DocumentText {
            occurrences: words.iter().filter_map(occurrence).collect(),
            own,
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
            InputKind::Query => self.represent_queries(&texts.queries[range], &texts.stems, pass),
            InputKind::Document => self.represent_documents(texts, range, pass),
        }
    }

    fn represent_queries(&self, queries: &[Vec<(usize, u32)>], stems: &Stems, pass: Pass) -> Result<Tensor, Error> {
        if queries.is_empty() || stems.len() == 0 {
            let shape = (queries.len(), stems.len() + self.lift.config().width);
            return self.tensor(vec![0.0; shape.0 * shape.1], shape);
        }
        let mut counts = vec![0f32; queries.len() * stems.len()];
        for (row, query) in counts.chunks_exact_mut(stems.len()).zip(queries) {
            for &(column, count) in query {
                #[expect(clippy::cast_precision_loss, reason = "repetitions in a query")]
                let count = count as f32;
                row[column] = count;
            }
        }
        let counts = self.tensor(counts, (queries.len(), stems.len()))?;
        let bags = counts.broadcast_mul(&self.query_weights.of(stems, pass.tracked)?)?;
        let rows = self.tensor(stems.rows(&self.lift), (stems.len(), self.lift.config().width))?;
        Ok(Tensor::cat(&[&bags, &bags.matmul(&rows)?], 1)?)
    }

    fn represent_documents(&self, texts: &LiftedTexts, range: Range<usize>, pass: Pass) -> Result<Tensor, Error> {
        let documents = &texts.documents[range.clone()];
        if documents.is_empty() {
            return self.tensor(Vec::new(), (0, texts.stems.len() + self.lift.config().width));
        }
        let states = self.dense.states(&texts.dense, InputKind::Document, range, pass)?;
        let vectors = match self.gate_layers {
            0 => (self.dense.pooled(&states)?.broadcast_sub(&self.mean)? * f64::from(self.lift.config().factor))?,
            // The vectors of other layers, times a factor of 0.
            _ => self
                .mean
                .zeros_like()?
                .broadcast_as((documents.len(), self.lift.config().width))?,
        };
        let lexical = self.lexical_weights(&states.states, documents, (&states.ranges, texts.stems.len()), pass)?;
        Ok(match lexical {
            Some(lexical) => Tensor::cat(&[lexical, vectors], 1)?,
            None => vectors,
        })
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
        let bare = documents
            .iter()
            .map(|document| f32::from(u8::from(!document.own.contains(&true))));
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
        let (_, device) = self.dense.place();
        let lexical = match len {
            0 => lexical,
            _ => {
                let from = Tensor::from_vec(from, len, device)?;
                let to = Tensor::from_vec(to, len, device)?;
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
        let (dtype, device) = self.dense.place();
        Ok(Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)
    }
}

impl LiftedTexts {
    /// Stems of the queries: the first columns.
    #[must_use]
    pub fn stems(&self) -> usize {
        self.stems.len()
    }
}

impl TextModel for TrainableLift {
    type Texts = LiftedTexts;

    fn variables(&self) -> Vec<NamedVariable> {
        self.variables()
    }

    fn read(&self, queries: &[&str], documents: &[&str]) -> Result<LiftedTexts, Error> {
        self.read(queries, documents)
    }

    fn represent(
        &self,
        texts: &LiftedTexts,
        kind: InputKind,
        range: Range<usize>,
        pass: Pass,
    ) -> Result<Tensor, Error> {
        self.represent_part(texts, kind, range, pass)
    }

    /// Of documents alone: queries are read by no model.
    fn tokens(&self, texts: &LiftedTexts) -> usize {
        self.dense.tokens(&texts.dense)
    }

    fn term_recall(&self, _: &LiftedTexts, _: usize) -> Result<Option<(Tensor, Tensor)>, Error> {
        Ok(None)
    }

    fn vocabulary(&self) -> Option<usize> {
        None
    }

    fn idf(&self) -> Option<Vec<f32>> {
        None
    }

    fn term_columns(&self, texts: &LiftedTexts) -> Option<usize> {
        (texts.stems() > 0).then_some(texts.stems())
    }

    fn save(&self, dir: &Path) -> Result<(), Error> {
        self.export(dir)
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

#[cfg(test)]
mod tests;
