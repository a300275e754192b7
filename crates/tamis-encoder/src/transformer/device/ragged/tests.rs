//! Every operation's gradient: against finite differences in double precision, in single precision against double, and
//! the same to the bit for one thread and three.

use super::*;
use crate::transformer::{LayerParameters, Norm, Norms, PositionTable, SpladeActivation};
use candle_core::Var;

/// An operation over tensors of given shapes.
struct Case<'a> {
    name: &'a str,
    shapes: Vec<Vec<usize>>,
    operation: &'a (dyn Fn(&[Tensor]) -> Result<Tensor> + Sync),
}

impl Case<'_> {
    fn variables(&self, dtype: DType) -> Vec<Var> {
        let variable = |(at, shape): (usize, &Vec<usize>)| {
            let len = shape.iter().product::<usize>();
            let values: Vec<f64> = (0..len)
                .map(|x| ((x * 31 + at * 17 + 1) as f64 * 0.37).sin() * 0.8)
                .collect();
            let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).and_then(|x| x.to_dtype(dtype));
            Var::from_tensor(&tensor.expect("as many")).expect("small")
        };
        self.shapes.iter().enumerate().map(variable).collect()
    }

    /// The sum of the results with factors that differ.
    fn loss(&self, variables: &[Var]) -> Tensor {
        let tensors: Vec<Tensor> = variables.iter().map(|x| x.as_tensor().clone()).collect();
        let out = (self.operation)(&tensors).expect("shapes fit");
        let factors: Vec<f64> = (0..out.elem_count()).map(|at| (at as f64 * 0.7).cos()).collect();
        let factors = Tensor::from_vec(factors, out.shape(), &Device::Cpu).and_then(|x| x.to_dtype(out.dtype()));
        let loss = out.mul(&factors.expect("as many")).and_then(|x| x.sum_all());
        loss.expect("one shape")
    }

    /// Loss and gradients.
    fn results(&self, dtype: DType) -> Vec<Vec<f64>> {
        let variables = self.variables(dtype);
        let loss = self.loss(&variables);
        let gradients = loss.backward().expect("differentiable");
        let gradient = |variable: &Var| flat(gradients.get(variable).expect("every input has a gradient"));
        let mut results = vec![flat(&loss)];
        results.extend(variables.iter().map(gradient));
        results
    }

    fn check(&self) {
        let double = self.results(DType::F64);
        self.check_differences(&double);
        let single = self.results(DType::F32);
        for (at, (single, double)) in single.iter().zip(&double).enumerate() {
            let largest = double.iter().fold(1.0f64, |largest, x| largest.max(x.abs()));
            for (x, y) in single.iter().zip(double) {
                let error = (x - y).abs() / largest;
                assert!(
                    error < 5e-4,
                    "{}: result {at} is off by {error}: {x}, {y} expected",
                    self.name
                );
            }
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let results = pool.expect("threads").install(|| self.results(DType::F32));
            assert!(results == single, "{} with {threads} threads", self.name);
        }
    }

    fn check_differences(&self, results: &[Vec<f64>]) {
        let variables = self.variables(DType::F64);
        for (at, variable) in variables.iter().enumerate() {
            let values = flat(variable);
            let gradient = &results[at + 1];
            for element in [0, values.len() / 3, values.len() / 2, values.len() - 1] {
                let loss = |offset: f64| {
                    let mut changed = values.clone();
                    changed[element] += offset;
                    let changed = Tensor::from_vec(changed, variable.shape(), &Device::Cpu).expect("as many");
                    variable.set(&changed).expect("one shape");
                    flat(&self.loss(&variables))[0]
                };
                let difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                loss(0.0);
                let error = (difference - gradient[element]).abs();
                assert!(
                    error < 1e-5 * (1.0 + difference.abs()),
                    "{}: input {at}, element {element}: {}, {difference} expected",
                    self.name,
                    gradient[element]
                );
            }
        }
    }
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.to_dtype(DType::F64).and_then(|x| x.flatten_all()?.to_vec1());
    values.expect("numbers")
}

fn linear_of(tensors: &[Tensor]) -> LinearParameters {
    LinearParameters {
        weight: tensors[0].clone(),
        bias: tensors.get(1).cloned(),
    }
}

fn norm_of(tensors: &[Tensor]) -> NormParameters {
    NormParameters {
        weight: tensors[0].clone(),
        bias: tensors.get(1).cloned(),
        epsilon: 1e-3,
    }
}

#[test]
fn linear_maps() {
    for biased in [true, false] {
        let mut shapes = vec![vec![301, 40], vec![70, 40]];
        shapes.extend(biased.then(|| vec![70]));
        let case = Case {
            name: "linear",
            shapes,
            operation: &|x| linear(&x[0], &linear_of(&x[1..])),
        };
        case.check();
    }
}

#[test]
fn norms_and_activations() {
    for biased in [true, false] {
        let mut shapes = vec![vec![301, 40], vec![40]];
        shapes.extend(biased.then(|| vec![40]));
        let case = Case {
            name: "norm",
            shapes,
            operation: &|x| normalise(&x[0], &norm_of(&x[1..])),
        };
        case.check();
    }
    for activation in [
        HiddenActivation::Gelu,
        HiddenActivation::GeluTanh,
        HiddenActivation::Relu,
        HiddenActivation::Silu,
    ] {
        let case = Case {
            name: "activation",
            shapes: vec![vec![301, 79]],
            operation: &|x| activate(&x[0], activation),
        };
        case.check();
    }
}

#[test]
fn pooled_decoders() {
    // An empty text, one of a single row, and rows that belong to none.
    let ranges = [0..7, 7..7, 7..8, 10..60, 60..61, 61..90];
    for (activation, norm) in [
        (SpladeActivation::Relu, Norm::Log1p),
        (SpladeActivation::Log1pRelu, Norm::Log1pLog1p),
        (SpladeActivation::Relu, Norm::Identity),
        (SpladeActivation::Softplus, Norm::Log1p),
    ] {
        let case = Case {
            name: "pool",
            shapes: vec![vec![90, 12], vec![77, 12], vec![77]],
            operation: &|x| {
                let decoder = Loan::new(&x[1])?;
                pool(&x[0], &ranges, Weighting { activation, norm }, (&decoder, &x[2]))
            },
        };
        case.check();
    }
}

#[test]
fn of_equal_logits_the_first_takes_the_gradient() {
    for dtype in [DType::F32, DType::F64] {
        let of = |values: &[f64], shape: (usize, usize)| {
            let tensor = Tensor::from_vec(values.to_vec(), shape, &Device::Cpu).and_then(|x| x.to_dtype(dtype));
            Var::from_tensor(&tensor.expect("as many")).expect("small")
        };
        // Logits of rows 0 to 3: 1, 2, 2, 2; a text of three and one of the last.
        let (x, decoder) = (of(&[1.0, 2.0, 2.0, 2.0], (4, 1)), of(&[1.0], (1, 1)));
        let bias = Tensor::zeros(1, dtype, &Device::Cpu).expect("small");
        let weighting = Weighting {
            activation: SpladeActivation::Relu,
            norm: Norm::Identity,
        };
        let lent = Loan::new(&decoder).expect("on the CPU");
        let pooled = pool(&x, &[0..3, 3..4], weighting, (&lent, &bias)).expect("fits");
        let gradients = pooled.sum_all().and_then(|x| x.backward()).expect("differentiable");
        assert_eq!(flat(&pooled), [2.0, 2.0]);
        assert_eq!(flat(gradients.get(&x).expect("a variable")), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(flat(gradients.get(&decoder).expect("a variable")), [4.0]);
    }
}

const WIDTH: usize = 12;
const INNER: usize = 20;

/// One layer over texts of many lengths: `[rows, WIDTH]` and its parameters in, rows out.
fn layer_case(name: &str, gated: bool, rotary: Option<&[f32]>, window: Option<usize>) {
    let rows = {
        let mut rows = Rows::default();
        [1, 0, 2, 33, 70, 5]
            .iter()
            .for_each(|&length| rows.push(&vec![0; length]));
        rows
    };
    let up = if gated { 2 * INNER } else { INNER };
    let shapes: [&[usize]; 13] = [
        &[111, WIDTH],
        &[3 * WIDTH, WIDTH],
        &[3 * WIDTH],
        &[WIDTH, WIDTH],
        &[WIDTH],
        &[up, WIDTH],
        &[up],
        &[WIDTH, INNER],
        &[WIDTH],
        &[WIDTH],
        &[WIDTH],
        &[WIDTH],
        &[WIDTH],
    ];
    let layer = |x: &[Tensor]| {
        let (mix, down) = (norm_of(&x[9..11]), norm_of(&x[11..13]));
        LayerParameters {
            qkv: linear_of(&x[1..3]),
            mix: linear_of(&x[3..5]),
            up: linear_of(&x[5..7]),
            gated,
            down: linear_of(&x[7..9]),
            norms: match gated {
                true => Norms::Before { mix: Some(mix), down },
                false => Norms::After { mix, down },
            },
            rotary: rotary.map(|frequencies| Rotary {
                inverse_frequencies: frequencies.into(),
            }),
            window,
        }
    };
    let case = Case {
        name,
        shapes: shapes.map(<[usize]>::to_vec).to_vec(),
        operation: &|x| {
            let parameters = Parameters {
                words: Tensor::zeros((1, WIDTH), x[0].dtype(), &Device::Cpu)?,
                positions: None,
                token_type: None,
                norm: norm_of(&x[9..11]),
                layers: vec![layer(x)],
                final_norm: None,
                heads: 2,
                activation: HiddenActivation::GeluTanh,
            };
            let words = Loan::new(&parameters.words)?;
            let dropout: Dropout<'_> = &|x, texts, site| {
                assert_eq!(texts, [1, 0, 2, 33, 70, 5]);
                let factors = (0..111 * WIDTH).map(|at| f64::from(u8::from(!(at * 7 + site).is_multiple_of(5))) * 1.25);
                let factors = Tensor::from_vec(factors.collect::<Vec<f64>>(), (111, WIDTH), &Device::Cpu)?;
                x.mul(&factors.to_dtype(x.dtype())?)
            };
            forward((&parameters, &words), &rows, Some(&x[0]), Some(dropout))
        },
    };
    case.check();
}

#[test]
fn layers_that_normalise_after() {
    layer_case("after", false, None, None);
    layer_case("after, window", false, None, Some(3));
}

#[test]
fn layers_that_normalise_before() {
    let frequencies = [1.0, 0.5, 0.3];
    layer_case("before, rotary", true, Some(&frequencies), None);
    layer_case("before, rotary, window", true, Some(&frequencies), Some(33));
}

#[test]
fn embeddings_of_words_that_come_again() {
    let mut rows = Rows::default();
    rows.push(&[3, 1, 4, 1, 5]);
    rows.push(&[]);
    rows.push(&[9; 3]);
    let case = Case {
        name: "embeddings",
        shapes: [&[10, WIDTH][..], &[8, WIDTH], &[WIDTH], &[WIDTH], &[WIDTH]]
            .map(<[usize]>::to_vec)
            .to_vec(),
        operation: &|x| {
            let parameters = Parameters {
                words: x[0].clone(),
                positions: Some(PositionTable {
                    table: x[1].clone(),
                    padding: Some(1),
                }),
                token_type: Some(x[2].clone()),
                norm: norm_of(&x[3..5]),
                layers: Vec::new(),
                final_norm: Some(norm_of(&x[3..5])),
                heads: 1,
                activation: HiddenActivation::Gelu,
            };
            forward((&parameters, &Loan::new(&x[0])?), &rows, None, None)
        },
    };
    case.check();
}

#[test]
fn only_what_is_a_variable_has_a_gradient_and_only_once() {
    let case = Case {
        name: "linear",
        shapes: vec![vec![5, 4], vec![3, 4], vec![3]],
        operation: &|x| linear(&x[0], &linear_of(&x[1..])),
    };
    let variables = case.variables(DType::F32);
    let parameters = LinearParameters {
        weight: variables[1].as_detached_tensor(),
        bias: Some(variables[2].as_tensor().clone()),
    };
    let out = linear(&variables[0].as_detached_tensor(), &parameters).and_then(|out| out.sum_all());
    let out = out.expect("fits");
    let gradients = out.backward().expect("differentiable");
    assert!(gradients.get(&variables[0]).is_none() && gradients.get(&variables[1]).is_none());
    assert_eq!(flat(gradients.get(&variables[2]).expect("a variable")), [5.0; 3]);
    let message = out.backward().expect_err("what was kept is used up").to_string();
    assert!(message.contains("linear") && message.contains("once"), "{message}");

    let mut beyond = Rows::default();
    beyond.push(&[7]);
    let table = Tensor::zeros((7, WIDTH), DType::F32, &Device::Cpu).expect("small");
    let weight = Tensor::ones(WIDTH, DType::F32, &Device::Cpu).expect("small");
    let parameters = Parameters {
        words: table.clone(),
        positions: None,
        token_type: None,
        norm: norm_of(&[weight]),
        layers: Vec::new(),
        final_norm: None,
        heads: 1,
        activation: HiddenActivation::Gelu,
    };
    let words = Loan::new(&table).expect("on the CPU");
    let message = forward((&parameters, &words), &beyond, None, None).expect_err("no row 7");
    assert!(message.to_string().contains("token 7 of 7"), "{message}");
}
