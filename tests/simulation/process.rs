//! The processes, and what happens to them from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use rte_hotplug::engine::coordinator::Time;
use rte_hotplug::engine::operation::OperationId;
use rte_hotplug::proto::wire::{Device, Message, Step};

use crate::drivers::Job;
use crate::operation::Caller;
use crate::secondary::Link;
use crate::world::{Event, PRIMARY, Pid, World, note};

/// A process.
#[derive(Default)]
pub struct Process {
    pub alive: bool,
    pub stopped: Option<Time>,
    pub devices: BTreeMap<Device, CString>,
    pub private: BTreeSet<Device>,
    /// What happened to it while it was stopped, with the time.
    pub parked: Vec<(Time, Event)>,
    pub jobs: BTreeMap<u64, Job>,
    /// The changes that operations made here.
    pub changes: Vec<Change>,
    pub link: Link,
}

/// A change of a device's state.
#[derive(Debug)]
pub struct Change {
    pub operation: Option<OperationId>,
    pub device: Device,
    pub before: Option<CString>,
    pub after: Option<CString>,
}

/// A device that a process has from its own start.
#[derive(Clone, Debug)]
pub struct Own {
    pub device: Device,
    pub devargs: CString,
    /// From the command line of a secondary: not the primary's to detach.
    pub private: bool,
}

/// What happens to a process from outside.
#[derive(Clone, Debug)]
pub enum Action {
    /// A call of `rte_dev_probe` or `rte_dev_remove` in this process.
    Call(Pid, Step, Device, CString),
    /// SIGKILL.
    Kill(Pid),
    /// The process ends in good order.
    Leave(Pid),
    /// SIGSTOP.
    Stop(Pid),
    /// SIGCONT.
    Continue(Pid),
    /// A process starts with these devices of its own.
    Start(Vec<Own>),
    /// The process takes back the last call that it made.
    Cancel(Pid),
}

impl World {
    pub fn act(&mut self, action: Action) {
        let pid = action.process().unwrap_or(PRIMARY);
        if pid >= self.processes.len() {
            // It has not started yet.
            return;
        }
        note!(self, "{action:?}");
        match action {
            Action::Call(by, step, device, devargs) => self.call(by, step, device, devargs),
            Action::Kill(pid) => self.kill(pid),
            Action::Leave(pid) => {
                if self.runs(pid) {
                    self.send(pid, PRIMARY, &Message::Bye);
                    self.kill(pid);
                }
            }
            Action::Stop(pid) => {
                let now = self.now;
                let process = &mut self.processes[pid];
                if process.alive && process.stopped.is_none() {
                    process.stopped = Some(now);
                    self.disturbed.push((now, Time::MAX, pid));
                }
            }
            Action::Continue(pid) => self.go_on(pid),
            Action::Start(own) => self.start(own),
            Action::Cancel(pid) => self.link_cancel(pid),
        }
    }

    /// Whether the process is there and not stopped.
    pub fn runs(&self, pid: Pid) -> bool {
        self.processes[pid].alive && self.processes[pid].stopped.is_none()
    }

    pub fn add_process(&mut self, own: Vec<Own>) -> Pid {
        let pid = self.processes.len();
        let mut process = Process { alive: true, ..Process::default() };
        for own in own {
            self.expected.insert((pid, own.device.clone()), true);
            if own.private {
                process.private.insert(own.device.clone());
            }
            process.devices.insert(own.device, own.devargs);
        }
        self.processes.push(process);
        pid
    }

    fn start(&mut self, own: Vec<Own>) {
        let pid = self.add_process(own);
        self.link_joins(pid);
    }

    fn kill(&mut self, pid: Pid) {
        assert_ne!(pid, PRIMARY, "nothing is left to look at");
        if !self.processes[pid].alive {
            return;
        }
        self.disturbed.push((self.now, self.now, pid));
        self.note(format!("{pid} is dead"));
        let process = &mut self.processes[pid];
        process.alive = false;
        process.parked.clear();
        process.jobs.clear();
        // What is in the socket is still read, then the end.
        let at = self.arrival(pid, PRIMARY);
        self.at(at, Event::Closed(pid));
    }

    fn go_on(&mut self, pid: Pid) {
        let now = self.now;
        let Some(since) = self.processes[pid].stopped.take() else { return };
        for (_, until, stopped) in &mut self.disturbed {
            if *stopped == pid && *until == Time::MAX {
                *until = now;
            }
        }
        let parked = std::mem::take(&mut self.processes[pid].parked);
        let mut frames: BTreeMap<Pid, Vec<Vec<u8>>> = BTreeMap::new();
        let mut ends = vec![];
        let mut threads = vec![];
        for (due, event) in parked {
            match event {
                Event::Frames(from, _, more) => frames.entry(from).or_default().extend(more),
                // A driver does not get on while it is stopped.
                Event::Worked(..) => {
                    let rest = due.saturating_sub(since);
                    self.at(now + rest, event);
                }
                Event::Closed(_) => ends.push(event),
                _ => threads.push(event),
            }
        }
        // Threads and the reader wake up in any order.
        let threads_first = !self.steady && self.random.percent(50);
        let (first, second) = if threads_first { (threads, vec![]) } else { (vec![], threads) };
        first.into_iter().for_each(|event| self.happen(event));
        for (from, frames) in frames {
            self.happen(Event::Frames(from, pid, frames));
        }
        ends.into_iter().for_each(|event| self.happen(event));
        second.into_iter().for_each(|event| self.happen(event));
    }

    /// A call of the application in any process.
    fn call(&mut self, by: Pid, step: Step, device: Device, devargs: CString) {
        if !self.runs(by) {
            return;
        }
        if by == PRIMARY {
            let caller = Caller { pid: by, call: None };
            self.operate(caller, step, device, devargs);
        } else {
            self.link_call(by, step, device, devargs);
        }
    }
}

impl Process {
    /// Whether what an operation did to the device is undone, if it did anything.
    pub fn is_as_before(&self, operation: OperationId, device: &Device) -> bool {
        let mine = |c: &&Change| c.operation == Some(operation) && c.device == *device;
        let first = self.changes.iter().find(mine);
        let last = self.changes.iter().rev().find(mine);
        first.map(|c| &c.before) == last.map(|c| &c.after)
    }
}

impl Action {
    fn process(&self) -> Option<Pid> {
        match self {
            Self::Start(_) => None,
            Self::Call(pid, ..) => Some(*pid),
            Self::Kill(pid) | Self::Leave(pid) | Self::Stop(pid) => Some(*pid),
            Self::Continue(pid) | Self::Cancel(pid) => Some(*pid),
        }
    }
}
