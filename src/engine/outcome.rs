//! How an operation in all processes ended.

use super::coordinator::PeerId;

/// How an operation ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The first failure; `None` is success in every process.
    pub failure: Option<Failure>,
    /// Processes whose state differs from what the caller is told: undoing failed there.
    pub out_of_step: Vec<Failure>,
    /// Processes that gave no sign of life, and have not undone their part until the end.
    pub stopped: Vec<PeerId>,
    /// Processes that took too long, and have not undone their part until the end.
    pub slow: Vec<PeerId>,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The process; `None` is the primary.
    pub peer: Option<PeerId>,
    /// What.
    pub cause: Cause,
}

/// What went wrong in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its bus or driver failed with this code.
    Code(i32, String),
    /// It gave no sign of life.
    Stopped,
    /// It took longer than allowed.
    TooSlow,
    /// The caller gave up.
    Cancelled,
}

impl Outcome {
    pub(super) fn caught_up(&mut self, peer: PeerId) {
        self.stopped.retain(|p| *p != peer);
        self.slow.retain(|p| *p != peer);
        self.out_of_step.retain(|failure| failure.peer != Some(peer));
    }
}
