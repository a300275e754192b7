//! Gradients against finite differences, and the cuts of a computation against the whole.

use super::*;
use crate::transformer::{
    HiddenActivation, LinearParameters, MlmParameters, Norm, NormParameters, PoolRule, Pooling, PositionTable, Rotary,
    SpladeActivation, Weighting,
};
use candle_core::{DType, Var};

const WIDTH: usize = 8;
const INNER: usize = 6;
const VOCABULARY: usize = 11;

/// The two ways of computing that the CPU has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// As on any device.
    Padded,
    /// As on the CPU.
    Ragged,
}

const WAYS: [Way; 2] = [Way::Padded, Way::Ragged];

/// Hands out variables of numbers that look random, in double precision.
#[derive(Default)]
struct Source {
    state: u32,
    variables: Vec<Var>,
}

impl Source {
    fn next(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.state >> 8) / f64::from(1u32 << 24) - 0.5
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| 1.6 * self.next()).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("as many as the shape has");
        let variable = Var::from_tensor(&tensor).expect("small");
        self.variables.push(variable.clone());
        variable.into_inner()
    }

    fn linear(&mut self, outputs: usize, inputs: usize, biased: bool) -> LinearParameters {
        LinearParameters {
            weight: self.tensor(&[outputs, inputs]),
            bias: biased.then(|| self.tensor(&[outputs])),
        }
    }

    fn norm(&mut self, biased: bool) -> NormParameters {
        NormParameters {
            weight: self.tensor(&[WIDTH]),
            bias: biased.then(|| self.tensor(&[WIDTH])),
            epsilon: 1e-3,
        }
    }

    fn layer(&mut self, gated: bool, norms: Norms, rotary: Option<Rotary>, window: Option<usize>) -> LayerParameters {
        LayerParameters {
            qkv: self.linear(3 * WIDTH, WIDTH, !gated),
            mix: self.linear(WIDTH, WIDTH, !gated),
            up: self.linear(if gated { 2 * INNER } else { INNER }, WIDTH, !gated),
            gated,
            down: self.linear(WIDTH, INNER, !gated),
            norms,
            rotary,
            window,
        }
    }

    fn head(&mut self, own_decoder: bool) -> MlmParameters {
        MlmParameters {
            transform: self.linear(WIDTH, WIDTH, own_decoder),
            activation: HiddenActivation::Gelu,
            norm: self.norm(own_decoder),
            decoder: own_decoder.then(|| self.tensor(&[VOCABULARY, WIDTH])),
            bias: self.tensor(&[VOCABULARY]),
        }
    }
}

/// Everything that ModernBERT and GTE have: rotary positions, a window, gates, normalisation before.
fn modern(source: &mut Source) -> Parameters {
    let rotary = |base: f32| {
        Some(Rotary {
            inverse_frequencies: [1.0, base].into(),
        })
    };
    let (words, norm) = (source.tensor(&[VOCABULARY, WIDTH]), source.norm(false));
    let [first, second, third] = [(); 3].map(|()| source.norm(false));
    let norms = [
        Norms::Before { mix: None, down: first },
        Norms::Before {
            mix: Some(second),
            down: third,
        },
    ];
    let [first, second] = norms;
    Parameters {
        words,
        positions: None,
        token_type: None,
        norm,
        layers: vec![
            source.layer(true, first, rotary(0.3), None),
            source.layer(true, second, rotary(0.1), Some(2)),
        ],
        final_norm: Some(source.norm(false)),
        heads: 2,
        activation: HiddenActivation::GeluTanh,
    }
}

/// Everything that BERT and RoBERTa have: tables, biases, normalisation after.
fn classic(source: &mut Source) -> Parameters {
    let norms = Norms::After {
        mix: source.norm(true),
        down: source.norm(true),
    };
    Parameters {
        words: source.tensor(&[VOCABULARY, WIDTH]),
        positions: Some(PositionTable {
            table: source.tensor(&[12, WIDTH]),
            padding: Some(1),
        }),
        token_type: Some(source.tensor(&[WIDTH])),
        norm: source.norm(true),
        layers: vec![source.layer(false, norms, None, None)],
        final_norm: None,
        heads: 4,
        activation: HiddenActivation::Gelu,
    }
}

fn batch(texts: &[&[u32]]) -> Rows {
    let mut rows = Rows::default();
    texts.iter().for_each(|text| rows.push(text));
    rows
}

const TEXTS: [&[u32]; 5] = [&[2, 5, 7, 3, 9, 4, 6], &[8, 0], &[], &[10, 10, 1, 3], &[5]];

/// Dropout by site, place in the text and column.
fn dropout(x: &Tensor, texts: &[usize], site: usize) -> Result<Tensor> {
    let places = texts.iter().flat_map(|&length| 0..length);
    let factor = |at: usize| f64::from(u8::from(!(at * 7 + site).is_multiple_of(5))) * 1.25;
    let factors = places.flat_map(|place| (0..WIDTH).map(move |column| factor(place * WIDTH + column)));
    x.mul(&Tensor::from_vec(
        factors.collect::<Vec<f64>>(),
        x.shape(),
        &Device::Cpu,
    )?)
}

fn rule(pooling: Pooling, activation: SpladeActivation) -> PoolRule {
    let norm = match activation {
        SpladeActivation::Log1pRelu => Norm::Log1pLog1p,
        _ => Norm::Log1p,
    };
    PoolRule {
        pooling,
        weighting: Weighting { activation, norm },
        factors: None,
    }
}

struct Model {
    backbone: DeviceBackbone,
    head: DeviceMlmHead,
    variables: Vec<Var>,
}

impl Model {
    fn new(parameters: impl Fn(&mut Source) -> Parameters, own_decoder: bool) -> Self {
        let mut source = Source::default();
        let parameters = parameters(&mut source);
        let head = source.head(own_decoder);
        let backbone = DeviceBackbone::new(&parameters, &Device::Cpu).expect("there already");
        let head = DeviceMlmHead::new(&head, &backbone).expect("there already");
        Self {
            backbone,
            head,
            variables: source.variables,
        }
    }

    fn hidden(&self, rows: &Rows, dropout: Option<Dropout<'_>>, way: Way) -> Tensor {
        let hidden = match way {
            Way::Padded => self.backbone.forward_padded(rows, (None, dropout), [7, 3]),
            Way::Ragged => self.backbone.forward_from(rows, None, dropout),
        };
        hidden.expect("fits")
    }

    fn pool(&self, hidden: &Tensor, rows: &Rows, rule: &PoolRule, way: Way) -> Tensor {
        let pooled = match way {
            Way::Padded => self.head.pool_tiled(hidden, &Padded::new(&rows.ranges), rule, 4),
            Way::Ragged => self.head.pool(hidden, &rows.ranges, rule),
        };
        pooled.expect("fits")
    }

    /// Sums weights with factors that differ, so that no gradient is zero by symmetry.
    fn loss(&self, rows: &Rows, rule: &PoolRule, way: Way) -> Tensor {
        let hidden = self.hidden(rows, Some(&dropout), way);
        let pooled = self.pool(&hidden, rows, rule, way);
        let factors: Vec<f64> = (0..pooled.elem_count()).map(|at| (at as f64 * 0.7).sin()).collect();
        let factors = Tensor::from_vec(factors, pooled.shape(), &Device::Cpu).expect("as many");
        let factors = factors.to_dtype(pooled.dtype()).expect("numbers");
        (pooled * factors).expect("one shape").sum_all().expect("a number")
    }

    /// Compares the gradient of some elements of every variable with a central difference.
    fn check_gradients(&self, rule: &PoolRule, way: Way) {
        let rows = batch(&TEXTS);
        let gradients = self.loss(&rows, rule, way).backward().expect("differentiable");
        let loss = || {
            let loss = self.loss(&rows, rule, way);
            loss.to_scalar::<f64>().expect("a number")
        };
        for (at, variable) in self.variables.iter().enumerate() {
            let gradient = gradients.get(variable).expect("every parameter has a gradient");
            let gradient = flat(gradient);
            assert!(gradient.iter().any(|&x| x != 0.0), "variable {at} does not matter");
            let values = flat(variable);
            for element in [0, values.len() / 2, values.len() - 1] {
                let at_offset = |offset: f64| {
                    let mut changed = values.clone();
                    changed[element] += offset;
                    let changed = Tensor::from_vec(changed, variable.shape(), &Device::Cpu).expect("as many");
                    variable.set(&changed).expect("one shape");
                    loss()
                };
                let difference = (at_offset(1e-5) - at_offset(-1e-5)) / 2e-5;
                at_offset(0.0);
                let error = (difference - gradient[element]).abs();
                assert!(
                    error < 1e-5 * (1.0 + difference.abs()),
                    "{way:?}, variable {at} {:?}, element {element}: {}, {difference} expected",
                    variable.shape(),
                    gradient[element]
                );
            }
        }
    }
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.flatten_all().and_then(|tensor| tensor.to_vec1());
    tensor.expect("double precision")
}

fn assert_near(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape(), b.shape());
    for (x, y) in flat(a).into_iter().zip(flat(b)) {
        assert!((x - y).abs() < 1e-12, "{x}, {y} expected");
    }
}

#[test]
fn gradients_of_rotary_gated_models_reach_every_parameter() {
    for way in WAYS {
        Model::new(modern, false).check_gradients(&rule(Pooling::Max, SpladeActivation::Relu), way);
        Model::new(modern, true).check_gradients(&rule(Pooling::Sum, SpladeActivation::Log1pRelu), way);
    }
}

#[test]
fn gradients_of_models_with_tables_reach_every_parameter() {
    for way in WAYS {
        Model::new(classic, true).check_gradients(&rule(Pooling::Max, SpladeActivation::Log1pRelu), way);
        Model::new(classic, false).check_gradients(&rule(Pooling::Sum, SpladeActivation::Relu), way);
        Model::new(classic, false).check_gradients(&rule(Pooling::Cls, SpladeActivation::Softplus), way);
    }
}

#[test]
fn ragged_rows_are_as_padded_ones() {
    for parameters in [modern, classic] {
        let (model, rows) = (Model::new(parameters, true), batch(&TEXTS));
        for dropout in [None, Some(&dropout as Dropout<'_>)] {
            let [padded, ragged] = WAYS.map(|way| model.hidden(&rows, dropout, way));
            assert_near(&ragged, &padded);
            let below = model.backbone.forward_from(&rows, Some(&padded), dropout);
            let (states, blocks) = ((Some(&padded), dropout), [CELLS_PER_BLOCK, QUERIES_PER_BLOCK]);
            let expected = model.backbone.forward_padded(&rows, states, blocks);
            assert_near(&below.expect("fits"), &expected.expect("fits"));
            for activation in [SpladeActivation::Relu, SpladeActivation::Softplus] {
                let rule = rule(Pooling::Max, activation);
                let [padded, ragged] = WAYS.map(|way| model.pool(&ragged, &rows, &rule, way));
                assert_near(&ragged, &padded);
            }
        }
    }
}

#[test]
fn of_equal_logits_one_takes_the_gradient() {
    let logits = Var::new(&[[2.0f64, 5.0, 5.0], [4.0, 4.0, 1.0]], &Device::Cpu).expect("small");
    let best = operations::largest(&logits).expect("a matrix");
    assert_eq!(flat(&best), [5.0, 4.0]);
    let gradients = best.sum_all().and_then(|sum| sum.backward()).expect("differentiable");
    let gradient = gradients.get(&logits).expect("a variable");
    assert_eq!(flat(gradient), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn blocks_change_nothing() {
    for parameters in [modern, classic] {
        let model = Model::new(parameters, false);
        for texts in [&TEXTS[..], &TEXTS[..1]] {
            let rows = batch(texts);
            let whole = model.backbone.forward(&rows).expect("fits");
            for blocks in [[99, 1], [99, 2], [99, 5], [1, 9], [6, 2]] {
                let blocked = model.backbone.forward_padded(&rows, (None, None), blocks);
                let blocked = blocked.expect("fits");
                assert_near(&blocked, &whole);
            }
        }
    }
}

#[test]
fn a_text_alone_is_as_in_a_batch() {
    for parameters in [modern, classic] {
        let model = Model::new(parameters, false);
        let rows = batch(&TEXTS);
        let together = model.backbone.forward(&rows).expect("fits");
        for (text, range) in TEXTS.iter().zip(&rows.ranges) {
            let alone = model.backbone.forward(&batch(&[text])).expect("fits");
            let part = together.narrow(0, range.start, range.len()).expect("inside");
            assert_near(&alone, &part);
        }
        let none = model.backbone.forward(&Rows::default()).expect("nothing to do");
        assert_eq!(none.dims(), [0, WIDTH]);
    }
}

#[test]
fn tiles_of_the_vocabulary_change_nothing() {
    let model = Model::new(modern, true);
    let rows = batch(&TEXTS);
    let hidden = model.backbone.forward(&rows).expect("fits");
    let batch = Padded::new(&rows.ranges);
    for pooling in [Pooling::Max, Pooling::Sum] {
        let rule = rule(pooling, SpladeActivation::Relu);
        let whole = model.head.pool_tiled(&hidden, &batch, &rule, VOCABULARY).expect("fits");
        for tile in [1, 4, 10] {
            let tiled = model.head.pool_tiled(&hidden, &batch, &rule, tile).expect("fits");
            assert_near(&tiled, &whole);
        }
    }
}

#[test]
fn empty_texts_weigh_nothing_and_broken_ones_break_no_others() {
    let model = Model::new(classic, false);
    let hidden = model.backbone.forward(&batch(&TEXTS)).expect("fits");
    let (finite, broken) = (flat(&hidden), f64::INFINITY);
    let mut values = finite.clone();
    values[0] = broken;
    let with = |values: Vec<f64>| Tensor::from_vec(values, hidden.shape(), &Device::Cpu).expect("as many");
    for pooling in [Pooling::Max, Pooling::Sum] {
        let pool = |values: Vec<f64>, ranges: &[std::ops::Range<usize>]| {
            let pooled = model
                .head
                .pool(&with(values), ranges, &rule(pooling, SpladeActivation::Relu));
            pooled.and_then(|pooled| pooled.to_vec2::<f64>()).expect("fits")
        };
        let expected = pool(finite.clone(), &[0..7, 7..7, 7..9]);
        assert!(expected[1].iter().all(|&weight| weight == 0.0), "{expected:?}");
        let pooled = pool(values.clone(), &[0..7, 7..7, 7..9]);
        assert!(pooled[0].iter().all(|weight| weight.is_nan()), "{pooled:?}");
        assert_eq!(pooled[1..], expected[1..]);
        assert_eq!(pool(finite.clone(), &[3..3, 3..3]), vec![vec![0.0; VOCABULARY]; 2]);
    }
}

#[test]
fn texts_longer_than_the_positions_are_an_error() {
    let backbone = Model::new(classic, false).backbone;
    assert!(backbone.forward(&batch(&[&[5; 10]])).is_ok());
    let message = backbone.forward(&batch(&[&[5; 11]])).expect_err("12 rows, 2 skipped");
    assert!(message.to_string().contains("position 12 of 12"), "{message}");
    assert_eq!(backbone.words().dtype(), DType::F64);
}
