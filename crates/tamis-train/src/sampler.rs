//! Choosing without replacement, the same way for the same seed.

/// A stream of pseudo-random numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(crate) struct Sampler {
    state: u64,
}

impl Sampler {
    /// The stream of number `stream` under a seed; streams of neighbouring numbers are unrelated.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self { state: stream };
        Self {
            state: seed ^ mixed.next(),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is above 0. The bias is below `bound` / 2^64.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next()) * bound as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from 0 up to, but not including, 1: a multiple of 2^-53.
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let steps = (self.next() >> 11) as f64;
        steps / (1_u64 << 53) as f64
    }

    /// Puts the items into a random order, each as likely as any other (Fisher and Yates, 1938).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Keeps `count` of the items, each subset as likely as any other, in their order.
    pub(crate) fn keep<T>(&mut self, items: &mut Vec<T>, count: usize) {
        // Selection sampling: an item is kept with probability (still needed) / (still to come).
        let (mut needed, mut to_come) = (count, items.len());
        items.retain(|_| {
            let is_kept = needed > 0 && self.below(to_come) < needed;
            to_come -= 1;
            needed -= usize::from(is_kept);
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_paper() {
        // First values for state 1234567, as the reference implementation gives them.
        let mut sampler = Sampler { state: 1_234_567 };
        let found = [sampler.next(), sampler.next(), sampler.next()];
        assert_eq!(
            found,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn every_item_is_kept_equally_often() {
        let mut kept = [0_u32; 10];
        for stream in 0..10_000 {
            let mut items: Vec<usize> = (0..10).collect();
            Sampler::new(1, stream).keep(&mut items, 3);
            assert_eq!(items.len(), 3);
            assert!(items.is_sorted());
            items.iter().for_each(|&item| kept[item] += 1);
        }
        // 3,000 expected, standard deviation 46.
        assert!(kept.iter().all(|count| (2_750..3_250).contains(count)), "{kept:?}");
    }

    #[test]
    fn every_item_comes_to_every_place_equally_often() {
        let mut firsts = [[0_u32; 4]; 4];
        for stream in 0..8_000 {
            let mut items = [0, 1, 2, 3];
            Sampler::new(3, stream).shuffle(&mut items);
            items
                .iter()
                .enumerate()
                .for_each(|(place, &item)| firsts[place][item] += 1);
        }
        // 2,000 expected, standard deviation 39.
        let fair = firsts.iter().flatten().all(|count| (1_800..2_200).contains(count));
        assert!(fair, "{firsts:?}");
    }

    #[test]
    fn units_are_even() {
        let mut sampler = Sampler::new(9, 1);
        let units: Vec<f64> = (0..10_000).map(|_| sampler.unit()).collect();
        assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
        let mean = units.iter().sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }

    #[test]
    fn too_few_items_are_all_kept() {
        let mut items = vec!["a", "b"];
        Sampler::new(0, 0).keep(&mut items, 3);
        assert_eq!(items, ["a", "b"]);
        Sampler::new(0, 0).keep(&mut items, 0);
        assert!(items.is_empty());
    }
}
