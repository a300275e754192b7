//! Dense sentence encoders on a judged collection: every document scored for every query, by the cosine.
//!
//! It judges encoders as teachers and as the base of sparse models; it is no index.

use crate::encoding::{BATCH, EncodeReport};
use crate::input::{self, Broken, Record};
use crate::progress::Progress;
use crate::search::{Timings, Work};
use anyhow::Context;
use std::time::Instant;
use tamis_encoder::{DenseEncoder, InputKind};
use tamis_eval::{BeirCollection, Query};
use tamis_kernels::{Kernels, LANES, PackedMatrix, PackedRows, Precision};

/// Documents with their scores, best first.
type Hits = Vec<(String, f64)>;

/// Documents as unit vectors.
pub struct Vectors {
    ids: Vec<String>,
    /// One row a document.
    matrix: PackedMatrix,
    kernels: Kernels,
}

impl Vectors {
    /// Encodes all documents of `collection`.
    pub fn encode(
        encoder: &DenseEncoder,
        collection: &BeirCollection,
        report: &mut EncodeReport,
    ) -> anyhow::Result<Self> {
        let (mut ids, mut values) = (Vec::new(), Vec::new());
        let progress = Progress::new("encoded", "documents", input::corpus_extent(collection)?, false);
        input::in_batches(input::corpus(collection)?, &mut Broken::never(), BATCH, |batch| {
            progress.add(batch.len());
            let texts: Vec<String> = batch.iter().filter_map(Record::joined_text).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            for vector in report.encode_dense(encoder, InputKind::Document, &texts)? {
                values.extend(unit(vector));
            }
            ids.extend(batch.into_iter().map(|record| record.id));
            Ok(())
        })?;
        progress.finish();
        let matrix = PackedMatrix::pack(Precision::F32, &values, encoder.width(), None);
        let kernels = tamis_kernels::active();
        Ok(Self { ids, matrix, kernels })
    }

    /// Documents.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the vectors.
    pub fn bytes(&self) -> u64 {
        self.matrix.memory_bytes() as u64
    }

    /// The `depth` best documents for each query, best first, equal ones in their order; with the time each took.
    pub fn answer(
        &self,
        encoder: &DenseEncoder,
        queries: &[Query],
        depth: usize,
    ) -> anyhow::Result<(Vec<Hits>, Timings)> {
        let (mut hits, mut timings) = (Vec::with_capacity(queries.len()), Timings::default());
        for batch in queries.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(|query| query.text.as_str()).collect();
            let vectors = encoder.encode(InputKind::Query, &texts).context("queries")?;
            for vector in vectors {
                let start = Instant::now();
                let best = self.search(&unit(vector.values), depth);
                #[expect(clippy::cast_precision_loss, reason = "microseconds of one search")]
                timings.add(start.elapsed().as_micros() as f64, best.len(), Work::default());
                hits.push(best);
            }
        }
        Ok((hits, timings))
    }

    fn search(&self, query: &[f32], depth: usize) -> Hits {
        let mut row = PackedRows::default();
        row.pack(self.kernels, Precision::F32, query, query.len());
        let mut scores = Vec::with_capacity(self.matrix.num_panels() * LANES);
        let panels = 0..self.matrix.num_panels();
        self.matrix.multiply(self.kernels, &row, panels, |_, _, product| {
            scores.extend_from_slice(&product[0])
        });
        scores.truncate(self.len());
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let better = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if depth < order.len() {
            order.select_nth_unstable_by(depth, better);
            order.truncate(depth);
        }
        order.sort_unstable_by(better);
        let hit = |at: usize| (self.ids[at].clone(), f64::from(scores[at]));
        order.into_iter().map(hit).collect()
    }
}

/// Scaled to length 1, so that an inner product is the cosine; a zero vector stays.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_ties_keep_their_order() {
        let values = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 1.0]].concat();
        let vectors = Vectors {
            ids: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            matrix: PackedMatrix::pack(Precision::F32, &values, 2, None),
            kernels: tamis_kernels::active(),
        };
        let ids = |depth| {
            let hits = vectors.search(&unit(vec![0.0, 2.0]), depth);
            hits.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(ids(3), ["b", "d", "c"]);
        assert_eq!(ids(9), ["b", "d", "c", "a"]);
        assert_eq!(unit(vec![0.0, 0.0]), [0.0, 0.0]);
    }
}
