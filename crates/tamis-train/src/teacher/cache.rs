//! Teacher scores of all rows, computed once and kept in a file of the run.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::options::TeacherOptions;
use super::scorer::{Scored, Teacher, passage_text};
use crate::data::{Candidate, TrainingData};
use crate::error::Error;

/// Rows that are scored at a time.
const BATCH_ROWS: usize = 64;

/// What a file of scores was made from and holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TeacherCache {
    /// Of the data with its candidates.
    data: String,
    /// The teachers.
    teacher: TeacherOptions,
    /// Rows.
    num_rows: usize,
    /// Of the numbers of the rows that are scored.
    scored: String,
}

impl TeacherCache {
    /// Gives the rows `pairs` of `data` and their candidates the teacher's scores, from the file at `path` where that was
    /// made of the same, else computed and written there. `each` is called with the number of rows scored.
    ///
    /// Scores are combined over a row's whole list of documents, not over those that a batch draws.
    ///
    /// # Errors
    /// A failing teacher, a file that cannot be written.
    pub(crate) fn fill(
        path: &Path,
        data: &mut TrainingData,
        pairs: &[u32],
        (teacher, options): (&Teacher, &TeacherOptions),
        each: &mut dyn FnMut(usize),
    ) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        for pair in pairs {
            hasher.update(&pair.to_le_bytes());
        }
        let header = Self {
            data: data.fingerprint().to_string(),
            teacher: options.clone(),
            num_rows: data.rows().len(),
            scored: hasher.finalize().to_hex().to_string(),
        };
        if let Some(scores) = header.read(path) {
            set_all(data, &scores);
            return Ok(());
        }
        let scores = compute(data, pairs, (teacher, options), each)?;
        header.write(path, &scores).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })?;
        set_all(data, &scores);
        Ok(())
    }

    /// The scores of a file that was made of the same; `None` where it is not there, or not of the same.
    fn read(&self, path: &Path) -> Option<Vec<Vec<f32>>> {
        let mut lines = BufReader::new(File::open(path).ok()?).lines();
        let header: Self = serde_json::from_str(&lines.next()?.ok()?).ok()?;
        let scores = lines.map(|line| serde_json::from_str(&line.ok()?).ok());
        let scores: Vec<Vec<f32>> = scores.collect::<Option<_>>()?;
        (header == *self && scores.len() == self.num_rows).then_some(scores)
    }

    /// Writes the scores; they appear whole or not at all.
    fn write(&self, path: &Path, scores: &[Vec<f32>]) -> std::io::Result<()> {
        let temp = path.with_extension("tmp");
        let mut out = BufWriter::new(File::create(&temp)?);
        serde_json::to_writer(&mut out, self)?;
        for list in scores {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, list)?;
        }
        out.write_all(b"\n")?;
        out.into_inner()?.sync_all()?;
        fs::rename(&temp, path)
    }
}

/// Gives the rows `pairs` of `data` and their candidates the teacher's scores. `each` is called with the number of rows
/// scored.
pub(crate) fn fill_scores(
    data: &mut TrainingData,
    pairs: &[u32],
    (teacher, options): (&Teacher, &TeacherOptions),
    each: &mut dyn FnMut(usize),
) -> Result<(), Error> {
    let scores = compute(data, pairs, (teacher, options), each)?;
    set_all(data, &scores);
    Ok(())
}

/// The teacher's scores by row: of its own passage, then of its candidates; none of rows that are not asked for.
fn compute(
    data: &TrainingData,
    pairs: &[u32],
    (teacher, options): (&Teacher, &TeacherOptions),
    each: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<f32>>, Error> {
    let mut scores = vec![Vec::new(); data.rows().len()];
    for batch in pairs.chunks(BATCH_ROWS) {
        let (mut queries, mut documents, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for pair in batch.iter().map(|&pair| pair as usize) {
            let row = &data.set().pairs()[pair];
            let start = documents.len();
            let candidates = data.rows()[pair].candidates.iter().map(|one| one.passage);
            for passage in [row.positive].into_iter().chain(candidates) {
                documents.push(passage_text(data.set().passage(passage), options.with_titles));
            }
            queries.push(row.query.as_str());
            lists.push(start..documents.len());
        }
        let documents: Vec<&str> = documents.iter().map(AsRef::as_ref).collect();
        let found = teacher.score(&queries, &documents, &Scored::Lists(lists))?;
        batch
            .iter()
            .zip(found)
            .for_each(|(&pair, list)| scores[pair as usize] = list);
        each(batch.len());
    }
    Ok(scores)
}

fn set_all(data: &mut TrainingData, scores: &[Vec<f32>]) {
    for (pair, scores) in (0..).zip(scores) {
        set_scores(data, pair, scores);
    }
}

fn set_scores(data: &mut TrainingData, pair: u32, scores: &[f32]) {
    let Some((positive, negatives)) = scores.split_first() else {
        return;
    };
    data.set_positive_score(pair, *positive);
    let candidates = data.rows()[pair as usize].candidates.iter().zip(negatives);
    let candidates = candidates.map(|(one, score)| Candidate {
        passage: one.passage,
        score: Some(*score),
    });
    let candidates = candidates.collect();
    data.set_candidates(pair, candidates);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataOptions;
    use crate::teacher::{TeacherKind, TeacherMember};

    #[test]
    fn scores_are_taken_from_the_file_while_data_and_teachers_are_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let (rows, path) = (dir.path().join("rows.jsonl"), dir.path().join("scores.jsonl"));
        let line = r#"{"query":"stone mill","pos":"a mill of stone","negs":["a stone","water"]}"#;
        fs::write(&rows, line).expect("writable");
        let files = DataOptions {
            files: vec![rows],
            ..DataOptions::default()
        };
        let read = || TrainingData::read(&files, &mut |_| ()).expect("clean lines");
        let mut options = TeacherOptions {
            members: vec![TeacherMember {
                kind: TeacherKind::Bm25,
                model: None,
                weight: 1.0,
            }],
            ..TeacherOptions::default()
        };
        let fill = |options: &TeacherOptions| {
            let mut data = read();
            let teacher = Teacher::open(options, &data, tamis_encoder::Compute::default());
            let teacher = teacher.expect("it opens").expect("somebody scores");
            let mut scored = 0;
            TeacherCache::fill(&path, &mut data, &[0], (&teacher, options), &mut |rows| scored += rows)
                .expect("scored");
            (data, scored)
        };
        let (first, scored) = fill(&options);
        let row = &first.rows()[0];
        assert_eq!(scored, 1);
        let negatives: Vec<f32> = row.candidates.iter().filter_map(|one| one.score).collect();
        assert!(row.positive_score.expect("scored") > negatives[0] && negatives[0] > negatives[1]);
        assert_eq!(negatives[1], 0.0);
        let (again, scored) = fill(&options);
        assert_eq!((again.fingerprint(), scored), (first.fingerprint(), 0));
        options.members[0].weight = 2.0;
        let (double, scored) = fill(&options);
        assert_eq!(
            (double.rows()[0].candidates[0].score, scored),
            (Some(2.0 * negatives[0]), 1)
        );
        let text = fs::read_to_string(&path).expect("there");
        fs::write(&path, text.lines().next().expect("a header")).expect("writable");
        assert_eq!(fill(&options).1, 1, "a damaged file is made anew");
    }
}
