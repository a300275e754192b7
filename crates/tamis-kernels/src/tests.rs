//! One suite over every instruction set: each kernel gives what the scalar reference gives.

use crate::{Column, Isa, Kernels};
use proptest::prelude::*;

/// Sums on both sides of the sign bit, so that a signed comparison would be seen.
fn any_sums(max_len: usize) -> impl Strategy<Value = Vec<u32>> {
    let sum = prop_oneof![Just(0), 0..50u32, any::<u32>(), (u32::MAX - 50)..=u32::MAX];
    prop::collection::vec(sum, 0..max_len)
}

fn scalar() -> Kernels {
    Kernels::available().next().expect("scalar is always there")
}

fn others() -> impl Iterator<Item = Kernels> {
    Kernels::available().skip(1)
}

#[test]
fn the_reference_comes_first() {
    assert_eq!(scalar().isa(), Isa::Scalar);
}

#[test]
fn the_largest_products_are_exact() {
    for kernels in Kernels::available() {
        let bytes = vec![255; 83];
        for (weight, count) in [(i16::MAX.unsigned_abs(), 9), (4095, 4096)] {
            let mut sums = vec![0; 83];
            kernels.accumulate_columns(&mut sums, &vec![Column { bytes: &bytes, weight }; count]);
            let expected = u32::from(weight) * 255 * u32::try_from(count).expect("small");
            assert!(sums.iter().all(|&sum| sum == expected), "{kernels} {weight}");
        }
    }
}

#[test]
#[should_panic(expected = "a column has a byte for every sum")]
fn a_short_column_is_refused() {
    let column = Column {
        bytes: &[1; 63],
        weight: 1,
    };
    crate::active().accumulate_columns(&mut [0; 64], &[column]);
}

#[test]
#[should_panic(expected = "the mask has a bit for every sum")]
fn a_short_mask_is_refused() {
    crate::active().keep_masked(&mut [0; 65], &[0]);
}

proptest! {
    #[test]
    fn lists_add_up(
        postings in prop::collection::vec((any::<u16>(), any::<u8>()), 0..200),
        weight in 0u32..=4095,
    ) {
        let (ids, impacts): (Vec<u16>, Vec<u8>) = postings.iter().copied().unzip();
        let mut expected = vec![0u32; 65_536];
        for &(id, impact) in &postings {
            expected[usize::from(id)] += u32::from(impact) * weight;
        }
        for kernels in Kernels::available() {
            let mut sums = Box::new([0u32; 65_536]);
            kernels.accumulate_list(&mut sums, &ids, &impacts, weight);
            prop_assert_eq!(sums.as_slice(), expected.as_slice());
            let mut few = [0u32; 256];
            kernels.accumulate_list(&mut few, &ids, &impacts, weight);
            for (at, &sum) in few.iter().enumerate() {
                let folded: u32 = expected.iter().skip(at).step_by(256).sum();
                prop_assert_eq!(sum, folded);
            }
        }
    }

    #[test]
    fn columns_add_up(
        columns in prop::collection::vec((prop::collection::vec(any::<u8>(), 150), 0u16..=4095), 0..20),
        sums in any_sums(150),
    ) {
        let columns: Vec<Column<'_>> = columns.iter()
            .map(|(bytes, weight)| Column { bytes, weight: *weight })
            .collect();
        let mut expected = sums.clone();
        scalar().accumulate_columns(&mut expected, &columns);
        for (at, &sum) in expected.iter().enumerate() {
            let by_hand = columns.iter().fold(sums[at], |sum, column| {
                sum.wrapping_add(u32::from(column.bytes[at]) * u32::from(column.weight))
            });
            prop_assert_eq!(sum, by_hand);
        }
        for kernels in others() {
            let mut got = sums.clone();
            kernels.accumulate_columns(&mut got, &columns);
            prop_assert_eq!(&got, &expected);
        }
    }

    #[test]
    fn scans_find_the_same(sums in any_sums(200), threshold in any_sums(2), base in 0u32..100_000) {
        let threshold = threshold.first().copied().unwrap_or(25);
        let mut expected = Vec::new();
        scalar().find_at_least(&sums, threshold, base, &mut expected);
        prop_assert_eq!(expected.len(), sums.iter().filter(|&&sum| sum >= threshold).count());
        for found in &expected {
            prop_assert_eq!(sums[(found.position - base) as usize], found.sum);
        }
        for kernels in Kernels::available() {
            let mut found = Vec::new();
            kernels.find_at_least(&sums, threshold, base, &mut found);
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(kernels.count_at_least(&sums, threshold), expected.len());
            found.clear();
            let mut drained = sums.clone();
            kernels.drain_at_least(&mut drained, threshold, base, &mut found);
            prop_assert_eq!(&found, &expected);
            prop_assert!(drained.iter().all(|&sum| sum == 0));
        }
    }

    #[test]
    fn masks_keep_the_same(sums in any_sums(300), mut mask in prop::collection::vec(any::<u64>(), 5), full in 0usize..5) {
        mask[full] = u64::MAX;
        let mut expected = sums.clone();
        scalar().keep_masked(&mut expected, &mask);
        for (at, &sum) in expected.iter().enumerate() {
            let kept = mask[at / 64] >> (at % 64) & 1 == 1;
            prop_assert_eq!(sum, if kept { sums[at] } else { 0 });
        }
        for kernels in others() {
            let mut got = sums.clone();
            kernels.keep_masked(&mut got, &mask);
            prop_assert_eq!(&got, &expected);
        }
    }

    #[test]
    fn block_maxima_add_up(sums in any_sums(64), bounds in any_sums(6), at_least in any_sums(2), at in 0usize..300) {
        let at_least = at_least.first().copied().unwrap_or(25);
        let mut blocks = vec![0; 64 * bounds.len()];
        for (offset, &sum) in sums.iter().enumerate() {
            let len = blocks.len().max(1);
            if let Some(place) = blocks.get_mut((at + 7 * offset) % len) {
                *place = sum;
            }
        }
        for kernels in Kernels::available() {
            let mut raised = bounds.clone();
            kernels.add_block_maxima(&mut raised, &blocks, at_least);
            for (block, (&raised, &bound)) in raised.iter().zip(&bounds).enumerate() {
                let max = blocks[64 * block..][..64].iter().copied().max().expect("64 sums");
                prop_assert_eq!(raised, if bound >= at_least { bound.wrapping_add(max) } else { bound });
            }
        }
    }
}
