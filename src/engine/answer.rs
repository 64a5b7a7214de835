//! What a process answers to a step, and EAL's codes for it.

use crate::proto::wire::Step;

/// What became of a step in one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out.
    Changed,
    /// There was nothing to do: the device was attached, or was not there, before.
    Unchanged,
    /// The bus or the driver failed.
    Failed(i32, String),
}

impl Answer {
    /// What EAL's code means for a step.
    pub fn from_code(step: Step, code: i32) -> Self {
        let unchanged = match step {
            Step::Attach | Step::DetachRollback => code == -libc::EEXIST,
            Step::Detach | Step::AttachRollback => code == -libc::ENOENT || code == -libc::ENODEV,
        };
        match code {
            0 => Self::Changed,
            _ if unchanged => Self::Unchanged,
            code => Self::Failed(as_error(code), String::new()),
        }
    }

    /// EAL's code for it.
    pub fn code(&self, step: Step) -> i32 {
        match (self, step) {
            (Self::Failed(code, _), _) => *code,
            (Self::Unchanged, Step::Attach) => -libc::EEXIST,
            (Self::Unchanged, Step::Detach) => -libc::ENOENT,
            _ => 0,
        }
    }
}

/// The code for a failure in another process: callers know errors by their sign.
pub fn as_error(code: i32) -> i32 {
    if code < 0 { code } else { -libc::EPROTO }
}
