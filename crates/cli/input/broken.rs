//! What happens to lines that cannot be read.

use super::{Record, RecordError};
use crate::exit::Exit;
use crate::output;

/// Stops at the first broken line, or reports and counts them.
pub struct Broken {
    skip: bool,
    skipped: u64,
}

impl Broken {
    /// Goes on after broken lines when `skip` is set.
    pub fn new(skip: bool) -> Self {
        Self { skip, skipped: 0 }
    }

    /// The record, or nothing where a broken one is skipped.
    pub fn filter(&mut self, record: Result<Record, RecordError>) -> anyhow::Result<Option<Record>> {
        match record {
            Ok(record) => Ok(Some(record)),
            Err(error) if self.skip => {
                self.skip(&error.to_string());
                Ok(None)
            }
            Err(error) => Err(anyhow::Error::new(error).context("nothing was written (--skip-broken goes on)")),
        }
    }

    /// Reports and counts one that is left out.
    pub fn skip(&mut self, reason: &str) {
        self.skipped += 1;
        output::note(&format!("skipped: {reason}"));
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
