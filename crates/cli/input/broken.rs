//! What happens to lines that cannot be read.

use super::{Record, RecordError};
use crate::exit::Exit;
use crate::output;

/// Stops at the first broken line, or reports and counts them.
pub struct Broken {
    mode: Mode,
    skipped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Stop.
    Fail,
    /// Stop, and say that one could go on.
    FailWithHint,
    /// Go on.
    Skip,
}

impl Broken {
    /// Goes on after broken lines when `skip` is set.
    pub fn new(skip: bool) -> Self {
        let mode = if skip { Mode::Skip } else { Mode::FailWithHint };
        Self { mode, skipped: 0 }
    }

    /// Always stops, for commands that cannot do without any of their input.
    pub fn never() -> Self {
        Self {
            mode: Mode::Fail,
            skipped: 0,
        }
    }

    /// The record, or nothing where a broken one is skipped.
    pub fn filter(&mut self, record: Result<Record, RecordError>) -> anyhow::Result<Option<Record>> {
        match record {
            Ok(record) => Ok(Some(record)),
            Err(error) if self.mode == Mode::Skip => {
                self.skipped += 1;
                output::note(&format!("skipped: {error}"));
                Ok(None)
            }
            Err(error) if self.mode == Mode::Fail => Err(error.into()),
            Err(error) => Err(anyhow::Error::new(error).context("nothing was written (--skip-broken goes on)")),
        }
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        if self.skipped == 0 {
            return Exit::Done;
        }
        output::note(&format!("{} lines were skipped", output::grouped(self.skipped)));
        Exit::Partial
    }
}
