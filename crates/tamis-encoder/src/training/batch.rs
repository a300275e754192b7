//! The texts of one optimiser step.

use super::refused;
use crate::Error;
use std::ops::Range;

/// The texts of one optimiser step: query i's documents are `documents[i * group..]`, its positive first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextBatch<'a> {
    /// The queries.
    pub queries: Vec<&'a str>,
    /// `queries.len() * group` documents.
    pub documents: Vec<&'a str>,
    /// Documents a query: its positive and its own negatives.
    pub group: usize,
    /// A teacher's scores row by row where the loss distils: of each query's own documents, `[queries, group]`, or of all
    /// of the batch, `[queries, queries * group]`.
    pub teacher: Option<Vec<f32>>,
    /// Pairs of a query and a document by their places that must not count as negatives (the same text as a positive,
    /// the same question), sorted.
    pub excluded: Vec<(u32, u32)>,
}

impl<'a> TextBatch<'a> {
    /// Refuses batches whose parts do not fit each other.
    pub(super) fn check(&self) -> Result<(), Error> {
        let (queries, documents) = (self.queries.len(), self.documents.len());
        if queries == 0 || self.group == 0 {
            let value = format!("{queries} queries with {} documents each", self.group);
            return Err(refused("batch", value, "at least one query with one document"));
        }
        if documents != queries * self.group {
            let value = format!("{documents} documents of {queries} queries");
            return Err(refused(
                "batch.documents",
                value,
                "batch.group documents for each query",
            ));
        }
        match self.teacher.as_ref().map(Vec::len) {
            Some(len) if len != documents && len != queries * documents => {
                let value = format!("{len} scores of {documents} documents");
                Err(refused(
                    "batch.teacher",
                    value,
                    "a score of each document, or of each pair",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Scores a query in `teacher`.
    pub(super) fn scores_a_query(&self) -> usize {
        self.teacher
            .as_ref()
            .map_or(0, |scores| scores.len() / self.queries.len())
    }

    /// The queries at `range` with their documents, as a batch of its own.
    pub(super) fn part(&self, range: Range<usize>) -> TextBatch<'a> {
        let documents = range.start * self.group..range.end * self.group;
        let width = self.scores_a_query();
        let own = if width == self.group {
            0..width
        } else {
            documents.clone()
        };
        let scores = |all: &Vec<f32>| {
            let rows = range
                .clone()
                .flat_map(|query| all[query * width..][own.clone()].iter().copied());
            rows.collect()
        };
        let inside = |&&(query, document): &&(u32, u32)| {
            range.contains(&(query as usize)) && documents.contains(&(document as usize))
        };
        let moved = |&(query, document): &(u32, u32)| {
            let less = |at: u32, start: usize| u32::try_from(at as usize - start).unwrap_or(at);
            (less(query, range.start), less(document, documents.start))
        };
        TextBatch {
            queries: self.queries[range.clone()].to_vec(),
            documents: self.documents[documents.clone()].to_vec(),
            group: self.group,
            teacher: self.teacher.as_ref().map(scores),
            excluded: self.excluded.iter().filter(inside).map(moved).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(teacher: usize) -> TextBatch<'static> {
        TextBatch {
            queries: vec!["a", "b", "c"],
            documents: vec!["a0", "a1", "b0", "b1", "c0", "c1"],
            group: 2,
            teacher: Some((0u8..).take(teacher).map(f32::from).collect()),
            excluded: vec![(0, 3), (1, 4), (2, 2)],
        }
    }

    #[test]
    fn a_part_is_a_batch_of_its_own() {
        let own = batch(6).part(1..3);
        assert_eq!((own.queries, own.documents.len()), (vec!["b", "c"], 4));
        assert_eq!(own.teacher, Some(vec![2.0, 3.0, 4.0, 5.0]));
        assert_eq!(own.excluded, [(0, 2), (1, 0)]);
        let all = batch(18).part(1..3);
        let expected = [8.0, 9.0, 10.0, 11.0, 14.0, 15.0, 16.0, 17.0];
        assert_eq!(all.teacher, Some(expected.to_vec()));
        assert_eq!(batch(6).part(0..3), batch(6));
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        let message = |change: fn(&mut TextBatch<'_>)| {
            let mut batch = batch(6);
            change(&mut batch);
            batch.check().expect_err("refused").to_string()
        };
        assert!(batch(6).check().is_ok() && batch(18).check().is_ok());
        assert!(message(|batch| batch.group = 3).contains("batch.documents is 6 documents of 3 queries"));
        assert!(message(|batch| batch.queries.clear()).contains("at least one query"));
        assert!(message(|batch| batch.teacher = Some(vec![0.0; 7])).contains("batch.teacher is 7 scores"));
    }
}
