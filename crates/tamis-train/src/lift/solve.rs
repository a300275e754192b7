//! A dense encoder lifted: what is encoded once, and W for any lambda.
//!
//! W starts as the centred and normalised vectors of single words, `W_0`. With q the bag of a query's stems times their
//! idf and y its centred dense vector, it then minimises `sum |c W^T q - y|^2 + c^2 lambda |W - W_0|^2`, where c is
//! the scale at which `W_0` fits best: in the scale of the words' vectors a query's error and a row's distance compare
//! as 1 to lambda (ridge regression towards a start: Hoerl and Kennard, 1970).

use super::dense_vectors::{centre, dot, encode, mean, normalise};
use super::ridge::{self, RidgeReport, SparseRows};
use super::{LiftOptions, LiftTexts, StemTable};
use crate::error::Error;
use serde::Serialize;
use std::collections::HashMap;
use tamis_encoder::lexical::Analyzer;
use tamis_encoder::{DenseEncoder, InputKind, Lift, LiftConfig, LiftMeans};

/// One query of so many is not solved on, so that the fit can be judged.
const HELD_OUT: usize = 50;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiftStage {
    /// Encoding the words of the stems.
    Words,
    /// Encoding the queries.
    Queries,
    /// Encoding some background texts.
    Documents,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiftProgress {
    /// What is being done.
    pub stage: LiftStage,
    /// Texts encoded since the last call.
    pub done: usize,
    /// Texts of the stage.
    pub total: usize,
}

/// A dense encoder, prepared to be lifted.
///
/// Memory: the dense vectors of all queries and of all stems' words, `4 * width` bytes each.
pub struct Lifting {
    options: LiftOptions,
    table: StemTable,
    width: usize,
    untrained: Vec<f32>,
    scale: f64,
    training: Rows,
    held_out: Rows,
    means: LiftMeans,
    num_documents: usize,
}

/// Queries as bags of stems, and their centred dense vectors.
#[derive(Default)]
struct Rows {
    bags: SparseRows,
    vectors: Vec<f32>,
}

/// W for one lambda, and what it took.
#[derive(Clone, Debug)]
pub struct Solved {
    /// The table of the model.
    pub lift: Lift,
    /// What it took.
    pub report: LiftReport,
}

/// What was lifted from what, and how well it fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiftReport {
    /// Stems with a row of W.
    pub num_terms: usize,
    /// Distinct stems of the background texts.
    pub num_distinct_stems: usize,
    /// Queries that W was solved on: those with a stem of the table.
    pub num_queries: usize,
    /// Queries that were left out to judge the fit.
    pub num_held_out: usize,
    /// Documents whose vectors were averaged.
    pub num_documents: usize,
    /// The scale at which the vectors of words fit those of queries best.
    pub scale: f64,
    /// How close W stays to them.
    pub lambda: f64,
    /// The mean cosine of `W^T q` and the dense vector of the queries left out, before; `None` where there are none.
    pub cosine_untrained: Option<f64>,
    /// The same after.
    pub cosine: Option<f64>,
    /// How the solution was found.
    pub ridge: RidgeReport,
}

impl Lifting {
    /// Counts stems and encodes words, queries and documents; `progress` is told after each batch.
    ///
    /// # Errors
    /// When an option is out of its range, no text has a stem, encoding fails, or the vectors of queries do not point
    /// along those of their words at all.
    pub fn prepare(
        dense: &DenseEncoder,
        texts: &LiftTexts,
        options: &LiftOptions,
        progress: &mut dyn FnMut(LiftProgress),
    ) -> Result<Self, Error> {
        options.validate()?;
        let width = dense.width();
        let mut table = StemTable::count(&texts.background, options.num_terms);
        if table.stems.is_empty() {
            return Err(Error::NoTexts { of: "background stems" });
        }
        table.lower(&texts.queries_by_source(), options.query_share);
        let mut vectors_of = |stage, kind, texts: &[String]| {
            let total = texts.len();
            encode(dense, kind, texts, |done| progress(LiftProgress { stage, done, total }))
        };
        let mut untrained = vectors_of(LiftStage::Words, InputKind::Query, &table.words)?;
        let average = mean(&untrained, width);
        centre(&mut untrained, &average);
        normalise(&mut untrained, width);
        let documents = &texts.background[..options.max_documents.min(texts.background.len())];
        let mut vectors = vectors_of(LiftStage::Queries, InputKind::Query, &texts.queries)?;
        let average = mean(&vectors, width);
        centre(&mut vectors, &average);
        let (training, held_out) = split(&table, &texts.queries, &vectors, width);
        let document_vectors = vectors_of(LiftStage::Documents, InputKind::Document, documents)?;
        let scale = best_scale(&training, &untrained, width)?;
        Ok(Self {
            options: options.clone(),
            table,
            width,
            untrained,
            scale,
            training,
            held_out,
            means: LiftMeans {
                documents: mean(&document_vectors, width),
                queries: average,
            },
            num_documents: documents.len(),
        })
    }

    /// Solves for W with `lambda` in place of that of the options.
    ///
    /// Deterministic for any number of threads.
    ///
    /// # Errors
    /// When lambda or a constant of the model is out of its range.
    pub fn solve(&self, lambda: f64) -> Result<Solved, Error> {
        let options = LiftOptions {
            lambda,
            ..self.options.clone()
        };
        options.validate()?;
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of the vectors")]
        let stretch = (1.0 / self.scale) as f32;
        let targets: Vec<f32> = self.training.vectors.iter().map(|value| value * stretch).collect();
        let (weights, ridge) = ridge::solve(&self.training.bags, &targets, &self.untrained, self.width, lambda);
        let config = LiftConfig {
            lexical: options.lexical,
            terms: self.table.stems.len(),
            width: self.width,
            default_idf: self.table.default_idf,
            factor: options.factor,
            top: options.top,
            min_weight: options.min_weight,
            own_entries: true,
            gate_layers: 0,
            long_text: options.long_text,
            query_weighting: options.query_weighting,
            query_expansion: None,
        };
        let (stems, idf) = (self.table.stems.clone(), self.table.idf.clone());
        let report = LiftReport {
            num_terms: stems.len(),
            num_distinct_stems: self.table.num_distinct,
            num_queries: self.training.bags.len(),
            num_held_out: self.held_out.bags.len(),
            num_documents: self.num_documents,
            scale: self.scale,
            lambda,
            cosine_untrained: self.held_out.mean_cosine(&self.untrained, self.width),
            cosine: self.held_out.mean_cosine(&weights, self.width),
            ridge,
        };
        let lift = Lift::new(config, stems, idf, &weights, self.means.clone())?;
        Ok(Solved { lift, report })
    }
}

impl Rows {
    fn push(&mut self, bag: Vec<(u32, f32)>, vector: &[f32]) {
        self.bags.push(bag);
        self.vectors.extend_from_slice(vector);
    }

    /// The mean cosine of the vectors and what `weights` make of the bags.
    fn mean_cosine(&self, weights: &[f32], width: usize) -> Option<f64> {
        let found = self.bags.times(weights, width);
        let pairs = found.chunks_exact(width).zip(self.vectors.chunks_exact(width));
        let cosines = pairs.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12));
        #[expect(clippy::cast_precision_loss, reason = "row counts stay far below 2^53")]
        let count = self.bags.len() as f64;
        (!self.bags.is_empty()).then(|| cosines.sum::<f64>() / count)
    }
}

/// The queries with a stem of the table: those to solve on, and those to judge by.
fn split(table: &StemTable, queries: &[String], vectors: &[f32], width: usize) -> (Rows, Rows) {
    let ids = table.ids();
    let (mut training, mut held_out) = (Rows::default(), Rows::default());
    for (number, (query, vector)) in queries.iter().zip(vectors.chunks_exact(width)).enumerate() {
        let bag = bag_of(query, &ids, &table.idf);
        match number % HELD_OUT {
            _ if bag.is_empty() => {}
            // The last of each group: a handful of queries is all solved on.
            at if at == HELD_OUT - 1 => held_out.push(bag, vector),
            _ => training.push(bag, vector),
        }
    }
    (training, held_out)
}

/// The stems of a query with their counts times idf, by row.
fn bag_of(query: &str, ids: &HashMap<&str, u32>, idf: &[f32]) -> Vec<(u32, f32)> {
    let mut rows: Vec<u32> = Analyzer
        .tokens(query)
        .filter_map(|token| ids.get(token.text.as_ref()).copied())
        .collect();
    rows.sort_unstable();
    let weight = |same: &[u32]| {
        #[expect(clippy::cast_precision_loss, reason = "repetitions in a query")]
        let count = same.len() as f32;
        (same[0], count * idf[same[0] as usize])
    };
    rows.chunk_by(|a, b| a == b).map(weight).collect()
}

/// The c that minimises `sum |c W^T q - y|^2`.
fn best_scale(rows: &Rows, weights: &[f32], width: usize) -> Result<f64, Error> {
    let found = rows.bags.times(weights, width);
    let scale = dot(&found, &rows.vectors) / dot(&found, &found).max(f64::MIN_POSITIVE);
    if scale.is_finite() && scale > 0.0 {
        return Ok(scale);
    }
    Err(Error::LiftScale {
        scale,
        num_queries: rows.bags.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bags_count_stems_of_the_table() {
        let ids = HashMap::from([("siev", 0), ("mill", 1)]);
        let bag = bag_of("mills, sieves and a sieve of rye", &ids, &[2.0, 3.0]);
        assert_eq!(bag, [(0, 4.0), (1, 3.0)]);
    }

    #[test]
    fn the_scale_is_that_of_least_squares() {
        let mut rows = Rows::default();
        rows.push(vec![(0, 1.0)], &[3.0, 0.0]);
        rows.push(vec![(1, 2.0)], &[0.0, 2.0]);
        // Products (1, 0) and (0, 2): (3 + 4) / (1 + 4).
        let scale = best_scale(&rows, &[1.0, 0.0, 0.0, 1.0], 2).expect("positive");
        assert!((scale - 1.4).abs() < 1e-12);
        assert!(matches!(
            best_scale(&rows, &[-1.0, 0.0, 0.0, -1.0], 2),
            Err(Error::LiftScale { num_queries: 2, .. })
        ));
        assert!(best_scale(&Rows::default(), &[], 2).is_err());
    }
}
