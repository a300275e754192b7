//! AdamW and clipping against PyTorch; gradients by name.

use super::{difference, fixture, numbers, values};
use candle_core::{DType, Device, Tensor, Var};
use serde_json::Value;
use tamis_encoder::Error;
use tamis_encoder::training::{AdamW, AdamWOptions, Gradients, NamedVariable};

fn tensor(values: &Value, shape: &Value, dtype: DType) -> Tensor {
    let shape: Vec<usize> = serde_json::from_value(shape.clone()).expect("a shape");
    let tensor = Tensor::from_vec(numbers(values), shape, &Device::Cpu).expect("as many as the shape has");
    tensor.to_dtype(dtype).expect("numbers")
}

fn variables(fixture: &Value, dtype: DType) -> Vec<NamedVariable> {
    let start = fixture["start"].as_object().expect("variables");
    let named = start.iter().map(|(name, values)| NamedVariable {
        name: name.clone(),
        var: Var::from_tensor(&tensor(values, &fixture["shapes"][name], dtype)).expect("small"),
    });
    named.collect()
}

fn gradients(fixture: &Value, step: &Value, variables: &[NamedVariable], dtype: DType) -> Gradients {
    let mut gradients = Gradients::new(variables);
    for (name, values) in step["gradients"].as_object().expect("gradients") {
        let gradient = tensor(values, &fixture["shapes"][name], dtype);
        gradients.add(name, gradient).expect("a variable");
    }
    gradients
}

fn options() -> AdamWOptions {
    serde_json::from_value(serde_json::json!({
        "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1,
        "groups": [{"patterns": ["*.idf"], "rate_factor": 50.0, "weight_decay": 0.02}],
    }))
    .expect("valid")
}

/// Runs some steps of the fixture and compares each with PyTorch's.
fn follow(fixture: &Value, optimiser: &mut AdamW, variables: &[NamedVariable], steps: std::ops::Range<usize>) {
    let dtype = variables[0].var.dtype();
    let tolerance = if dtype == DType::F64 { 1e-10 } else { 1e-5 };
    for step in &fixture["steps"].as_array().expect("steps")[steps] {
        let mut gradients = gradients(fixture, step, variables, dtype);
        let norm = gradients
            .clip(fixture["max_norm"].as_f64().expect("a number"))
            .expect("finite");
        let expected = step["norm"].as_f64().expect("a number");
        assert!((norm / expected - 1.0).abs() < 1e-6, "norm {norm} for {expected}");
        optimiser
            .step(&gradients, step["rate"].as_f64().expect("a number"))
            .expect("fits");
        for variable in variables {
            let worst = difference(&values(&variable.var), &numbers(&step["after"][&variable.name]));
            assert!(worst < tolerance, "{} in {dtype:?} is off by {worst:e}", variable.name);
        }
    }
}

#[test]
fn steps_are_pytorchs() {
    let fixture = fixture("adamw.json");
    for dtype in [DType::F64, DType::F32] {
        let variables = variables(&fixture, dtype);
        let mut optimiser = AdamW::new(variables.clone(), options()).expect("valid");
        follow(&fixture, &mut optimiser, &variables, 0..5);
    }
}

#[test]
fn defaults_are_pytorchs() {
    let defaults = &fixture("adamw.json")["defaults"];
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-5)] {
        let one_row = |values: &Value| tensor(values, &serde_json::json!([4]), dtype);
        let variables = [NamedVariable {
            name: "dense.weight".to_owned(),
            var: Var::from_tensor(&one_row(&defaults["start"])).expect("small"),
        }];
        let mut optimiser = AdamW::new(variables.to_vec(), AdamWOptions::default()).expect("valid");
        for gradient in defaults["gradients"].as_array().expect("steps") {
            let mut gradients = Gradients::new(&variables);
            gradients.add("dense.weight", one_row(gradient)).expect("a variable");
            optimiser
                .step(&gradients, defaults["rate"].as_f64().expect("a number"))
                .expect("fits");
        }
        let worst = difference(&values(&variables[0].var), &numbers(&defaults["after"]));
        assert!(worst < tolerance, "{dtype:?} is off by {worst:e}");
    }
}

#[test]
fn clipping_adds_a_millionth_to_the_norm() {
    let variables = [NamedVariable {
        name: "x".to_owned(),
        var: Var::new(&[0.0f64, 0.0], &Device::Cpu).expect("small"),
    }];
    let clipped = |norm: f64, max_norm: f64| {
        let mut gradients = Gradients::new(&variables);
        let gradient = Tensor::new(&[0.6 * norm, -0.8 * norm], &Device::Cpu).expect("small");
        gradients.add("x", gradient).expect("a variable");
        assert!((gradients.clip(max_norm).expect("finite") / norm - 1.0).abs() < 1e-12);
        gradients.norm().expect("numbers") / norm
    };
    assert!((clipped(1e-6, 1e-6) - 0.5).abs() < 1e-9);
    assert!((clipped(8.0, 2.0) - 2.0 / (8.0 + 1e-6)).abs() < 1e-12);
    assert_eq!(clipped(2.0, 8.0), 1.0);
}

#[test]
fn a_restored_optimiser_goes_on_to_the_bit() {
    let fixture = fixture("adamw.json");
    for dtype in [DType::F64, DType::F32] {
        let whole = variables(&fixture, dtype);
        let mut optimiser = AdamW::new(whole.clone(), options()).expect("valid");
        follow(&fixture, &mut optimiser, &whole, 0..5);
        let parts = variables(&fixture, dtype);
        let mut first = AdamW::new(parts.clone(), options()).expect("valid");
        follow(&fixture, &mut first, &parts, 0..3);
        let state = first.state().expect("copies");
        let names: Vec<&str> = state[..3].iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "dense.weight.first_moment",
            "dense.weight.second_moment",
            "dense.weight.steps",
        ];
        assert_eq!(names, expected);
        let mut second = AdamW::new(parts.clone(), options()).expect("valid");
        second.restore(&state).expect("the same variables");
        follow(&fixture, &mut second, &parts, 3..5);
        for (a, b) in whole.iter().zip(&parts) {
            assert_eq!(values(&a.var), values(&b.var), "{}", a.name);
        }
        for ((name, a), (_, b)) in optimiser
            .state()
            .expect("copies")
            .iter()
            .zip(second.state().expect("copies"))
        {
            assert_eq!(values(a), values(&b), "{name}");
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let fixture = fixture("adamw.json");
    let variables = variables(&fixture, DType::F32);
    let mut optimiser = AdamW::new(variables.clone(), options()).expect("valid");
    let good = optimiser.state().expect("copies");
    let with = |at: usize, name: &str, tensor: Tensor| {
        let mut state = good.clone();
        state[at] = (name.to_owned(), tensor);
        state
    };
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).expect("small");
    let cases = [
        (
            with(0, "other", zeros(&[3, 4], DType::F32)),
            "\"dense.weight.first_moment\" is missing",
        ),
        (
            with(1, "dense.weight.second_moment", zeros(&[4, 3], DType::F32)),
            "another shape",
        ),
        (
            with(1, "dense.weight.second_moment", zeros(&[3, 4], DType::F64)),
            "another type",
        ),
        (
            with(2, "dense.weight.steps", zeros(&[2], DType::I64)),
            "single 64-bit integer",
        ),
        (
            with(
                2,
                "dense.weight.steps",
                Tensor::new(&[-1i64], &Device::Cpu).expect("small"),
            ),
            "negative",
        ),
        (
            [good.clone(), vec![("more".to_owned(), zeros(&[1], DType::F32))]].concat(),
            "belongs to no variable",
        ),
    ];
    for (state, expected) in cases {
        let message = optimiser.restore(&state).expect_err("refused").to_string();
        assert!(message.contains(expected), "{message}");
    }
    follow(&fixture, &mut optimiser, &variables, 0..2);
}

#[test]
fn frozen_variables_are_left_out_and_names_are_unique() {
    let fixture = fixture("adamw.json");
    let variables = variables(&fixture, DType::F32);
    let frozen: AdamWOptions =
        serde_json::from_value(serde_json::json!({"groups": [{"patterns": ["dense.*"], "frozen": true}]}))
            .expect("valid");
    let mut optimiser = AdamW::new(variables.clone(), frozen).expect("valid");
    assert_eq!(optimiser.names().collect::<Vec<_>>(), ["query.idf"]);
    let before: Vec<_> = variables.iter().map(|variable| values(&variable.var)).collect();
    let gradients = gradients(&fixture, &fixture["steps"][0], &variables, DType::F32);
    optimiser.step(&gradients, 0.1).expect("fits");
    for (variable, before) in variables.iter().zip(&before) {
        assert_eq!(
            values(&variable.var) == *before,
            variable.name != "query.idf",
            "{}",
            variable.name
        );
    }
    let twice = vec![variables[0].clone(), variables[0].clone()];
    let message = AdamW::new(twice, AdamWOptions::default())
        .expect_err("refused")
        .to_string();
    assert!(message.contains(&variables[0].name), "{message}");
}

/// A variable large enough for many chunks.
fn large(dtype: DType) -> NamedVariable {
    let values: Vec<f64> = (0..200_003).map(|at| (f64::from(at) * 0.37).sin()).collect();
    let length = values.len();
    let tensor = Tensor::from_vec(values, length, &Device::Cpu).expect("one row");
    NamedVariable {
        name: "large".to_owned(),
        var: Var::from_tensor(&tensor.to_dtype(dtype).expect("numbers")).expect("room"),
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| {
            let variable = large(DType::F32);
            let variables = [variable.clone()];
            let mut optimiser = AdamW::new(variables.to_vec(), AdamWOptions::default()).expect("valid");
            let mut norms = Vec::new();
            for step in 1..4 {
                let mut gradients = Gradients::new(&variables);
                for part in 1..4 {
                    let loss = (variable.var.sqr().expect("numbers") * f64::from(part * step)).expect("numbers");
                    let mut store = loss.sum_all().and_then(|loss| loss.backward()).expect("differentiable");
                    gradients
                        .accumulate(&mut store, &variables)
                        .expect("the same variables");
                }
                norms.push(gradients.clip(1.0).expect("finite").to_bits());
                optimiser.step(&gradients, 0.01).expect("fits");
            }
            (norms, variable.var.to_vec1::<f32>().expect("one row"))
        })
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one.0, three.0);
    assert!(one.1.iter().zip(&three.1).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn parts_of_a_batch_add_up() {
    let fixture = fixture("adamw.json");
    for dtype in [DType::F64, DType::F32] {
        let variables = variables(&fixture, dtype);
        let mut gradients = Gradients::new(&variables);
        for part in [1.0, 2.0, 4.0] {
            let loss = (variables[0]
                .var
                .sqr()
                .and_then(|squares| squares.sum_all())
                .expect("a scalar")
                * part)
                .expect("ok");
            let mut store = loss.backward().expect("differentiable");
            gradients
                .accumulate(&mut store, &variables)
                .expect("the same variables");
        }
        let found = gradients.get(&variables[0].name).expect("numbers").expect("a gradient");
        let expected: Vec<f64> = values(&variables[0].var).iter().map(|value| 14.0 * value).collect();
        assert!(difference(&values(&found), &expected) < 1e-6);
        assert!(gradients.get(&variables[1].name).expect("numbers").is_none());
        gradients.scale(0.5);
        let norm = expected.iter().map(|value| value * value / 4.0).sum::<f64>().sqrt();
        assert!((gradients.norm().expect("numbers") / norm - 1.0).abs() < 1e-6);
        // A scale holds for what was there before it.
        let one = variables[0].var.ones_like().expect("small");
        gradients.add(&variables[0].name, one).expect("a variable");
        let found = gradients.get(&variables[0].name).expect("numbers").expect("a gradient");
        let expected: Vec<f64> = expected.iter().map(|value| value / 2.0 + 1.0).collect();
        assert!(difference(&values(&found), &expected) < 1e-6);
        assert!(gradients.add("nobody", found).is_err());
        assert!(
            gradients
                .accumulate(
                    &mut variables[0].var.sum_all().and_then(|sum| sum.backward()).expect("ok"),
                    &variables[1..]
                )
                .is_err()
        );
    }
}

#[test]
fn sums_leave_the_memory_of_others_alone() {
    let variables = [NamedVariable {
        name: "x".to_owned(),
        var: Var::new(&[0.0f32, 0.0], &Device::Cpu).expect("small"),
    }];
    let shared = Tensor::new(&[1.0f32, 2.0], &Device::Cpu).expect("small");
    let mut gradients = Gradients::new(&variables);
    for _ in 0..3 {
        gradients.add("x", shared.clone()).expect("a variable");
    }
    assert_eq!(values(&shared), [1.0, 2.0]);
    assert_eq!(
        values(&gradients.get("x").expect("numbers").expect("a gradient")),
        [3.0, 6.0]
    );
}

#[test]
fn the_first_gradient_that_is_not_finite_is_named() {
    let fixture = fixture("adamw.json");
    let variables = variables(&fixture, DType::F32);
    let mut gradients = gradients(&fixture, &fixture["steps"][0], &variables, DType::F32);
    let bad = Tensor::new(&[0.0f32, f32::NAN, 0.0, f32::INFINITY], &Device::Cpu).expect("small");
    gradients.add("dense.bias", bad).expect("a variable");
    match gradients.clip(1.0) {
        Err(Error::GradientNotFinite { variable, element }) => {
            assert_eq!((variable.as_str(), element), ("dense.bias", 1));
        }
        other => panic!("{other:?}"),
    }
}
