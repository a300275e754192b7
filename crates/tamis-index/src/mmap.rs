//! Bytes that live as long as the index: mapped files, or memory owned by someone else.
//!
//! The only module of this crate with `unsafe`: mapping a file, and slices that point into what an [`Arc`]
//! beside them keeps alive.
#![expect(
    unsafe_code,
    reason = "mapping files and pointing into shared owners cannot be written safely"
)]

use crate::Error;
use bytemuck::{AnyBitPattern, NoUninit};
use memmap2::Mmap;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("sections are read in place as little-endian integers");

type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Integers that point into bytes which they keep alive.
#[derive(Clone)]
pub(crate) struct SharedSlice<T: 'static> {
    /// Points into `_owner`; never handed out for longer than `self` is borrowed.
    slice: &'static [T],
    _owner: Owner,
}

impl SharedSlice<u8> {
    /// Maps the file at `path`.
    pub(crate) fn map(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        // SAFETY: the mapping is read-only, and index files are immutable: the builder renames a finished
        // file into place and nothing of ours ever writes to it again. That nobody else truncates or
        // rewrites the file while it is mapped is the condition that every mapping has; it is stated in
        // the documentation of `Index::open`.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        Ok(Self::new(Arc::new(map)))
    }

    /// Takes a share in `owner`; bytes that are not aligned to 8 are copied once.
    pub(crate) fn aligned(owner: Owner) -> Self {
        let bytes = (*owner).as_ref();
        if bytes.as_ptr().align_offset(align_of::<u64>()) == 0 {
            return Self::new(owner);
        }
        let mut words = vec![0u64; bytes.len().div_ceil(size_of::<u64>())];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        let len = bytes.len();
        let copy = Self::new(Arc::new(Words(words)));
        copy.section(0..len).expect("the copy has at least as many bytes")
    }

    fn new(owner: Owner) -> Self {
        let slice: *const [u8] = (*owner).as_ref();
        // SAFETY: the slice was borrowed from the value inside `owner`. That value neither moves nor is
        // dropped nor mutably borrowed while a clone of the `Arc` exists, and `_owner` is one that lives
        // exactly as long as this slice: `slice` is private and only lent for the lifetime of `&self`.
        let slice: &'static [u8] = unsafe { &*slice };
        Self { slice, _owner: owner }
    }

    /// The part `range` as integers, or `None` when it lies outside, is misaligned or not a whole number of them.
    pub(crate) fn section<T: AnyBitPattern + NoUninit>(&self, range: Range<usize>) -> Option<SharedSlice<T>> {
        let slice = bytemuck::try_cast_slice(self.slice.get(range)?).ok()?;
        let _owner = Arc::clone(&self._owner);
        Some(SharedSlice { slice, _owner })
    }
}

impl<T> Deref for SharedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.slice
    }
}

struct Words(Vec<u64>);

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shifted(Vec<u64>, usize);

    impl AsRef<[u8]> for Shifted {
        fn as_ref(&self) -> &[u8] {
            &bytemuck::cast_slice(&self.0)[self.1..]
        }
    }

    #[test]
    fn borrows_aligned_bytes_and_copies_others() {
        for shift in [0, 1, 4, 8] {
            let owner = Arc::new(Shifted(vec![0x0807_0605_0403_0201; 4], shift));
            let address = (*owner).as_ref().as_ptr();
            let shared = SharedSlice::aligned(owner.clone());
            assert_eq!(&shared[..], (*owner).as_ref(), "shift {shift}");
            assert_eq!(shared.as_ptr() == address, shift % 8 == 0, "shift {shift}");
        }
    }

    #[test]
    fn outlives_the_handle_it_came_from_and_checks_ranges() {
        let shared = SharedSlice::aligned(Arc::new(Shifted(vec![7; 2], 0)));
        let words: SharedSlice<u32> = shared.section(0..16).expect("whole and aligned");
        assert!(shared.section::<u32>(0..6).is_none());
        assert!(shared.section::<u32>(2..6).is_none());
        assert!(shared.section::<u32>(8..24).is_none());
        drop(shared);
        assert_eq!(&words[..], [7, 0, 7, 0]);
    }
}
