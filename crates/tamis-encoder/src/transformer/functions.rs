//! Elementwise functions, written so that the compiler turns them into vector instructions.

/// The function between the two halves of a feed-forward block, by the names that `config.json` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HiddenActivation {
    /// `x Phi(x)` with the exact error function: "gelu".
    Gelu,
    /// The same with a tanh approximation: "gelu_new", "gelu_pytorch_tanh", "gelu_fast".
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl HiddenActivation {
    /// All names accepted, for messages.
    pub(crate) const NAMES: &str = "one of gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu";

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Some(Self::GeluTanh),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }

    /// Adds `bias` to `row` and applies the function.
    pub(crate) fn apply(self, row: &mut [f32], bias: &[f32]) {
        let pairs = row.iter_mut().zip(bias);
        match self {
            Self::Gelu => pairs.for_each(|(x, b)| *x = gelu(*x + b)),
            Self::GeluTanh => pairs.for_each(|(x, b)| *x = gelu_tanh(*x + b)),
            Self::Relu => pairs.for_each(|(x, b)| *x = (*x + b).max(0.0)),
        }
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel, 2016).
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function to about 1e-7: an odd rational function of degree 13 over 8 on [-4, 4], +-1 outside.
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let over = [
        -2.726_142_3e-10,
        2.770_681_3e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_6e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let under = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329_2e-3,
        -1.426_473_9e-2,
    ];
    x * horner(&over, square) / horner(&under, square)
}

fn horner<const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

fn gelu_tanh(x: f32) -> f32 {
    let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// `e^x` for `x` of at most 0, to a relative 1e-6; 0 to within 1e-37 below -87.
///
/// `x = n ln 2 + r`: n is rounded by adding a number whose last mantissa bit is worth 1, e^r is a polynomial, 2^n is
/// written into the exponent bits.
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let polynomial = horner(
        &[
            1.0 / 5040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ],
        r,
    );
    let exponent = rounded.to_bits().wrapping_add(127) << 23;
    polynomial * f32::from_bits(exponent)
}

/// Replaces `row` by `softmax(scale * row)`.
pub(super) fn softmax(row: &mut [f32], scale: f32) {
    let largest = scale * maximum(row);
    row.iter_mut().for_each(|x| *x = exp(*x * scale - largest));
    let factor = 1.0 / sum(row);
    row.iter_mut().for_each(|x| *x *= factor);
}

const LANES: usize = 8;

/// The sum in `LANES` interleaved partial sums: a fixed order, so a fixed result.
pub(super) fn sum(row: &[f32]) -> f32 {
    sum_of(row, |x| x)
}

/// The sum of `(x - mean)^2`.
pub(super) fn sum_of_squares(row: &[f32], mean: f32) -> f32 {
    sum_of(row, |x| (x - mean) * (x - mean))
}

fn sum_of(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|&x| term(x)).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane += term(x));
    }
    lanes.iter().sum::<f32>() + rest
}

fn maximum(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, &x)| *lane = if x > *lane { x } else { *lane });
    }
    lanes.iter().copied().fold(rest, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simpson's rule over the definition, in double precision.
    fn exact_erf(x: f64) -> f64 {
        let (steps, mut sum) = (2000, 0.0);
        for step in 0..=steps {
            let t = x * f64::from(step) / f64::from(steps);
            let factor = if step == 0 || step == steps {
                1.0
            } else {
                f64::from(2 + 2 * (step % 2))
            };
            sum += factor * (-t * t).exp();
        }
        sum * x / f64::from(steps) / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    fn grid(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0u16..=2000).map(move |step| from + (to - from) * f32::from(step) / 2000.0)
    }

    #[test]
    fn erf_agrees_with_its_definition() {
        for x in grid(-6.0, 6.0) {
            let error = (f64::from(erf(x)) - exact_erf(f64::from(x))).abs();
            assert!(error < 4e-7, "erf({x}) is off by {error}");
        }
    }

    #[test]
    fn activations_have_their_known_values() {
        let at_one = |name: &str| {
            let mut row = [0.75];
            HiddenActivation::from_name(name)
                .expect("known")
                .apply(&mut row, &[0.25]);
            row[0]
        };
        assert!((at_one("gelu") - 0.841_344_8).abs() < 1e-6);
        assert!((at_one("gelu_new") - 0.841_192).abs() < 1e-6);
        assert!((at_one("relu") - 1.0).abs() < 1e-6);
        assert_eq!(HiddenActivation::from_name("swish"), None);
        for name in HiddenActivation::NAMES.trim_start_matches("one of ").split(", ") {
            assert!(HiddenActivation::from_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn exp_agrees_with_the_library() {
        for x in grid(-86.0, 0.0).chain(grid(-1.0, 0.0)) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 1e-6, "exp({x}) is off by a relative {error}");
        }
        assert!(exp(-1e9) < 1e-37 && exp(f32::NEG_INFINITY) >= 0.0);
    }

    #[test]
    fn softmax_sums_to_one_and_keeps_ratios() {
        let mut row: Vec<f32> = (0u8..19).map(|x| f32::from(x) / 4.0).collect();
        softmax(&mut row, 0.5);
        assert!((sum(&row) - 1.0).abs() < 1e-6);
        for pair in row.windows(2) {
            assert!((pair[1] / pair[0] - 0.125f32.exp()).abs() < 1e-5);
        }
    }
}
