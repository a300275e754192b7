//! A batch of ragged texts as a rectangle: every text as long as the longest one.

use candle_core::{DType, Device, Result, Tensor};
use std::ops::Range;

/// Cells that are computed at a time: a few megabytes a layer, and enough of them to fill a GPU.
pub(super) const CELLS_PER_BLOCK: usize = 1 << 13;

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

    /// The texts at `ranges` in rectangles of at most `cells` cells, or of one text: those of a length together, so that
    /// little is computed for nothing.
    pub(super) fn blocks(ranges: &[Range<usize>], cells: usize) -> Vec<Self> {
        let mut ranges: Vec<Range<usize>> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
        ranges.sort_by_key(|range| (range.len(), range.start));
        let mut blocks = Vec::new();
        let mut first = 0;
        for end in 1..=ranges.len() {
            let is_full = |longer: &Range<usize>| (end + 1 - first) * longer.len() > cells;
            if ranges.get(end).is_none_or(is_full) {
                blocks.push(Self::new(&ranges[first..end]));
                first = end;
            }
        }
        blocks
    }

    /// The ragged row of a token.
    pub(super) fn row(&self, text: usize, at: usize) -> usize {
        self.starts[text] + at
    }

    /// Cells, those of padding included.
    pub(super) fn cells(&self) -> usize {
        self.texts * self.length
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

    /// The ragged row of each token with its cell.
    pub(super) fn cells_of_rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let texts = 0..self.texts;
        texts.flat_map(move |text| (0..self.lengths[text]).map(move |at| (self.row(text, at), text * self.length + at)))
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
        let cells = [(0, 0), (1, 1), (2, 6), (3, 7), (4, 8)];
        assert_eq!(padded.cells_of_rows().collect::<Vec<_>>(), cells);
        assert_eq!(padded.fill(9, |text, at| 3 * text + at), [0, 1, 9, 9, 9, 9, 6, 7, 8]);
        assert!(Padded::new(&[0..2, 2..4]).is_full());
    }

    #[test]
    fn blocks_hold_texts_of_a_length() {
        let of = |cells| {
            let blocks = Padded::blocks(&[0..4, 4..5, 5..5, 5..9, 9..10], cells);
            let rows = |block: &Padded| block.cells_of_rows().map(|(row, _)| row).collect::<Vec<_>>();
            (
                blocks.iter().map(Padded::cells).collect::<Vec<_>>(),
                blocks.iter().flat_map(rows).collect::<Vec<_>>(),
            )
        };
        let by_length = vec![4, 9, 0, 1, 2, 3, 5, 6, 7, 8];
        assert_eq!(of(16), (vec![16], by_length.clone()), "all of them");
        assert_eq!(of(8), (vec![2, 8], by_length.clone()));
        assert_eq!(of(4), (vec![2, 4, 4], by_length.clone()));
        assert_eq!(of(1), (vec![1, 1, 4, 4], by_length), "a text alone may be longer");
        assert_eq!(of(0).0.len(), 4);
        assert!(Padded::blocks(&[3..3, 3..3], 9).is_empty());
    }
}
