//! Gradients of every variable against finite differences, in double precision.

use super::{KINDS, TEXTS, fixture};
use crate::checkpoint::trainable::{Pass, TrainableDense, TrainableModel, TrainableOptions};
use crate::training::{NamedVariable, TextModel};
use crate::{CheckpointOptions, InputKind};
use candle_core::{DType, Tensor};

const TRACKED: Pass = Pass {
    tracked: true,
    randomness: None,
};

/// A sum with factors that differ, so that no gradient is zero by symmetry.
fn weighted_sum(rows: &Tensor) -> Tensor {
    let factors: Vec<f64> = (0..rows.elem_count()).map(|at| (at as f64 * 0.7).sin() + 0.3).collect();
    let factors = Tensor::from_vec(factors, rows.shape(), rows.device()).expect("as many");
    (rows * factors)
        .and_then(|product| product.sum_all())
        .expect("one shape")
}

fn loss<M: TextModel>(model: &M) -> Tensor {
    let texts = model.read(&TEXTS[..5], &TEXTS[..5]).expect("any text");
    let [document, query] = KINDS.map(|kind| {
        let rows = model.represent(&texts, kind, 0..5, TRACKED).expect("fits");
        weighted_sum(&rows)
    });
    (document + query).expect("two numbers")
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.flatten_all().and_then(|tensor| tensor.to_vec1());
    tensor.expect("double precision")
}

/// Compares the gradient of the elements of `variable` that matter most and least with a central difference.
fn check_variable<M: TextModel>(model: &M, variable: &NamedVariable, gradient: &Tensor) {
    let (gradient, values) = (flat(gradient), flat(variable.var.as_tensor()));
    let largest = (0..values.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
    for element in [largest.unwrap_or(0), values.len() / 2, values.len() - 1] {
        let at_offset = |offset: f64| {
            let mut changed = values.clone();
            changed[element] += offset;
            let changed = Tensor::from_vec(changed, variable.var.shape(), variable.var.device()).expect("as many");
            variable.var.set(&changed).expect("one shape");
            loss(model).to_scalar::<f64>().expect("a number")
        };
        // Twice, as the one step or the other may cross a place where a rectifier or a maximum turns.
        let differences = [1e-6, 2e-7].map(|step| (at_offset(step) - at_offset(-step)) / (2.0 * step));
        at_offset(0.0);
        let is_near = |difference: &f64| (difference - gradient[element]).abs() < 1e-5 * (1.0 + difference.abs());
        assert!(
            differences.iter().any(is_near),
            "{} [{element}]: {}, {differences:?} expected",
            variable.name,
            gradient[element]
        );
    }
}

/// Checks every variable; those that are named in `idle` have no gradient, all others have one.
fn check<M: TextModel>(model: &M, idle: &[&str]) {
    let gradients = loss(model).backward().expect("differentiable");
    let variables = model.variables();
    assert!(!variables.is_empty());
    for variable in &variables {
        let is_idle = idle.iter().any(|part| variable.name.contains(part));
        match gradients.get(variable.var.as_tensor()) {
            Some(gradient) => {
                let moves = flat(gradient).iter().any(|&x| x.abs() > 1e-12);
                assert_ne!(moves, is_idle, "{}", variable.name);
                check_variable(model, variable, gradient);
            }
            None => assert!(is_idle, "{} has no gradient", variable.name),
        }
    }
}

fn opened(name: &str, options: &TrainableOptions) -> TrainableModel {
    let model = TrainableModel::open_in_double(&fixture(name), &CheckpointOptions::default(), options);
    model.unwrap_or_else(|error| panic!("{error}"))
}

fn all_learned() -> TrainableOptions {
    TrainableOptions {
        train_query_table: true,
        train_scale: true,
        ..TrainableOptions::default()
    }
}

macro_rules! gradients {
    ($($test:ident: $fixture:literal $(, $idle:literal)*;)*) => {
        $(
            #[test]
            fn $test() {
                // A bias of all keys alike moves no attention.
                check(&opened($fixture, &all_learned()), &["key.bias", "k_lin.bias" $(, $idle)*]);
            }
        )*
    };
}

gradients! {
    splade_v1: "splade-v1";
    splade_topk: "splade-topk";
    opensearch_v3_pruned: "opensearch-v3";
    opensearch_table: "bert-idf";
    unicoil: "unicoil";
    deepimpact: "deepimpact";
    deepct: "deepct";
    sparta: "sparta";
    li_lsr: "li-lsr";
    epic: "lsr-epic";
    binary_with_a_learned_scale: "lsr-binary";
    cls: "lsr-clsmlm";
    multiplier: "st-lexical";
    efficient_pair: "efficient-splade-doc";
}

#[test]
fn dense_poolings() {
    for name in ["dense-mean", "dense-cls", "dense-max"] {
        let model = TrainableDense::open_as(&fixture(name), false, &TrainableOptions::default(), DType::F64);
        check(&model.expect("a dense encoder"), &["key.bias", "k_lin.bias"]);
    }
}

#[test]
fn the_longest_way_is_the_same_for_each_kind() {
    let model = opened("splade-v3", &TrainableOptions::default());
    let texts = model.read(&TEXTS, &TEXTS).expect("any text");
    let [document, query] = [InputKind::Document, InputKind::Query].map(|kind| {
        let rows = model
            .represent_part(&texts, kind, 0..TEXTS.len(), TRACKED)
            .expect("fits");
        flat(&rows)
    });
    assert_eq!(document, query, "a model that both sides share");
}
