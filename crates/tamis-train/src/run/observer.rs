//! Who watches a run.

use super::log::{LogRecord, StepRecord};

/// Where a run stands after a step.
#[derive(Clone, Copy, Debug)]
pub struct StepView<'a> {
    /// Steps to do in all.
    pub steps: u64,
    /// Steps that this process has done.
    pub done_here: u64,
    /// The step itself, not averaged.
    pub last: &'a StepRecord,
}

/// Watches a run. Every method has a default that does nothing.
pub trait Observer {
    /// So many more rows were read.
    fn read(&mut self, _rows: usize) {}

    /// Something that takes a while begins.
    fn stage(&mut self, _what: &str) {}

    /// So many more rows were scored by the teacher.
    fn scored(&mut self, _rows: usize) {}

    /// A step was done.
    fn stepped(&mut self, _view: &StepView<'_>) {}

    /// A record went to the log.
    fn logged(&mut self, _record: &LogRecord) {}

    /// Whether to stop after the step that was just done, with a checkpoint.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Nobody.
impl Observer for () {}
