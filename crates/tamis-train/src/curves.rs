//! Curves of training runs as SVG: what was minimised, lengths, FLOPS, lambdas, figures on development collections; and
//! what several runs reached, effectiveness against cost.

mod chart;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chart::{Chart, Series};

use crate::error::Error;
use crate::run::{EvaluationRecord, LogRecord, StepRecord};

/// Draws the curves of one run into the folder `dir` and gives the files. A curve of which the log has nothing is
/// left out.
///
/// # Errors
/// When a file cannot be written.
pub fn draw_run(records: &[LogRecord], dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let steps: Vec<&StepRecord> = records
        .iter()
        .filter_map(|record| match record {
            LogRecord::Step(step) => Some(step),
            _ => None,
        })
        .collect();
    let of = |name: &str, value: fn(&StepRecord) -> f64| curve(name, &steps, |step| Some(value(step)));
    let mut loss = vec![of("loss", |step| step.loss)];
    loss.extend(named(&steps, |step| &step.terms));
    let lengths = vec![
        of("document", |step| step.document_length),
        of("query", |step| step.query_length),
    ];
    let rates = vec![of("learning rate", |step| step.learning_rate)];
    let mut files = Vec::new();
    let mut draw = |file: &str, caption: &str, series: Vec<Series>| -> Result<(), Error> {
        let chart = Chart::over_steps(caption, series);
        if !chart.is_empty() {
            files.push(write(dir, file, &chart)?);
        }
        Ok(())
    };
    draw("loss.svg", "loss and its terms", loss)?;
    draw("length.svg", "weights above zero", lengths)?;
    draw(
        "flops.svg",
        "FLOPS: products of a query with a document",
        vec![of("flops", |step| step.flops)],
    )?;
    draw(
        "lambda.svg",
        "what penalties are multiplied by",
        named(&steps, |step| &step.lambdas),
    )?;
    draw("learning-rate.svg", "learning rate", rates)?;
    draw(
        "gradient.svg",
        "gradient norm",
        vec![of("gradient norm", |step| step.gradient_norm)],
    )?;
    let evaluations = evaluations(records);
    if let Some(first) = evaluations.first() {
        let caption = format!("{} on development collections", first.metric);
        draw("dev.svg", &caption, by_collection(&evaluations))?;
    }
    Ok(files)
}

/// A run for [`draw_trade_off`].
#[derive(Clone, Debug)]
pub struct NamedLog {
    /// Its name. Runs whose names differ only in what stands behind the last `-` belong together: `flops-0.1` and
    /// `flops-0.3`.
    pub name: String,
    /// Its log.
    pub records: Vec<LogRecord>,
}

/// Draws what several runs reached, each at its best evaluation, into the folder `dir`: the mean of the metric over the
/// development collections against document length and against FLOPS, both as measured there. Runs that belong
/// together are joined by a line.
///
/// # Errors
/// When a run was never evaluated, or a file cannot be written.
pub fn draw_trade_off(logs: &[NamedLog], dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut families: BTreeMap<&str, Vec<(&str, &EvaluationRecord)>> = BTreeMap::new();
    for log in logs {
        let best = evaluations(&log.records)
            .into_iter()
            .reduce(|best, one| if one.mean > best.mean { one } else { best })
            .ok_or_else(|| Error::NeverEvaluated { name: log.name.clone() })?;
        families.entry(family(&log.name)).or_default().push((&log.name, best));
    }
    let metric = logs
        .first()
        .and_then(|log| evaluations(&log.records).first().map(|one| one.metric.clone()));
    let metric = metric.unwrap_or_default();
    let chart = |x_label: &str, cost: fn(&EvaluationRecord) -> f64| {
        let series = families.iter().map(|(name, runs)| {
            let mut points: Vec<(f64, f64)> = runs.iter().map(|(_, best)| (cost(best), best.mean)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Series {
                name: (*name).to_owned(),
                points,
            }
        });
        Chart {
            caption: format!("{metric} against cost"),
            x_label: x_label.to_owned(),
            series: series.collect(),
            with_marks: true,
        }
    };
    let lengths = chart("weights of a document", |one| {
        mean_of(one, |figures| figures.document_length)
    });
    let flops = chart("FLOPS", |one| mean_of(one, |figures| figures.flops));
    Ok(vec![
        write(dir, "trade-off-length.svg", &lengths)?,
        write(dir, "trade-off-flops.svg", &flops)?,
    ])
}

fn evaluations(records: &[LogRecord]) -> Vec<&EvaluationRecord> {
    let all = records.iter().filter_map(|record| match record {
        LogRecord::Evaluation(evaluation) => Some(evaluation),
        _ => None,
    });
    all.collect()
}

/// The name without what stands behind the last `-`, where that begins with a digit.
fn family(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((family, strength)) if strength.starts_with(|first: char| first.is_ascii_digit()) => family,
        _ => name,
    }
}

fn mean_of(record: &EvaluationRecord, value: fn(&crate::DevFigures) -> f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a handful of collections")]
    let count = record.figures.len().max(1) as f64;
    record.figures.iter().map(value).sum::<f64>() / count
}

#[expect(clippy::cast_precision_loss, reason = "steps on an axis")]
fn curve(name: &str, steps: &[&StepRecord], value: impl Fn(&StepRecord) -> Option<f64>) -> Series {
    let points = steps.iter().filter_map(|step| Some((step.step as f64, value(step)?)));
    Series {
        name: name.to_owned(),
        points: points.collect(),
    }
}

/// A curve for each name that any step has.
fn named(steps: &[&StepRecord], values: fn(&StepRecord) -> &BTreeMap<String, f64>) -> Vec<Series> {
    let names: std::collections::BTreeSet<&String> = steps.iter().flat_map(|step| values(step).keys()).collect();
    let series = names
        .into_iter()
        .map(|name| curve(name, steps, |step| values(step).get(name).copied()));
    series.collect()
}

#[expect(clippy::cast_precision_loss, reason = "steps on an axis")]
fn by_collection(evaluations: &[&EvaluationRecord]) -> Vec<Series> {
    let mut series = vec![Series {
        name: "mean".to_owned(),
        points: evaluations.iter().map(|one| (one.step as f64, one.mean)).collect(),
    }];
    let collections = evaluations.first().map_or(0, |one| one.figures.len());
    for at in 0..collections {
        let Ok(metric) = evaluations[0].metric.parse() else {
            continue;
        };
        let points = evaluations.iter().filter_map(|one| {
            let value = one.figures.get(at)?.metrics.get(metric)?;
            Some((one.step as f64, value))
        });
        series.push(Series {
            name: evaluations[0].figures[at].collection.clone(),
            points: points.collect(),
        });
    }
    series
}

fn write(dir: &Path, file: &str, chart: &Chart) -> Result<PathBuf, Error> {
    let path = dir.join(file);
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(&path, chart.svg()));
    written.map_err(|source| Error::Write {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use tamis_eval::{Metric, Scores};

    use super::*;
    use crate::DevFigures;

    fn step(step: u64, loss: f64) -> LogRecord {
        LogRecord::Step(StepRecord {
            step,
            loss,
            terms: BTreeMap::from([("kl".to_owned(), loss / 2.0)]),
            document_length: 100.0,
            ..StepRecord::default()
        })
    }

    fn evaluation(step: u64, mean: f64, length: f64) -> LogRecord {
        let metric: Metric = "ndcg@10".parse().expect("a metric");
        let metrics: Scores = serde_json::from_value(serde_json::json!({metric.to_string(): mean})).expect("scores");
        LogRecord::Evaluation(EvaluationRecord {
            step,
            figures: vec![DevFigures {
                collection: "mills & <sieves>".to_owned(),
                metrics,
                document_length: length,
                query_length: 5.0,
                flops: length / 100.0,
            }],
            metric: metric.to_string(),
            mean,
            best: true,
        })
    }

    #[test]
    fn a_run_is_drawn() {
        let dir = tempfile::tempdir().expect("a folder");
        let records = [
            step(1, 2.0),
            evaluation(1, 0.4, 90.0),
            step(2, 1.0),
            evaluation(2, 0.5, 80.0),
        ];
        let files = draw_run(&records, &dir.path().join("curves")).expect("drawn");
        let names: Vec<_> = files
            .iter()
            .map(|file| file.file_name().expect("a name").to_owned())
            .collect();
        let expected = [
            "loss.svg",
            "length.svg",
            "flops.svg",
            "learning-rate.svg",
            "gradient.svg",
            "dev.svg",
        ];
        assert_eq!(names, expected, "no lambda was logged");
        let loss = fs::read_to_string(&files[0]).expect("there");
        for text in ["<svg", "loss and its terms", "kl", "polyline"] {
            assert!(loss.contains(text), "{text}: {loss}");
        }
        let dev = fs::read_to_string(&files[5]).expect("there");
        assert!(dev.contains("mills &amp; &lt;sieves&gt;"), "{dev}");
        let again = draw_run(&records, &dir.path().join("again")).expect("drawn");
        assert_eq!(fs::read(&again[0]).expect("there"), loss.as_bytes());
        assert!(draw_run(&[], dir.path()).expect("nothing").is_empty());
    }

    #[test]
    fn runs_are_compared_at_their_best() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = |name: &str, records: &[LogRecord]| NamedLog {
            name: name.to_owned(),
            records: records.to_vec(),
        };
        let logs = [
            run("flops-0.1", &[evaluation(1, 0.5, 120.0), evaluation(2, 0.45, 60.0)]),
            run("flops-0.3", &[evaluation(1, 0.4, 60.0)]),
            run("l0", &[evaluation(1, 0.45, 70.0)]),
        ];
        let files = draw_trade_off(&logs, dir.path()).expect("drawn");
        let text = fs::read_to_string(&files[0]).expect("there");
        assert!(
            text.contains("flops") && text.contains("l0") && !text.contains("flops-0.1"),
            "{text}"
        );
        assert_eq!(
            text.matches("<circle").count() - 2,
            3,
            "a mark a run, and one a name in the legend"
        );
        let unjudged = [run("new", &[step(1, 1.0)])];
        let message = draw_trade_off(&unjudged, dir.path())
            .expect_err("never evaluated")
            .to_string();
        assert!(message.contains("new"), "{message}");
        assert_eq!(["a-b", "a-b-0.5", "x"].map(family), ["a-b", "a-b", "x"]);
    }
}
