//! Only the largest weights of each row, as SPLADE's top-k variants and SPARTA keep them.

use crate::Error;
use candle_core::Tensor;
use rayon::prelude::*;

/// Keeps the `k` largest weights of each row of `rows`, `[n, V]`, and sets the others to 0; the gradient goes to those
/// kept alone. Of equal weights the one of the lower index is kept. With `k` of V or more nothing changes.
///
/// # Errors
/// When the tensor is not a matrix of floating-point numbers.
pub fn top_k(rows: &Tensor, k: usize) -> Result<Tensor, Error> {
    let (number, width) = rows.dims2()?;
    if k >= width || number == 0 {
        return Ok(rows.clone());
    }
    let values = rows
        .detach()
        .to_dtype(candle_core::DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?;
    let kept: Vec<Vec<u8>> = values.par_chunks(width).map(|row| largest(row, k)).collect();
    let kept = Tensor::from_vec(kept.concat(), (number, width), rows.device())?;
    Ok(kept.where_cond(rows, &rows.zeros_like()?.detach())?)
}

/// 1 for each of the `k` largest values.
fn largest(row: &[f64], k: usize) -> Vec<u8> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    let mut kept = vec![0; row.len()];
    if k > 0 {
        order.select_nth_unstable_by(k - 1, |&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    }
    for &at in &order[..k] {
        kept[at] = 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_lowest_of_equal_weights_stay_and_alone_get_gradients() {
        let rows = Var::new(&[[0.5f64, 2.0, 2.0, 2.0], [3.0, 0.0, 0.0, 1.0]], &Device::Cpu).expect("small");
        let kept = top_k(&rows, 2).expect("a matrix");
        assert_eq!(
            kept.to_vec2::<f64>().expect("a matrix"),
            [[0.0, 2.0, 2.0, 0.0], [3.0, 0.0, 0.0, 1.0]]
        );
        let gradients = kept
            .sqr()
            .and_then(|squares| squares.sum_all()?.backward())
            .expect("a scalar");
        let gradient = gradients
            .get(&rows)
            .expect("a gradient")
            .to_vec2::<f64>()
            .expect("a matrix");
        assert_eq!(gradient, [[0.0, 4.0, 4.0, 0.0], [6.0, 0.0, 0.0, 2.0]]);
    }

    #[test]
    fn all_or_nothing_can_be_kept() {
        let rows = Tensor::new(&[[0.5f32, 2.0]], &Device::Cpu).expect("small");
        let of = |k| {
            top_k(&rows, k)
                .and_then(|kept| Ok(kept.to_vec2::<f32>()?))
                .expect("a matrix")
        };
        assert_eq!(of(0), [[0.0, 0.0]]);
        assert_eq!(of(1), [[0.0, 2.0]]);
        assert_eq!(of(2), [[0.5, 2.0]]);
        assert_eq!(of(9), [[0.5, 2.0]]);
    }
}
