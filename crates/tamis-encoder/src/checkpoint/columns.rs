//! The names of vocabulary entries.

use super::policy::SpecialTokens;
use super::tokenizer::TextTokenizer;
use crate::transformer::Weights;
use std::collections::HashSet;

/// The token of every vocabulary entry, and their order.
#[derive(Default)]
pub(super) struct Columns {
    /// By id; none for an entry that never gets a weight.
    names: Vec<Option<String>>,
    /// By id: the place of its name among all, ascending by bytes.
    ranks: Vec<u32>,
}

impl Columns {
    /// Names the `vocabulary` entries of a model, but those that `special_tokens` leaves without a column.
    pub(super) fn new(vocabulary: usize, tokenizer: &TextTokenizer, special_tokens: SpecialTokens) -> Self {
        let zeroed = |id: &u32| match special_tokens {
            SpecialTokens::ZeroColumns => tokenizer.special.contains(id),
            SpecialTokens::ZeroAdded => tokenizer.added.contains(id),
            SpecialTokens::Keep | SpecialTokens::ExcludePositions | SpecialTokens::ZeroLogits => false,
        };
        let names: Vec<String> = distinct_names(vocabulary, tokenizer).collect();
        let mut order: Vec<u32> = (0u32..).take(vocabulary).collect();
        order.sort_unstable_by_key(|&id| &names[id as usize]);
        let mut ranks = vec![0; vocabulary];
        (0u32..).zip(order).for_each(|(rank, id)| ranks[id as usize] = rank);
        let names = (0u32..).zip(names).map(|(id, name)| (!zeroed(&id)).then_some(name));
        Self {
            names: names.collect(),
            ranks,
        }
    }

    /// `weights` with their tokens, ascending by the bytes of these.
    pub(super) fn named(&self, mut weights: Weights) -> impl Iterator<Item = (String, f32)> {
        weights.sort_unstable_by_key(|&(id, _)| self.ranks[id as usize]);
        let named = weights.into_iter();
        named.filter_map(|(id, weight)| Some((self.names[id as usize].clone()?, weight)))
    }
}

/// A name for each of `rows` ids, in their order.
///
/// Entries without a token (tables are padded to round sizes) and second entries of one token are named by their
/// number, so that names stay distinct.
pub(super) fn distinct_names(rows: usize, tokenizer: &TextTokenizer) -> impl Iterator<Item = String> {
    let mut seen = HashSet::new();
    (0u32..).take(rows).map(move |id| {
        let token = tokenizer.token(id).filter(|token| seen.insert(token.clone()));
        token.unwrap_or_else(|| format!("[id {id}]"))
    })
}
