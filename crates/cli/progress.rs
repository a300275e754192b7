//! Progress of long work: a bar on a terminal, one closing line everywhere.

use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// Counts things that are done, with rate and time left.
pub struct Progress {
    bar: ProgressBar,
    verb: &'static str,
    noun: &'static str,
    start: Instant,
    quiet: bool,
}

impl Progress {
    /// Starts to count `noun`s that are `verb`ed; `total` where it is known. `quiet` drops the closing line.
    pub fn new(verb: &'static str, noun: &'static str, total: Option<u64>, quiet: bool) -> Self {
        // indicatif draws on stderr, and only when that is a terminal.
        let bar = ProgressBar::new(total.unwrap_or(0));
        let template = match total {
            Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {per_sec}, {eta} left",
            None => "{msg} {spinner} {human_pos} {per_sec}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
        bar.set_message(format!("{verb} {noun}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            verb,
            noun,
            start: Instant::now(),
            quiet,
        }
    }

    /// Counts `num` more.
    pub fn add(&self, num: usize) {
        self.bar.inc(num as u64);
    }

    /// Ends the bar, prints the closing line and returns the seconds it took.
    pub fn finish(self) -> f64 {
        let (seconds, done) = (self.start.elapsed().as_secs_f64(), self.bar.position());
        self.bar.finish_and_clear();
        if !self.quiet {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = done as f64 / seconds.max(1e-9);
            let (verb, noun) = (self.verb, self.noun);
            output::note(&format!(
                "{verb} {} {noun} in {seconds:.2} s ({rate:.0}/s)",
                output::grouped(done)
            ));
        }
        seconds
    }
}
