//! A secondary's own calls, and the threads that wait for their answers.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::sys::lock::{Condvar, Mutex};

use super::Link;
use super::join::Membership;
use crate::channel::{check_length, no_answer, seconds};
use crate::engine::operation::Operation;
use crate::engine::participant::Task;
use crate::error::{Error, Result};
use crate::proto::wire::{Device, Message, Reply, Request, Step};

/// In so many parts of the liveness time the primary is asked for a sign of life.
const SILENT_ROUNDS: u32 = 4;

/// The work that waits for one thread: answers to its call, and steps that belong to its operation.
#[derive(Default)]
pub(super) struct Chain {
    /// Whether a call made it, and not a step that the primary asked for.
    of_call: bool,
    state: Mutex<ChainState>,
    changed: Condvar,
}

#[derive(Default)]
struct ChainState {
    answers: HashMap<u64, Reply>,
    tasks: VecDeque<Task>,
    gone: bool,
}

/// What a waiting thread got.
enum Woken {
    Answer(Reply),
    Task(Task),
    Gone,
    Timeout,
}

impl Link {
    /// Lets all processes attach or detach the device, and returns the primary's answer.
    ///
    /// `parent` is the operation that this thread carries out. While the answer is awaited, the
    /// thread itself carries out what the primary asks for inside of that operation: it may hold a
    /// lock of a bus which no other thread could take. If it does, it is `hurried`: the operation fails
    /// instead of waiting for long until another one on the device is over.
    pub fn call(
        &self,
        step: Step,
        device: &Device,
        devargs: &CStr,
        parent: Option<&Operation>,
        hurried: bool,
    ) -> Result<Reply> {
        check_length(device, devargs)?;
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        let chain = self.enter_chain(id, parent, step, device)?;
        let request = Request {
            id,
            lineage: parent.map_or_else(Vec::new, Operation::as_lineage),
            step,
            device: device.clone(),
            devargs: devargs.to_owned(),
            hurried,
        };
        self.send(&Message::Call(request));
        let answer = self.wait_for_answer(id, &chain, step, device);
        self.leave_chain(id, &chain, parent);
        answer
    }

    /// Where the calling thread waits: with others of its operation's work, if it has one.
    fn enter_chain(
        &self,
        call: u64,
        parent: Option<&Operation>,
        step: Step,
        device: &Device,
    ) -> Result<Arc<Chain>> {
        let mut state = self.state.lock();
        if state.membership == Membership::Gone {
            return Err(no_answer(device, step, "the primary process is gone"));
        }
        if state.stopped {
            let why = "the primary process gives no sign of life: is it stopped?";
            return Err(no_answer(device, step, why));
        }
        let new = || Arc::new(Chain { of_call: true, ..Chain::default() });
        let chain = match parent {
            Some(operation) => state.chains.entry(operation.id).or_insert_with(new).clone(),
            None => new(),
        };
        state.calls.insert(call, chain.clone());
        Ok(chain)
    }

    /// The last of an operation's calls takes the chain away that the first has made.
    fn leave_chain(&self, call: u64, chain: &Arc<Chain>, parent: Option<&Operation>) {
        let mut state = self.state.lock();
        state.calls.remove(&call);
        let is_last = !state.calls.values().any(|other| Arc::ptr_eq(other, chain));
        if let Some(operation) = parent.filter(|_| chain.of_call && is_last) {
            state.chains.remove(&operation.id);
            let left = chain.take_tasks();
            drop(state);
            left.into_iter().for_each(|task| self.dispatch(task));
        }
    }

    fn wait_for_answer(
        &self,
        id: u64,
        chain: &Arc<Chain>,
        step: Step,
        device: &Device,
    ) -> Result<Reply> {
        let liveness = self.options.timeouts.limits().liveness;
        // Counted in rounds, not by the clock: this process may have been stopped itself.
        let mut silent_rounds = 0;
        let mut heard = self.state.lock().heard;
        loop {
            match chain.wait(id, liveness / SILENT_ROUNDS) {
                Woken::Answer(reply) => return Ok(reply),
                Woken::Task(task) => {
                    self.run(task);
                    silent_rounds = 0;
                }
                Woken::Gone => {
                    return Err(no_answer(device, step, "the primary process is gone"));
                }
                Woken::Timeout => {
                    let last = std::mem::replace(&mut heard, self.state.lock().heard);
                    silent_rounds = if heard == last { silent_rounds + 1 } else { 0 };
                    if silent_rounds >= SILENT_ROUNDS {
                        return Err(self.give_up(id, device, step, liveness));
                    }
                    self.send(&Message::Ping);
                }
            }
        }
    }

    fn give_up(&self, call: u64, device: &Device, step: Step, liveness: Duration) -> Error {
        self.state.lock().stopped = true;
        self.send(&Message::Cancel(call));
        // It may have gone on in this very moment: its answer ends that.
        self.send(&Message::Ping);
        let limit = seconds(liveness);
        let why = format!(
            "no sign of life from the primary process for {limit}: is it stopped? If it had begun, it \
             may still finish when it goes on"
        );
        no_answer(device, step, &why)
    }
}

impl Chain {
    /// Gives a task to the thread that waits.
    pub(super) fn push(&self, task: Task) {
        self.state.lock().tasks.push_back(task);
        self.changed.notify_all();
    }

    /// Gives a call's answer to the thread that waits for it.
    pub(super) fn answer(&self, reply: Reply) {
        self.state.lock().answers.insert(reply.id, reply);
        self.changed.notify_all();
    }

    /// No answer will come any more.
    pub(super) fn end(&self) {
        self.state.lock().gone = true;
        self.changed.notify_all();
    }

    /// Takes the tasks that no thread has begun.
    pub(super) fn take_tasks(&self) -> VecDeque<Task> {
        std::mem::take(&mut self.state.lock().tasks)
    }

    fn wait(&self, call: u64, at_most: Duration) -> Woken {
        let until = Instant::now() + at_most;
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Woken::Task(task);
            }
            if let Some(reply) = state.answers.remove(&call) {
                return Woken::Answer(reply);
            }
            if state.gone {
                return Woken::Gone;
            }
            if self.changed.wait_until(&mut state, until) {
                return Woken::Timeout;
            }
        }
    }
}
