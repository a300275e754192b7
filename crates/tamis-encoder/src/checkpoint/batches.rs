//! Texts in batches through a transformer, and their results back in the order of the texts.

use super::tokenizer::Tokens;
use crate::Error;
use crate::transformer::{BatchBudget, PlacedBackbone, Rows, Workers};
use rayon::prelude::*;

/// Texts that went through the layers together.
pub(super) struct Batch<'a> {
    pub(super) workers: Workers,
    /// Their places among all texts.
    pub(super) order: &'a [usize],
    pub(super) texts: Vec<&'a Tokens>,
    pub(super) rows: Rows,
    /// The last hidden states, `[rows, width]`.
    pub(super) hidden: Vec<f32>,
    /// Those at the end of the branch, where the backbone has one and it was asked for.
    pub(super) branch: Option<Vec<f32>>,
}

/// Runs texts through `backbone` in batches, longest first: on the CPU a batch a thread, or where there are fewer
/// batches than threads all threads on each; on a device one after the other. `with_branch` also asks for the states at
/// the end of its branch. `finish` makes one result a text of each batch; they come back in the order of the texts.
pub(super) fn in_batches<T: Send>(
    backbone: &PlacedBackbone,
    texts: &[&Tokens],
    with_branch: bool,
    finish: impl Fn(Batch<'_>) -> Result<Vec<T>, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(texts[text].ids.len()));
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch_len(rest, texts, backbone.batch_budget()));
        batches.push(batch);
        rest = after;
    }
    let workers = Workers {
        kernels: tamis_kernels::active(),
        shared: batches.len() < rayon::current_num_threads(),
    };
    let one = |order: &&[usize]| {
        let texts: Vec<&Tokens> = order.iter().map(|&text| texts[text]).collect();
        let mut rows = Rows::default();
        texts.iter().for_each(|text| rows.push(&text.ids));
        let (hidden, branch) = match with_branch {
            true => backbone.forward_both(workers, &rows)?,
            false => (backbone.forward(workers, &rows)?, None),
        };
        finish(Batch {
            workers,
            order,
            texts,
            rows,
            hidden,
            branch,
        })
    };
    let done: Vec<Vec<T>> = match backbone {
        PlacedBackbone::Packed(_) => batches.par_iter().map(one).collect::<Result<_, Error>>()?,
        PlacedBackbone::Device(_) => batches.iter().map(one).collect::<Result<_, Error>>()?,
    };
    let mut results: Vec<(usize, T)> = order.iter().copied().zip(done.into_iter().flatten()).collect();
    results.sort_by_key(|&(text, _)| text);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// How many of `order`, the longest first, make the next batch: at least one, and no more than the budget allows.
fn batch_len(order: &[usize], texts: &[&Tokens], budget: BatchBudget) -> usize {
    let longest = texts[order[0]].ids.len();
    let mut tokens = 0;
    let fits = order.iter().enumerate().take_while(|&(at, &text)| {
        tokens += texts[text].ids.len();
        match budget {
            BatchBudget::Ragged(budget) => tokens <= budget,
            BatchBudget::Padded(budget) => (at + 1) * longest <= budget,
        }
    });
    fits.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_the_budget() {
        let text = |len: usize| Tokens {
            ids: vec![0; len],
            ..Tokens::default()
        };
        let texts: Vec<Tokens> = [300, 150, 100, 6, 1, 1].into_iter().map(text).collect();
        let texts: Vec<&Tokens> = texts.iter().collect();
        let ragged = |order: &[usize]| batch_len(order, &texts, BatchBudget::Ragged(256));
        assert_eq!(ragged(&[0, 1, 2, 3, 4, 5]), 1, "one text always fits");
        assert_eq!(ragged(&[1, 2, 3, 4, 5]), 3, "150 + 100 + 6 tokens");
        assert_eq!(ragged(&[4, 5]), 2);
        let padded = |order: &[usize]| batch_len(order, &texts, BatchBudget::Padded(310));
        assert_eq!(
            (padded(&[0, 1, 2]), padded(&[1, 2, 3, 4]), padded(&[3, 4, 5])),
            (1, 2, 3)
        );
    }
}
