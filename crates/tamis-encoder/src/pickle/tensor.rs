//! Tensors as views of storages, and their numbers laid out row by row.

use std::rc::Rc;

/// The type of the numbers in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    F64,
    I64,
    F32,
    I32,
    F16,
    BF16,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// Bytes of one number.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The type that [`TensorView::lay_out`] gives.
    pub(crate) const fn written(self) -> Self {
        match self {
            Self::F64 => Self::F32,
            other => other,
        }
    }

    /// Its name in safetensors files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::F32 => "F32",
            Self::I32 => "I32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }
}

/// A run of numbers in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Its name in the file.
    pub(crate) key: Rc<str>,
    pub(crate) element: Element,
    /// How many numbers.
    pub(crate) len: usize,
}

/// A tensor: where each of its numbers is in a storage. Counted in numbers, not bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorView {
    pub(crate) storage: Rc<Storage>,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

impl TensorView {
    /// Number of elements; only after [`TensorView::check`].
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Refuses a view that leaves its storage, or shows more numbers than are in it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self {
            storage,
            offset,
            shape,
            strides,
        } = self;
        if shape.len() != strides.len() {
            return Err(format!("{} dimensions with {} strides", shape.len(), strides.len()));
        }
        let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let available = storage.len;
        // Numbers shown several times could make a tiny file a huge tensor; no parameter needs that.
        if len.is_none_or(|len| len > available) {
            return Err(format!(
                "shape {shape:?} needs more than the {available} numbers of its storage"
            ));
        }
        let reach = |last: usize, (&size, &stride): (&usize, &usize)| last.checked_add((size - 1).checked_mul(stride)?);
        let last = match len {
            Some(0) => return Ok(()),
            _ => shape.iter().zip(strides).try_fold(*offset, reach),
        };
        match last {
            Some(last) if last < available => Ok(()),
            _ => Err(format!(
                "offset {offset}, shape {shape:?} and strides {strides:?} leave its storage of {available} numbers"
            )),
        }
    }

    /// The numbers of the view row by row, out of the bytes of its storage; double precision becomes single.
    pub(super) fn lay_out(&self, storage: Vec<u8>) -> Vec<u8> {
        let size = self.storage.element.size();
        let len = self.len();
        let rows = if self.is_contiguous() {
            let (start, end) = (self.offset * size, (self.offset + len) * size);
            let mut rows = storage;
            rows.truncate(end.min(rows.len()));
            rows.drain(..start.min(rows.len()));
            rows
        } else {
            let mut rows = Vec::with_capacity(len * size);
            for element in 0..len {
                let at = self.place(element) * size;
                rows.extend_from_slice(&storage[at..at + size]);
            }
            rows
        };
        if self.storage.element != Element::F64 {
            return rows;
        }
        let (doubles, _) = rows.as_chunks();
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
        let single = |&bytes: &[u8; 8]| (f64::from_le_bytes(bytes) as f32).to_le_bytes();
        doubles.iter().flat_map(single).collect()
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.len() == 0
            || self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            })
    }

    /// Where element `at`, counted row by row, is in the storage.
    fn place(&self, mut at: usize) -> usize {
        let mut place = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            place += (at % size) * stride;
            at /= size;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(element: Element, len: usize, offset: usize, shape: &[usize], strides: &[usize]) -> TensorView {
        let key = Rc::from("0");
        TensorView {
            storage: Rc::new(Storage { key, element, len }),
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        }
    }

    #[test]
    fn strides_are_honoured() {
        let bytes: Vec<u8> = (0..6).collect();
        let rows = |offset, shape: &[usize], strides: &[usize]| {
            let view = view(Element::U8, 6, offset, shape, strides);
            view.check().expect("inside");
            view.lay_out(bytes.clone())
        };
        assert_eq!(rows(0, &[2, 3], &[3, 1]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(rows(0, &[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5], "transposed");
        assert_eq!(rows(1, &[2, 2], &[3, 1]), [1, 2, 4, 5], "a slice");
        assert_eq!(rows(2, &[3], &[1]), [2, 3, 4]);
        assert_eq!(rows(5, &[], &[]), [5], "a scalar");
        assert_eq!(rows(9, &[0, 4], &[4, 1]), [0u8; 0], "nothing, wherever it is");
    }

    #[test]
    fn views_outside_their_storage_are_refused() {
        let outside: [(usize, &[usize], &[usize]); 6] = [
            (0, &[7], &[1]),
            (1, &[2, 3], &[3, 1]),
            (0, &[2, 2], &[5, 1]),
            (0, &[3, 3], &[0, 0]),
            (0, &[usize::MAX, 2], &[1, 1]),
            (usize::MAX, &[2], &[usize::MAX]),
        ];
        for (offset, shape, strides) in outside {
            let refused = view(Element::U8, 6, offset, shape, strides).check();
            assert!(refused.is_err(), "{offset} {shape:?} {strides:?}");
        }
        assert!(view(Element::U8, 6, 0, &[2], &[]).check().is_err());
    }

    #[test]
    fn double_precision_becomes_single() {
        let bytes: Vec<u8> = [0.1f64, -2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        let rows = view(Element::F64, 2, 0, &[2], &[1]).lay_out(bytes);
        assert_eq!(rows, [0.1f32, -2.0].map(f32::to_le_bytes).concat());
    }
}
