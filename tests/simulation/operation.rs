//! What `channel::operation` and an operation's caller do in the primary, without threads; each
//! function is named after the one that it stands for. An operation's thread is a [`Run`].

use std::collections::VecDeque;
use std::ffi::CString;
use std::time::Duration;

use rte_hotplug::engine::answer::Answer;
use rte_hotplug::engine::coordinator::{Command, Coordinator, PeerId, PeerKind, Time};
use rte_hotplug::engine::operation::OperationId;
use rte_hotplug::engine::outcome::Cause;
use rte_hotplug::engine::patience::Patience;
use rte_hotplug::proto::wire::{Device, Message, Request, Step};

use crate::drivers::Serves;
use crate::primary::Hub;
use crate::secondary;
use crate::world::{Event, PRIMARY, Pid, World, note};

/// Who called: the process, and the number of its call when it is a secondary.
#[derive(Clone, Copy)]
pub struct Caller {
    pub pid: Pid,
    pub call: Option<u64>,
}

/// What waits for an operation's thread.
#[derive(Clone)]
pub enum Inboxed {
    Joined(PeerId),
    Gone(PeerId),
    Heard(PeerId),
    Replied(PeerId, Step, Answer),
    Cancelled,
}

pub struct Run {
    caller: Caller,
    pub step: Step,
    pub device: Device,
    devargs: CString,
    machine: Coordinator,
    inbox: VecDeque<Inboxed>,
    doing: Doing,
    patience: Patience,
    from: Time,
    /// When it got its turn.
    begun: Time,
    /// The devargs with which the primary had the device then.
    pub before: Option<CString>,
}

#[derive(Clone, Copy, PartialEq)]
enum Doing {
    /// It has not got its turn.
    Queueing,
    /// The primary's own driver runs.
    Working,
    /// It waits for an event.
    Waiting { since: Time, turn: Option<Duration> },
    /// It goes on.
    Going,
    /// It was over, and has to be concluded.
    Concluding,
}

impl Hub {
    /// Puts an event into an inbox: whether the thread has to be woken.
    pub fn push(&mut self, run: OperationId, event: Inboxed) -> bool {
        let Some(run) = self.runs.get_mut(&run) else { return false };
        run.inbox.push_back(event);
        matches!(run.doing, Doing::Waiting { .. })
    }
}

impl Run {
    fn handle(&mut self, event: Inboxed) {
        let time = self.patience.time();
        match event {
            Inboxed::Joined(peer) => self.machine.joined(peer, PeerKind::Member, time),
            Inboxed::Gone(peer) => self.machine.gone(peer, time),
            Inboxed::Heard(peer) => self.machine.heard(peer, time),
            Inboxed::Replied(peer, step, answer) => {
                self.machine.replied(peer, step, answer, time);
            }
            Inboxed::Cancelled => self.machine.cancel(time),
        }
    }

    fn take_events(&mut self) {
        for event in std::mem::take(&mut self.inbox) {
            self.handle(event);
        }
    }
}

impl World {
    /// `attach_as_primary` and `detach_as_primary`: the turn first.
    pub fn operate(&mut self, caller: Caller, step: Step, device: Device, devargs: CString) {
        self.hub.next_operation += 1;
        let id = self.hub.next_operation;
        let run = Run {
            caller,
            step,
            device: device.clone(),
            devargs,
            machine: Coordinator::new(step, self.limits),
            inbox: VecDeque::new(),
            doing: Doing::Queueing,
            patience: Patience::default(),
            from: self.now,
            begun: self.now,
            before: None,
        };
        self.hub.runs.insert(id, run);
        let turns = self.hub.turns.entry(device).or_default();
        turns.push_back(id);
        if turns.len() == 1 {
            self.enter(id);
        }
    }

    fn enter(&mut self, id: OperationId) {
        let now = self.now;
        let Some(run) = self.hub.runs.get_mut(&id) else { return };
        let device = run.device.clone();
        run.begun = now;
        run.before = self.processes[PRIMARY].devices.get(&device).cloned();
        if run.step == Step::Detach {
            match self.processes[PRIMARY].devices.get(&device) {
                Some(devargs) => run.devargs.clone_from(devargs),
                None => return self.leave(id, -libc::ENOENT),
            }
        }
        self.coordinate(id);
    }

    fn coordinate(&mut self, id: OperationId) {
        if self.is_given_up(id) {
            return self.leave(id, -libc::ENOMSG);
        }
        if self.hub.roster.stopped().next().is_some() {
            return self.leave(id, -libc::ENOMSG);
        }
        let Some(run) = self.hub.runs.get_mut(&id) else { return };
        run.inbox.extend(self.hub.members.iter().map(|peer| Inboxed::Joined(*peer)));
        self.hub.operations.insert(id);
        let key = run.caller.call.map(|call| (PeerId(run.caller.pid as u64), call));
        if let Some(token) = key.and_then(|key| self.hub.calls.get_mut(&key)) {
            token.run = Some(id);
        }
        note!(self, "operation {id} begins");
        let Some(run) = self.hub.runs.get_mut(&id) else { return };
        run.take_events();
        run.machine.begin(run.patience.time());
        self.carry_out(id);
    }

    fn is_given_up(&self, id: OperationId) -> bool {
        let Some(Caller { pid, call: Some(call) }) = self.hub.runs.get(&id).map(|r| r.caller)
        else {
            return false;
        };
        let key = (PeerId(pid as u64), call);
        self.hub.calls.get(&key).is_some_and(|token| token.cancelled)
    }

    fn carry_out(&mut self, id: OperationId) {
        while let Some(run) = self.hub.runs.get_mut(&id) {
            if let Some(command) = run.machine.next_command() {
                if self.obey(id, command) {
                    return;
                }
            } else if run.machine.outcome().is_some() {
                if self.finish(id) {
                    let at = self.now + self.thread_delay();
                    return self.at(at, Event::Conclude(id));
                }
            } else if self.wait(id) {
                return;
            }
        }
    }

    /// Whether the thread is busy now.
    fn obey(&mut self, id: OperationId, command: Command) -> bool {
        let Some(run) = self.hub.runs.get_mut(&id) else { return true };
        let (device, devargs) = (run.device.clone(), run.devargs.clone());
        match command {
            Command::Local(step) => {
                run.doing = Doing::Working;
                let attaches = matches!(step, Step::Attach | Step::DetachRollback);
                let goal = attaches.then_some(devargs);
                self.begin_work(PRIMARY, Some(step), &device, goal, Some(id), Serves::Run(id));
                true
            }
            Command::Send(peer, step) => {
                if self.hub.members.contains(&peer) {
                    let request =
                        Request { id, lineage: vec![], step, device, devargs, hurried: false };
                    self.send(PRIMARY, peer.0 as usize, &Message::Request(request));
                }
                false
            }
            Command::Ping(peer) => {
                if self.hub.members.contains(&peer) {
                    self.send(PRIMARY, peer.0 as usize, &Message::Ping);
                }
                false
            }
        }
    }

    /// The primary's driver is done.
    pub fn run_worked(&mut self, id: OperationId, answer: Answer) {
        let Some(run) = self.hub.runs.get_mut(&id) else { return };
        if let Answer::Failed(..) = answer {
            if run.machine.outcome().is_none() && self.is_undoing(id) {
                let device = self.hub.runs[&id].device.clone();
                self.loose.insert((PRIMARY, device));
            }
        }
        let Some(run) = self.hub.runs.get_mut(&id) else { return };
        run.doing = Doing::Going;
        run.machine.local_done(answer, run.patience.time());
        self.carry_out(id);
    }

    /// Whether the primary has changed the device and now undoes that.
    fn is_undoing(&self, id: OperationId) -> bool {
        self.hub.runs.get(&id).is_some_and(|run| run.machine.touched())
    }

    /// Whether the thread sleeps; else it has taken its events.
    fn wait(&mut self, id: OperationId) -> bool {
        let now = self.now;
        let Some(run) = self.hub.runs.get_mut(&id) else { return true };
        let (since, turn) = match run.doing {
            Doing::Waiting { since, turn } => (since, turn),
            _ => (now, run.patience.turn(run.machine.deadline())),
        };
        let until = turn.map(|turn| since + turn);
        if run.inbox.is_empty() && until.is_none_or(|until| until > now) {
            run.doing = Doing::Waiting { since, turn };
            if let Some(until) = until {
                self.at(until, Event::Wake(id));
            }
            return true;
        }
        run.doing = Doing::Going;
        run.patience.listened(turn, now - since);
        run.take_events();
        let time = run.patience.time();
        if run.machine.deadline().is_some_and(|d| d <= time) {
            run.machine.tick(time);
        }
        false
    }

    pub fn run_woken(&mut self, id: OperationId) {
        let Some(run) = self.hub.runs.get(&id) else { return };
        let Doing::Waiting { since, turn } = run.doing else { return };
        if !run.inbox.is_empty() || turn.is_some_and(|turn| since + turn <= self.now) {
            self.carry_out(id);
        }
    }

    fn finish(&mut self, id: OperationId) -> bool {
        let Some(run) = self.hub.runs.get_mut(&id) else { return true };
        run.take_events();
        let Some(outcome) = run.machine.outcome().cloned() else { return false };
        run.doing = Doing::Concluding;
        let (succeeded, touched) = (outcome.failure.is_none(), run.machine.touched());
        let devargs = run.before.as_ref().unwrap_or(&run.devargs);
        self.hub.journal.record(&run.device, run.step, succeeded, touched, devargs);
        self.hub.operations.remove(&id);
        self.hub.roster.ended(id, &run.device, &outcome);
        for peer in &outcome.stopped {
            // It may have gone on meanwhile: then it says so again.
            self.send(PRIMARY, peer.0 as usize, &Message::Ping);
        }
        self.check_promises(id, &outcome);
        true
    }

    pub fn conclude(&mut self, id: OperationId) {
        let Some(run) = self.hub.runs.get_mut(&id) else { return };
        let Some(outcome) = run.machine.outcome().cloned() else { return };
        note!(self, "operation {id} ends: {outcome:?}");
        let code = match &outcome.failure {
            None => 0,
            Some(failure) => match failure.cause {
                Cause::Code(code, _) => code,
                Cause::Stopped | Cause::TooSlow | Cause::Cancelled => -libc::ENOMSG,
            },
        };
        self.hub.outcomes.push(outcome);
        self.leave(id, code);
    }

    /// Gives the turn back and tells the caller.
    fn leave(&mut self, id: OperationId, code: i32) {
        let Some(run) = self.hub.runs.remove(&id) else { return };
        self.check_duration(run.begun, &run.device);
        let Caller { pid, call } = run.caller;
        match call {
            None => self.returned(pid, run.step, run.device.clone(), code, run.from),
            Some(call) => {
                let peer = PeerId(pid as u64);
                self.hub.calls.remove(&(peer, call));
                if self.hub.members.contains(&peer) {
                    let answer = match code {
                        0 => Answer::Changed,
                        code => Answer::Failed(code, String::new()),
                    };
                    let result = secondary::reply(&answer, call, run.step);
                    self.send(PRIMARY, pid, &Message::Result(result));
                }
            }
        }
        let Some(turns) = self.hub.turns.get_mut(&run.device) else { return };
        turns.pop_front();
        match turns.front().copied() {
            Some(next) => self.enter(next),
            None => drop(self.hub.turns.remove(&run.device)),
        }
    }
}
