//! Progress of long work: a bar on a terminal, one closing line everywhere.

use crate::input::{Extent, Meter};
use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Counts things that are done, with rate and time left.
pub struct Progress {
    bar: ProgressBar,
    /// Follows the bytes of the input, where the number of things is not known.
    meter: Option<Meter>,
    done: Cell<u64>,
    verb: &'static str,
    noun: &'static str,
    start: Instant,
    quiet: bool,
}

impl Progress {
    /// Starts to count `noun`s that are `verb`ed. `quiet` drops the closing line.
    pub fn new(verb: &'static str, noun: &'static str, extent: Extent, quiet: bool) -> Self {
        let (total, template, meter) = match extent {
            Extent::Unknown => (0, "{msg} {spinner}", None),
            Extent::Records(total) => (total, "{msg} {wide_bar} {percent} %, {eta} left", None),
            Extent::Bytes(meter) => (meter.total, "{msg} {wide_bar} {percent} %, {eta} left", Some(meter)),
        };
        // indicatif draws on stderr, and only when that is a terminal.
        let bar = ProgressBar::new(total);
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let (start, done) = (Instant::now(), Cell::new(0));
        let progress = Self {
            bar,
            meter,
            done,
            verb,
            noun,
            start,
            quiet,
        };
        progress.bar.set_message(progress.message());
        progress
    }

    /// Counts `num` more.
    pub fn add(&self, num: usize) {
        self.done.set(self.done.get() + num as u64);
        let position = self.meter.as_ref().map_or(self.done.get(), Meter::read);
        self.bar.set_position(position);
        self.bar.set_message(self.message());
    }

    /// What was done, and how fast.
    fn message(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.done.get() as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        format!(
            "{} {} {} ({rate:.0}/s)",
            self.verb,
            output::grouped(self.done.get()),
            self.noun
        )
    }

    /// Ends the bar and prints the closing line.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        if !self.quiet {
            output::note(&format!(
                "{} in {:.2} s",
                self.message(),
                self.start.elapsed().as_secs_f64()
            ));
        }
    }
}
