//! What `channel::link` does around a secondary's state machine, without sockets and threads.

use std::collections::BTreeMap;
use std::ffi::CString;

use rte_hotplug::engine::answer::Answer;
use rte_hotplug::engine::coordinator::Time;
use rte_hotplug::engine::participant::{Effect, Participant, Task};
use rte_hotplug::proto::wire::{Device, Hello, Message, Reply, Request, Step};

use crate::drivers::Serves;
use crate::world::{Event, PRIMARY, Pid, World};

/// In so many parts of the liveness time the primary is asked for a sign of life.
const SILENT_ROUNDS: u32 = 4;

/// A secondary's side.
#[derive(Default)]
pub struct Link {
    pub participant: Participant,
    pub joined: bool,
    syncing: usize,
    sync_ended: bool,
    heard: Time,
    stopped: bool,
    next_call: u64,
    pub calls: BTreeMap<u64, Waiting>,
}

/// A thread that waits for its call's answer.
pub struct Waiting {
    step: Step,
    device: Device,
    from: Time,
    heard: Time,
    silent_rounds: u32,
}

pub fn reply(answer: &Answer, id: u64, step: Step) -> Reply {
    let unchanged = *answer == Answer::Unchanged;
    Reply { id, step, code: answer.code(step), unchanged, message: String::new() }
}

pub fn answer(reply: Reply) -> Answer {
    match reply.code {
        _ if reply.unchanged => Answer::Unchanged,
        0 => Answer::Changed,
        code => Answer::Failed(code, reply.message),
    }
}

impl World {
    pub fn link_joins(&mut self, pid: Pid) {
        let hello = Hello { pid: pid as u32, embedded: self.embedded, eal_socket: vec![] };
        self.send(pid, PRIMARY, &Message::Hello(hello));
    }

    pub fn link_received(&mut self, pid: Pid, messages: Vec<Message>) {
        let now = self.now;
        let link = &mut self.processes[pid].link;
        (link.heard, link.stopped) = (now, false);
        for message in messages {
            self.link_message(pid, message);
        }
    }

    fn link_message(&mut self, pid: Pid, message: Message) {
        match message {
            Message::Welcome | Message::Pong => {}
            Message::Ping => self.send(pid, PRIMARY, &Message::Pong),
            Message::Sync(device, devargs) => {
                self.processes[pid].link.syncing += 1;
                self.link_requested(pid, Task::Sync(device, devargs));
            }
            Message::SyncEnd => {
                self.processes[pid].link.sync_ended = true;
                self.check_synced(pid);
            }
            Message::Request(request) => self.link_requested(pid, Task::Step(request)),
            Message::Result(reply) => {
                if let Some(call) = self.processes[pid].link.calls.remove(&reply.id) {
                    self.returned(pid, call.step, call.device, reply.code, call.from);
                }
            }
            other => panic!("a primary does not say {other:?}"),
        }
    }

    fn link_requested(&mut self, pid: Pid, task: Task) {
        let effects = self.processes[pid].link.participant.requested(task);
        self.perform(pid, effects);
    }

    fn perform(&mut self, pid: Pid, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Run(task) => self.link_runs(pid, task),
                Effect::Answer(request, answer) => {
                    let reply = reply(&answer, request.id, request.step);
                    self.send(pid, PRIMARY, &Message::Reply(reply));
                }
            }
        }
    }

    fn link_runs(&mut self, pid: Pid, task: Task) {
        let (occasion, goal, operation) = match &task {
            Task::Sync(_, devargs) => (None, devargs.clone(), None),
            Task::Step(r) => {
                let attaches = matches!(r.step, Step::Attach | Step::DetachRollback);
                (Some(r.step), attaches.then(|| r.devargs.clone()), Some(r.id))
            }
        };
        let device = task.device().clone();
        self.begin_work(pid, occasion, &device, goal, operation, Serves::Task(task));
    }

    pub fn link_worked(&mut self, pid: Pid, task: &Task, answer: &Answer, had: Option<CString>) {
        let effects = self.processes[pid].link.participant.finished(task, answer, had);
        match task {
            Task::Step(request) => {
                let reply = reply(answer, request.id, request.step);
                self.send(pid, PRIMARY, &Message::Reply(reply));
            }
            Task::Sync(..) => {
                self.processes[pid].link.syncing -= 1;
                self.check_synced(pid);
            }
        }
        self.perform(pid, effects);
    }

    fn check_synced(&mut self, pid: Pid) {
        let link = &mut self.processes[pid].link;
        if link.syncing == 0 && link.sync_ended {
            link.sync_ended = false;
            link.joined = true;
            self.send(pid, PRIMARY, &Message::Synced(vec![]));
        }
    }

    /// The application's call in a secondary.
    pub fn link_call(&mut self, pid: Pid, step: Step, device: Device, devargs: CString) {
        let (from, has) = (self.now, self.has(pid, &device));
        let process = &mut self.processes[pid];
        let link = &mut process.link;
        // Private devices are detached without anybody else.
        if !link.joined || process.private.contains(&device) {
            return;
        }
        if step == Step::Detach && !has {
            return self.returned(pid, step, device, -libc::ENOENT, from);
        }
        if link.stopped {
            return self.returned(pid, step, device, -libc::ENOMSG, from);
        }
        link.next_call += 1;
        let id = link.next_call;
        let waiting =
            Waiting { step, device: device.clone(), from, heard: link.heard, silent_rounds: 0 };
        link.calls.insert(id, waiting);
        let devargs = if step == Step::Detach { c"".into() } else { devargs };
        let call = Request { id, lineage: vec![], step, device, devargs, hurried: false };
        self.send(pid, PRIMARY, &Message::Call(call));
        self.next_round(pid, id);
    }

    fn next_round(&mut self, pid: Pid, call: u64) {
        let at = self.now + self.limits.liveness / SILENT_ROUNDS;
        self.at(at, Event::Round(pid, call));
    }

    /// The thread has waited for a while.
    pub fn link_round(&mut self, pid: Pid, id: u64) {
        let link = &mut self.processes[pid].link;
        let heard = link.heard;
        let Some(call) = link.calls.get_mut(&id) else { return };
        let last = std::mem::replace(&mut call.heard, heard);
        call.silent_rounds = if heard == last { call.silent_rounds + 1 } else { 0 };
        if call.silent_rounds < SILENT_ROUNDS {
            self.send(pid, PRIMARY, &Message::Ping);
            return self.next_round(pid, id);
        }
        link.stopped = true;
        if let Some(call) = link.calls.remove(&id) {
            self.send(pid, PRIMARY, &Message::Cancel(id));
            self.returned(pid, call.step, call.device, -libc::ENOMSG, call.from);
        }
    }

    /// Takes the last call back, as a thread does that gives up, but waits for what comes of it.
    pub fn link_cancel(&mut self, pid: Pid) {
        if !self.runs(pid) {
            return;
        }
        if let Some(call) = self.processes[pid].link.calls.keys().next_back().copied() {
            self.send(pid, PRIMARY, &Message::Cancel(call));
        }
    }
}
