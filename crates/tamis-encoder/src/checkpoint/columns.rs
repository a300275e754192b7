//! The names of vocabulary entries.

use super::policy::SpecialTokens;
use super::tokenizer::TextTokenizer;
use std::collections::HashSet;

/// Token and id of every vocabulary entry that may get a weight, ascending by the token's bytes.
///
/// Entries without a token (tables are padded to round sizes) and second entries of one token are named by their
/// number, so that names stay distinct.
pub(super) fn columns(
    vocabulary: usize,
    tokenizer: &TextTokenizer,
    special_tokens: SpecialTokens,
) -> Vec<(String, u32)> {
    let zeroed = |id: &u32| match special_tokens {
        SpecialTokens::ZeroColumns => tokenizer.special.contains(id),
        SpecialTokens::ZeroAdded => tokenizer.added.contains(id),
        SpecialTokens::Keep | SpecialTokens::ExcludePositions | SpecialTokens::ZeroLogits => false,
    };
    let mut seen = HashSet::new();
    let named = (0u32..).take(vocabulary).map(|id| {
        let token = tokenizer.token(id).filter(|token| seen.insert(token.clone()));
        (token.unwrap_or_else(|| format!("[id {id}]")), id)
    });
    let mut columns: Vec<_> = named.filter(|(_, id)| !zeroed(id)).collect();
    columns.sort_unstable();
    columns
}
