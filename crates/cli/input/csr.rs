//! Sparse matrices in the CSR files of the big-ann benchmarks.
//!
//! Little endian: rows, columns, non-zeros (i64 each); rows + 1 row offsets (i64); column ids (i32 each);
//! values (f32 each). Row numbers are ids, column ids are terms.

use anyhow::{Context, bail, ensure};
use std::fs;
use std::path::Path;
use tamis_core::{SparseVector, TermId};

/// A CSR file in memory, validated.
pub struct CsrFile {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

const HEADER_BYTES: u64 = 24;

impl CsrFile {
    /// Reads `path` when its size is exactly what its header says; `None` when it is no CSR file at all.
    ///
    /// A file called `*.csr` is always taken for one, so that a truncated one is an error.
    pub fn open(path: &Path) -> anyhow::Result<Option<Self>> {
        let named = path.extension().is_some_and(|extension| extension == "csr");
        if !named && !Self::header_fits(path)? {
            return Ok(None);
        }
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = Self::parse(&bytes).with_context(|| format!("{}: not a valid CSR file", path.display()))?;
        Ok(Some(file))
    }

    fn header_fits(path: &Path) -> anyhow::Result<bool> {
        use std::io::Read;
        let Ok(file) = fs::File::open(path) else {
            return Ok(false);
        };
        let metadata = file.metadata()?;
        let mut header = Vec::new();
        if metadata.is_file() {
            file.take(HEADER_BYTES).read_to_end(&mut header)?;
        }
        Ok(size_of(&header).is_some_and(|size| size == metadata.len()))
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let expected = size_of(bytes).context("the header of three counts is missing or absurd")?;
        ensure!(
            bytes.len() as u64 == expected,
            "{} bytes found, the header calls for {expected}",
            bytes.len()
        );
        let [rows, num_columns, nnz] = [0, 8, 16].map(|at| count(bytes, at));
        let (rows, nnz) = (usize::try_from(rows)?, usize::try_from(nnz)?);
        let (offsets, rest) = bytes[24..].split_at(8 * (rows + 1));
        let (columns, values) = rest.split_at(4 * nnz);
        let offsets: Vec<usize> = offsets
            .as_chunks()
            .0
            .iter()
            .map(|&chunk| usize::try_from(u64::from_le_bytes(chunk)))
            .collect::<Result<_, _>>()?;
        let ascending = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        ensure!(
            offsets[0] == 0 && offsets[rows] == nnz && ascending,
            "row offsets do not ascend from 0 to {nnz}"
        );
        let columns: Vec<u32> = columns
            .as_chunks()
            .0
            .iter()
            .map(|&chunk| u32::from_le_bytes(chunk))
            .collect();
        if let Some(at) = columns.iter().position(|&column| u64::from(column) >= num_columns) {
            bail!(
                "column {} at position {at} is not below {num_columns}",
                columns[at].cast_signed()
            );
        }
        let values = values
            .as_chunks()
            .0
            .iter()
            .map(|&chunk| f32::from_le_bytes(chunk))
            .collect();
        Ok(Self {
            offsets,
            columns,
            values,
        })
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The vector of `row`; columns may come in any order, zeros are left out.
    pub fn row(&self, row: usize) -> anyhow::Result<SparseVector> {
        let range = self.offsets[row]..self.offsets[row + 1];
        let columns = self.columns[range.clone()].iter().map(|&column| TermId::new(column));
        let pairs = columns
            .zip(self.values[range].iter().copied())
            .filter(|&(_, value)| value != 0.0)
            .collect();
        SparseVector::from_pairs(pairs).with_context(|| format!("row {row}"))
    }
}

fn count(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The size that the header calls for, if it is a possible one.
fn size_of(bytes: &[u8]) -> Option<u64> {
    if (bytes.len() as u64) < HEADER_BYTES {
        return None;
    }
    let [rows, columns, nnz] = [0, 8, 16].map(|at| count(bytes, at));
    if columns > u64::from(u32::MAX) {
        return None;
    }
    let offsets = rows.checked_add(1)?.checked_mul(8)?;
    HEADER_BYTES.checked_add(offsets)?.checked_add(nnz.checked_mul(8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [2i64, 10, 3, 0, 2, 3] {
            bytes.extend(number.to_le_bytes());
        }
        for column in [7i32, 1, 9] {
            bytes.extend(column.to_le_bytes());
        }
        for value in [0.5f32, 2.0, 1.0] {
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn reads_rows() {
        let file = CsrFile::parse(&sample()).expect("valid");
        assert_eq!(file.num_rows(), 2);
        let row = file.row(0).expect("valid");
        assert_eq!(
            row.iter().collect::<Vec<_>>(),
            [(TermId::new(1), 2.0), (TermId::new(7), 0.5)]
        );
        assert_eq!(file.row(1).expect("valid").len(), 1);
    }

    #[test]
    fn refuses_every_truncation_and_wild_columns() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(CsrFile::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
        let mut wild = bytes.clone();
        wild[48] = 10;
        assert!(CsrFile::parse(&wild).is_err());
        let mut negative = bytes;
        negative[51] = 0xff;
        assert!(CsrFile::parse(&negative).is_err());
    }
}
