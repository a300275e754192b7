//! Sparse matrices in compressed rows: a row a text, a column a token.
//!
//! Rows are spooled to unnamed files beside the output, so that memory holds the columns' tokens and nothing else.
//! Beside the matrix lie `OUTPUT.ids.jsonl` and `OUTPUT.vocabulary.jsonl`: a JSON text a line, for each row its id, for
//! each column its token.

use super::npy::Npz;
use super::spool::{Spool, folder_of};
use super::{Encoded, VectorWriter, quantised};
use crate::output::Sink;
use anyhow::Context;
use std::ffi::OsString;
use std::io::{self, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use tamis_core::{IntegerRule, TermId, Vocabulary};

/// How the matrix is laid out in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Counts, offsets, columns, values, as the big-ann benchmarks have them.
    Csr,
    /// An archive of NumPy arrays as `scipy.sparse.save_npz` writes it.
    Npz,
}

/// A matrix that is being written.
pub struct Matrix {
    path: PathBuf,
    layout: Layout,
    rule: Option<IntegerRule>,
    vocabulary: Vocabulary,
    ids: Sink,
    offsets: Spool,
    columns: Spool,
    values: Spool,
    rows: u64,
    nnz: u64,
}

impl Matrix {
    /// Starts `path` and what lies beside it.
    pub fn create(
        path: &Path,
        layout: Layout,
        rule: Option<IntegerRule>,
        vocabulary: Vocabulary,
    ) -> anyhow::Result<Self> {
        let spool = || Spool::create(folder_of(path));
        let mut matrix = Self {
            ids: Sink::create(Some(&beside(path, "ids")))?,
            offsets: spool()?,
            columns: spool()?,
            values: spool()?,
            path: path.to_owned(),
            layout,
            rule,
            vocabulary,
            rows: 0,
            nnz: 0,
        };
        matrix.offsets.write(&0i64.to_le_bytes())?;
        Ok(matrix)
    }

    fn columns_of(&mut self, encoded: &Encoded) -> anyhow::Result<Vec<(TermId, f32)>> {
        let tokens = quantised(self.rule, &encoded.tokens);
        let column = |(token, weight): (String, f32)| Ok((self.vocabulary.intern(&token)?, weight));
        let mut row = tokens.into_iter().map(column).collect::<anyhow::Result<Vec<_>>>()?;
        row.sort_unstable_by_key(|&(column, _)| column);
        Ok(row)
    }

    fn write_csr(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        let counts = [self.rows, self.vocabulary.len() as u64, self.nnz];
        counts
            .iter()
            .try_for_each(|count| sink.write_all(&count.to_le_bytes()))?;
        for spool in [&mut self.offsets, &mut self.columns, &mut self.values] {
            spool.copy_to(sink)?;
        }
        Ok(())
    }

    fn write_npz(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        let mut archive = Npz::new(tempfile::tempfile_in(folder_of(&self.path))?);
        let (rows, columns, nnz) = (self.rows, self.vocabulary.len(), self.nnz);
        let list = |len: u64| format!("({len},)");
        archive.array("indices", "<i4", &list(nnz), |out| self.columns.copy_to(out))?;
        archive.array("indptr", "<i8", &list(rows + 1), |out| self.offsets.copy_to(out))?;
        archive.array("format", "|S3", "()", |out| out.write_all(b"csr"))?;
        archive.array("shape", "<i8", &list(2), |out| {
            [rows, columns as u64]
                .iter()
                .try_for_each(|count| out.write_all(&count.to_le_bytes()))
        })?;
        archive.array("data", "<f4", &list(nnz), |out| self.values.copy_to(out))?;
        let mut file = archive.finish()?;
        file.rewind()?;
        io::copy(&mut BufReader::new(file), sink)?;
        Ok(())
    }
}

impl VectorWriter for Matrix {
    fn add(&mut self, encoded: &Encoded) -> anyhow::Result<()> {
        let row = self
            .columns_of(encoded)
            .with_context(|| format!("text {:?}", encoded.id))?;
        for (column, weight) in &row {
            let column = i32::try_from(column.get()).context("a matrix has at most 2^31 columns")?;
            self.columns.write(&column.to_le_bytes())?;
            self.values.write(&weight.to_le_bytes())?;
        }
        self.rows += 1;
        self.nnz += row.len() as u64;
        self.offsets.write(&self.nnz.to_le_bytes())?;
        write_line(&mut self.ids, &encoded.id)
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        let mut sink = Sink::create(Some(&self.path))?;
        match self.layout {
            Layout::Csr => self.write_csr(&mut sink)?,
            Layout::Npz => self.write_npz(&mut sink)?,
        }
        let mut tokens = Sink::create(Some(&beside(&self.path, "vocabulary")))?;
        for (_, token) in self.vocabulary.iter() {
            write_line(&mut tokens, token)?;
        }
        // The matrix comes last: where it is, the others are too.
        tokens.finish()?;
        self.ids.finish()?;
        sink.finish()
    }
}

fn write_line(sink: &mut Sink, text: &str) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *sink, text)?;
    sink.write_all(b"\n")?;
    Ok(())
}

/// `PATH.NAME.jsonl`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let mut whole: OsString = path.as_os_str().to_owned();
    whole.push(format!(".{name}.jsonl"));
    whole.into()
}
