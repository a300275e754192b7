//! Single precision: the kernels, with rows shared out to all threads.
//!
//! Only outputs are shared out, so that results are the same to the bit for any number of threads.

use super::element::{Element, Largest};
use super::view::{HeadView, Norm, Start, View};
use crate::transformer::HiddenActivation;
use rayon::prelude::*;
use std::ops::Range;
use tamis_kernels::{
    AttentionBackwardScratch, AttentionScratch, Head, LANES, Lanes, MatrixView, NormBackward, PackedColumns,
    PackedRows, Precision, ProductRows, active,
};

/// Values of packed rows that stay in the second-level cache beside a panel.
const VALUES_PER_PART: usize = 1 << 16;

/// Parts that a thread takes one after the other, so that one that is held up by another program holds up none.
const PARTS_PER_THREAD: usize = 4;

/// Rows of the pooled texts that one thread takes through all panels together.
const POOLED_ROWS: usize = 640;

impl Element for f32 {
    type Scratch = AttentionScratch;
    type BackwardScratch = AttentionBackwardScratch;

    fn multiply(left: View<'_, Self>, right: View<'_, Self>, start: Start<'_, Self>, out: &mut [Self]) {
        let (rows, inputs, outputs) = (left.rows(), left.columns(), right.columns());
        debug_assert_eq!((inputs, out.len()), (right.rows(), rows * outputs), "shapes meet");
        if inputs == 0 || rows == 0 {
            return begin(start, outputs, out);
        }
        let kernels = active();
        let (left, right) = (matrix(left), matrix(right));
        let rows_per_part = rows_per_part(rows, inputs);
        let mut columns = PackedColumns::default();
        for block in PackedColumns::blocks(inputs) {
            let start = match block.start {
                0 => start.kernel(),
                _ => tamis_kernels::Start::Present,
            };
            columns.lay_out(block.clone(), outputs);
            pack(&mut columns, &right, &block);
            let parts = out.par_chunks_mut(rows_per_part * outputs).enumerate();
            parts.for_each_init(PackedRows::default, |packed, (part, out)| {
                let first = part * rows_per_part;
                let product = ProductRows {
                    left,
                    rows: first..first + out.len() / outputs,
                    right: &columns,
                    start,
                };
                product.write(kernels, packed, out);
            });
        }
    }

    fn attend(head: &HeadView<'_, Self>, scratch: &mut Self::Scratch, out: &mut [Self]) {
        active().attend(&kernel_head(head), scratch, out);
    }

    fn attend_backward(
        head: &HeadView<'_, Self>,
        gradient: (&[Self], usize),
        scratch: &mut Self::BackwardScratch,
        out: &mut [Self],
    ) {
        active().attend_backward(&kernel_head(head), gradient, scratch, out);
    }

    fn rotate(pair: (&mut [Self], &mut [Self]), cosines: &[Self], sines: &[Self]) {
        active().rotate(pair.0, pair.1, cosines, sines);
    }

    fn activate(row: &mut [Self], activation: HiddenActivation) {
        active().activate(row, activation.kernel());
    }

    fn activate_backward(row: &mut [Self], gradient: &mut [Self], activation: HiddenActivation) {
        active().activate_backward(row, gradient, activation.kernel());
    }

    fn normalise(row: &mut [Self], norm: &Norm<'_, Self>) {
        active().layer_norm(row, norm.weight, norm.bias, norm.epsilon);
    }

    fn normalise_backward(row: &[Self], gradient: &mut [Self], norm: &Norm<'_, Self>, sums: [&mut [Self]; 2]) {
        let [weight_gradient, bias_gradient] = sums;
        let mut backward = NormBackward {
            weight: norm.weight,
            epsilon: norm.epsilon,
            weight_gradient,
            bias_gradient,
        };
        active().layer_norm_backward(row, gradient, &mut backward);
    }

    fn add_row(row: &mut [Self], other: &[Self]) {
        active().add(row, other);
    }

    fn add_scaled(row: &mut [Self], factor: Self, other: &[Self]) {
        active().add_scaled(row, factor, other);
    }

    fn scale_by(row: &mut [Self], other: &[Self]) {
        active().scale_by(row, other);
    }

    fn largest_products(rows: &[Self], columns: &[Self], width: usize, ranges: &[Range<usize>]) -> Largest<Self> {
        let outputs = columns.len() / width;
        let right = MatrixView::new(columns, width).transposed();
        let mut packed = PackedColumns::default();
        packed.lay_out(0..width, outputs);
        pack(&mut packed, &right, &(0..width));
        let mut largest = Largest {
            values: vec![f32::NEG_INFINITY; ranges.len() * outputs],
            rows: vec![0; ranges.len() * outputs],
        };
        let (mut values, mut places) = (&mut largest.values[..], &mut largest.rows[..]);
        let mut groups = Vec::new();
        for ranges in groups_of(ranges) {
            let (group_values, rest) = values.split_at_mut(ranges.len() * outputs);
            let (group_places, rest_of_places) = places.split_at_mut(ranges.len() * outputs);
            (values, places) = (rest, rest_of_places);
            groups.push((ranges, group_values, group_places));
        }
        groups.into_par_iter().for_each(|(ranges, values, places)| {
            largest_of_group((rows, width), &packed, ranges, (values, places));
        });
        largest
    }
}

/// Texts whose rows are taken through all panels together: as many as fit, but enough groups for all threads.
fn groups_of(ranges: &[Range<usize>]) -> Vec<&[Range<usize>]> {
    let total: usize = ranges.iter().map(Range::len).sum();
    let fair = total.div_ceil(rayon::current_num_threads().max(1));
    let limit = POOLED_ROWS.min(fair).max(1);
    let (mut groups, mut rest) = (Vec::new(), ranges);
    while !rest.is_empty() {
        let mut rows = 0;
        let fits = rest.iter().take_while(|range| {
            rows += range.len();
            rows <= limit
        });
        let (group, others) = rest.split_at(fits.count().max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

/// Fills the largest products of some texts, `[texts, columns]` each.
fn largest_of_group(
    (rows, width): (&[f32], usize),
    columns: &PackedColumns,
    ranges: &[Range<usize>],
    (values, places): (&mut [f32], &mut [u32]),
) {
    let kernels = active();
    let outputs = values.len() / ranges.len();
    let gathered: Vec<f32>;
    let contiguous = ranges.windows(2).all(|pair| pair[0].end == pair[1].start);
    let rows = if contiguous {
        &rows[ranges[0].start * width..ranges[ranges.len() - 1].end * width]
    } else {
        let texts = ranges.iter().map(|range| &rows[range.start * width..range.end * width]);
        gathered = texts.collect::<Vec<_>>().concat();
        &gathered
    };
    let mut packed = PackedRows::default();
    packed.pack(kernels, Precision::F32, rows, width);
    // Where each text's rows end among those packed.
    let ends: Vec<usize> = ranges
        .iter()
        .scan(0, |end, range| {
            *end += range.len();
            Some(*end)
        })
        .collect();
    let mut best: Vec<(Lanes, [u32; LANES])> = Vec::new();
    for panel in 0..columns.num_panels() {
        best.clear();
        best.resize(ranges.len(), ([f32::NEG_INFINITY; LANES], [0; LANES]));
        let mut text = 0;
        kernels.multiply_panel(&packed, columns, panel, |first, products| {
            let mut done = 0;
            while done < products.len() {
                while ends[text] <= first + done {
                    text += 1;
                }
                let until = ends[text].min(first + products.len()) - first;
                // Rows as the caller numbers them.
                let row = first + done + ranges[text].end - ends[text];
                let row = u32::try_from(row).expect("batches stay far below 2^32 rows");
                let (best, places) = &mut best[text];
                kernels.first_max_of_rows(best, places, &products[done..until], row);
                done = until;
            }
        });
        let start = panel * LANES;
        let len = LANES.min(outputs - start);
        for (text, (best, rows)) in best.iter().enumerate() {
            let at = text * outputs + start;
            values[at..at + len].copy_from_slice(&best[..len]);
            places[at..at + len].copy_from_slice(&rows[..len]);
        }
    }
}

fn pack(columns: &mut PackedColumns, right: &MatrixView<'_>, inputs: &Range<usize>) {
    let panels: Vec<_> = columns.panels_mut().enumerate().collect();
    panels
        .into_par_iter()
        .with_min_len(VALUES_PER_PART.div_ceil(inputs.len() * LANES))
        .for_each(|(panel, steps)| active().pack_panel(right, inputs, panel, steps));
}

fn rows_per_part(rows: usize, inputs: usize) -> usize {
    let fits = (VALUES_PER_PART / inputs.min(768)).max(LANES);
    let fair = rows.div_ceil(PARTS_PER_THREAD * rayon::current_num_threads());
    fits.min(fair.max(LANES))
}

fn begin(start: Start<'_, f32>, outputs: usize, out: &mut [f32]) {
    match start {
        Start::Zero => out.fill(0.0),
        Start::Present => {}
        Start::Bias(bias) => out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias)),
    }
}

fn matrix(view: View<'_, f32>) -> MatrixView<'_> {
    let matrix = MatrixView::new(view.values, view.width);
    match view.transposed {
        true => matrix.transposed(),
        false => matrix,
    }
}

fn kernel_head<'a>(head: &HeadView<'a, f32>) -> Head<'a> {
    Head {
        rows: head.rows,
        stride: head.stride,
        columns: head.columns,
        size: head.size,
        window: head.window,
    }
}
