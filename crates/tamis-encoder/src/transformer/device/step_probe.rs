//! One training step of a model of given size with random weights, for benchmarks: no checkpoint, no tokenizer.
//!
//! The step is SPLADE's (Formal et al., SPLADE v2, 2021): a shared encoder, max pooling, negative log likelihood of each
//! query's own document among all documents of the batch, FLOPS penalties on both sides, AdamW on everything.

use super::{DeviceBackbone, DeviceMlmHead};
use crate::transformer::{
    HiddenActivation, LayerParameters, LinearParameters, MlmParameters, Norm, NormParameters, Norms, Parameters,
    PoolRule, Pooling, PositionTable, Rows, SpladeActivation, Weighting,
};
use candle_core::{CpuStorage, D, Device, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Weight of each side's FLOPS penalty.
const PENALTY: f64 = 1e-3;

/// The size of a BERT with a masked-language-model head.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSize {
    /// Layers.
    pub layers: usize,
    /// Width of a hidden state.
    pub width: usize,
    /// Width between the halves of a feed-forward block.
    pub inner: usize,
    /// Attention heads.
    pub heads: usize,
    /// Vocabulary entries.
    pub vocabulary: usize,
    /// Positions.
    pub positions: usize,
}

/// A model and its optimiser.
pub struct StepProbe {
    parameters: Parameters,
    head: MlmParameters,
    variables: Vec<(Var, AdamW)>,
    steps: i32,
}

/// Where the time of a step went.
#[derive(Clone, Copy, Debug)]
pub struct StepTimes {
    /// The loss before the step.
    pub loss: f32,
    /// Texts to weights.
    pub forward: Duration,
    /// Weights to loss, and all gradients.
    pub backward: Duration,
    /// AdamW.
    pub optimiser: Duration,
}

impl StepProbe {
    /// Random weights as BERT begins with: normal of deviation 0.02, biases 0, norms 1.
    ///
    /// # Errors
    /// When memory for a tensor is not to be had.
    pub fn new(size: ProbeSize) -> Result<Self> {
        let mut source = Source::default();
        let ProbeSize { width, inner, .. } = size;
        let layer = |source: &mut Source| {
            Ok::<_, candle_core::Error>(LayerParameters {
                qkv: source.linear(3 * width, width)?,
                mix: source.linear(width, width)?,
                up: source.linear(inner, width)?,
                gated: false,
                down: source.linear(width, inner)?,
                norms: Norms::After {
                    mix: source.norm(width)?,
                    down: source.norm(width)?,
                },
                rotary: None,
                window: None,
            })
        };
        let parameters = Parameters {
            words: source.normal(&[size.vocabulary, width])?,
            positions: Some(PositionTable {
                table: source.normal(&[size.positions, width])?,
                padding: None,
            }),
            token_type: Some(source.normal(&[width])?),
            norm: source.norm(width)?,
            layers: (0..size.layers).map(|_| layer(&mut source)).collect::<Result<_>>()?,
            final_norm: None,
            heads: size.heads,
            activation: HiddenActivation::Gelu,
        };
        let head = MlmParameters {
            transform: source.linear(width, width)?,
            activation: HiddenActivation::Gelu,
            norm: source.norm(width)?,
            decoder: None,
            bias: source.filled(0.0, &[size.vocabulary])?,
        };
        let variables = source.variables.into_iter().map(|variable| {
            let optimiser = AdamW::new(variable.elem_count());
            (variable, optimiser)
        });
        Ok(Self {
            variables: variables.collect(),
            parameters,
            head,
            steps: 0,
        })
    }

    /// One step over token ids; query `i`'s own document is the first of its equal share of the documents.
    ///
    /// # Errors
    /// When an id is not below the vocabulary, or a text has more tokens than there are positions.
    pub fn step(&mut self, queries: &[Vec<u32>], documents: &[Vec<u32>]) -> Result<StepTimes> {
        let begin = Instant::now();
        let queries = self.represent(queries)?;
        let documents = self.represent(documents)?;
        let forward = begin.elapsed();
        let loss = loss(&queries, &documents)?;
        let gradients = loss.backward()?;
        let backward = begin.elapsed() - forward;
        self.steps += 1;
        for (variable, optimiser) in &mut self.variables {
            optimiser.steps = self.steps;
            if let Some(gradient) = gradients.get(variable) {
                variable.inplace_op2(&gradient.contiguous()?, optimiser)?;
            }
        }
        Ok(StepTimes {
            loss: loss.to_scalar()?,
            forward,
            backward,
            optimiser: begin.elapsed() - forward - backward,
        })
    }

    fn represent(&self, texts: &[Vec<u32>]) -> Result<Tensor> {
        let mut rows = Rows::default();
        texts.iter().for_each(|text| rows.push(text));
        let backbone = DeviceBackbone::new(&self.parameters, &Device::Cpu)?;
        let head = DeviceMlmHead::new(&self.head, &backbone)?;
        let rule = PoolRule {
            pooling: Pooling::Max,
            weighting: Weighting {
                activation: SpladeActivation::Relu,
                norm: Norm::Log1p,
            },
            factors: None,
        };
        head.pool(&backbone.forward(&rows)?, &rows.ranges, &rule)
    }
}

fn loss(queries: &Tensor, documents: &Tensor) -> Result<Tensor> {
    let (num_queries, num_documents) = (queries.dim(0)?, documents.dim(0)?);
    let scores = queries.matmul(&documents.t()?)?;
    let group = num_documents / num_queries;
    let own: Vec<u32> = (0..num_queries)
        .map(|query| u32::try_from(query * group).map_err(candle_core::Error::wrap))
        .collect::<Result<_>>()?;
    let own = Tensor::from_vec(own, (num_queries, 1), &Device::Cpu)?;
    let largest = scores.detach().max_keepdim(D::Minus1)?;
    let scores = scores.broadcast_sub(&largest)?;
    let total = scores.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let ranking = (total - scores.gather(&own, 1)?)?.mean_all()?;
    let flops = |weights: &Tensor| weights.mean(0)?.sqr()?.sum_all();
    ranking + ((flops(queries)? + flops(documents)?)? * PENALTY)?
}

/// Loshchilov and Hutter (ICLR 2019), with PyTorch's defaults.
struct AdamW {
    moments: Mutex<[Vec<f32>; 2]>,
    steps: i32,
}

impl AdamW {
    fn new(len: usize) -> Self {
        Self {
            moments: Mutex::new([vec![0.0; len], vec![0.0; len]]),
            steps: 0,
        }
    }
}

impl InplaceOp2 for AdamW {
    fn name(&self) -> &'static str {
        "AdamW"
    }

    fn cpu_fwd(&self, values: &mut CpuStorage, _: &Layout, gradient: &CpuStorage, at: &Layout) -> Result<()> {
        const RATE: f32 = 2e-5;
        const DECAY: f32 = 0.01;
        const BETAS: [f32; 2] = [0.9, 0.999];
        const CHUNK: usize = 1 << 16;
        let (CpuStorage::F32(values), CpuStorage::F32(gradient)) = (values, gradient) else {
            candle_core::bail!("single precision alone")
        };
        let gradient = &gradient[at.start_offset()..][..values.len()];
        let [first_share, second_share] = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = &mut *moments;
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        let chunks = values.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        chunks.zip(moments).for_each(|((values, gradient), (first, second))| {
            let moments = first.iter_mut().zip(second);
            for ((value, &gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                *first += (1.0 - BETAS[0]) * (gradient - *first);
                *second += (1.0 - BETAS[1]) * (gradient * gradient - *second);
                let deviation = (*second / second_share).sqrt() + 1e-8;
                *value -= RATE * (DECAY * *value + *first / first_share / deviation);
            }
        });
        Ok(())
    }
}

/// Makes variables, and remembers them.
#[derive(Default)]
struct Source {
    state: u64,
    variables: Vec<Var>,
}

impl Source {
    /// Between 0 and 1, from a linear congruential generator.
    fn next(&mut self) -> f32 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let share = (self.state >> 40) as f32 / 16_777_216.0;
        share
    }

    fn remember(&mut self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        let variable = Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
        self.variables.push(variable.clone());
        Ok(variable.into_inner())
    }

    fn filled(&mut self, value: f32, shape: &[usize]) -> Result<Tensor> {
        self.remember(vec![value; shape.iter().product()], shape)
    }

    /// Sums of twelve even numbers, which are nearly normal.
    fn normal(&mut self, shape: &[usize]) -> Result<Tensor> {
        let len = shape.iter().product();
        let values = (0..len).map(|_| ((0..12).map(|_| self.next()).sum::<f32>() - 6.0) * 0.02);
        let values = values.collect();
        self.remember(values, shape)
    }

    fn linear(&mut self, outputs: usize, inputs: usize) -> Result<LinearParameters> {
        Ok(LinearParameters {
            weight: self.normal(&[outputs, inputs])?,
            bias: Some(self.filled(0.0, &[outputs])?),
        })
    }

    fn norm(&mut self, width: usize) -> Result<NormParameters> {
        Ok(NormParameters {
            weight: self.filled(1.0, &[width])?,
            bias: Some(self.filled(0.0, &[width])?),
            epsilon: 1e-12,
        })
    }
}
