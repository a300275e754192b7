//! What is dropped of a representation: gradients go through what is kept alone.

use crate::Error;
use candle_core::{D, DType, Tensor};

/// Keeps weights above `min_weight` and above `prune_ratio` times the largest of their row; then, where `top_k` is set,
/// so many of the largest of a row, of equal ones the lowest columns.
pub(super) fn prune(
    weights: &Tensor,
    (min_weight, prune_ratio): (f32, f32),
    top_k: Option<usize>,
) -> Result<Tensor, Error> {
    let mut kept = weights.clone();
    if min_weight > 0.0 || prune_ratio > 0.0 {
        let values = kept.detach();
        let least = (values.max_keepdim(D::Minus1)? * f64::from(prune_ratio))?;
        let floor = (least.ones_like()? * f64::from(min_weight))?;
        let above = values.broadcast_gt(&least.maximum(&floor)?)?;
        kept = kept.mul(&above.to_dtype(kept.dtype())?)?;
    }
    match top_k {
        Some(top_k) if top_k < kept.dim(1)? => Ok(kept.mul(&largest_mask(&kept, top_k)?)?),
        _ => Ok(kept),
    }
}

/// 1 for the `top_k` largest of each row, 0 for others.
fn largest_mask(weights: &Tensor, top_k: usize) -> Result<Tensor, Error> {
    let rows = weights.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let mut mask = Vec::with_capacity(weights.elem_count());
    for row in rows {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.select_nth_unstable_by(top_k, |&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        let start = mask.len();
        mask.resize(start + row.len(), 0u8);
        order[..top_k].iter().for_each(|&column| mask[start + column] = 1);
    }
    let mask = Tensor::from_vec(mask, weights.shape(), weights.device())?;
    Ok(mask.to_dtype(weights.dtype())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn gradients_go_through_what_is_kept() {
        let weights =
            Var::new(&[[4.0f64, 1.0, 3.0, 3.0, 0.0], [0.5, 0.5, 0.1, 0.5, 0.0]], &Device::Cpu).expect("small");
        let of = |thresholds, top_k| {
            let kept = prune(&weights, thresholds, top_k).expect("a matrix");
            let gradients = kept.sum_all().and_then(|sum| sum.backward()).expect("differentiable");
            let gradient = gradients
                .get(&weights)
                .expect("a variable")
                .to_vec2::<f64>()
                .expect("a matrix");
            (kept.to_vec2::<f64>().expect("a matrix"), gradient)
        };
        let (kept, gradient) = of((0.0, 0.0), Some(2));
        assert_eq!(kept, [[4.0, 0.0, 3.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0, 0.0]]);
        assert_eq!(gradient, [[1.0, 0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0]]);
        let (kept, gradient) = of((0.0, 0.5), None);
        assert_eq!(kept, [[4.0, 0.0, 3.0, 3.0, 0.0], [0.5, 0.5, 0.0, 0.5, 0.0]]);
        assert_eq!(gradient[0], [1.0, 0.0, 1.0, 1.0, 0.0]);
        let (kept, _) = of((0.5, 0.0), None);
        assert_eq!(kept, [[4.0, 1.0, 3.0, 3.0, 0.0], [0.0; 5]], "not above 0.5");
        let (kept, _) = of((0.0, 0.0), Some(5));
        assert_eq!(kept, weights.to_vec2::<f64>().expect("a matrix"));
    }
}
