//! Numbers of tokens onto the columns of their terms.
//!
//! Which token gives a column its weight is decided on the values, without a gradient; the weights themselves are
//! gathered and added, so the gradient reaches the tokens that were chosen and no other. Of equal largest ones the first
//! is taken, as PyTorch's maximum over a dimension does. The rules are those of uniCOIL (Lin and Ma, 2021), DeepImpact
//! (Mallia et al., SIGIR 2021) and the LSR framework (Nguyen et al., ECIR 2023).

use crate::Error;
use crate::checkpoint::policy::Scatter;
use candle_core::{DType, Tensor};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A token and where its weight goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Of the weights.
    pub(super) row: u32,
    pub(super) text: usize,
    pub(super) column: u32,
}

/// `weights`, one a row, on `[texts, columns]`: of the tokens of one text and column the largest, the first, or the sum.
/// Columns without a token are 0.
pub(super) fn scatter(
    weights: &Tensor,
    places: &[Place],
    rule: Scatter,
    (texts, columns): (usize, usize),
) -> Result<Tensor, Error> {
    let device = weights.device();
    let zeros = Tensor::zeros(texts * columns, weights.dtype(), device)?;
    let chosen = match rule {
        Scatter::Sum => places.to_vec(),
        Scatter::First => best(places, |_, _| false),
        Scatter::Max => {
            let values = weights.detach().to_dtype(DType::F64)?.to_vec1::<f64>()?;
            best(places, |new, old| values[new as usize] > values[old as usize])
        }
    };
    if chosen.is_empty() {
        return Ok(zeros.reshape((texts, columns))?);
    }
    let cell = |place: &Place| {
        let cell = place.text * columns + place.column as usize;
        u32::try_from(cell).map_err(candle_core::Error::wrap)
    };
    let cells = chosen.iter().map(cell).collect::<Result<Vec<u32>, _>>()?;
    let rows: Vec<u32> = chosen.iter().map(|place| place.row).collect();
    let len = chosen.len();
    let picked = weights.index_select(&Tensor::from_vec(rows, len, device)?, 0)?;
    let scattered = zeros.index_add(&Tensor::from_vec(cells, len, device)?, &picked, 0)?;
    Ok(scattered.reshape((texts, columns))?)
}

/// Of the places with one text and column the first, or one that is `better` than all before it; in the order in which
/// columns are first met.
fn best(places: &[Place], better: impl Fn(u32, u32) -> bool) -> Vec<Place> {
    let mut kept: Vec<Place> = Vec::new();
    let mut at: HashMap<(usize, u32), usize> = HashMap::new();
    for &place in places {
        match at.entry((place.text, place.column)) {
            Entry::Vacant(entry) => {
                entry.insert(kept.len());
                kept.push(place);
            }
            Entry::Occupied(entry) => {
                let old = &mut kept[*entry.get()];
                if better(place.row, old.row) {
                    *old = place;
                }
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn places(list: &[(u32, usize, u32)]) -> Vec<Place> {
        let place = |&(row, text, column): &(u32, usize, u32)| Place { row, text, column };
        list.iter().map(place).collect()
    }

    /// The scattered matrix, and what the gradient of its sum times `factors` is for each row.
    fn scattered(rule: Scatter, factors: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let weights = Var::new(&[1.0f64, 3.0, 3.0, -2.0, 5.0], &Device::Cpu).expect("small");
        let list = places(&[(0, 0, 2), (1, 0, 2), (2, 0, 2), (3, 0, 0), (4, 1, 2)]);
        let matrix = scatter(&weights, &list, rule, (2, 3)).expect("inside");
        let factors = Tensor::from_slice(factors, (2, 3), &Device::Cpu).expect("as many");
        let loss = (&matrix * factors)
            .and_then(|product| product.sum_all())
            .expect("one shape");
        let gradients = loss.backward().expect("differentiable");
        let flat = |tensor: &Tensor| {
            tensor
                .flatten_all()
                .and_then(|tensor| tensor.to_vec1())
                .expect("numbers")
        };
        (flat(&matrix), flat(gradients.get(&weights).expect("a variable")))
    }

    #[test]
    fn the_gradient_reaches_the_tokens_that_count() {
        let factors = [1.0, 10.0, 2.0, 0.0, 0.0, 4.0];
        assert_eq!(
            scattered(Scatter::Max, &factors),
            (vec![-2.0, 0.0, 3.0, 0.0, 0.0, 5.0], vec![0.0, 2.0, 0.0, 1.0, 4.0])
        );
        assert_eq!(
            scattered(Scatter::First, &factors),
            (vec![-2.0, 0.0, 1.0, 0.0, 0.0, 5.0], vec![2.0, 0.0, 0.0, 1.0, 4.0])
        );
        assert_eq!(
            scattered(Scatter::Sum, &factors),
            (vec![-2.0, 0.0, 7.0, 0.0, 0.0, 5.0], vec![2.0, 2.0, 2.0, 1.0, 4.0])
        );
    }

    #[test]
    fn texts_without_tokens_are_rows_of_zeros() {
        let weights = Tensor::new(&[1f32], &Device::Cpu).expect("small");
        let none = scatter(&weights, &[], Scatter::Max, (2, 3)).expect("inside");
        assert_eq!(none.to_vec2::<f32>().expect("a matrix"), vec![vec![0.0; 3]; 2]);
    }
}
