//! A batch of ragged texts as a rectangle: every text as long as the longest one.

use candle_core::{DType, Device, Result, Tensor};
use std::ops::Range;

/// Where the tokens of ragged texts lie in a rectangle of `texts` times `length`, row by row.
pub(super) struct Padded {
    pub(super) texts: usize,
    /// Of the longest text.
    pub(super) length: usize,
    lengths: Vec<usize>,
    starts: Vec<usize>,
}

impl Padded {
    /// The rectangle of texts that lie at `ranges`.
    pub(super) fn new(ranges: &[Range<usize>]) -> Self {
        Self {
            texts: ranges.len(),
            length: ranges.iter().map(Range::len).max().unwrap_or(0),
            lengths: ranges.iter().map(Range::len).collect(),
            starts: ranges.iter().map(|range| range.start).collect(),
        }
    }

    /// One value per cell: `value(text, place)` of tokens, `padding` elsewhere.
    pub(super) fn fill<T: Copy>(&self, padding: T, value: impl Fn(usize, usize) -> T) -> Vec<T> {
        let cell = |text: usize, at: usize| match at < self.lengths[text] {
            true => value(text, at),
            false => padding,
        };
        let texts = 0..self.texts;
        texts
            .flat_map(|text| (0..self.length).map(move |at| (text, at)))
            .map(|(text, at)| cell(text, at))
            .collect()
    }

    /// The ragged row of each cell; a cell behind the end of its text takes the text's first row, one of a text without
    /// rows takes row 0.
    pub(super) fn rows_of_cells(&self, device: &Device) -> Result<Tensor> {
        let texts = 0..self.texts;
        let cells = texts.flat_map(|text| {
            let (start, length) = (self.starts[text], self.lengths[text]);
            let row = move |at: usize| match length {
                0 => 0,
                length if at < length => start + at,
                _ => start,
            };
            (0..self.length).map(row)
        });
        indices(cells, device)
    }

    /// The cell of each ragged row.
    pub(super) fn cells_of_rows(&self, device: &Device) -> Result<Tensor> {
        let texts = 0..self.texts;
        let cells = texts.flat_map(|text| (0..self.lengths[text]).map(move |at| text * self.length + at));
        indices(cells, device)
    }

    /// 1 in cells with a token, 0 in others, `[texts, length]`.
    pub(super) fn mask(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        let mask = self.fill(0u8, |_, _| 1);
        Tensor::from_vec(mask, (self.texts, self.length), device)?.to_dtype(dtype)
    }

    /// Whether all texts are of one length, so that no cell is empty.
    pub(super) fn is_full(&self) -> bool {
        self.lengths.iter().all(|&length| length == self.length)
    }

    /// 1 for texts with a row, 0 for others, `[texts]`.
    pub(super) fn has_rows(&self, device: &Device) -> Result<Tensor> {
        let flags: Vec<u8> = self.lengths.iter().map(|&length| u8::from(length > 0)).collect();
        Tensor::from_vec(flags, self.texts, device)
    }
}

/// Row numbers for [`Tensor::index_select`].
pub(super) fn indices(rows: impl Iterator<Item = usize>, device: &Device) -> Result<Tensor> {
    let rows: Vec<u32> = rows
        .map(|row| u32::try_from(row).map_err(candle_core::Error::wrap))
        .collect::<Result<_>>()?;
    let len = rows.len();
    Tensor::from_vec(rows, len, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_behind_the_end_repeat_the_first_row() {
        let padded = Padded::new(&[0..2, 2..2, 2..5]);
        assert_eq!((padded.texts, padded.length, padded.is_full()), (3, 3, false));
        let rows = |tensor: Result<Tensor>| tensor.and_then(|tensor| tensor.to_vec1::<u32>()).expect("numbers");
        assert_eq!(rows(padded.rows_of_cells(&Device::Cpu)), [0, 1, 0, 0, 0, 0, 2, 3, 4]);
        assert_eq!(rows(padded.cells_of_rows(&Device::Cpu)), [0, 1, 6, 7, 8]);
        assert_eq!(padded.fill(9, |text, at| 3 * text + at), [0, 1, 9, 9, 9, 9, 6, 7, 8]);
        assert!(Padded::new(&[0..2, 2..4]).is_full());
    }
}
