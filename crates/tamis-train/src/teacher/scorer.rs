//! Teachers at work: scores of queries and documents.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use tamis_encoder::lexical::{AverageLength, Lexical, LexicalOptions, idf};
use tamis_encoder::training::{Ensemble, Moments, Rescaling};
use tamis_encoder::{CheckpointOptions, Compute, DenseEncoder, Encoder, InputKind, LongText, QueryWeighting, joined};

use super::options::{Combination, TeacherKind, TeacherOptions};
use crate::data::TrainingData;
use crate::error::Error;
use crate::passage_index::{BATCH_TEXTS, encode};
use crate::training_set::Passage;

/// Passages whose stems are counted: enough for frequencies, little enough for every start of a run.
const COUNTED_PASSAGES: usize = 100_000;

/// Teachers that compute.
pub struct Teacher {
    members: Vec<(Member, f64)>,
    combine: Combination,
}

enum Member {
    Dense(Box<DenseEncoder>),
    Sparse {
        encoder: Arc<dyn Encoder>,
        /// What query weights are multiplied by, where the encoder leaves that to the index.
        idf: Option<StemIdf>,
    },
}

/// Inverse document frequencies of the training passages.
struct StemIdf {
    num_documents: u64,
    frequencies: HashMap<String, u64>,
}

/// Which documents are scored for a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scored {
    /// Those from `query * group` on.
    Own {
        /// How many.
        group: usize,
    },
    /// Those of its range.
    Lists(Vec<Range<usize>>),
    /// All of them.
    All,
}

impl Scored {
    fn range(&self, query: usize, num_documents: usize) -> Range<usize> {
        match self {
            Self::Own { group } => query * group..(query + 1) * group,
            Self::Lists(ranges) => ranges[query].clone(),
            Self::All => 0..num_documents,
        }
    }
}

impl Teacher {
    /// Opens every teacher that computes; `None` where there is none. `data` gives BM25 its frequencies.
    ///
    /// # Errors
    /// When an encoder cannot be opened.
    pub fn open(options: &TeacherOptions, data: &TrainingData, compute: Compute) -> Result<Option<Self>, Error> {
        options.validate()?;
        let mut members = Vec::new();
        for member in &options.members {
            let dir = member.model.as_deref().unwrap_or(Path::new(""));
            let opened = match member.kind {
                TeacherKind::Stored => continue,
                TeacherKind::Dense => Member::Dense(Box::new(DenseEncoder::open(dir, LongText::Truncate, compute)?)),
                TeacherKind::Sparse => {
                    let spec = dir.display().to_string();
                    let encoder = tamis_encoder::open_with(&spec, &CheckpointOptions::default(), compute)?;
                    let idf = StemIdf::for_encoder(encoder.as_ref(), data, options.with_titles)?;
                    Member::Sparse { encoder, idf }
                }
                TeacherKind::Bm25 => {
                    let encoder = bm25(data, options.with_titles)?;
                    let idf = StemIdf::for_encoder(encoder.as_ref(), data, options.with_titles)?;
                    Member::Sparse { encoder, idf }
                }
            };
            members.push((opened, member.weight));
        }
        Ok((!members.is_empty()).then_some(Self {
            members,
            combine: options.combine,
        }))
    }

    /// Scores of the documents of each query, one list a query.
    pub(crate) fn score(&self, queries: &[&str], documents: &[&str], scored: &Scored) -> Result<Vec<Vec<f32>>, Error> {
        let mut lists: Vec<Vec<Vec<f32>>> = vec![Vec::with_capacity(self.members.len()); queries.len()];
        for (member, _) in &self.members {
            let scores = member.score(queries, documents, scored)?;
            lists
                .iter_mut()
                .zip(scores)
                .for_each(|(of_query, scores)| of_query.push(scores));
        }
        lists.iter().map(|of_query| self.combined(of_query)).collect()
    }

    /// One score a document of a query from those of all teachers.
    fn combined(&self, of_members: &[Vec<f32>]) -> Result<Vec<f32>, Error> {
        let weights: Vec<f64> = self.members.iter().map(|(_, weight)| *weight).collect();
        let (rescaling, scale) = match self.combine {
            // The ensemble divides by all weights; a sum does not.
            Combination::Sum => (Rescaling::None, weights.iter().sum()),
            Combination::MinMax | Combination::Rescored => (Rescaling::MinMax, Ensemble::default().scale),
        };
        let ensemble = Ensemble {
            weights,
            rescaling,
            scale,
        };
        let lists: Vec<&[f32]> = of_members.iter().map(Vec::as_slice).collect();
        let mut scores = ensemble.combine(&lists, lists[0].len())?;
        if self.combine == Combination::Rescored {
            let (mut own, mut reference) = (Moments::default(), Moments::default());
            own.add(&scores);
            reference.add(lists[0]);
            own.rescale(&mut scores, &reference);
        }
        Ok(scores)
    }
}

impl Member {
    fn score(&self, queries: &[&str], documents: &[&str], scored: &Scored) -> Result<Vec<Vec<f32>>, Error> {
        match self {
            Self::Dense(encoder) => {
                let queries = unit_vectors(encoder, InputKind::Query, queries)?;
                let documents = unit_vectors(encoder, InputKind::Document, documents)?;
                let dot = |a: &Vec<f32>, b: &Vec<f32>| a.iter().zip(b).map(|(x, y)| x * y).sum();
                Ok(pairwise(&queries, &documents, scored, dot))
            }
            Self::Sparse { encoder, idf } => {
                let queries = encode(encoder.as_ref(), InputKind::Query, queries)?;
                let mut queries: Vec<_> = queries.into_iter().map(|encoding| encoding.tokens).collect();
                if let Some(idf) = idf {
                    let weights = queries.iter_mut().flatten();
                    weights.for_each(|(token, weight)| *weight *= idf.of(token));
                }
                let documents = encode(encoder.as_ref(), InputKind::Document, documents)?;
                let documents: Vec<_> = documents.into_iter().map(|encoding| encoding.tokens).collect();
                Ok(pairwise(&queries, &documents, scored, |query, document| {
                    shared(query, document)
                }))
            }
        }
    }
}

fn pairwise<T: Sync>(
    queries: &[T],
    documents: &[T],
    scored: &Scored,
    dot: impl Fn(&T, &T) -> f32 + Sync,
) -> Vec<Vec<f32>> {
    let list = |(number, query): (usize, &T)| {
        let range = scored.range(number, documents.len());
        documents[range].iter().map(|document| dot(query, document)).collect()
    };
    queries.par_iter().enumerate().map(list).collect()
}

/// The sum over shared tokens; both lists are sorted by them.
fn shared(query: &[(String, f32)], document: &[(String, f32)]) -> f32 {
    let mut rest = document.iter().peekable();
    let mut sum = 0.0;
    for (token, weight) in query {
        while rest.next_if(|(other, _)| other < token).is_some() {}
        if let Some((_, other)) = rest.next_if(|(other, _)| other == token) {
            sum += f64::from(*weight) * f64::from(*other);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounded to single precision")]
    let sum = sum as f32;
    sum
}

fn unit_vectors(encoder: &DenseEncoder, kind: InputKind, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
    let encoded = encoder.encode(kind, texts)?;
    let unit = |mut values: Vec<f32>| {
        let length = values.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            values.iter_mut().for_each(|x| *x /= length);
        }
        values
    };
    Ok(encoded.into_iter().map(|encoding| unit(encoding.values)).collect())
}

/// The texts of the passages that are counted: of more, every n-th.
fn counted(data: &TrainingData, with_titles: bool) -> Vec<Cow<'_, str>> {
    let passages = data.set().passages();
    let step = passages.len().div_ceil(COUNTED_PASSAGES).max(1);
    let counted = passages.iter().step_by(step);
    counted.map(|passage| passage_text(passage, with_titles)).collect()
}

/// A passage as teachers read it.
pub(crate) fn passage_text(passage: &Passage, with_titles: bool) -> Cow<'_, str> {
    joined(with_titles.then_some(passage.title.as_str()), &passage.text)
}

/// The lexical encoder with the average length of the training passages.
pub(crate) fn bm25(data: &TrainingData, with_titles: bool) -> Result<Arc<dyn Encoder>, Error> {
    let mut lengths = AverageLength::default();
    counted(data, with_titles).iter().for_each(|text| lengths.add(text));
    let mut options = LexicalOptions::default();
    options.average_length = lengths.mean().unwrap_or(options.average_length);
    Ok(Arc::new(Lexical::new(options)?))
}

impl StemIdf {
    fn for_encoder(encoder: &dyn Encoder, data: &TrainingData, with_titles: bool) -> Result<Option<Self>, Error> {
        if encoder.query_weighting() == QueryWeighting::Model {
            return Ok(None);
        }
        let texts = counted(data, with_titles);
        let mut frequencies = HashMap::new();
        for wave in texts.chunks(64 * BATCH_TEXTS) {
            let encoded: Vec<_> = wave
                .par_chunks(BATCH_TEXTS)
                .map(|batch| encode(encoder, InputKind::Document, batch))
                .collect::<Result<_, _>>()?;
            for (token, _) in encoded.into_iter().flatten().flat_map(|encoding| encoding.tokens) {
                *frequencies.entry(token).or_default() += 1;
            }
        }
        let num_documents = texts.len() as u64;
        Ok(Some(Self {
            num_documents,
            frequencies,
        }))
    }

    fn of(&self, token: &str) -> f32 {
        idf(self.num_documents, self.frequencies.get(token).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::DataOptions;
    use crate::teacher::TeacherMember;

    const DENSE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tamis-encoder/tests/fixtures/dense-mean"
    );

    fn data() -> TrainingData {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("rows.jsonl");
        let lines = ["stone mill", "water wheel", "stone wheel", "bran"]
            .map(|text| format!("{{\"query\":\"about {text}\",\"title\":\"mill\",\"text\":\"{text}\"}}\n"));
        fs::write(&path, lines.concat()).expect("writable");
        let options = DataOptions {
            files: vec![path],
            ..DataOptions::default()
        };
        TrainingData::read(&options, &mut |_| ()).expect("clean lines")
    }

    fn teacher(members: &[(TeacherKind, f64)], combine: Combination, with_titles: bool) -> Teacher {
        let member = |&(kind, weight): &(TeacherKind, f64)| TeacherMember {
            kind,
            model: (kind == TeacherKind::Dense).then(|| DENSE.into()),
            weight,
        };
        let options = TeacherOptions {
            members: members.iter().map(member).collect(),
            combine,
            with_titles,
            ..TeacherOptions::default()
        };
        let opened = Teacher::open(&options, &data(), Compute::default()).expect("it opens");
        opened.expect("somebody scores")
    }

    const QUERIES: [&str; 2] = ["stone", "wheel and water"];
    const DOCUMENTS: [&str; 4] = ["stone mill", "bran", "water wheel", "stone"];

    #[test]
    fn bm25_scores_as_the_formula_says() {
        let teacher = teacher(&[(TeacherKind::Bm25, 1.0)], Combination::Sum, false);
        let own = teacher
            .score(&QUERIES, &DOCUMENTS, &Scored::Own { group: 2 })
            .expect("scored");
        // Stone is in 2 of 4 passages, of 1.75 stems on average; k1 = .9, b = .4.
        let length = 2.0 / 1.75;
        let impact = 1.9 / (1.0 + 0.9 * (0.6 + 0.4 * length));
        let expected = (1.0_f64 + 2.5 / 2.5).ln() * impact;
        assert!((f64::from(own[0][0]) - expected).abs() < 1e-5, "{own:?} {expected}");
        assert_eq!(own[0][1], 0.0);
        let all = teacher.score(&QUERIES, &DOCUMENTS, &Scored::All).expect("scored");
        assert_eq!(
            (all[0][..2].to_vec(), all[1][2..].to_vec()),
            (own[0].clone(), own[1].clone())
        );
        let lists = Scored::Lists(vec![0..1, 1..4]);
        let lists = teacher.score(&QUERIES, &DOCUMENTS, &lists).expect("scored");
        assert_eq!((lists[0].len(), &lists[1][1..]), (1, &own[1][..]));
    }

    #[test]
    fn teachers_become_one() {
        let both = [(TeacherKind::Bm25, 1.0), (TeacherKind::Dense, 30.0)];
        let scores = |teacher: Teacher| teacher.score(&QUERIES, &DOCUMENTS, &Scored::All).expect("scored");
        let lexical = scores(teacher(&both[..1], Combination::Sum, true));
        let dense = scores(teacher(&both[1..], Combination::Sum, true));
        assert!(
            dense.iter().flatten().all(|score| score.abs() <= 30.0 + 1e-3),
            "30 times a cosine"
        );
        let sum = scores(teacher(&both, Combination::Sum, true));
        for at in 0..4 {
            assert!((sum[0][at] - lexical[0][at] - dense[0][at]).abs() < 1e-4);
        }
        let even = [(TeacherKind::Bm25, 1.0), (TeacherKind::Dense, 1.0)];
        let min_max = scores(teacher(&even, Combination::MinMax, true));
        let share = |list: &[f32], at: usize| {
            let low = list.iter().copied().fold(f32::INFINITY, f32::min);
            let high = list.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            (list[at] - low) / (high - low + 1e-6)
        };
        for (at, found) in min_max[0].iter().enumerate() {
            let expected = 15.0 * (share(&lexical[0], at) + share(&dense[0], at));
            assert!((found - expected).abs() < 1e-2, "{found} {expected}");
        }
        let rescored = scores(teacher(&even, Combination::Rescored, true));
        let mean = |list: &[f32]| list.iter().sum::<f32>() / 4.0;
        assert!((mean(&rescored[0]) - mean(&lexical[0])).abs() < 1e-3);
        let order = |list: &[f32]| {
            list.iter()
                .map(|score| list.iter().filter(|other| *other > score).count())
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&rescored[0]), order(&min_max[0]));
    }
}
