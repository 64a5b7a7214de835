//! Our channel between the processes of a group: a Unix socket of the primary, to which every
//! secondary keeps a connection.
//!
//! A dead peer is an end-of-file, order is kept for each peer, and no send waits. One thread per
//! process reads ([`reactor`]); drivers run in the calling thread or in [`workers`]. The primary's
//! side is the [`hub`], a secondary's is the [`link`].

#![forbid(unsafe_code)]

pub mod connection;
pub mod hub;
pub mod link;
mod listener;
mod members;
pub mod operation;
pub mod reactor;
pub mod settings;
pub mod stock;
pub mod workers;

use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use crate::sys::lock::Lazy;

use crate::engine::answer::{Answer, as_error};
use crate::engine::coordinator::Time;
use crate::engine::participant::Task;
use crate::error::{Error, Kind, Result, describe_code};
use crate::proto::wire::{Device, MAX_FRAME, Reply, Request, Step};

/// The socket's file name: DPDK takes it neither for a process's socket nor for shared memory.
/// No longer than `mp_socket`: wherever that fits, this does.
pub const SOCKET: &str = "hotplug";

/// What the channel needs of the process.
pub trait Local: Sync {
    /// Carries out a task that the primary asked this secondary for.
    fn carry_out(&'static self, task: &Task) -> Done;
    /// Carries out a secondary's call in all processes.
    fn serve(&'static self, call: &Request, token: &operation::CallToken) -> Answer;
    /// The devices that a secondary which starts must have besides those hotplugged: of buses whose
    /// devices it cannot find itself.
    fn devices_to_share(&'static self) -> Vec<(Device, CString)>;
    /// The primary of this secondary has gone. Nothing in here may wait.
    fn primary_gone(&'static self);
}

/// What came of a piece of work.
#[derive(Clone, Debug)]
pub struct Done {
    /// The answer to who asked for it.
    pub answer: Answer,
    /// The devargs that a detached device had.
    pub devargs: Option<CString>,
}

impl Done {
    /// What an error means for other processes.
    pub fn failed(error: &Error) -> Self {
        Self { answer: Answer::Failed(error.code(), error.to_string()), devargs: None }
    }

    /// What came of an attach that did, or did not have to, change anything.
    pub fn attach(new: bool) -> Self {
        Self { answer: if new { Answer::Changed } else { Answer::Unchanged }, devargs: None }
    }

    /// What came of a detach of a device with these devargs, or of none.
    pub fn detach(devargs: Option<CString>) -> Self {
        let answer = if devargs.is_some() { Answer::Changed } else { Answer::Unchanged };
        Self { answer, devargs }
    }
}

/// Runs what others wait for: a defect in it must not keep them waiting.
pub fn without_panic<T>(work: impl FnOnce() -> T) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .map_err(|_| Error::new(Kind::Panic, "a defect of this library or of a driver, caught"))
}

/// The longest text about a failure that another process is told.
const LONGEST_MESSAGE: usize = 1024;
/// What a frame has besides the devargs, generously.
const FRAME_OVERHEAD: usize = 4096;

/// Refuses devargs that no frame could carry.
fn check_length(device: &Device, devargs: &CStr) -> Result<()> {
    let most = MAX_FRAME - FRAME_OVERHEAD;
    match devargs.count_bytes() {
        length if length > most => Err(Error::new(
            Kind::TooBig,
            format!(
                "{}: the devargs have {length} bytes, other processes take at most {most}",
                label(device)
            ),
        )),
        _ => Ok(()),
    }
}

/// The frame's form of an answer.
fn reply(answer: &Answer, id: u64, step: Step) -> Reply {
    let message = match answer {
        Answer::Failed(_, message) => message.chars().take(LONGEST_MESSAGE).collect(),
        _ => String::new(),
    };
    let unchanged = *answer == Answer::Unchanged;
    Reply { id, step, code: answer.code(step), unchanged, message }
}

/// The answer in a frame.
fn answer(reply: Reply) -> Answer {
    match reply.code {
        _ if reply.unchanged => Answer::Unchanged,
        0 => Answer::Changed,
        code => Answer::Failed(as_error(code), reply.message),
    }
}

/// The time since the first use.
pub fn now() -> Time {
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    START.elapsed()
}

/// The state of another process of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It takes part.
    Member,
    /// It is being brought in line.
    Joining,
    /// It gives no sign of life.
    Stopped,
    /// A device's state differs there from what a caller was told.
    OutOfStep,
    /// It has EAL's hotplug only.
    Stock,
}

/// Another process of the group.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its process id, 0 when unknown.
    pub pid: u32,
    /// Its state.
    pub state: PeerState,
    /// Whether it is the primary.
    pub primary: bool,
    /// The file name of its EAL socket; empty when it has none.
    pub socket: String,
}

/// The error for a call that the other processes could not answer.
pub fn no_answer(device: &Device, step: Step, why: &str) -> Error {
    let label = crate::ports::label(&device.bus, &device.name);
    Error::new(Kind::NoAnswer, format!("{label}: {}: {why}", step.name()))
}

/// The error that another process's answer stands for; its message has been composed there.
pub fn answered(device: &Device, step: Step, reply: &Reply) -> Error {
    let text = match reply.message.as_str() {
        "" => format!(
            "{}: {} failed: {}",
            crate::ports::label(&device.bus, &device.name),
            step.name(),
            describe_code(reply.code)
        ),
        message => message.to_owned(),
    };
    Error::new(Kind::Code(as_error(reply.code)), text)
}

/// A device's name for messages.
fn label(device: &Device) -> String {
    crate::ports::label(&device.bus, &device.name)
}

/// Seconds for messages, without trailing noise.
fn seconds(time: Duration) -> String {
    format!("{} s", time.as_millis() as f64 / 1000.0)
}
