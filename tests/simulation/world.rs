//! The clock, the processes with their drivers, and the connections between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::time::Duration;

use rte_hotplug::engine::answer::Answer;
use rte_hotplug::engine::coordinator::{Limits, PeerId, Time};
use rte_hotplug::engine::operation::OperationId;
use rte_hotplug::engine::participant::Task;
use rte_hotplug::proto::wire::{Device, Message, Step};

use crate::primary::{Caller, Hub, Inboxed};
use crate::secondary::Link;

/// A process: its place in [`World::processes`]. A secondary's number in the hub is the same.
pub type Pid = usize;
/// The primary.
pub const PRIMARY: Pid = 0;

/// A xorshift generator.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// A time up to `most`.
    pub fn time(&mut self, most: Time) -> Time {
        Duration::from_micros(self.below(most.as_micros() as usize + 1) as u64)
    }
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

/// A device that a process has from its own start.
#[derive(Clone, Debug)]
pub struct Own {
    pub device: Device,
    pub devargs: CString,
    /// From the command line of a secondary: not the primary's to detach.
    pub private: bool,
}

/// How a driver behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    pub takes: Time,
    pub result: Result<(), i32>,
}

/// What a driver is called for: `None` is to bring the device in line when joining.
pub type Occasion = Option<Step>;

/// How drivers behave.
pub enum Drivers {
    /// As written down, by process and occasion; others take `usual` and succeed.
    Scripted { usual: Time, rules: BTreeMap<(Pid, Option<u8>), Behaviour> },
    /// Anyhow, with so many failures in a hundred.
    Chaotic { fails: usize, undo_fails: usize, slow: usize, too_slow: usize },
}

/// A process.
#[derive(Default)]
pub struct Process {
    pub alive: bool,
    pub stopped: Option<Time>,
    pub devices: BTreeMap<Device, CString>,
    pub private: BTreeSet<Device>,
    /// What happened to it while it was stopped, with the time.
    parked: Vec<(Time, Event)>,
    jobs: BTreeMap<u64, Job>,
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

/// A driver's work.
pub struct Job {
    device: Device,
    /// Attach with these devargs, or detach.
    goal: Option<CString>,
    /// Whether private devices are kept.
    spare_private: bool,
    operation: Option<OperationId>,
    behaviour: Behaviour,
    due: Time,
    serves: Serves,
}

/// A job as it is remembered.
pub struct Worked {
    pub pid: Pid,
    pub device: Device,
    pub takes: Time,
    pub until: Time,
    job: u64,
}

/// Whom a job serves.
#[derive(Clone)]
pub enum Serves {
    /// An operation in the primary.
    Run(OperationId),
    /// A task in a secondary.
    Task(Task),
}

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

fn occasion_key(occasion: Occasion) -> Option<u8> {
    occasion.map(|step| step as u8)
}

/// A rule for [`Drivers::Scripted`].
pub fn rule(
    process: Pid,
    occasion: Occasion,
    takes: Time,
    result: Result<(), i32>,
) -> ((Pid, Option<u8>), Behaviour) {
    ((process, occasion_key(occasion)), Behaviour { takes, result })
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
        self.next += 1;
        self.agenda.insert((time.max(self.now), self.next), event);
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

    fn happen(&mut self, event: Event) {
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

    fn arrival(&mut self, from: Pid, to: Pid) -> Time {
        let at = self.now + self.frame_delay();
        let last = self.arrivals.entry((from, to)).or_default();
        *last = at.max(*last);
        *last
    }

    fn act(&mut self, action: Action) {
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

    fn add_process(&mut self, own: Vec<Own>) -> Pid {
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

    /// A driver begins to work.
    pub fn begin_work(
        &mut self,
        pid: Pid,
        occasion: Occasion,
        device: &Device,
        goal: Option<CString>,
        operation: Option<OperationId>,
        serves: Serves,
    ) {
        // As `step_here` has it: an attach is undone by name only.
        let spare_private = pid != PRIMARY && matches!(occasion, None | Some(Step::Detach));
        let mut job = Job {
            device: device.clone(),
            goal,
            spare_private,
            operation,
            behaviour: Behaviour { takes: Time::ZERO, result: Ok(()) },
            due: self.now,
            serves,
        };
        if self.processes[pid].changes_with(&job) {
            job.behaviour = self.behaviour(pid, occasion);
        }
        note!(self, "{pid} works on {:?}: {occasion:?} {:?}", device.name, job.behaviour);
        job.due = self.now + job.behaviour.takes;
        self.next += 1;
        let number = self.next;
        let (device, takes) = (device.clone(), job.behaviour.takes);
        self.worked.push(Worked { pid, device, takes, until: Time::MAX, job: number });
        self.at(job.due, Event::Worked(pid, number));
        self.processes[pid].jobs.insert(number, job);
    }

    fn behaviour(&mut self, pid: Pid, occasion: Occasion) -> Behaviour {
        let random = &mut self.random;
        match &self.drivers {
            Drivers::Scripted { usual, rules } => {
                let usual = Behaviour { takes: *usual, result: Ok(()) };
                rules.get(&(pid, occasion_key(occasion))).copied().unwrap_or(usual)
            }
            Drivers::Chaotic { fails, undo_fails, slow, too_slow } => {
                let undoing = !matches!(occasion, Some(Step::Attach | Step::Detach));
                let chance = if undoing { *undo_fails } else { *fails };
                let codes = [-libc::EIO, -libc::EEXIST, -libc::ENOENT, -libc::EBUSY];
                let result = match random.percent(chance) {
                    true => Err(codes[random.below(codes.len())]),
                    false => Ok(()),
                };
                let takes = if random.percent(*too_slow) {
                    self.limits.operation + random.time(self.limits.operation)
                } else if random.percent(*slow) {
                    self.limits.liveness + random.time(self.limits.liveness)
                } else {
                    random.time(Duration::from_millis(20))
                };
                Behaviour { takes, result }
            }
        }
    }

    fn worked(&mut self, pid: Pid, number: u64) {
        let Some(job) = self.processes[pid].jobs.remove(&number) else { return };
        if let Some(worked) = self.worked.iter_mut().rev().find(|w| w.job == number) {
            worked.until = self.now;
        }
        let process = &mut self.processes[pid];
        let before = process.devices.get(&job.device).cloned();
        let answer = match job.behaviour.result {
            _ if !process.changes_with(&job) => Answer::Unchanged,
            Ok(()) => Answer::Changed,
            Err(code) => Answer::Failed(code, String::new()),
        };
        if answer == Answer::Changed {
            match &job.goal {
                Some(devargs) => process.devices.insert(job.device.clone(), devargs.clone()),
                None => process.devices.remove(&job.device),
            };
            process.changes.push(Change {
                operation: job.operation,
                device: job.device.clone(),
                before: before.clone(),
                after: job.goal.clone(),
            });
        }
        note!(self, "{pid} has {answer:?} {:?}", job.device.name);
        match job.serves {
            Serves::Run(run) => self.run_worked(run, answer),
            Serves::Task(task) => {
                let had = before.filter(|_| job.goal.is_none() && answer == Answer::Changed);
                self.watch_undoing(pid, &task, &answer);
                self.link_worked(pid, &task, &answer, had);
            }
        }
    }

    /// Keeps in mind what the contract does not promise any longer, and what it promises anew.
    fn watch_undoing(&mut self, pid: Pid, task: &Task, answer: &Answer) {
        let key = (pid, task.device().clone());
        let failed = matches!(answer, Answer::Failed(..));
        match task {
            Task::Step(request) => {
                let undoing = matches!(request.step, Step::AttachRollback | Step::DetachRollback);
                if failed && undoing {
                    self.not_undone.insert(key.clone());
                    self.loose.insert(key);
                }
            }
            Task::Sync(..) if failed => drop(self.loose.insert(key)),
            Task::Sync(_, goal) => {
                self.loose.remove(&key);
                if !self.processes[pid].private.contains(&key.1) {
                    self.expected.insert(key.clone(), goal.is_some());
                    self.agreed.insert(key);
                }
            }
        }
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

impl Process {
    /// Whether the device's state is another than the job's goal.
    fn changes_with(&self, job: &Job) -> bool {
        let spared = job.goal.is_none() && job.spare_private && self.private.contains(&job.device);
        self.devices.contains_key(&job.device) != job.goal.is_some() && !spared
    }

    /// Whether what an operation did to the device is undone, if it did anything.
    pub fn is_as_before(&self, operation: OperationId, device: &Device) -> bool {
        let mine = |c: &&Change| c.operation == Some(operation) && c.device == *device;
        let first = self.changes.iter().find(mine);
        let last = self.changes.iter().rev().find(mine);
        first.map(|c| &c.before) == last.map(|c| &c.after)
    }
}
