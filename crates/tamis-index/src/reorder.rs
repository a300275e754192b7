//! Laying out documents so that similar ones are neighbours, which makes block maxima tight.
//!
//! Recursive graph bisection: Dhulipala, Kabiljo, Karrer, Ottaviano, Pupyrev and Shalita, "Compressing
//! Graphs and Indexes with Recursive Graph Bisection" (KDD 2016). Documents are halved; in each round the
//! change of the log-gap cost is computed for every document as if it alone changed sides, and the best
//! are exchanged. As in Mackenzie, Petri and Moffat, "Faster Index Reordering with Bipartite Graph
//! Partitioning" (SIGIR 2021), a selection replaces the sorting of a round. Ours also cuts at multiples of
//! a block, so that the parts at the bottom are the blocks whose maxima are stored.

use crate::ReorderOptions;
use crate::layout::BLOCK_LEN;
use rayon::prelude::*;
use std::sync::Mutex;
use tamis_core::TermId;

/// Parts with more documents than this compute their gains in parallel.
const PARALLEL: usize = 1 << 12;

/// Degrees with a stored cost.
const NUM_STEPS: u32 = 1 << 12;

/// The terms of each document that take part in reordering: its heaviest ones.
pub(crate) struct KeptTerms {
    options: ReorderOptions,
    ends: Vec<u64>,
    terms: Vec<u32>,
    heaviest: Vec<(TermId, f32)>,
}

impl KeptTerms {
    pub(crate) fn new(options: ReorderOptions) -> Self {
        Self {
            options,
            ends: Vec::new(),
            terms: Vec::new(),
            heaviest: Vec::new(),
        }
    }

    /// Adds a document.
    pub(crate) fn push(&mut self, postings: impl Iterator<Item = (TermId, f32)>) {
        self.heaviest.clear();
        self.heaviest.extend(postings);
        let max_terms = self.options.max_terms as usize;
        if self.heaviest.len() > max_terms {
            let by_weight = |a: &(TermId, f32), b: &(TermId, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            self.heaviest.select_nth_unstable_by(max_terms, by_weight);
            self.heaviest.truncate(max_terms);
        }
        // Gains are sums of floats: they must not depend on how the selection left the terms.
        self.heaviest.sort_unstable_by_key(|&(term, _)| term);
        self.terms.extend(self.heaviest.iter().map(|&(term, _)| term.get()));
        self.ends.push(self.terms.len() as u64);
    }

    fn terms(&self, doc: u32) -> &[u32] {
        let doc = doc as usize;
        let bound = |end: u64| usize::try_from(end).expect("an index of a vector in memory");
        let start = doc.checked_sub(1).map_or(0, |before| bound(self.ends[before]));
        &self.terms[start..bound(self.ends[doc])]
    }

    /// The document at each position, for terms below `num_terms`. The same for any number of threads.
    pub(crate) fn order(self, num_terms: usize) -> Vec<u32> {
        let num_docs = u32::try_from(self.ends.len()).expect("a builder has fewer than 2^32 documents");
        let mut docs: Vec<u32> = (0..num_docs).collect();
        let bisection = Bisection {
            kept: &self,
            num_terms,
            steps: (0..NUM_STEPS).map(cost_step).collect(),
            scratches: Mutex::new(Vec::new()),
        };
        bisection.split(&mut docs, 0);
        docs
    }
}

struct Bisection<'a> {
    kept: &'a KeptTerms,
    num_terms: usize,
    /// [`cost_step`] of small degrees.
    steps: Vec<f32>,
    /// Reused between parts; all degrees in here are 0.
    scratches: Mutex<Vec<Scratch>>,
}

/// What one part needs a term for.
struct Scratch {
    /// Number of documents with the term on the left and on the right.
    degrees: Vec<[u32; 2]>,
    /// What the cost falls by when a document with the term leaves the left side, or the right side.
    gains: [Vec<f32>; 2],
    /// Terms with a degree.
    touched: Vec<u32>,
}

impl Bisection<'_> {
    fn split(&self, docs: &mut [u32], depth: u32) {
        let options = self.kept.options;
        if docs.len() <= (options.min_partition as usize).max(1) || depth >= options.max_depth {
            docs.sort_unstable();
            return;
        }
        let half = docs.len() / 2;
        let block = BLOCK_LEN as usize;
        let cut = if docs.len() > block {
            half.next_multiple_of(block)
        } else {
            half
        };
        let mut scratch = self.take_scratch();
        self.exchange(docs, cut, &mut scratch);
        self.scratches.lock().expect("no holder panics").push(scratch);
        let (left, right) = docs.split_at_mut(cut);
        rayon::join(|| self.split(left, depth + 1), || self.split(right, depth + 1));
    }

    fn take_scratch(&self) -> Scratch {
        let reused = self.scratches.lock().expect("no holder panics").pop();
        reused.unwrap_or_else(|| Scratch {
            degrees: vec![[0; 2]; self.num_terms],
            gains: [vec![0.0; self.num_terms], vec![0.0; self.num_terms]],
            touched: Vec::new(),
        })
    }

    /// Exchanges documents between `docs[..cut]` and the rest while that lowers the cost.
    fn exchange(&self, docs: &mut [u32], cut: usize, scratch: &mut Scratch) {
        for (at, &doc) in docs.iter().enumerate() {
            for &term in self.kept.terms(doc) {
                let degree = &mut scratch.degrees[term as usize];
                if *degree == [0, 0] {
                    scratch.touched.push(term);
                }
                degree[usize::from(at >= cut)] += 1;
            }
        }
        let sizes = [cut as f32, (docs.len() - cut) as f32];
        let mut ranked: Vec<Ranked> = docs
            .iter()
            .map(|&doc| Ranked {
                urge: 0.0,
                doc,
                right: false,
            })
            .collect();
        for round in 0..self.kept.options.iterations {
            scratch.update_gains(sizes, &self.steps);
            self.rank(&mut ranked, cut, round, &scratch.gains);
            ranked.select_nth_unstable_by(cut, |a, b| a.urge.total_cmp(&b.urge).then(a.doc.cmp(&b.doc)));
            if !self.follow_moves(&ranked, cut, scratch) {
                break;
            }
        }
        for (doc, ranked) in docs.iter_mut().zip(&ranked) {
            *doc = ranked.doc;
        }
        for &term in &scratch.touched {
            scratch.degrees[term as usize] = [0, 0];
        }
        scratch.touched.clear();
    }

    /// Computes how much every document wants to be on the right.
    fn rank(&self, ranked: &mut [Ranked], cut: usize, round: u32, gains: &[Vec<f32>; 2]) {
        let rank = |(at, ranked): (usize, &mut Ranked)| {
            let right = at >= cut;
            let gain = sum_of(&gains[usize::from(right)], self.kept.terms(ranked.doc));
            let urge = if rests(ranked.doc, round) {
                f32::NEG_INFINITY
            } else {
                gain
            };
            ranked.urge = if right { -urge } else { urge };
            ranked.right = right;
        };
        if ranked.len() > PARALLEL {
            ranked.par_iter_mut().enumerate().for_each(rank);
        } else {
            ranked.iter_mut().enumerate().for_each(rank);
        }
    }

    /// Brings degrees up to date with documents that are now on another side; whether there is one.
    fn follow_moves(&self, ranked: &[Ranked], cut: usize, scratch: &mut Scratch) -> bool {
        let mut moved = false;
        for (at, ranked) in ranked.iter().enumerate() {
            let right = at >= cut;
            if right != ranked.right {
                moved = true;
                for &term in self.kept.terms(ranked.doc) {
                    let degree = &mut scratch.degrees[term as usize];
                    degree[usize::from(right)] += 1;
                    degree[usize::from(!right)] -= 1;
                }
            }
        }
        moved
    }
}

struct Ranked {
    /// What the cost falls by when the document is on the right rather than the left.
    urge: f32,
    doc: u32,
    /// The side it was on when `urge` was computed.
    right: bool,
}

impl Scratch {
    /// Recomputes the gain of each term for sides of `sizes` documents.
    fn update_gains(&mut self, sizes: [f32; 2], steps: &[f32]) {
        let step = |degree: u32| steps.get(degree as usize).copied().unwrap_or_else(|| cost_step(degree));
        let between = log2(sizes[0]) - log2(sizes[1]);
        for &term in &self.touched {
            let [left, right] = self.degrees[term as usize];
            // Where a side has no such document its gain is never read.
            self.gains[0][term as usize] = between + step(right) - step(left.saturating_sub(1));
            self.gains[1][term as usize] = step(left) - step(right.saturating_sub(1)) - between;
        }
    }
}

/// What a further document adds to the sum over documents of the logarithm of gaps, beyond that of its
/// side's size: `(d + 1) log2(d + 2) - d log2(d + 1)`, written so that nothing cancels.
fn cost_step(degree: u32) -> f32 {
    let degree = degree as f32;
    let limit = std::f32::consts::LOG2_E;
    let slope = if degree < NUM_STEPS as f32 {
        degree * log2(1.0 + 1.0 / (degree + 1.0))
    } else {
        limit
    };
    log2(degree + 2.0) + slope
}

/// The sum of `gains` of `terms`, in four strands that do not wait for each other.
fn sum_of(gains: &[f32], terms: &[u32]) -> f32 {
    let mut sums = [0.0; 4];
    let (chunks, rest) = terms.as_chunks::<4>();
    for chunk in chunks {
        for (sum, &term) in sums.iter_mut().zip(chunk) {
            *sum += gains[term as usize];
        }
    }
    let rest: f32 = rest.iter().map(|&term| gains[term as usize]).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Whether `doc` keeps its side in `round`: one in eight does, at random but always the same.
///
/// Two sides that are alike would otherwise exchange all their documents in every round.
fn rests(doc: u32, round: u32) -> bool {
    (doc ^ round.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b1) >> 29 == 0
}

/// The binary logarithm of a normal positive number within 0.0002, in plain arithmetic: the same bits on
/// every platform, which the order of documents has to be.
fn log2(value: f32) -> f32 {
    let bits = value.to_bits();
    let exponent = (bits >> 23) as f32 - 127.0;
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    // log2(m) = 2 atanh(s) / ln 2 with s = (m - 1) / (m + 1), at most 1/3 here: the series converges fast.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    exponent + s * (2.885_39 + s2 * (0.961_796_7 + s2 * (0.577_078 + s2 * 0.412_198_6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two kinds of documents with terms of their own, alternating.
    fn alternating(num_docs: u32) -> KeptTerms {
        let mut kept = KeptTerms::new(ReorderOptions::default());
        for doc in 0..num_docs {
            let kind = doc % 2 * 50;
            kept.push((0..8).map(|at| (TermId::new(kind + (doc / 2 * 7 + at * 5) % 40), 1.0)));
        }
        kept
    }

    #[test]
    fn logarithms_are_close() {
        for value in [1.0f32, 1.5, 2.0, 3.0, 1000.0, 1e6, 4e9] {
            assert!((log2(value) - value.log2()).abs() < 2e-4, "{value}");
        }
    }

    #[test]
    fn separates_two_kinds() {
        let docs = alternating(1024).order(100);
        let mut sorted = docs.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1024), "a permutation");
        let mixed = docs
            .chunks(64)
            .filter(|block| block.iter().any(|doc| doc % 2 != block[0] % 2));
        assert!(mixed.count() <= 4, "of 16 blocks, all of them mixed before");
    }

    #[test]
    fn does_not_depend_on_threads() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| alternating(9000).order(100))
        };
        assert_eq!(run(1), run(4));
    }

    #[test]
    fn keeps_the_heaviest_terms() {
        let mut kept = KeptTerms::new(ReorderOptions {
            max_terms: 2,
            ..ReorderOptions::default()
        });
        let weights = [(1, 0.5), (4, 3.0), (6, 0.5), (9, 1.0)];
        kept.push(weights.into_iter().map(|(term, weight)| (TermId::new(term), weight)));
        kept.push(std::iter::empty());
        assert_eq!(kept.terms(0), [4, 9]);
        assert_eq!(kept.terms(1), [0; 0]);
    }

    #[test]
    fn small_and_empty_collections_stay_in_order() {
        assert!(alternating(0).order(0).is_empty());
        assert_eq!(alternating(3).order(100), [0, 1, 2]);
    }
}
