//! A matrix of weights, quantised and packed into panels.

use super::{INT16_ACTIVATION, LANES, MAX_INPUTS, NO_ENDS, PanelEnds, Step};
use crate::elementwise::nearest;

/// How weights and activations are held during a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Single precision: the reference.
    #[default]
    F32,
    /// About 12 bits of weights times 13 bits of activations, in 16 each.
    Int16,
    /// 8 bits of weights times 8 bits of activations (7 on processors without VNNI).
    Int8,
}

impl Precision {
    /// Inputs of one step: what four bytes hold.
    pub(crate) const fn inputs_per_step(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Int16 => 2,
            Self::Int8 => 4,
        }
    }

    pub(crate) const fn steps(self, inputs: usize) -> usize {
        inputs.div_ceil(self.inputs_per_step())
    }
}

/// `W` and `b` of `x W^T + b`, packed.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    precision: Precision,
    inputs: usize,
    outputs: usize,
    steps: Vec<Step>,
    ends: Vec<PanelEnds>,
}

impl PackedMatrix {
    /// Packs `weights`, `[outputs, inputs]` row by row, and a bias per output (none is zero).
    ///
    /// Cost: reads the weights once. Memory: 4, 2 or 1 bytes a weight, rounded up to whole panels, and 384 a panel.
    ///
    /// # Panics
    /// When the weights are not whole rows of `inputs` (1 to [`MAX_INPUTS`]), or the bias has another length.
    #[must_use]
    pub fn pack(precision: Precision, weights: &[f32], inputs: usize, bias: Option<&[f32]>) -> Self {
        assert!(
            (1..=MAX_INPUTS).contains(&inputs),
            "1 to {MAX_INPUTS} inputs, not {inputs}"
        );
        assert!(weights.len().is_multiple_of(inputs), "weights are whole rows");
        let outputs = weights.len() / inputs;
        assert!(bias.is_none_or(|bias| bias.len() == outputs), "a bias for every output");
        let num_steps = precision.steps(inputs);
        let panels = outputs.div_ceil(LANES);
        let mut packed = Self {
            precision,
            inputs,
            outputs,
            steps: vec![Step([0; LANES]); panels * num_steps],
            ends: vec![NO_ENDS; panels],
        };
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            let (panel, lane) = (output / LANES, output % LANES);
            let steps = &mut packed.steps[panel * num_steps..][..num_steps];
            let ends = &mut packed.ends[panel];
            ends.bias[lane] = bias.map_or(0.0, |bias| bias[output]);
            match precision {
                Precision::F32 => steps
                    .iter_mut()
                    .zip(row)
                    .for_each(|(step, w)| step.0[lane] = w.to_bits()),
                Precision::Int16 | Precision::Int8 => pack_integers(precision, row, steps, lane, ends),
            }
        }
        packed
    }

    /// How weights are held.
    #[must_use]
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// Columns of W.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows of W.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Panels of [`LANES`] outputs, the last one perhaps not full.
    #[must_use]
    pub const fn num_panels(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.steps.len() * size_of::<Step>() + self.ends.len() * size_of::<PanelEnds>()
    }

    /// Copies row `output` of W into `row`; exactly what was packed in single precision, else what its integers stand
    /// for.
    ///
    /// # Panics
    /// When there is no such row, or `row` is not [`PackedMatrix::inputs`] long.
    pub fn read_row(&self, output: usize, row: &mut [f32]) {
        assert!(output < self.outputs && row.len() == self.inputs, "a row of the matrix");
        let (steps, ends) = self.panel(output / LANES);
        let lane = output % LANES;
        let scale = ends.scale[lane];
        for (values, step) in row.chunks_mut(self.precision.inputs_per_step()).zip(steps) {
            let bytes = step.0[lane].to_le_bytes();
            match (self.precision, values) {
                (Precision::F32, values) => values[0] = f32::from_le_bytes(bytes),
                (Precision::Int16, values) => values
                    .iter_mut()
                    .zip(bytes.as_chunks().0)
                    .for_each(|(value, &pair)| *value = f32::from(i16::from_le_bytes(pair)) * scale),
                (Precision::Int8, values) => values
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(value, byte)| *value = f32::from(byte.cast_signed()) * scale),
            }
        }
    }

    pub(crate) fn panel(&self, panel: usize) -> (&[Step], &PanelEnds) {
        let steps = self.precision.steps(self.inputs);
        (&self.steps[panel * steps..][..steps], &self.ends[panel])
    }
}

/// Quantises one row of W symmetrically.
fn pack_integers(precision: Precision, row: &[f32], steps: &mut [Step], lane: usize, ends: &mut PanelEnds) {
    let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    let factor = match precision {
        Precision::Int8 => int8_factor(largest),
        _ if largest == 0.0 => 0.0,
        _ => int16_factor(row, largest),
    };
    ends.scale[lane] = if factor == 0.0 { 0.0 } else { 1.0 / factor };
    let per_step = precision.inputs_per_step();
    for (values, step) in row.chunks(per_step).zip(steps) {
        let mut word = 0u32;
        for (at, w) in values.iter().enumerate() {
            let quantised = nearest(*w, factor);
            ends.sums[lane] += quantised;
            let bits = quantised.cast_unsigned();
            word |= match precision {
                Precision::Int8 => (bits & 0xff) << (8 * at),
                _ => (bits & 0xffff) << (16 * at),
            };
        }
        step.0[lane] = word;
    }
}

/// The factor that takes the largest magnitude of a row to 127; 0 for a row of zeros, or of numbers so small that their
/// products vanish.
fn int8_factor(largest: f32) -> f32 {
    let factor = 127.0 / largest;
    if factor.is_finite() { factor } else { 0.0 }
}

/// Appends the integers that stand for `row` in [`Precision::Int8`], -127 to 127, and gives what a step of one is
/// worth. Packing what they stand for gives the same integers again.
///
/// # Panics
/// When a value is not finite.
pub fn quantise_row(row: &[f32], integers: &mut Vec<i8>) -> f32 {
    assert!(row.iter().all(|value| value.is_finite()), "weights are finite");
    let factor = int8_factor(row.iter().fold(0.0f32, |largest, w| largest.max(w.abs())));
    let integer = |w: &f32| i8::try_from(nearest(*w, factor)).expect("the largest magnitude becomes 127");
    integers.extend(row.iter().map(integer));
    if factor == 0.0 { 0.0 } else { 1.0 / factor }
}

/// The largest factor for which neither a weight nor the sum of all magnitudes leaves its bound.
fn int16_factor(row: &[f32], largest: f32) -> f32 {
    let total: f64 = row.iter().map(|&w| f64::from(w.abs())).sum();
    // Rounding adds at most half a unit a weight.
    let inputs = u32::try_from(row.len()).expect("at most MAX_INPUTS");
    let room = f64::from(i32::MAX / INT16_ACTIVATION) - f64::from(inputs);
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of scales")]
    let by_sum = (room / total) as f32;
    by_sum.min(4095.0 / largest)
}
