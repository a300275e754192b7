//! The k best hits seen so far.

use crate::{DocId, Hit, Score};

/// Collects the `k` best of any number of hits, ties included, in the total order of [`Hit`].
///
/// Hits are buffered and cut back to the best `k` by selection whenever twice as many have gathered:
/// amortised constant time a hit, without a heap's branches. A document must be pushed at most once.
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    capacity: usize,
    floor: Score,
    /// The k-th best hit of those compacted so far; `None` while fewer than k are known.
    worst: Option<Key>,
    hits: Vec<Key>,
}

/// A hit as one integer in the order of [`Hit`], which sorts in half the time: the complement of the
/// score above the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    const fn new(hit: Hit) -> Self {
        Self(((!hit.score.get()) as u64) << 32 | hit.doc.get() as u64)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the integer")]
    const fn hit(self) -> Hit {
        Hit::new(Score::new(!((self.0 >> 32) as u32)), DocId::new(self.0 as u32))
    }
}

/// Room beyond `k` before the buffer is cut back; keeps tiny `k` from selecting at every push.
const SLACK: usize = 48;

impl TopK {
    /// Collects the `k` best hits.
    #[must_use]
    pub fn new(k: usize) -> Self {
        let mut top = Self {
            k: 0,
            capacity: 0,
            floor: Score::ZERO,
            worst: None,
            hits: Vec::new(),
        };
        top.reset(k, Score::ZERO);
        top
    }

    /// Forgets all hits and starts again for `k`; keeps its memory.
    ///
    /// Hits below `floor` are not admitted: pass a score that at least `k` documents are known to
    /// reach, or zero. Hits that score zero are never admitted.
    pub fn reset(&mut self, k: usize, floor: Score) {
        self.k = k;
        self.capacity = k.saturating_mul(2).saturating_add(SLACK);
        self.floor = floor.max(Score::new(1));
        self.worst = None;
        self.hits.clear();
    }

    /// How many hits are wanted.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The lowest score that may still enter: whoever scores below it is out, whoever reaches it may
    /// be in (a tie is decided by document). At least 1. With `k` = 0 nothing may enter.
    #[must_use]
    pub fn threshold(&self) -> Score {
        match self.worst {
            _ if self.k == 0 => Score::new(u32::MAX),
            Some(worst) => worst.hit().score.max(self.floor),
            None => self.floor,
        }
    }

    /// Whether a hit would enter, as far as is known; never `false` for one that belongs in the result.
    #[must_use]
    pub fn would_enter(&self, score: Score, doc: DocId) -> bool {
        self.k > 0 && score >= self.floor && self.worst.is_none_or(|worst| Key::new(Hit::new(score, doc)) < worst)
    }

    /// Offers a hit.
    pub fn push(&mut self, hit: Hit) {
        if !self.would_enter(hit.score, hit.doc) {
            return;
        }
        self.hits.push(Key::new(hit));
        if self.hits.len() >= self.capacity {
            self.compact();
        }
    }

    /// Cuts the buffer back to the best `k` and raises the threshold to what they show.
    pub fn compact(&mut self) {
        if self.k == 0 || self.hits.len() < self.k {
            return;
        }
        let (_, worst, _) = self.hits.select_nth_unstable(self.k - 1);
        self.worst = Some(*worst);
        self.hits.truncate(self.k);
    }

    /// The hits, best first; leaves the collector empty but with its memory.
    pub fn drain_sorted(&mut self) -> impl ExactSizeIterator<Item = Hit> + '_ {
        self.compact();
        self.hits.sort_unstable();
        self.worst = None;
        self.hits.drain(..).map(Key::hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn best(mut hits: Vec<Hit>, k: usize) -> Vec<Hit> {
        hits.retain(|hit| hit.score > Score::ZERO);
        hits.sort();
        hits.truncate(k);
        hits
    }

    proptest! {
        #[test]
        fn equals_sorting(scores in prop::collection::vec(0u32..6, 0..400), k in 0usize..60) {
            let hits: Vec<Hit> = scores.iter().zip(0..)
                .map(|(&score, doc)| Hit::new(Score::new(score), DocId::new(doc)))
                .collect();
            let mut top = TopK::new(3);
            top.push(Hit::new(Score::new(9), DocId::new(1)));
            top.reset(k, Score::ZERO);
            for &hit in hits.iter().rev() {
                let known = best(hits.clone(), k);
                if known.contains(&hit) {
                    prop_assert!(top.would_enter(hit.score, hit.doc));
                    prop_assert!(hit.score >= top.threshold());
                }
                top.push(hit);
            }
            let got: Vec<Hit> = top.drain_sorted().collect();
            prop_assert_eq!(got, best(hits, k));
        }
    }

    #[test]
    fn keys_keep_the_order_of_hits() {
        let numbers = [0, 1, 7, u32::MAX - 1, u32::MAX];
        let hits: Vec<Hit> = numbers
            .iter()
            .flat_map(|&score| numbers.map(|doc| Hit::new(Score::new(score), DocId::new(doc))))
            .collect();
        for &a in &hits {
            assert_eq!(Key::new(a).hit(), a);
            for &b in &hits {
                assert_eq!(Key::new(a).cmp(&Key::new(b)), a.cmp(&b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn respects_the_floor() {
        let mut top = TopK::new(2);
        top.reset(2, Score::new(5));
        top.push(Hit::new(Score::new(4), DocId::new(0)));
        top.push(Hit::new(Score::new(5), DocId::new(1)));
        assert_eq!(top.threshold(), Score::new(5));
        assert_eq!(top.drain_sorted().len(), 1);
    }

    #[test]
    fn admits_nothing_for_k_zero() {
        let mut top = TopK::new(0);
        top.push(Hit::new(Score::new(4), DocId::new(0)));
        assert_eq!(top.threshold(), Score::new(u32::MAX));
        assert_eq!(top.drain_sorted().len(), 0);
    }
}
