//! What layers gave that do not change: computed once a text, kept within a bound.

use crate::transformer::Rows;
use candle_core::{Result, Tensor};
use std::collections::{HashMap, VecDeque};

/// Hidden states by the tokens of their text, the oldest dropped first.
pub(super) struct ActivationCache {
    limit: usize,
    bytes: usize,
    states: HashMap<Vec<u32>, Tensor>,
    order: VecDeque<Vec<u32>>,
}

impl ActivationCache {
    /// Keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            states: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The states of `texts` one after the other, `[rows, width]`; `compute` gives those that are not kept.
    pub(super) fn states(&mut self, texts: &[&[u32]], compute: impl Fn(&Rows) -> Result<Tensor>) -> Result<Tensor> {
        let mut found: Vec<Option<Tensor>> = texts.iter().map(|&ids| self.states.get(ids).cloned()).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|&at| found[at].is_none()).collect();
        if !missing.is_empty() {
            let mut rows = Rows::default();
            missing.iter().for_each(|&at| rows.push(texts[at]));
            let computed = compute(&rows)?;
            for (&at, range) in missing.iter().zip(&rows.ranges) {
                // A copy of its own, or the whole batch would stay as long as any text of it.
                let states = computed
                    .narrow(0, range.start, range.len())?
                    .force_contiguous()?
                    .detach();
                self.keep(texts[at], &states);
                found[at] = Some(states);
            }
        }
        let found: Vec<Tensor> = found.into_iter().flatten().collect();
        Tensor::cat(&found, 0)
    }

    fn keep(&mut self, ids: &[u32], states: &Tensor) {
        let size = |states: &Tensor| states.elem_count() * states.dtype().size_in_bytes();
        let bytes = size(states);
        if bytes > self.limit || self.states.contains_key(ids) {
            return;
        }
        while self.bytes + bytes > self.limit {
            let oldest = self.order.pop_front().and_then(|ids| self.states.remove(&ids));
            let Some(oldest) = oldest else { break };
            self.bytes -= size(&oldest);
        }
        self.bytes += bytes;
        self.order.push_back(ids.to_vec());
        self.states.insert(ids.to_vec(), states.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use std::cell::Cell;

    #[test]
    fn texts_are_computed_once_while_there_is_room() {
        let rows_computed = Cell::new(0);
        let compute = |rows: &Rows| {
            rows_computed.set(rows_computed.get() + rows.ids.len());
            let values: Vec<f32> = rows.ids.iter().map(|&id| id as f32).collect();
            Tensor::from_vec(values, (rows.ids.len(), 1), &Device::Cpu)
        };
        // Room for five rows of one value.
        let mut cache = ActivationCache::new(20);
        let mut states = |texts: &[&[u32]]| {
            let states = cache.states(texts, compute).expect("computed");
            let values = states
                .flatten_all()
                .and_then(|states| states.to_vec1::<f32>())
                .expect("numbers");
            (values, rows_computed.replace(0))
        };
        assert_eq!(states(&[&[1, 2], &[3]]), (vec![1.0, 2.0, 3.0], 3));
        assert_eq!(states(&[&[3], &[1, 2], &[4, 5]]), (vec![3.0, 1.0, 2.0, 4.0, 5.0], 2));
        // The oldest text goes, though it was used since.
        assert_eq!(states(&[&[6]]), (vec![6.0], 1));
        assert_eq!(states(&[&[4, 5], &[3], &[6]]), (vec![4.0, 5.0, 3.0, 6.0], 0));
        assert_eq!(states(&[&[1, 2]]), (vec![1.0, 2.0], 2));
        assert_eq!(states(&[&[7; 6]]).1, 6);
        assert_eq!(states(&[&[7; 6]]).1, 6, "too long to be kept");
    }
}
