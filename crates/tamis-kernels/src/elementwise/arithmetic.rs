//! Sums, products, rotations and maxima of rows.

use super::fma;
use crate::dense::{LANES, Lanes};

#[inline(always)]
pub(super) fn add<const FMA: bool>(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(x, y)| *x += y);
}

#[inline(always)]
pub(super) fn scale_by<const FMA: bool>(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(x, y)| *x *= y);
}

#[inline(always)]
pub(super) fn rotate<const FMA: bool>(first: &mut [f32], second: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let pairs = first.iter_mut().zip(second).zip(cosines.iter().zip(sines));
    for ((a, b), (cos, sin)) in pairs {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

#[inline(always)]
pub(super) fn max_of_rows<const FMA: bool>(best: &mut Lanes, rows: &[Lanes]) {
    for row in rows {
        best.iter_mut()
            .zip(row)
            .for_each(|(best, &x)| *best = if x > *best { x } else { *best });
    }
}

#[inline(always)]
pub(super) fn first_max_of_rows<const FMA: bool>(
    best: &mut Lanes,
    places: &mut [u32; LANES],
    rows: &[Lanes],
    first: u32,
) {
    for (place, row) in (first..).zip(rows) {
        for ((best, at), &x) in best.iter_mut().zip(places.iter_mut()).zip(row) {
            let above = x > *best;
            *best = if above { x } else { *best };
            *at = if above { place } else { *at };
        }
    }
}

#[inline(always)]
pub(super) fn add_scaled<const FMA: bool>(row: &mut [f32], factor: f32, other: &[f32]) {
    row.iter_mut()
        .zip(other)
        .for_each(|(x, &y)| *x = fma::<FMA>(factor, y, *x));
}

#[cfg(test)]
mod tests {
    use crate::Kernels;

    #[test]
    fn rows_are_added_scaled_turned_and_compared() {
        for kernels in Kernels::available() {
            let mut row = [1.0, 2.0, 3.0];
            kernels.add(&mut row, &[0.5, 0.5, 0.5]);
            kernels.scale_by(&mut row, &[2.0, 1.0, 0.0]);
            assert_eq!(row, [3.0, 2.5, 0.0]);

            let (mut first, mut second) = ([1.0, 2.0], [0.0, 3.0]);
            kernels.rotate(&mut first, &mut second, &[0.0, 1.0], &[1.0, 0.0]);
            assert_eq!((first, second), ([0.0, 2.0], [1.0, 3.0]), "a quarter turn, and none");

            let mut best = [0.0; 32];
            let rows = [-1.0, 4.0, 2.0].map(|x| [x; 32]);
            kernels.max_of_rows(&mut best, &rows);
            assert_eq!(best, [4.0; 32]);

            let (mut best, mut places) = ([0.0; 32], [9; 32]);
            let rows = [-1.0, 4.0, 4.0, 2.0, f32::NAN].map(|x| [x; 32]);
            kernels.first_max_of_rows(&mut best, &mut places, &rows[..1], 6);
            assert_eq!((best, places), ([0.0; 32], [9; 32]), "nothing above");
            kernels.first_max_of_rows(&mut best, &mut places, &rows, 6);
            assert_eq!((best, places), ([4.0; 32], [7; 32]), "the first of equal ones");

            let mut row = [1.0, 2.0];
            kernels.add_scaled(&mut row, 0.5, &[2.0, -4.0, 7.0]);
            assert_eq!(row, [2.0, 0.0]);
        }
    }
}
