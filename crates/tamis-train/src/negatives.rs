//! Hard negatives during a run: mined by search, before it starts and again with the model as it is then, and cleared
//! of what the teacher takes for answers.
//!
//! Mining anew with the model that is trained is ANCE (Xiong et al., ICLR 2021). Leaving out negatives by their
//! teacher score in relation to the positive's is Moreira et al., 2024 (a share of .95 served them best).

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tamis_encoder::Encoder;

use crate::data::{Candidate, TrainingData};
use crate::error::Error;
use crate::mining::mine;
use crate::options::MiningOptions;

/// Where hard negatives come from: the table `[negatives]` of a recipe. By default from the data alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NegativeOptions {
    /// Mine with this search before the first step, instead of what the data gives.
    pub start: Option<FirstSearch>,
    /// Mine again with the model as it then is, every so many steps. Default 0: never.
    pub refresh_every: u64,
    /// Which ranks of a search are taken.
    pub mining: MiningOptions,
    /// Leave out negatives that the teacher scores above this share of the positive's score, from 0 to 1: above
    /// `s - (1 - share) |s|` for a positive's score s, so that negative scores are no trap.
    pub max_share: Option<f64>,
    /// Leave out negatives that the teacher scores above the positive's score less this margin.
    pub margin: Option<f64>,
}

/// What searches before the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstSearch {
    /// BM25.
    Bm25,
    /// The model that the run starts from.
    Model,
}

impl NegativeOptions {
    /// Whether the teacher decides on negatives.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        self.max_share.is_some() || self.margin.is_some()
    }

    /// Checks every range; `has_teacher` is whether anybody scores.
    pub(crate) fn validate(&self, has_teacher: bool) -> Result<(), Error> {
        let bad = |option: &str, value: String, allowed| {
            Err(Error::RecipeOption {
                option: format!("negatives.{option}"),
                value,
                allowed,
            })
        };
        self.mining.validate()?;
        if let Some(share) = self.max_share.filter(|share| !(0.0..=1.0).contains(share)) {
            return bad("max_share", share.to_string(), "from 0 to 1");
        }
        if let Some(margin) = self.margin.filter(|margin| !(margin.is_finite() && *margin >= 0.0)) {
            return bad("margin", margin.to_string(), "a finite number of at least 0");
        }
        if self.has_filter() && !has_teacher {
            let option = if self.max_share.is_some() {
                "max_share"
            } else {
                "margin"
            };
            return bad(option, "given".to_owned(), "left out where there is no teacher");
        }
        Ok(())
    }

    /// The highest score that a negative may have beside a positive of this score.
    fn limit(&self, positive: f32) -> f64 {
        let positive = f64::from(positive);
        let by_share = self.max_share.map(|share| positive - (1.0 - share) * positive.abs());
        let by_margin = self.margin.map(|margin| positive - margin);
        [by_share, by_margin]
            .into_iter()
            .flatten()
            .fold(f64::INFINITY, f64::min)
    }
}

/// Mines negatives for every row with `encoder`, which replace its candidates. Gives how many there are.
///
/// # Errors
/// As [`mine`].
pub(crate) fn mine_into(
    data: &mut TrainingData,
    encoder: &dyn Encoder,
    options: &NegativeOptions,
    spill_dir: &Path,
) -> Result<u64, Error> {
    let mined = mine(data.set(), encoder, &options.mining, spill_dir)?;
    for example in mined.examples {
        let candidates = example.negatives.into_iter().map(|negative| Candidate {
            passage: negative.passage,
            score: None,
        });
        data.set_candidates(example.pair, candidates.collect());
    }
    Ok(mined.report.num_negatives)
}

/// Drops the candidates of every row whose scores come too close to its positive's; those without a score stay. Gives
/// how many were dropped.
pub(crate) fn filter(data: &mut TrainingData, options: &NegativeOptions) -> u64 {
    let mut dropped = 0;
    for (pair, at) in (0..).zip(0..data.rows().len()) {
        let row = &data.rows()[at];
        let Some(positive) = row.positive_score else { continue };
        let limit = options.limit(positive);
        let mut kept = row.candidates.clone();
        kept.retain(|one| one.score.is_none_or(|score| f64::from(score) <= limit));
        let fewer = row.candidates.len() - kept.len();
        if fewer > 0 {
            dropped += fewer as u64;
            data.set_candidates(pair, kept);
        }
    }
    dropped
}

/// A row's scores and candidates as a line of JSON.
#[derive(Serialize, Deserialize)]
struct Kept {
    positive: Option<f32>,
    candidates: Vec<(u32, Option<f32>)>,
}

/// Writes the candidates and scores of all rows; they appear whole or not at all.
pub(crate) fn save(data: &TrainingData, path: &Path) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let temp = path.with_extension("tmp");
        let mut out = BufWriter::new(File::create(&temp)?);
        for row in data.rows() {
            let kept = Kept {
                positive: row.positive_score,
                candidates: row.candidates.iter().map(|one| (one.passage, one.score)).collect(),
            };
            serde_json::to_writer(&mut out, &kept)?;
            out.write_all(b"\n")?;
        }
        out.into_inner()?.sync_all()?;
        fs::rename(&temp, path)
    };
    write().map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

/// Gives all rows the candidates and scores that [`save`] wrote for the same data.
pub(crate) fn restore(data: &mut TrainingData, path: &Path) -> Result<(), Error> {
    let read_error = |problem: String| Error::Checkpoint {
        path: path.to_owned(),
        problem,
    };
    let file = File::open(path).map_err(|error| read_error(error.to_string()))?;
    let num_passages = data.set().passages().len();
    let mut num_rows = 0;
    for (pair, line) in (0..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| read_error(error.to_string()))?;
        let kept: Kept = serde_json::from_str(&line).map_err(|error| read_error(error.to_string()))?;
        let is_known = kept
            .candidates
            .iter()
            .all(|(passage, _)| (*passage as usize) < num_passages);
        if num_rows == data.rows().len() || !is_known {
            return Err(read_error("it is of other data".to_owned()));
        }
        num_rows += 1;
        if let Some(score) = kept.positive {
            data.set_positive_score(pair, score);
        }
        let candidates = kept
            .candidates
            .into_iter()
            .map(|(passage, score)| Candidate { passage, score });
        data.set_candidates(pair, candidates.collect());
    }
    match num_rows == data.rows().len() {
        true => Ok(()),
        false => Err(read_error(format!("{num_rows} rows of {}", data.rows().len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataOptions;

    fn data(dir: &Path) -> TrainingData {
        let lines = [
            r#"{"query":"stone mill","pos":"a mill of stone","negs":["a stone","a mill","water"],"scores":[10,9.6,9.4,1]}"#,
            r#"{"query":"fine sieve","pos":"a sieve of silk","negs":["a sieve","silk"],"scores":[-2,-2.05,-3]}"#,
            r#"{"query":"what","text":"water"}"#,
        ];
        let path = dir.join("rows.jsonl");
        fs::write(&path, lines.join("\n")).expect("writable");
        let options = DataOptions {
            files: vec![path],
            ..DataOptions::default()
        };
        TrainingData::read(&options, &mut |_| ()).expect("clean lines")
    }

    fn texts(data: &TrainingData, pair: usize) -> Vec<&str> {
        let candidates = data.rows()[pair].candidates.iter();
        candidates
            .map(|one| data.set().passage(one.passage).text.as_str())
            .collect()
    }

    #[test]
    fn negatives_that_the_teacher_takes_for_answers_are_dropped() {
        let dir = tempfile::tempdir().expect("a folder");
        let with = |max_share, margin| {
            let mut data = data(dir.path());
            let options = NegativeOptions {
                max_share,
                margin,
                ..NegativeOptions::default()
            };
            options.validate(true).expect("in range");
            let dropped = filter(&mut data, &options);
            (dropped, texts(&data, 0).join(","), texts(&data, 1).join(","))
        };
        let found = |dropped, first: &str, second: &str| (dropped, first.to_owned(), second.to_owned());
        assert_eq!(
            with(Some(0.95), None),
            found(2, "a mill,water", "silk"),
            "limits 9.5 and -2.1"
        );
        assert_eq!(
            with(None, Some(0.5)),
            found(2, "a mill,water", "silk"),
            "limits 9.5 and -2.5"
        );
        assert_eq!(with(Some(0.95), Some(5.0)), found(4, "water", ""), "limits 5 and -7");
        assert_eq!(with(Some(1.0), None), found(0, "a stone,a mill,water", "a sieve,silk"));
    }

    #[test]
    fn what_was_mined_is_restored() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut mined = data(dir.path());
        let encoder = tamis_encoder::open("lexical").expect("always there");
        let options = NegativeOptions::default();
        let num = mine_into(&mut mined, encoder.as_ref(), &options, dir.path()).expect("mined");
        let count: usize = mined.rows().iter().map(|row| row.candidates.len()).sum();
        assert_eq!(num, count as u64);
        assert!(texts(&mined, 0).contains(&"a stone") && !texts(&mined, 0).contains(&"a mill of stone"));
        let path = dir.path().join("negatives.jsonl");
        save(&mined, &path).expect("writable");
        let mut restored = data(dir.path());
        restore(&mut restored, &path).expect("of the same data");
        assert_eq!(restored.fingerprint(), mined.fingerprint());
        let lines = fs::read_to_string(&path).expect("there");
        fs::write(&path, lines.lines().next().expect("a line")).expect("writable");
        let message = restore(&mut restored, &path).expect_err("too short").to_string();
        assert!(message.contains("1 rows of 3"), "{message}");
    }

    #[test]
    fn options_out_of_range_are_named() {
        let message =
            |options: NegativeOptions, has_teacher| options.validate(has_teacher).expect_err("bad").to_string();
        let share = |max_share| NegativeOptions {
            max_share: Some(max_share),
            ..NegativeOptions::default()
        };
        assert!(message(share(1.5), true).contains("negatives.max_share is 1.5"));
        assert!(message(share(0.9), false).contains("no teacher"));
        let margin = NegativeOptions {
            margin: Some(f64::NAN),
            ..NegativeOptions::default()
        };
        assert!(message(margin, true).contains("negatives.margin"));
    }
}
