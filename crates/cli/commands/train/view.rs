//! What is seen of a run: one line that changes on a terminal, plain lines elsewhere; and Ctrl-C.

use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tamis_train::{EvaluationRecord, LogRecord, Observer, StepRecord, StepView};

/// Watches a run for people.
pub struct View {
    bar: ProgressBar,
    on_terminal: bool,
    stopped: Arc<AtomicBool>,
    start: Instant,
    /// When the first step of this process began.
    steps_start: Option<Instant>,
    /// Steps done here and steps to come, by the last step.
    pace: Option<(u64, u64)>,
    /// Steps of the whole run.
    steps: u64,
    rows: u64,
}

impl View {
    /// Begins to watch, and to listen: a first Ctrl-C or SIGTERM stops after the step, a second one at once.
    pub fn new() -> anyhow::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopped))?;
            signal_hook::flag::register(signal, Arc::clone(&stopped))?;
        }
        let on_terminal = stderr().is_terminal();
        let bar = match on_terminal {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
        };
        bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is well formed"));
        if on_terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Ok(Self {
            bar,
            on_terminal,
            stopped,
            start: Instant::now(),
            steps_start: None,
            pace: None,
            steps: 0,
            rows: 0,
        })
    }

    /// Ends the line; gives the seconds since the beginning.
    pub fn finish(self) -> f64 {
        self.bar.finish_and_clear();
        self.start.elapsed().as_secs_f64()
    }

    /// Steps a second and the time left, where they are known.
    fn pace(&self) -> String {
        let (Some(start), Some((done, left))) = (self.steps_start, self.pace) else {
            return String::new();
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let (done, left) = (done as f64, left as f64);
        let seconds = start.elapsed().as_secs_f64().max(1e-9);
        let left = Duration::from_secs_f64((left * seconds / done.max(1.0)).min(1e9));
        format!(", {:.2} steps/s, {} left", done / seconds, hours(left))
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        match self.on_terminal {
            true => self.bar.println(text),
            false => output::note(text),
        }
    }
}

impl Observer for View {
    fn read(&mut self, rows: usize) {
        self.rows += rows as u64;
        self.bar
            .set_message(format!("read {} rows", output::grouped(self.rows)));
    }

    fn stage(&mut self, what: &str) {
        self.rows = 0;
        self.bar.set_message(what.to_owned());
    }

    fn scored(&mut self, rows: usize) {
        self.rows += rows as u64;
        self.bar
            .set_message(format!("the teacher scored {} rows", output::grouped(self.rows)));
    }

    fn stepped(&mut self, view: &StepView<'_>) {
        if self.steps_start.is_none() {
            // The first step warms up caches and is not counted.
            self.steps_start = Some(Instant::now());
        }
        self.steps = view.steps;
        let left = view.steps.saturating_sub(view.last.step);
        self.pace = (view.done_here > 1).then(|| (view.done_here - 1, left));
        self.bar
            .set_message(format!("{}{}", step_line(view.last, view.steps), self.pace()));
    }

    fn logged(&mut self, record: &LogRecord) {
        match record {
            LogRecord::Start(start) => self.line(&format!(
                "{} steps; an epoch is {} rows in {} steps",
                output::grouped(start.steps),
                output::grouped(start.rows),
                output::grouped(start.epoch_steps)
            )),
            LogRecord::Step(step) if !self.on_terminal => {
                self.line(&format!("{}{}", step_line(step, self.steps), self.pace()));
            }
            LogRecord::Evaluation(evaluation) => self.line(&evaluation_line(evaluation)),
            LogRecord::Negatives(found) => self.line(&format!(
                "step {}: {} negatives, {} more left out as possible answers",
                found.step,
                output::grouped(found.negatives),
                output::grouped(found.filtered)
            )),
            LogRecord::Step(_) | LogRecord::End(_) => (),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// A step in one line: loss and terms, lengths, cost.
fn step_line(step: &StepRecord, steps: u64) -> String {
    let terms: Vec<String> = step
        .terms
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"))
        .collect();
    let terms = if terms.is_empty() {
        String::new()
    } else {
        format!(" ({})", terms.join(", "))
    };
    format!(
        "step {}/{steps}: loss {:.4}{terms}, document {:.0}, query {:.0}, FLOPS {:.2}",
        step.step, step.loss, step.document_length, step.query_length, step.flops
    )
}

fn evaluation_line(evaluation: &EvaluationRecord) -> String {
    let figures = evaluation.figures.iter().map(|one| {
        let values: Vec<String> = one
            .metrics
            .iter()
            .map(|(metric, value)| format!("{metric} {value:.4}"))
            .collect();
        format!(
            "{} {} (document {:.0}, FLOPS {:.2})",
            one.collection,
            values.join(" "),
            one.document_length,
            one.flops
        )
    });
    let figures: Vec<String> = figures.collect();
    let best = if evaluation.best { ", the best so far" } else { "" };
    format!(
        "step {}: {}; mean {} {:.4}{best}",
        evaluation.step,
        figures.join("; "),
        evaluation.metric,
        evaluation.mean
    )
}

/// Hours, minutes and seconds, as much of it as matters.
fn hours(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_step_is_one_line() {
        let step = StepRecord {
            step: 20,
            loss: 1.25,
            terms: BTreeMap::from([("kl".to_owned(), 1.0), ("document_flops".to_owned(), 0.25)]),
            document_length: 180.4,
            query_length: 7.0,
            flops: 1.5,
            ..StepRecord::default()
        };
        let expected = "step 20/100: loss 1.2500 (document_flops 0.250, kl 1.000), document 180, query 7, FLOPS 1.50";
        assert_eq!(step_line(&step, 100), expected);
    }

    #[test]
    fn times_are_short() {
        let found = [59, 61, 3599, 3600, 100_000].map(|seconds| hours(Duration::from_secs(seconds)));
        assert_eq!(
            found,
            ["59 s", "1 min 01 s", "59 min 59 s", "1 h 00 min", "27 h 46 min"]
        );
    }
}
