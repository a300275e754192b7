//! Builds an index from a CSR file of sparse vectors and says what it cost.
//!
//! The file holds rows, columns and non-zeros (i64), row ends from 0 on (i64 each), columns (i32 each) and
//! values (f32 each), little endian: the layout of the big-ann-benchmarks sparse track.
//!
//! ```text
//! cargo run --release -p tamis-index --example build_csr -- docs.csr out.tamis [reorder] [window_bits=16] [budget_mb=256] [max_terms=128] [iterations=20]
//! ```
#![expect(clippy::print_stdout, reason = "a program that reports to its user")]

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tamis_core::{SparseVector, TermId};
use tamis_index::{Blocks, Extras, Index, IndexBuilder, IndexOptions, Postings, ReorderOptions};

/// Rows of a CSR file, read front to back through three handles.
struct Csr {
    num_rows: u64,
    row_start: u64,
    ends: BufReader<File>,
    columns: BufReader<File>,
    values: BufReader<File>,
}

impl Csr {
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let at = |offset: u64| -> Result<BufReader<File>, Box<dyn Error>> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(BufReader::with_capacity(1 << 20, file))
        };
        let mut header = at(0)?;
        let (num_rows, _, num_values) = (word(&mut header)?, word(&mut header)?, word(&mut header)?);
        let columns = 24 + 8 * (num_rows + 1);
        Ok(Self {
            num_rows,
            row_start: 0,
            ends: at(32)?,
            columns: at(columns)?,
            values: at(columns + 4 * num_values)?,
        })
    }

    fn next_row(&mut self) -> Result<SparseVector, Box<dyn Error>> {
        let end = word(&mut self.ends)?;
        let mut pairs = Vec::new();
        for _ in self.row_start..end {
            let (mut column, mut value) = ([0; 4], [0; 4]);
            self.columns.read_exact(&mut column)?;
            self.values.read_exact(&mut value)?;
            pairs.push((TermId::new(u32::from_le_bytes(column)), f32::from_le_bytes(value)));
        }
        self.row_start = end;
        Ok(SparseVector::from_pairs(pairs)?)
    }
}

fn word(reader: &mut impl Read) -> Result<u64, Box<dyn Error>> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, settings @ ..] = arguments.as_slice() else {
        return Err("usage: build_csr docs.csr out.tamis [reorder] [window_bits=16] [budget_mb=256]".into());
    };
    let mut options = IndexOptions::default();
    let mut reorder = ReorderOptions::default();
    let mut is_reordered = false;
    for setting in settings {
        match setting.split_once('=') {
            None if setting == "reorder" => is_reordered = true,
            Some(("max_terms", value)) => reorder.max_terms = value.parse()?,
            Some(("iterations", value)) => reorder.iterations = value.parse()?,
            Some(("window_bits", value)) => options.window_bits = value.parse()?,
            Some(("budget_mb", value)) => options.memory_budget_bytes = value.parse::<usize>()? << 20,
            _ => return Err(format!("unknown setting {setting}").into()),
        }
    }
    options.reorder = is_reordered.then_some(reorder);
    let output = PathBuf::from(output);
    let folder = output.parent().unwrap_or(Path::new("."));
    let started = Instant::now();
    let mut csr = Csr::open(Path::new(input))?;
    let mut builder = IndexBuilder::new(options, folder)?;
    for _ in 0..csr.num_rows {
        builder.add(&csr.next_row()?)?;
    }
    let added = started.elapsed();
    let report = builder.finish(&Extras::default(), &output)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "added in {:.2} s, written in {seconds:.2} s in total",
        added.as_secs_f64()
    );
    println!(
        "{:.0} documents/s, peak {}",
        f64::from(report.num_docs) / seconds,
        peak_memory()
    );
    println!(
        "{} spilled runs, {} MB",
        report.spilled_runs,
        report.spilled_bytes >> 20
    );
    let per_posting = |bytes: u64| bytes as f64 / report.num_postings as f64;
    for (name, bytes) in &report.section_bytes {
        println!("{name:>16} {bytes:>12} {:>7.3} bytes a posting", per_posting(*bytes));
    }
    println!(
        "{:>16} {:>12} {:>7.3}",
        "of it blocks",
        report.block_bytes,
        per_posting(report.block_bytes)
    );
    println!(
        "{:>16} {:>12} {:>7.3}",
        "total",
        report.bytes,
        per_posting(report.bytes)
    );

    let started = Instant::now();
    let index = Index::open(&output)?;
    println!(
        "opened in {:.3} s; lists, postings, blocks, bytes:",
        started.elapsed().as_secs_f64()
    );
    let forms = ["list", "list + sparse", "list + row", "column"];
    let mut totals = [[0u64; 4]; 4];
    let lists = (0..index.num_terms()).filter_map(|term| index.term(TermId::new(term)));
    for list in lists.flat_map(|term| term.windows()) {
        let (at, blocks, bytes) = match (list.postings, list.blocks) {
            (Postings::Dense { column }, _) => (3, column.len() / 64, column.len() / 64 * 65),
            (Postings::List { ids, .. }, Blocks::None) => {
                let num_blocks = ids.chunk_by(|a, b| a / 64 == b / 64).count();
                (0, num_blocks, 3 * ids.len())
            }
            (Postings::List { ids, .. }, Blocks::Sparse { blocks, .. }) => {
                (1, blocks.len(), 3 * ids.len() + 5 * blocks.len())
            }
            (Postings::List { ids, .. }, Blocks::Dense { maxima, .. }) => (
                2,
                maxima.iter().filter(|&&maximum| maximum > 0).count(),
                3 * ids.len() + 3 * maxima.len() + 2,
            ),
        };
        for (total, add) in totals[at].iter_mut().zip([1, list.num_docs as usize, blocks, bytes]) {
            *total += add as u64;
        }
    }
    for (form, total) in forms.iter().zip(totals) {
        println!("{form:>16} {total:?}");
    }
    Ok(())
}

/// The largest resident size so far, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_owned(), |peak| peak.trim().to_owned())
}
