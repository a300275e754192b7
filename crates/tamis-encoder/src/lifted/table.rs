//! What a lifted model knows: its stems, their weights in queries, and their rows of W.

use super::files;
use super::gate::Gate;
use crate::lexical::{Lexical, LexicalOptions};
use crate::{Error, LongText, QueryWeighting};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The most stems of a lifted model.
pub const MAX_LIFT_TERMS: usize = 1 << 20;

/// The constants of a lifted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftConfig {
    /// The document weight of a text's own stems.
    pub lexical: LexicalOptions,
    /// Stems with a row of W, 1 to [`MAX_LIFT_TERMS`].
    pub terms: usize,
    /// Values of a dense vector.
    pub width: usize,
    /// What a stem weighs in queries that is none of them, above 0.
    pub default_idf: f32,
    /// What expansion weights are multiplied by, 0 or more.
    pub factor: f32,
    /// How many stems a document is expanded by at most.
    pub top: usize,
    /// Expansion weights are kept that are above this, 0 or more.
    pub min_weight: f32,
    /// Whether a text's own stems take their entries of the expansion whatever their rank and sign: words beside the point
    /// lose up to three quarters of their lexical weight. Not in directories that do not say it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub own_entries: bool,
    /// How many last layers gates have of their own, in `gate/`: the encoder's stay those that its vectors were made for.
    /// By default none: gates read the states that vectors are made of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gate_layers: usize,
    /// How texts are read that are longer than the dense encoder takes: cut, or in parts. Cut in directories that do not
    /// say it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub long_text: LongText,
    /// What the weights of queries still need; nothing in directories that do not say it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub query_weighting: QueryWeighting,
    /// Whether queries go through the dense encoder as well; by default they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_expansion: Option<QueryExpansion>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How queries are expanded, for who can afford to encode them: `own_weight` times the weights of their own stems plus
/// `weight` times the largest entries of `W (e - mean)`, with e the query's dense vector and the mean that of queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryExpansion {
    /// How many stems a query is expanded by at most.
    pub top: usize,
    /// What their entries are multiplied by, 0 or more.
    pub weight: f32,
    /// What the weights of the query's own stems are multiplied by, above 0.
    pub own_weight: f32,
}

impl Default for QueryExpansion {
    fn default() -> Self {
        Self {
            top: 16,
            weight: 2.0,
            own_weight: 0.5,
        }
    }
}

/// What is taken from dense vectors before they are multiplied with W.
#[derive(Clone, Debug, PartialEq)]
pub struct LiftMeans {
    /// From those of documents.
    pub documents: Vec<f32>,
    /// From those of queries.
    pub queries: Vec<f32>,
}

/// The table of a lifted model.
///
/// Invariant, established by [`Lift::new`]: as many distinct stems, finite weights above 0, and rows of `width` values
/// as [`LiftConfig::terms`] says. A row of W is held as it is stored, in 8 bits with a scale of its own.
#[derive(Clone, Debug)]
pub struct Lift {
    config: LiftConfig,
    lexical: Lexical,
    stems: Vec<String>,
    ids: HashMap<String, usize>,
    idf: Vec<f32>,
    means: LiftMeans,
    scales: Vec<f32>,
    rows: Vec<i8>,
    gate: Option<Gate>,
}

/// The tensors of a lifted model as they are stored.
#[derive(Debug)]
pub(super) struct Tensors {
    /// `[terms]`.
    pub(super) idf: Vec<f32>,
    /// `[width]` each.
    pub(super) means: LiftMeans,
    /// `[terms]`.
    pub(super) scales: Vec<f32>,
    /// `[terms, width]`.
    pub(super) rows: Vec<i8>,
    /// Where the model has one.
    pub(super) gate: Option<Gate>,
}

impl Lift {
    /// Makes a table of `stems`, their query weights `idf`, `weights` (W, `[terms, width]`, rounded to 8 bits a value
    /// here) and the means of dense vectors.
    ///
    /// # Errors
    /// When a constant is out of its range, the parts differ in length, a stem is empty, repeated or not one word, or
    /// a value is not finite; the error names the file and the field in which it would be stored.
    pub fn new(
        config: LiftConfig,
        stems: Vec<String>,
        idf: Vec<f32>,
        weights: &[f32],
        means: LiftMeans,
    ) -> Result<Self, Error> {
        let (mut scales, mut rows) = (Vec::with_capacity(stems.len()), Vec::with_capacity(weights.len()));
        for row in weights.chunks(config.width.max(1)) {
            scales.push(quantise(row, &mut rows));
        }
        let tensors = Tensors {
            idf,
            means,
            scales,
            rows,
            gate: None,
        };
        Self::checked(Path::new(""), config, stems, tensors)
    }

    /// Checks what was read from `dir`.
    pub(super) fn checked(dir: &Path, config: LiftConfig, stems: Vec<String>, tensors: Tensors) -> Result<Self, Error> {
        check_config(&dir.join(files::CONFIG), &config)?;
        let lexical = Lexical::new(config.lexical)?;
        let ids = check_stems(&dir.join(files::STEMS), &stems, config.terms)?;
        let path = dir.join(files::TENSORS);
        let tensor = |name: &str, values: &[f32], expected: usize, least: f32| {
            if values.len() != expected {
                return Err(Error::TensorShape {
                    path: path.clone(),
                    tensor: name.to_owned(),
                    expected: vec![expected],
                    found: vec![values.len()],
                });
            }
            let bad = values.iter().position(|value| !(value.is_finite() && *value >= least));
            bad.map_or(Ok(()), |element| {
                Err(Error::TensorValue {
                    path: path.clone(),
                    tensor: name.to_owned(),
                    element,
                })
            })
        };
        tensor(files::IDF, &tensors.idf, config.terms, f32::MIN_POSITIVE)?;
        let means = &tensors.means;
        tensor(files::MEAN, &means.documents, config.width, f32::NEG_INFINITY)?;
        tensor(files::QUERY_MEAN, &means.queries, config.width, f32::NEG_INFINITY)?;
        tensor(files::SCALES, &tensors.scales, config.terms, 0.0)?;
        if let Some(gate) = &tensors.gate {
            tensor(files::GATE, &gate.weights, config.width, f32::NEG_INFINITY)?;
            tensor(files::GATE_BIAS, &[gate.bias], 1, f32::NEG_INFINITY)?;
        }
        if tensors.rows.len() != config.terms * config.width {
            return Err(Error::TensorShape {
                path,
                tensor: files::ROWS.to_owned(),
                expected: vec![config.terms, config.width],
                found: vec![tensors.rows.len()],
            });
        }
        Ok(Self {
            config,
            lexical,
            stems,
            ids,
            idf: tensors.idf,
            means: tensors.means,
            scales: tensors.scales,
            rows: tensors.rows,
            gate: tensors.gate,
        })
    }

    /// The constants.
    #[must_use]
    pub fn config(&self) -> &LiftConfig {
        &self.config
    }

    /// The stems, in the order of the rows.
    #[must_use]
    pub fn stems(&self) -> &[String] {
        &self.stems
    }

    /// The weight of a stem in a query: its own, or that of all others.
    #[must_use]
    pub fn idf(&self, stem: &str) -> f32 {
        self.ids.get(stem).map_or(self.config.default_idf, |&id| self.idf[id])
    }

    /// The weights of all stems in queries, in the order of the rows.
    #[must_use]
    pub fn idf_table(&self) -> &[f32] {
        &self.idf
    }

    /// The row of a stem, if it has one.
    pub(crate) fn id(&self, stem: &str) -> Option<usize> {
        self.ids.get(stem).copied()
    }

    /// What is taken from dense vectors.
    #[must_use]
    pub fn means(&self) -> &LiftMeans {
        &self.means
    }

    /// What scales the lexical weights of documents by context, where the model has that.
    #[must_use]
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    /// The same table with or without a gate.
    ///
    /// # Errors
    /// When the gate is not as wide as the table or not finite.
    pub fn with_gate(self, gate: Option<Gate>) -> Result<Self, Error> {
        let tensors = Tensors {
            idf: self.idf,
            means: self.means,
            scales: self.scales,
            rows: self.rows,
            gate,
        };
        Self::checked(Path::new(""), self.config, self.stems, tensors)
    }

    /// The same table with other weights of its stems in queries.
    ///
    /// # Errors
    /// When there are not as many as stems, or one is not a finite number above 0.
    pub fn with_idf(self, idf: Vec<f32>) -> Result<Self, Error> {
        let tensors = Tensors {
            idf,
            means: self.means,
            scales: self.scales,
            rows: self.rows,
            gate: self.gate,
        };
        Self::checked(Path::new(""), self.config, self.stems, tensors)
    }

    /// The same table with other limits of the expansion.
    ///
    /// # Errors
    /// When a constant is out of its range.
    pub fn with_expansion(mut self, factor: f32, top: usize, min_weight: f32) -> Result<Self, Error> {
        self.config.factor = factor;
        self.config.top = top;
        self.config.min_weight = min_weight;
        check_config(Path::new(files::CONFIG), &self.config)?;
        Ok(self)
    }

    /// The same table whose texts' own stems take their entries of the expansion, or compete for places as others do.
    #[must_use]
    pub fn with_own_entries(mut self, own_entries: bool) -> Self {
        self.config.own_entries = own_entries;
        self
    }

    /// The same table whose gate has so many last layers of its own.
    #[must_use]
    pub fn with_gate_layers(mut self, gate_layers: usize) -> Self {
        self.config.gate_layers = gate_layers;
        self
    }

    /// The same table, whose long texts are read so.
    ///
    /// # Errors
    /// For windows: a vector is made of parts.
    pub fn with_long_text(mut self, long_text: LongText) -> Result<Self, Error> {
        self.config.long_text = long_text;
        check_config(Path::new(files::CONFIG), &self.config)?;
        Ok(self)
    }

    /// The same table, with or without expansion of queries.
    ///
    /// # Errors
    /// When a constant is out of its range.
    pub fn with_query_expansion(mut self, expansion: Option<QueryExpansion>) -> Result<Self, Error> {
        self.config.query_expansion = expansion;
        check_config(Path::new(files::CONFIG), &self.config)?;
        Ok(self)
    }

    pub(super) fn lexical(&self) -> &Lexical {
        &self.lexical
    }

    pub(super) fn tensors(&self) -> (&[f32], &[f32], &[i8]) {
        (&self.idf, &self.scales, &self.rows)
    }

    /// Adds `weight` times row `id` to `sum`.
    pub(crate) fn add_row(&self, id: usize, weight: f32, sum: &mut [f32]) {
        let row = &self.rows[id * self.config.width..][..self.config.width];
        let step = weight * self.scales[id];
        sum.iter_mut()
            .zip(row)
            .for_each(|(sum, &value)| *sum += step * f32::from(value));
    }

    /// W in single precision, `[terms, width]`.
    pub(crate) fn weights(&self) -> Vec<f32> {
        let rows = self.rows.chunks_exact(self.config.width).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |&value| f32::from(value) * scale))
            .collect()
    }
}

/// Appends `row` in 8 bits and gives what a step of one is worth.
fn quantise(row: &[f32], rows: &mut Vec<i8>) -> f32 {
    let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    #[expect(clippy::cast_possible_truncation, reason = "at most 127 after the division")]
    let step = |value: &f32| {
        if scale > 0.0 { (value / scale).round() as i8 } else { 0 }
    };
    rows.extend(row.iter().map(step));
    // What is not finite stays so, and is refused.
    if row.iter().all(|value| value.is_finite()) {
        scale
    } else {
        f32::NAN
    }
}

fn check_config(path: &Path, config: &LiftConfig) -> Result<(), Error> {
    let field = |name: &str, valid: bool, expected: &str, found: String| {
        if valid {
            return Ok(());
        }
        Err(Error::field(path, name, expected, found))
    };
    let positive = |value: f32| value.is_finite() && value > 0.0;
    let not_negative = |value: f32| value.is_finite() && value >= 0.0;
    let terms = config.terms;
    field(
        "terms",
        (1..=MAX_LIFT_TERMS).contains(&terms),
        "a number from 1 to 1048576",
        terms.to_string(),
    )?;
    let width = config.width;
    field(
        "width",
        (1..=tamis_kernels::MAX_INPUTS).contains(&width),
        "a number from 1 to 65536",
        width.to_string(),
    )?;
    let idf = config.default_idf;
    field("default_idf", positive(idf), "a finite number above 0", idf.to_string())?;
    let factor = config.factor;
    field(
        "factor",
        not_negative(factor),
        "a finite number of 0 or more",
        factor.to_string(),
    )?;
    let least = config.min_weight;
    field(
        "min_weight",
        not_negative(least),
        "a finite number of 0 or more",
        least.to_string(),
    )?;
    if let LongText::Windows { .. } = config.long_text {
        let expected = "\"truncate\" or {\"parts\": {\"most\": n}}";
        return Err(Error::field(
            path,
            "long_text",
            expected,
            serde_json::json!(config.long_text),
        ));
    }
    let Some(expansion) = config.query_expansion else {
        return Ok(());
    };
    let weight = expansion.weight;
    field(
        "query_expansion.weight",
        not_negative(weight),
        "a finite number of 0 or more",
        weight.to_string(),
    )?;
    let own = expansion.own_weight;
    field(
        "query_expansion.own_weight",
        positive(own),
        "a finite number above 0",
        own.to_string(),
    )
}

/// The places of the stems.
fn check_stems(path: &Path, stems: &[String], expected: usize) -> Result<HashMap<String, usize>, Error> {
    let bad = |at: usize, reason: String| Error::Stems {
        path: path.to_owned(),
        line: at + 1,
        reason,
    };
    if stems.len() != expected {
        let reason = format!(
            "{expected} stems expected by field \"terms\" of {}, {} found",
            files::CONFIG,
            stems.len()
        );
        return Err(bad(stems.len(), reason));
    }
    let mut ids = HashMap::with_capacity(stems.len());
    for (at, stem) in stems.iter().enumerate() {
        if stem.is_empty() || stem.contains(char::is_whitespace) {
            return Err(bad(at, format!("one word expected, {stem:?} found")));
        }
        if let Some(first) = ids.insert(stem.clone(), at) {
            return Err(bad(at, format!("{stem:?} is there twice, first in line {}", first + 1)));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Parts {
        config: LiftConfig,
        stems: Vec<String>,
        idf: Vec<f32>,
        weights: Vec<f32>,
    }

    fn made(change: impl FnOnce(&mut Parts)) -> Result<Lift, Error> {
        let mut parts = Parts {
            config: LiftConfig {
                lexical: LexicalOptions::default(),
                terms: 3,
                width: 2,
                default_idf: 9.0,
                factor: 1.0,
                top: 2,
                min_weight: 0.0,
                own_entries: false,
                gate_layers: 0,
                long_text: LongText::Truncate,
                query_weighting: QueryWeighting::Model,
                query_expansion: None,
            },
            stems: ["mill", "flour", "siev"].map(str::to_owned).to_vec(),
            idf: vec![1.0, 2.0, 3.0],
            weights: vec![1.0, -0.5, 0.0, 0.0, 0.25, 0.125],
        };
        change(&mut parts);
        let means = LiftMeans {
            documents: vec![0.0, 0.1],
            queries: vec![0.2, 0.0],
        };
        Lift::new(parts.config, parts.stems, parts.idf, &parts.weights, means)
    }

    #[test]
    fn rows_are_rounded_by_half_a_step_at_most() {
        let lift = made(|_| {}).expect("valid");
        let weights = lift.weights();
        for (found, expected) in weights.iter().zip([1.0, -0.5, 0.0, 0.0, 0.25, 0.125f32]) {
            assert!((found - expected).abs() <= 0.5 / 127.0 + 1e-6, "{found}, {expected}");
        }
        assert_eq!(weights[2..4], [0.0, 0.0]);
        assert_eq!((lift.idf("flour"), lift.idf("unseen")), (2.0, 9.0));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        type Change = fn(&mut Parts);
        let refused = |change: Change| made(change).expect_err("refused").to_string();
        let cases: [(Change, &str); 12] = [
            (|parts| parts.config.terms = 0, "\"terms\""),
            (|parts| parts.config.terms = 4, "4 stems expected"),
            (|parts| parts.config.factor = f32::NAN, "\"factor\""),
            (|parts| parts.config.default_idf = 0.0, "\"default_idf\""),
            (|parts| parts.config.min_weight = -1.0, "\"min_weight\""),
            (|parts| parts.config.lexical.b = 2.0, "b is 2"),
            (|parts| parts.stems[1] = "mill".into(), "first in line 1"),
            (|parts| parts.stems[1] = "a b".into(), "line 2"),
            (|parts| parts.idf[2] = 0.0, "\"idf\""),
            (|parts| parts.idf.truncate(2), "\"idf\""),
            (|parts| parts.weights[5] = f32::NAN, "\"scales\""),
            (|parts| parts.weights.truncate(4), "\"scales\""),
        ];
        for (change, needle) in cases {
            let message = refused(change);
            assert!(message.contains(needle), "{needle}: {message}");
        }
        let negative = made(|_| {}).expect("valid").with_expansion(-1.0, 1, 0.0);
        assert!(negative.expect_err("refused").to_string().contains("\"factor\""));
        let silent = QueryExpansion {
            own_weight: 0.0,
            ..Default::default()
        };
        let silent = made(|_| {}).expect("valid").with_query_expansion(Some(silent));
        assert!(silent.expect_err("refused").to_string().contains("own_weight"));
    }
}
