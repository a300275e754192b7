//! The short way of inference-free queries: where a token's weight depends on the token alone, encoding is looking up.

use super::policy::{Scatter, TermUnit};
use super::settings::SideSettings;
use super::tokenizer::TextTokenizer;

/// The weight and the name of every token, ready to be sorted.
pub(super) struct QueryLookup {
    /// By token id: the rank of its name and its weight, which is 0 where it gets none.
    entries: Vec<(u32, f32)>,
    /// Names ascending by their bytes, which is by rank.
    names: Vec<Box<str>>,
}

impl QueryLookup {
    /// Whether the tokens of one text can be looked up one by one: pieces as the tokenizer makes them of the text as it
    /// is, of which repetitions do not count.
    pub(super) fn serves(settings: &SideSettings) -> bool {
        settings.terms == TermUnit::Pieces && settings.scatter == Scatter::Max && settings.expansion.is_none()
    }

    /// Looks up `weight` once for each id of `tokenizer`; `None` for a token that never gets one.
    pub(super) fn new(tokenizer: &TextTokenizer, settings: &SideSettings, weight: impl Fn(u32) -> Option<f32>) -> Self {
        let ids = u32::try_from(tokenizer.num_ids()).unwrap_or(u32::MAX);
        let mut tokens: Vec<(String, u32)> = (0..ids).filter_map(|id| Some((tokenizer.token(id)?, id))).collect();
        tokens.sort_unstable();
        let mut entries = vec![(0, 0.0); tokenizer.num_ids()];
        let mut names: Vec<Box<str>> = Vec::with_capacity(tokens.len());
        for (token, id) in tokens {
            let weight = weight(id).filter(|_| !settings.stop_words.drop(&token));
            // Two ids of one token share a rank.
            if names.last().is_none_or(|last| **last != *token) {
                names.push(token.into());
            }
            let rank = u32::try_from(names.len() - 1).unwrap_or(u32::MAX);
            entries[id as usize] = (rank, weight.map_or(0.0, |weight| weight.max(0.0)));
        }
        Self { entries, names }
    }

    /// The distinct tokens among `ids` that get a weight, ascending by their bytes.
    pub(super) fn look_up(&self, ids: &[u32]) -> Vec<(String, f32)> {
        let entry = |&id: &u32| self.entries.get(id as usize).copied();
        let mut found: Vec<(u32, f32)> = ids
            .iter()
            .filter_map(entry)
            .filter(|&(_, weight)| weight > 0.0)
            .collect();
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        found.dedup_by_key(|&mut (rank, _)| rank);
        let named = |(rank, weight): (u32, f32)| (self.names[rank as usize].to_string(), weight);
        found.into_iter().map(named).collect()
    }
}
