//! Values and gradients of every loss and penalty as PyTorch has them.

use super::{difference, fixture, matrix, numbers, values, variable};
use candle_core::{DType, Tensor, Var};
use serde_json::Value;
use tamis_encoder::training::{
    Candidates, ColumnWeights, Controlled, Controller, ControllerOptions, Loss, LossInput, LossValue, Penalties,
    Penalty, PenaltyInput, Side, TermTargets,
};

/// A batch of the fixtures.
struct Batch {
    queries: Var,
    documents: Var,
    group: usize,
    excluded: Vec<(u32, u32)>,
    teacher: Tensor,
    teacher_all: Tensor,
    query_targets: Tensor,
    document_targets: Tensor,
    document_mask: Tensor,
}

impl Batch {
    fn read(json: &Value, dtype: DType) -> Self {
        Self {
            queries: variable(&json["queries"], dtype),
            documents: variable(&json["documents"], dtype),
            group: usize::try_from(json["group"].as_u64().expect("a count")).expect("small"),
            excluded: serde_json::from_value(json["excluded"].clone()).expect("pairs"),
            teacher: matrix(&json["teacher"], dtype),
            teacher_all: matrix(&json["teacher_all"], dtype),
            query_targets: matrix(&json["query_targets"], dtype),
            document_targets: matrix(&json["document_targets"], dtype),
            document_mask: matrix(&json["document_mask"], DType::U8),
        }
    }

    fn loss(&self, loss: &Loss) -> LossValue {
        loss.validate().expect("valid");
        let mut input = LossInput::new(&self.queries, &self.documents, self.group);
        input.excluded = &self.excluded;
        input.teacher = match loss.teacher() {
            None => None,
            Some(Candidates::Own) => Some(&self.teacher),
            Some(Candidates::Batch) => Some(&self.teacher_all),
        };
        input.query_targets = Some(TermTargets {
            weights: &self.query_targets,
            mask: None,
        });
        input.document_targets = Some(TermTargets {
            weights: &self.document_targets,
            mask: Some(&self.document_mask),
        });
        loss.compute(&input).expect("fits")
    }

    fn penalties(&self, penalties: &Penalties, step: u64, columns: &ColumnWeights) -> LossValue {
        let input = PenaltyInput {
            queries: &self.queries,
            documents: &self.documents,
            group: self.group,
            columns,
        };
        penalties.compute(step, &input).expect("fits")
    }

    /// Compares a value and its gradients with what is written in `case`.
    fn compare(&self, total: &Tensor, case: &Value, tolerance: f64) {
        let name = format!("{:?} {} {}", self.queries.dtype(), case["loss"], case["penalties"]);
        let worst = difference(&values(total), &numbers(&case["value"]));
        assert!(
            worst < tolerance,
            "{name}: value {} for {}",
            values(total)[0],
            case["value"]
        );
        let gradients = total.backward().expect("differentiable");
        for (side, var) in [("queries", &self.queries), ("documents", &self.documents)] {
            let expected = numbers(&case[side]);
            let found = gradients.get(var).map_or(vec![0.0; expected.len()], values);
            let worst = difference(&found, &expected);
            assert!(worst < tolerance, "{name}: gradient of {side} is off by {worst:e}");
        }
    }
}

/// Both precisions with what they have to keep.
const PRECISIONS: [(DType, f64); 2] = [(DType::F64, 1e-6), (DType::F32, 1e-4)];

fn batch(fixtures: &Value, case: &Value, dtype: DType) -> Batch {
    let at = usize::try_from(case["batch"].as_u64().expect("a place")).expect("small");
    Batch::read(&fixtures["batches"][at], dtype)
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("options as presets write them")
}

fn column_weights(fixtures: &Value) -> ColumnWeights {
    let mut columns = ColumnWeights::default();
    let idf: Vec<f32> = parsed(&fixtures["idf"]);
    columns.set_idf(&idf).expect("above 0");
    columns.set_document_frequency(&numbers(&fixtures["document_frequency"]));
    columns
}

#[test]
fn every_loss_has_pytorchs_value_and_gradients() {
    let fixtures = fixture("losses.json");
    let cases = fixtures["losses"].as_array().expect("cases");
    assert_eq!(cases.len(), 44);
    for case in cases {
        for (dtype, tolerance) in PRECISIONS {
            let batch = batch(&fixtures, case, dtype);
            let loss: Loss = parsed(&case["loss"]);
            let value = batch.loss(&loss);
            batch.compare(&value.total, case, tolerance);
            let again: Loss = parsed(&serde_json::to_value(&loss).expect("JSON"));
            assert_eq!(again, loss);
        }
    }
}

#[test]
fn every_penalty_has_pytorchs_value_and_gradients() {
    let fixtures = fixture("losses.json");
    let columns = column_weights(&fixtures);
    let cases = fixtures["penalties"].as_array().expect("cases");
    assert_eq!(cases.len(), 30);
    for case in cases {
        for (dtype, tolerance) in PRECISIONS {
            let batch = batch(&fixtures, case, dtype);
            let penalties: Vec<Penalty> = parsed(&case["penalties"]);
            let penalties = Penalties::new(penalties, 100).expect("valid");
            batch.compare(&batch.penalties(&penalties, 0, &columns).total, case, tolerance);
        }
    }
}

#[test]
fn a_loss_and_penalties_on_their_way_up_add_to_pytorchs_sum() {
    let fixtures = fixture("losses.json");
    for case in fixtures["both"].as_array().expect("cases") {
        for (dtype, tolerance) in PRECISIONS {
            let batch = batch(&fixtures, case, dtype);
            let [step, total] = ["step", "total_steps"].map(|name| case[name].as_u64().expect("a count"));
            let penalties = Penalties::new(parsed(&case["penalties"]), total).expect("valid");
            let penalties = batch.penalties(&penalties, step, &ColumnWeights::default());
            let value = batch.loss(&parsed(&case["loss"])).plus(penalties).expect("alike");
            batch.compare(&value.total, case, tolerance);
            let names: Vec<&str> = value.terms.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["margin_mse", "document_flops", "query_l1"]);
        }
    }
}

#[test]
fn a_sum_names_its_terms_and_weighs_them() {
    let fixtures = fixture("losses.json");
    let batch = Batch::read(&fixtures["batches"][0], DType::F64);
    let loss: Loss = parsed(&serde_json::json!({"sum": [
        {"weight": 0.99, "loss": {"kl": {}}},
        {"weight": 0.05, "loss": {"margin_mse": {}}, "name": "margins"},
    ]}));
    let value = batch.loss(&loss);
    let terms: Vec<(&str, f64)> = value
        .terms
        .iter()
        .map(|(name, term)| (name.as_str(), values(term)[0]))
        .collect();
    assert_eq!(terms.iter().map(|term| term.0).collect::<Vec<_>>(), ["kl", "margins"]);
    let total = 0.99 * terms[0].1 + 0.05 * terms[1].1;
    assert!((values(&value.total)[0] - total).abs() < 1e-12);
    assert_eq!(loss.teacher(), Some(Candidates::Own));
}

#[test]
fn own_scores_are_taken_from_a_teacher_of_the_whole_batch() {
    let fixtures = fixture("losses.json");
    let batch = Batch::read(&fixtures["batches"][1], DType::F64);
    let queries = batch.queries.dims()[0];
    let rows = (0..queries).map(|query| {
        let row = batch.teacher_all.narrow(0, query, 1).expect("a row");
        row.narrow(1, query * batch.group, batch.group).expect("own columns")
    });
    let own = Tensor::cat(&rows.collect::<Vec<_>>(), 0).expect("alike");
    for options in [serde_json::json!({"margin_mse": {}}), serde_json::json!({"kl": {}})] {
        let loss: Loss = parsed(&options);
        let of = |teacher| {
            let mut input = LossInput::new(&batch.queries, &batch.documents, batch.group);
            input.teacher = Some(teacher);
            values(&loss.compute(&input).expect("fits").total)[0]
        };
        assert_eq!(of(&own), of(&batch.teacher_all), "{options}");
    }
}

#[test]
fn a_controller_multiplies_the_weights_of_its_side() {
    let penalties: Vec<Penalty> = parsed(&serde_json::json!([
        {"side": "document", "regulariser": {"flops": {}}, "weight": 0.5,
         "schedule": {"linear": {"length": {"steps": 4}}}},
        {"side": "query", "regulariser": "l1", "weight": 2.0},
        {"side": "document", "regulariser": "anti_zero", "weight": 3.0},
    ]));
    let mut penalties = Penalties::new(penalties, 8).expect("valid");
    let weights =
        |penalties: &Penalties| -> Vec<f64> { penalties.weights(1).into_iter().map(|weight| weight.1).collect() };
    for (measure, expected) in [
        (Controlled::DocumentLength, [1.25, 2.0, 3.0]),
        (Controlled::QueryLength, [0.25, 10.0, 3.0]),
        (Controlled::Flops, [1.25, 10.0, 3.0]),
    ] {
        let mut controller = Controller::new(ControllerOptions::new(measure, 1.0)).expect("valid");
        let mut state = controller.state();
        state.factor = 5.0;
        controller.restore(state).expect("a state");
        let mut steered = penalties.clone();
        steered.follow(&controller);
        assert_eq!(weights(&steered), expected, "{measure:?}");
    }
    penalties.steer(Side::Document, 10.0);
    assert_eq!(weights(&penalties), [2.5, 2.0, 3.0]);
    let names: Vec<String> = penalties.weights(1).into_iter().map(|weight| weight.0).collect();
    assert_eq!(names, ["document_flops", "query_l1", "document_anti_zero"]);
    let fixtures = fixture("losses.json");
    let batch = Batch::read(&fixtures["batches"][0], DType::F64);
    let value = batch.penalties(&penalties, 1, &ColumnWeights::default());
    let term = |at: usize| values(&value.terms[at].1)[0];
    let total = 2.5 * term(0) + 2.0 * term(1) + 3.0 * term(2);
    assert!((values(&value.total)[0] - total).abs() < 1e-12);
}
