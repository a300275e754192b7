//! Every value of every query agrees with pytrec_eval; `make_cases.py` wrote the cases.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tamis_eval::{EvaluationOptions, Metric, Qrels, Run, ScoredDocument, evaluate_with};

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Case {
    relevance_level: i32,
    qrels: BTreeMap<String, BTreeMap<String, i32>>,
    run: BTreeMap<String, Vec<(String, f64)>>,
    expected: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("the case is committed");
        serde_json::from_str(&text).expect("the case is well formed")
    }

    fn qrels(&self) -> Qrels {
        let mut qrels = Qrels::new();
        for (query, judgements) in &self.qrels {
            for (document, &grade) in judgements {
                qrels.insert(query, document, grade);
            }
        }
        qrels
    }

    fn run(&self) -> Run {
        let mut run = Run::new();
        for (query, results) in &self.run {
            let results = results
                .iter()
                .map(|(id, score)| ScoredDocument {
                    id: id.clone(),
                    score: *score,
                })
                .collect();
            run.insert(query, results).expect("a clean run");
        }
        run
    }

    fn check(&self, name: &str, qrels: &Qrels, run: &Run) -> usize {
        let names: Vec<&String> = self.expected.values().next().expect("a query").keys().collect();
        let metrics: Vec<Metric> = names.iter().map(|name| name.parse().expect("a metric")).collect();
        let options = EvaluationOptions {
            relevance_level: self.relevance_level,
            ..EvaluationOptions::default()
        };
        let evaluation = evaluate_with(qrels, run, &metrics, &options);
        assert_eq!(evaluation.per_query.len(), self.expected.len(), "{name}");
        let mut compared = 0;
        for found in &evaluation.per_query {
            for (metric, &expected) in &self.expected[&found.query] {
                let value = found
                    .scores
                    .get(metric.parse().expect("a metric"))
                    .expect("it was asked for");
                assert!(
                    (value - expected).abs() <= TOLERANCE,
                    "{name} {} {metric}: {value}, not {expected}",
                    found.query
                );
                compared += 1;
            }
        }
        for (name_of_metric, &metric) in names.iter().zip(&metrics) {
            let sum: f64 = self.expected.values().map(|values| values[*name_of_metric]).sum();
            #[expect(clippy::cast_precision_loss, reason = "a handful of queries")]
            let expected = sum / self.expected.len() as f64;
            let mean = evaluation.mean.get(metric).expect("it was asked for");
            assert!(
                (mean - expected).abs() <= TOLERANCE,
                "{name} mean {metric}: {mean}, not {expected}"
            );
        }
        compared
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is committed")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_value_agrees_with_pytrec_eval() {
    let mut compared = 0;
    for path in cases() {
        let case = Case::read(&path);
        compared += case.check(&path.display().to_string(), &case.qrels(), &case.run());
    }
    assert!(compared > 12_000, "only {compared} values were compared");
}

#[test]
fn trec_files_carry_the_same_values_whatever_their_compression() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for path in cases() {
        let case = Case::read(&path);
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a named case");
        for ending in ["", ".gz", ".zst"] {
            let (qrels, run) = (case.qrels(), case.run());
            let qrels_path = folder.path().join(format!("{name}.qrels{ending}"));
            let run_path = folder.path().join(format!("{name}.run{ending}"));
            qrels.write(&qrels_path).expect("writable");
            if name == "missing" {
                run.write(&run_path, "tag")
                    .expect_err("one query of this case has a space in its name");
                continue;
            }
            run.write(&run_path, "tag").expect("writable");
            let (qrels_read, run_read) = (
                Qrels::read(&qrels_path).expect("readable"),
                Run::read(&run_path).expect("readable"),
            );
            assert_eq!(qrels_read, qrels);
            for (query, results) in run.iter() {
                let read = run_read.results(query).expect("it was written");
                for result in results {
                    let same = read.iter().find(|other| other.id == result.id).expect("it was written");
                    assert_eq!(same.score.to_bits(), result.score.to_bits());
                }
            }
            case.check(name, &qrels_read, &run_read);
        }
    }
}
