//! Dropout that depends on nothing but seed, step, place and text.
//!
//! A mask is a function of its coordinates (Philox, in `randomness/philox.rs`), so a text that is computed a second time
//! (gradient caching), in another batch or by other threads gets the same one, and nothing has to be kept for the
//! backward pass.

mod philox;

use super::refused;
use crate::{Error, InputKind};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use philox::philox;
use rayon::prelude::*;

/// Where the randomness of a step's texts comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Randomness {
    /// The run's seed.
    pub seed: u64,
    /// The step.
    pub step: u64,
    /// The place in the step's batch of the first text that is computed: a part of a batch says where it begins.
    pub first_text: u32,
}

/// A place in a model where numbers are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site(u32);

impl Site {
    /// The place `part` (below 256) of layer `layer` (below 2^16) when texts of this kind are encoded: a shared model
    /// drops other numbers for queries than for documents.
    pub fn new(kind: InputKind, layer: u16, part: u8) -> Self {
        let side = match kind {
            InputKind::Query => 0,
            InputKind::Document => 1,
        };
        Self((side << 24) | (u32::from(layer) << 8) | u32::from(part))
    }
}

/// Rows of a tensor that belong to texts, in order: `[1, 5, 3]` for texts of one, five and three tokens. Rows of padding
/// may follow a text's own; they change nothing for the others.
pub type TextRows<'a> = &'a [usize];

/// Sets a share `rate` of the numbers of `x`, `[rows, width]`, to 0 and divides the others by what is left; gradients
/// alike. `texts` says how many rows each text has, `randomness` which text is the first.
///
/// The rate is rounded to a multiple of 2^-16. Costs one pass over `x` forward and one backward.
///
/// # Errors
/// When the rate is not 0 or more and below 1, or the rows of the texts are not those of `x`.
pub fn dropout(
    x: &Tensor,
    rate: f64,
    site: Site,
    texts: TextRows,
    randomness: Randomness,
) -> std::result::Result<Tensor, Error> {
    if !(0.0..1.0).contains(&rate) {
        return Err(refused("dropout", rate, "a number of 0 or more and below 1"));
    }
    let (rows, _) = x.dims2()?;
    if texts.iter().sum::<usize>() != rows {
        return Err(Error::TrainingShape {
            input: "rows of texts".to_owned(),
            found: texts.to_vec(),
            expected: format!("as many rows in all as the tensor has ({rows})"),
        });
    }
    let dropout = Dropout {
        threshold: threshold(rate),
        site,
        texts: texts.to_vec(),
        randomness,
    };
    if dropout.threshold == 0 {
        return Ok(x.clone());
    }
    if x.device().is_cpu() {
        return Ok(x.contiguous()?.apply_op1(dropout)?);
    }
    let ones = Tensor::ones(x.shape(), candle_core::DType::F32, &candle_core::Device::Cpu)?;
    let mask = ones
        .apply_op1_no_bwd(&dropout)?
        .to_device(x.device())?
        .to_dtype(x.dtype())?;
    Ok((x * mask)?)
}

/// Of 2^16 equally likely numbers those below it are dropped.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, and from 0 to 65,535"
)]
fn threshold(rate: f64) -> u16 {
    (rate * 65536.0).round().min(65535.0) as u16
}

#[derive(Clone)]
struct Dropout {
    threshold: u16,
    site: Site,
    texts: Vec<usize>,
    randomness: Randomness,
}

impl Dropout {
    fn apply<T: WithDType>(&self, values: &[T], layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("dropout: contiguous values expected");
        };
        let (_, width) = layout.shape().dims2()?;
        let places: Vec<(u32, u32)> = self
            .texts
            .iter()
            .zip(self.randomness.first_text..)
            .flat_map(|(&rows, text)| (0..).take(rows).map(move |row| (text, row)))
            .collect();
        let scale = T::from_f64(65536.0 / (65536.0 - f64::from(self.threshold)));
        let key = self.key();
        let mut result = values[start..end].to_vec();
        result
            .par_chunks_mut(width.max(1))
            .zip(&places)
            .with_min_len(8)
            .for_each(|(row, &(text, place))| {
                for (block, values) in (0u32..).zip(row.chunks_mut(8)) {
                    let drawn = draw(key, text, place, block);
                    for (value, drawn) in values.iter_mut().zip(drawn) {
                        *value = if drawn < self.threshold {
                            T::zero()
                        } else {
                            *value * scale
                        };
                    }
                }
            });
        Ok((T::to_cpu_storage_owned(result), layout.shape().clone()))
    }

    /// A key of its own for each seed, step and site.
    #[expect(clippy::cast_possible_truncation, reason = "numbers are cut into halves on purpose")]
    fn key(&self) -> [u32; 2] {
        let Randomness { seed, step, .. } = self.randomness;
        let halves = |number: u64| [number as u32, (number >> 32) as u32];
        let [low, high] = halves(step);
        let [first, second, ..] = philox([low, high, self.site.0, 0], halves(seed));
        [first, second]
    }
}

/// Eight numbers for the columns `8 * block ..` of a text's row.
#[expect(clippy::cast_possible_truncation, reason = "numbers are cut into halves on purpose")]
fn draw(key: [u32; 2], text: u32, row: u32, block: u32) -> [u16; 8] {
    let mut drawn = [0; 8];
    for (pair, word) in drawn.chunks_exact_mut(2).zip(philox([block, row, text, 0], key)) {
        pair.copy_from_slice(&[word as u16, (word >> 16) as u16]);
    }
    drawn
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match storage {
            CpuStorage::F32(values) => self.apply(values, layout),
            CpuStorage::F64(values) => self.apply(values, layout),
            _ => candle_core::bail!("dropout: single or double precision expected"),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};

    const AT: Randomness = Randomness {
        seed: 17,
        step: 3,
        first_text: 0,
    };

    fn site() -> Site {
        Site::new(InputKind::Document, 2, 1)
    }

    /// The mask for rows of ones.
    fn mask(rate: f64, site: Site, texts: &[usize], width: usize, at: Randomness) -> Vec<Vec<f64>> {
        let rows = texts.iter().sum::<usize>();
        let ones = Tensor::ones((rows, width), DType::F64, &Device::Cpu).expect("small");
        let dropped = dropout(&ones, rate, site, texts, at).expect("fits");
        dropped.to_vec2().expect("a matrix")
    }

    #[test]
    fn any_split_of_a_batch_gives_the_same_masks() {
        let whole = mask(0.3, site(), &[2, 3, 1], 37, AT);
        let later = Randomness { first_text: 1, ..AT };
        assert_eq!(mask(0.3, site(), &[2], 37, AT), whole[..2]);
        assert_eq!(mask(0.3, site(), &[3, 1], 37, later), whole[2..]);
        // Padding behind a text's own rows changes nothing for the others.
        let padded = mask(0.3, site(), &[3, 3], 37, AT);
        assert_eq!(padded[..2], whole[..2]);
        assert_eq!(padded[3..], whole[2..5]);
    }

    #[test]
    fn seed_step_site_and_text_all_matter() {
        let first = mask(0.5, site(), &[4], 64, AT);
        for (name, at) in [
            ("seed", Randomness { seed: 18, ..AT }),
            (
                "high seed",
                Randomness {
                    seed: 17 | 1 << 40,
                    ..AT
                },
            ),
            ("step", Randomness { step: 4, ..AT }),
            ("text", Randomness { first_text: 1, ..AT }),
        ] {
            assert_ne!(mask(0.5, site(), &[4], 64, at), first, "{name}");
        }
        for other in [
            Site::new(InputKind::Query, 2, 1),
            Site::new(InputKind::Document, 3, 1),
            Site::new(InputKind::Document, 2, 2),
        ] {
            assert_ne!(mask(0.5, other, &[4], 64, AT), first, "{other:?}");
        }
        assert!((1..4).all(|row| first[row] != first[0]), "rows repeat");
    }

    #[test]
    fn the_share_and_the_mean_are_kept() {
        let values = mask(0.1, site(), &[100; 10], 100, AT).concat();
        let dropped = values.iter().filter(|&&value| value == 0.0).count();
        // 10,000 expected of 100,000, a standard deviation of 95.
        assert!((9_600..10_400).contains(&dropped), "{dropped}");
        let kept = 65536.0 / (65536.0 - 6554.0);
        assert!(values.iter().all(|&value| value == 0.0 || value == kept));
        assert_eq!(mask(0.0, site(), &[1], 5, AT), [[1.0; 5]]);
    }

    #[test]
    fn gradients_go_through_the_same_mask() {
        let x = Var::new(&[[1.0f64, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]], &Device::Cpu).expect("small");
        let dropped = dropout(&x, 0.5, site(), &[1], AT).expect("fits");
        let squares = dropped.sqr().and_then(|squares| squares.sum_all()).expect("a scalar");
        let gradient = squares.backward().expect("differentiable");
        let gradient = gradient
            .get(&x)
            .expect("a gradient")
            .to_vec2::<f64>()
            .expect("a matrix");
        let mask = &mask(0.5, site(), &[1], 10, AT)[0];
        let x = x.to_vec2::<f64>().expect("a matrix");
        for ((gradient, x), mask) in gradient[0].iter().zip(&x[0]).zip(mask) {
            assert!((gradient - 2.0 * x * mask * mask).abs() < 1e-12);
        }
        assert!(gradient[0].contains(&0.0) && gradient[0].iter().any(|&gradient| gradient != 0.0));
    }

    #[test]
    fn masks_do_not_depend_on_threads() {
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            pool.install(|| mask(0.2, site(), &[70, 1, 0, 9], 33, AT))
        };
        assert_eq!(of(1), of(3));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = Tensor::ones((3, 2), DType::F32, &Device::Cpu).expect("small");
        for rate in [-0.1, 1.0, f64::NAN] {
            let message = dropout(&x, rate, site(), &[3], AT).expect_err("refused").to_string();
            assert!(message.contains("dropout is"), "{message}");
        }
        let message = dropout(&x, 0.5, site(), &[1, 1], AT).expect_err("refused").to_string();
        assert!(message.contains("[1, 1]") && message.contains("(3)"), "{message}");
    }
}
