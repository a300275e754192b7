//! Sparse matrices on disk: little-endian i64 rows, columns and entries, i64 offsets (rows + 1), i32
//! column of each entry, f32 value of each entry. Columns ascend within a row.

use std::fs;
use std::io;
use std::path::Path;
use tamis_core::{SparseVector, TermId};

/// A matrix of one vector a row.
pub struct Csr {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

fn bad(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}

impl Csr {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or its lengths contradict each other.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path).map_err(|error| bad(path, &error.to_string()))?;
        let (longs, _) = bytes.as_chunks::<8>();
        let long = |at: usize| {
            let bytes = longs.get(at).ok_or_else(|| bad(path, "ends early"))?;
            usize::try_from(i64::from_le_bytes(*bytes)).map_err(|_| bad(path, "a negative length"))
        };
        let (rows, entries) = (long(0)?, long(2)?);
        let offsets = (0..=rows).map(|row| long(3 + row)).collect::<io::Result<Vec<_>>>()?;
        let body = &bytes[8 * (4 + rows)..];
        if body.len() != 8 * entries || offsets.last() != Some(&entries) || !offsets.is_sorted() {
            return Err(bad(path, "lengths contradict each other"));
        }
        let (columns, values) = body.split_at(4 * entries);
        Ok(Self {
            offsets,
            columns: columns
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| u32::from_le_bytes(bytes))
                .collect(),
            values: values
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
        })
    }

    /// Number of vectors.
    pub fn num_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// One vector.
    ///
    /// # Panics
    /// When it is none: columns that do not ascend, weights that are not positive.
    pub fn vector(&self, row: usize) -> SparseVector {
        let range = self.offsets[row]..self.offsets[row + 1];
        let terms = self.columns[range.clone()].iter().copied().map(TermId::new).collect();
        SparseVector::new(terms, self.values[range].to_vec()).expect("rows are sparse vectors")
    }

    /// Entries by column: for each, the rows and values.
    pub fn by_column(&self) -> Vec<Vec<(u32, f32)>> {
        let num_columns = self.columns.iter().max().map_or(0, |&column| column as usize + 1);
        let mut lists = vec![Vec::new(); num_columns];
        for (row, ends) in (0..).zip(self.offsets.windows(2)) {
            for at in ends[0]..ends[1] {
                lists[self.columns[at] as usize].push((row, self.values[at]));
            }
        }
        lists
    }
}
