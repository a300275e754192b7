//! Gradients of every operation against finite differences in double precision.

use super::{fixture, values};
use candle_core::{DType, Device, Tensor, Var};
use serde_json::{Value, json};
use tamis_encoder::InputKind;
use tamis_encoder::training::{
    ColumnWeights, Loss, LossInput, Penalties, Penalty, PenaltyInput, Randomness, Site, TermTargets, dropout, top_k,
};

/// Numbers that look random, from -1 to 1.
fn random(count: usize, mut state: u32) -> Vec<f64> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1u32 << 23) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor(rows: usize, width: usize, seed: u32) -> Tensor {
    Tensor::from_vec(random(rows * width, seed), (rows, width), &Device::Cpu).expect("as many as the shape has")
}

/// Compares the gradient of `of` with central differences at every number of every variable.
fn check(name: &str, variables: &[Tensor], of: impl Fn(&[Tensor]) -> Tensor) {
    let vars: Vec<Var> = variables
        .iter()
        .map(|start| Var::from_tensor(start).expect("small"))
        .collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let gradients = of(&tensors).backward().expect("differentiable");
    let step = 1e-5;
    for (at, start) in variables.iter().enumerate() {
        let numbers = values(start);
        let found = gradients.get(&vars[at]).map_or(vec![0.0; numbers.len()], values);
        for element in 0..numbers.len() {
            let shifted = |by: f64| {
                let mut moved = numbers.clone();
                moved[element] += by;
                let mut all = variables.to_vec();
                all[at] = Tensor::from_vec(moved, start.shape(), &Device::Cpu).expect("the same shape");
                values(&of(&all))[0]
            };
            let expected = (shifted(step) - shifted(-step)) / (2.0 * step);
            let error = (found[element] - expected).abs() / expected.abs().max(1.0);
            assert!(
                error < 1e-6,
                "{name}: variable {at}, element {element}: {} for {expected}",
                found[element]
            );
        }
    }
}

/// All options that the comparison with PyTorch goes through.
fn options(kind: &str, name: &str) -> Vec<Value> {
    let cases = fixture("losses.json")[kind].as_array().expect("cases").clone();
    let mut options: Vec<Value> = cases.into_iter().map(|case| case[name].clone()).collect();
    options.truncate(options.len() / 2);
    options
}

#[test]
fn losses() {
    let (queries, group, width) = (3, 3, 5);
    let start = [tensor(queries, width, 1), tensor(queries * group, width, 2)];
    let teacher = tensor(queries, queries * group, 3);
    let targets = [tensor(queries, width, 4), tensor(queries * group, width, 5)];
    let mask = targets[1].ge(0.0).expect("numbers");
    let mut all = options("losses", "loss");
    assert_eq!(all.len(), 22);
    // What hardness adds is no part of the gradient, though it is a part of the value.
    all.retain(|options| options["contrastive"]["sentence_transformers"]["hardness"].is_null());
    all.push(json!({"contrastive": {"sentence_transformers": {"scale": 2.0, "symmetric": "joint"}}}));
    all.push(json!({"contrastive": {"sentence_transformers": {"symmetric": "per_direction"}}}));
    for options in all {
        let loss: Loss = serde_json::from_value(options.clone()).expect("options");
        check(&options.to_string(), &start, |variables| {
            let mut input = LossInput::new(&variables[0], &variables[1], group);
            input.teacher = Some(&teacher);
            input.excluded = &[(0, 2), (1, 0), (2, 3)];
            input.query_targets = Some(TermTargets {
                weights: &targets[0],
                mask: None,
            });
            input.document_targets = Some(TermTargets {
                weights: &targets[1],
                mask: Some(&mask),
            });
            loss.compute(&input).expect("fits").total
        });
    }
}

#[test]
fn penalties() {
    let (queries, group, width) = (2, 3, 6);
    // Of either sign, as heads without an activation give; none is 0.
    let start = [tensor(queries, width, 6), tensor(queries * group, width, 7)];
    let mut columns = ColumnWeights::default();
    columns.set_idf(&[0.5, 1.0, 2.0, 3.0, 4.0, 5.0]).expect("above 0");
    columns.set_document_frequency(&[1.0, 0.5, 0.25, 0.0, 0.75, 0.125]);
    for options in options("penalties", "penalties") {
        let penalties: Vec<Penalty> = serde_json::from_value(options.clone()).expect("options");
        let penalties = Penalties::new(penalties, 1).expect("valid");
        check(&options.to_string(), &start, |variables| {
            let input = PenaltyInput {
                queries: &variables[0],
                documents: &variables[1],
                group,
                columns: &columns,
            };
            penalties.compute(0, &input).expect("fits").total
        });
    }
}

#[test]
fn kept_weights_and_dropped_numbers() {
    let start = [tensor(4, 9, 8)];
    let weighed = |x: &Tensor| {
        let weights = tensor(4, 9, 9);
        x.sqr()
            .and_then(|squares| (squares * weights)?.sum_all())
            .expect("a scalar")
    };
    check("top-k", &start, |x| weighed(&top_k(&x[0], 3).expect("a matrix")));
    let at = Randomness {
        seed: 5,
        step: 1,
        first_text: 2,
    };
    let site = Site::new(InputKind::Query, 0, 0);
    check("dropout", &start, |x| {
        weighed(&dropout(&x[0], 0.4, site, &[3, 1], at).expect("fits"))
    });
    // A transposed tensor is laid out otherwise.
    check("dropout of columns", &start, |x| {
        let turned = x[0].t().expect("a matrix");
        let dropped = dropout(&turned, 0.4, site, &[9], at).expect("fits");
        weighed(&dropped.t().expect("a matrix"))
    });
}

#[test]
fn weights_of_zero_take_no_gradient_from_means() {
    let rows = Var::new(&[[0.0f64, 1.0], [-2.0, 0.0]], &Device::Cpu).expect("small");
    let queries = Tensor::ones((1, 2), DType::F64, &Device::Cpu).expect("small");
    let penalty: Penalty =
        serde_json::from_value(json!({"side": "document", "regulariser": "l1", "weight": 1.0})).expect("options");
    let penalties = Penalties::new(vec![penalty], 1).expect("valid");
    let input = PenaltyInput {
        queries: &queries,
        documents: &rows,
        group: 2,
        columns: &ColumnWeights::default(),
    };
    let gradients = penalties
        .compute(0, &input)
        .expect("fits")
        .total
        .backward()
        .expect("differentiable");
    assert_eq!(values(gradients.get(&rows).expect("a gradient")), [0.0, 0.5, -0.5, 0.0]);
}
