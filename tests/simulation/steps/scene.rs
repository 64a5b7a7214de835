//! An operation in a group, what comes between, and what came of it.

use std::ffi::CString;
use std::time::Duration;

use rte_hotplug::engine::coordinator::{PeerId, Time};
use rte_hotplug::engine::roster::Standing;
use rte_hotplug::proto::wire::Step::{self, Attach, Detach};

use crate::drivers::{Behaviour, Drivers, Occasion, rule};
use crate::process::{Action, Own};
use crate::world::{PRIMARY, Pid, World, devargs, device};

pub const START: Time = ms(1000);
/// What every driver takes, where nothing else is said; a frame takes 1 ms.
pub const USUAL: Time = ms(10);
/// One round: the primary's driver, there, the others' drivers, back.
pub const ROUND: Time = ms(22);
pub const LONGEST: Time = Duration::from_secs(24 * 3600);
pub const SECONDARIES: usize = 3;
pub const ALL: [Pid; 4] = [PRIMARY, 1, 2, 3];

pub const fn ms(milliseconds: u64) -> Time {
    Duration::from_millis(milliseconds)
}

/// An operation on a device, and what comes between.
pub struct Scene {
    step: Step,
    /// Who calls.
    by: Pid,
    /// Who has the device at the start.
    having: Vec<Pid>,
    rules: Vec<((Pid, Option<u8>), Behaviour)>,
    actions: Vec<(Time, Action)>,
}

/// What came of it.
pub struct Played {
    pub world: World,
    pub step: Step,
    before: Vec<Option<CString>>,
    pub code: i32,
    pub took: Time,
}

impl Scene {
    /// The step in a group that is ready for it.
    pub fn new(step: Step, by: Pid) -> Self {
        let having = if step == Attach { vec![] } else { ALL.to_vec() };
        Self { step, by, having, rules: vec![], actions: vec![] }
    }

    pub fn having(mut self, having: &[Pid]) -> Self {
        self.having = having.to_vec();
        self
    }

    pub fn driver(
        mut self,
        pid: Pid,
        on: impl Into<Occasion>,
        takes: Time,
        result: Result<(), i32>,
    ) -> Self {
        self.rules.push(rule(pid, on.into(), takes, result));
        self
    }

    pub fn fails(self, pid: Pid, on: Step, code: i32) -> Self {
        self.driver(pid, on, USUAL, Err(code))
    }

    /// Lets something happen so long after the call.
    pub fn at(mut self, after: Time, action: Action) -> Self {
        self.actions.push((after, action));
        self
    }

    pub fn play(self) -> Played {
        let mut played = self.begin();
        played.go_on_until_told();
        played
    }

    pub fn begin(self) -> Played {
        let own = |pid: Pid| -> Vec<Own> {
            let devargs = devargs("a", &format!("own={pid}"));
            let own = Own { device: device("a"), devargs, private: false };
            self.having.contains(&pid).then_some(own).into_iter().collect()
        };
        let drivers = Drivers::Scripted { usual: USUAL, rules: self.rules.into_iter().collect() };
        let mut world = World::new(1, drivers, own(PRIMARY));
        world.processes_start(SECONDARIES, own);
        world.settle(START);
        let before = world.states();
        let call = Action::Call(self.by, self.step, device("a"), devargs("a", "new=1"));
        world.act_at(START, call);
        for (after, action) in self.actions {
            world.act_at(START + after, action);
        }
        Played { world, step: self.step, before, code: 1, took: Time::ZERO }
    }
}

impl World {
    fn processes_start(&mut self, count: usize, own: impl Fn(Pid) -> Vec<Own>) {
        (1..=count).for_each(|pid| self.act_at(Time::ZERO, Action::Start(own(pid))));
    }

    pub fn states(&self) -> Vec<Option<CString>> {
        self.processes.iter().map(|p| p.devices.get(&device("a")).cloned()).collect()
    }

    pub fn standing(&self, pid: Pid) -> Option<Standing> {
        self.hub.roster.standing(PeerId(pid as u64))
    }
}

impl Played {
    pub fn go_on_until_told(&mut self) {
        while self.world.ended.is_empty() {
            assert!(self.world.advance() && self.world.now < LONGEST, "the caller waits for ever");
        }
        let told = &self.world.ended[0];
        (self.code, self.took) = (told.code, told.until - told.from);
    }

    /// The caller was told success, and the processes named have it so.
    pub fn succeeded(&self, pids: &[Pid]) {
        assert_eq!(self.code, 0);
        for pid in pids {
            let has = self.world.has(*pid, &device("a"));
            assert_eq!(has, self.step == Attach, "{pid} after {:?}", self.step);
        }
    }

    /// The caller was told this, and the processes named are as before.
    pub fn failed(&self, code: i32, pids: &[Pid]) {
        assert_eq!(self.code, code);
        self.is_as_before(pids);
    }

    pub fn is_as_before(&self, pids: &[Pid]) {
        let now = self.world.states();
        for pid in pids {
            let before = self.before.get(*pid).cloned().flatten();
            assert_eq!(now[*pid], before, "{pid} after {:?}", self.step);
        }
    }

    /// All who were stopped go on, and everything comes to its end.
    pub fn settle(&mut self) -> &mut Self {
        for pid in 0..self.world.processes.len() {
            self.world.act_at(self.world.now, Action::Continue(pid));
        }
        self.world.settle(LONGEST);
        self
    }

    pub fn in_line(&self, pids: &[Pid]) -> &Self {
        for pid in pids.iter().filter(|pid| **pid != PRIMARY) {
            assert_eq!(self.world.standing(*pid), Some(Standing::Member), "{pid}");
        }
        self
    }

    /// The next operations work in the processes named, now and without delay.
    pub fn next_ones_work(&mut self, pids: &[Pid]) {
        self.settle();
        self.world.drivers = Drivers::Scripted { usual: USUAL, rules: [].into() };
        for step in [Attach, Detach, Attach] {
            let told = self.world.ended.len();
            let call = Action::Call(PRIMARY, step, device("a"), devargs("a", "next=1"));
            self.world.act_at(self.world.now, call);
            self.world.settle(LONGEST);
            let ended = &self.world.ended[told];
            assert_eq!(ended.code, 0, "the next {step:?}");
            assert!(ended.until - ended.from <= ROUND, "the next {step:?}");
            for pid in pids {
                assert_eq!(self.world.has(*pid, &device("a")), step == Attach, "{pid}");
            }
        }
        self.in_line(pids);
    }
}

/// Each step, called in the primary and in a secondary.
pub fn every_call(check: impl Fn(Step, Pid)) {
    for step in [Attach, Detach] {
        for by in [PRIMARY, 1] {
            check(step, by);
        }
    }
}

/// Each step and call, and each moment of it.
pub fn every_moment(check: impl Fn(Step, Pid, Time)) {
    every_call(|step, by| {
        for half in 0..60 {
            check(step, by, Duration::from_micros(500 * half + 250));
        }
    });
}

/// From the call to its begin in the primary and, after the end, back.
pub fn way(by: Pid) -> Time {
    if by == PRIMARY { Time::ZERO } else { ms(1) }
}
