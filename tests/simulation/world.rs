//! The clock, the processes, and the connections between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::time::Duration;

use rte_hotplug::engine::coordinator::{Limits, PeerId, Time};
use rte_hotplug::engine::operation::OperationId;
use rte_hotplug::proto::wire::{Device, Message, Step};

use crate::drivers::{Drivers, Worked};
use crate::operation::Inboxed;
use crate::primary::Hub;
use crate::process::{Action, Own, Process};
use crate::rng::Random;

/// A process: its place in [`World::processes`]. A secondary's number in the hub is the same.
pub type Pid = usize;
/// The primary.
pub const PRIMARY: Pid = 0;

/// Something that happens at a time.
pub enum Event {
    /// Frames arrive.
    Frames(Pid, Pid, Vec<Vec<u8>>),
    /// The primary reads the end of a connection.
    Closed(Pid),
    /// The primary welcomes one that joins; these devices it has had a moment ago.
    Greet(PeerId, BTreeMap<Device, CString>),
    /// A driver is done.
    Worked(Pid, u64),
    /// The thread of an operation wakes up.
    Wake(OperationId),
    /// The thread of an operation goes on after its end.
    Conclude(OperationId),
    /// A thread that waits for its call's answer looks up.
    Round(Pid, u64),
    Do(Action),
}

impl Event {
    /// The process that has to run for it.
    fn process(&self) -> Option<Pid> {
        match self {
            Self::Frames(_, to, _) => Some(*to),
            Self::Worked(process, _) | Self::Round(process, _) => Some(*process),
            Self::Closed(_) | Self::Greet(..) | Self::Wake(_) | Self::Conclude(_) => Some(PRIMARY),
            Self::Do(_) => None,
        }
    }
}

/// How a call of a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub by: Pid,
    pub step: Step,
    pub device: Device,
    pub code: i32,
    pub from: Time,
    pub until: Time,
}

/// Everything.
pub struct World {
    pub now: Time,
    pub limits: Limits,
    pub random: Random,
    /// Frames take up to so long; always the most when `steady`.
    pub delay: Time,
    pub steady: bool,
    pub embedded: bool,
    pub drivers: Drivers,
    pub processes: Vec<Process>,
    pub hub: Hub,
    pub ended: Vec<Ended>,
    /// The work of drivers.
    pub worked: Vec<Worked>,
    /// When somebody was stopped, died or came.
    pub disturbed: Vec<(Time, Time, Pid)>,
    /// Devices whose state in a process is known to be wrong: undoing or joining failed there.
    pub loose: BTreeSet<(Pid, Device)>,
    /// Those where undoing failed: the primary has to know.
    pub not_undone: BTreeSet<(Pid, Device)>,
    /// What each process has to have, once all has settled.
    pub expected: BTreeMap<(Pid, Device), bool>,
    /// Where processes have to have what the primary has.
    pub agreed: BTreeSet<(Pid, Device)>,
    pub trace: Option<Vec<String>>,
    agenda: BTreeMap<(Time, u64), Event>,
    arrivals: BTreeMap<(Pid, Pid), Time>,
    next: u64,
}

macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if $world.trace.is_some() {
            let line = format!($($text)*);
            $world.note(line);
        }
    };
}
pub(crate) use note;

pub fn device(name: &str) -> Device {
    Device { bus: c"vdev".into(), name: CString::new(name).unwrap() }
}

pub fn devargs(name: &str, arguments: &str) -> CString {
    CString::new(format!("vdev:{name},{arguments}")).unwrap()
}

impl World {
    /// A primary with these devices of its own.
    pub fn new(seed: u64, drivers: Drivers, own: Vec<Own>) -> Self {
        let mut world = Self {
            now: Time::ZERO,
            limits: Limits::default(),
            random: Random::new(seed),
            delay: Duration::from_millis(1),
            steady: true,
            embedded: false,
            drivers,
            processes: vec![],
            hub: Hub::default(),
            ended: vec![],
            worked: vec![],
            disturbed: vec![],
            loose: BTreeSet::new(),
            not_undone: BTreeSet::new(),
            expected: BTreeMap::new(),
            agreed: BTreeSet::new(),
            trace: None,
            agenda: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            next: 0,
        };
        world.add_process(own);
        world
    }

    pub fn note(&mut self, line: String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.3} ms  {line}", now.as_secs_f64() * 1000.0));
        }
    }

    pub fn at(&mut self, time: Time, event: Event) {
        let number = self.number();
        self.agenda.insert((time.max(self.now), number), event);
    }

    /// The next of all numbers.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn act_at(&mut self, time: Time, action: Action) {
        self.at(time, Event::Do(action));
    }

    /// How long a frame takes.
    fn frame_delay(&mut self) -> Time {
        if self.steady { self.delay } else { self.random.time(self.delay) }
    }

    /// How long a thread takes to get a processor.
    pub fn thread_delay(&mut self) -> Time {
        if self.steady { Time::ZERO } else { self.random.time(self.delay) }
    }

    /// Lets the next thing happen; `false` when nothing is left to happen.
    pub fn advance(&mut self) -> bool {
        let Some(((time, _), event)) = self.agenda.pop_first() else { return false };
        self.now = time;
        match event.process() {
            Some(pid) if !self.processes[pid].alive => {}
            Some(pid) if self.processes[pid].stopped.is_some() => {
                self.processes[pid].parked.push((time, event));
            }
            _ => self.happen(event),
        }
        true
    }

    /// Until nothing is left to happen. Whatever hangs runs into the limit.
    pub fn settle(&mut self, limit: Time) {
        while self.advance() {
            assert!(self.now < limit, "it never ends");
        }
    }

    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Frames(from, to, frames) => self.deliver(from, to, frames),
            Event::Closed(peer) => self.hub_closed(PeerId(peer as u64)),
            Event::Greet(peer, shared) => self.greet(peer, shared),
            Event::Worked(process, job) => self.worked(process, job),
            Event::Wake(run) => self.run_woken(run),
            Event::Conclude(run) => self.conclude(run),
            Event::Round(process, call) => self.link_round(process, call),
            Event::Do(action) => self.act(action),
        }
    }

    fn deliver(&mut self, from: Pid, to: Pid, frames: Vec<Vec<u8>>) {
        let decode = |frame: &Vec<u8>| Message::decode(frame).expect("a frame of our own").1;
        let messages: Vec<Message> = frames.iter().map(decode).collect();
        if to == PRIMARY {
            self.hub_received(PeerId(from as u64), messages);
        } else {
            self.link_received(to, messages);
        }
    }

    /// Sends a frame after those sent before.
    pub fn send(&mut self, from: Pid, to: Pid, message: &Message) {
        if !matches!(message, Message::Ping | Message::Pong) {
            note!(self, "{from} -> {to} {message:?}");
        }
        let at = self.arrival(from, to);
        self.at(at, Event::Frames(from, to, vec![message.encode(1)]));
    }

    pub fn arrival(&mut self, from: Pid, to: Pid) -> Time {
        let at = self.now + self.frame_delay();
        let last = self.arrivals.entry((from, to)).or_default();
        *last = at.max(*last);
        *last
    }

    /// A call has returned.
    pub fn returned(&mut self, by: Pid, step: Step, device: Device, code: i32, from: Time) {
        note!(self, "{by} is told {code} for {step:?} {:?}", device.name);
        self.ended.push(Ended { by, step, device, code, from, until: self.now });
    }

    pub fn has(&self, pid: Pid, device: &Device) -> bool {
        self.processes[pid].devices.contains_key(device)
    }

    /// Tells the operations in the primary.
    pub fn tell_run(&mut self, run: OperationId, event: Inboxed) {
        let wake = self.hub.push(run, event);
        if wake {
            let at = self.now + self.thread_delay();
            self.at(at, Event::Wake(run));
        }
    }
}
