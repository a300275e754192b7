//! Losses, penalties and the optimiser against PyTorch, and their gradients against finite differences.
//!
//! The expected numbers are written by `tests/make_training_fixtures.py`.

mod finite_differences;
mod optimiser;
mod pytorch;
mod refusals;

use candle_core::{DType, Device, Tensor, Var};
use serde_json::Value;
use std::path::Path;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/training")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

/// A matrix written as a list of rows.
fn matrix(value: &Value, dtype: DType) -> Tensor {
    let rows = value.as_array().expect("rows").len();
    let values = numbers(value);
    let width = values.len() / rows;
    let tensor = Tensor::from_vec(values, (rows, width), &Device::Cpu).expect("as many as the shape has");
    tensor.to_dtype(dtype).expect("a number")
}

fn variable(value: &Value, dtype: DType) -> Var {
    Var::from_tensor(&matrix(value, dtype)).expect("small")
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor
        .to_dtype(DType::F64)
        .and_then(|tensor| tensor.flatten_all()?.to_vec1());
    tensor.expect("numbers")
}

/// The largest difference between numbers, relative to the largest of them.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-3f64, |scale, value| scale.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / scale);
    differences.fold(
        0.0,
        |worst, next| if next > worst || next.is_nan() { next } else { worst },
    )
}
