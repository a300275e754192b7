//! Means over the steps between two records of the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::log::StepRecord;

/// Sums over some steps.
///
/// They are kept with checkpoints, as bits: a text of a number may come back one bit off, and a stopped run must log
/// what an unbroken one logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepWindow {
    steps: u64,
    sums: BTreeMap<String, u64>,
    terms: BTreeMap<String, u64>,
}

type Figure = (&'static str, fn(&mut StepRecord) -> &mut f64);

/// What is averaged beside the terms.
const FIGURES: [Figure; 6] = [
    ("loss", |record| &mut record.loss),
    ("query_length", |record| &mut record.query_length),
    ("document_length", |record| &mut record.document_length),
    ("flops", |record| &mut record.flops),
    ("gradient_norm", |record| &mut record.gradient_norm),
    ("tokens", |record| &mut record.tokens),
];

impl StepWindow {
    /// Adds a step.
    pub(super) fn add(&mut self, step: &StepRecord) {
        let mut step = step.clone();
        self.steps += 1;
        for (name, figure) in FIGURES {
            add(&mut self.sums, name, *figure(&mut step));
        }
        for (name, value) in &step.terms {
            add(&mut self.terms, name, *value);
        }
    }

    /// The means, and of `last` what is not averaged; begins anew.
    pub(super) fn take(&mut self, last: &StepRecord) -> StepRecord {
        let mut record = last.clone();
        #[expect(clippy::cast_precision_loss, reason = "steps between two records")]
        let count = self.steps.max(1) as f64;
        let mean = |sums: &BTreeMap<String, u64>, name: &str| sums.get(name).map(|bits| f64::from_bits(*bits) / count);
        for (name, figure) in FIGURES {
            *figure(&mut record) = mean(&self.sums, name).unwrap_or_default();
        }
        record.terms = self
            .terms
            .keys()
            .filter_map(|name| Some((name.clone(), mean(&self.terms, name)?)))
            .collect();
        *self = Self::default();
        record
    }
}

fn add(sums: &mut BTreeMap<String, u64>, name: &str, value: f64) {
    let sum = sums.entry(name.to_owned()).or_insert_with(|| 0.0_f64.to_bits());
    *sum = (f64::from_bits(*sum) + value).to_bits();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(loss: f64) -> StepRecord {
        StepRecord {
            step: 1,
            loss,
            terms: BTreeMap::from([("kl".to_owned(), loss * 3.0)]),
            learning_rate: loss,
            document_length: 2.0,
            ..StepRecord::default()
        }
    }

    #[test]
    fn means_are_the_same_when_a_run_stops_in_between() {
        let steps = [0.1, 1.0 / 3.0, 7e-7].map(step);
        let mut whole = StepWindow::default();
        steps.iter().for_each(|step| whole.add(step));
        let mut stopped = StepWindow::default();
        for step in &steps {
            stopped.add(step);
            let text = serde_json::to_string(&stopped).expect("plain values");
            stopped = serde_json::from_str(&text).expect("as it was written");
        }
        let record = whole.take(&steps[2]);
        assert_eq!(record, stopped.take(&steps[2]));
        assert_eq!(record.loss, (0.1 + 1.0 / 3.0 + 7e-7) / 3.0);
        assert_eq!((record.learning_rate, record.document_length), (7e-7, 2.0));
        assert!((record.terms["kl"] - 3.0 * record.loss).abs() < 1e-15);
        assert_eq!(whole, StepWindow::default());
    }
}
