//! Every step with every failure: what the caller is told, what every process has then, and that
//! the next operation works.

use std::ffi::CString;
use std::time::Duration;

use rte_hotplug::engine::coordinator::{PeerId, Time};
use rte_hotplug::engine::roster::Standing;
use rte_hotplug::proto::wire::Step::{self, Attach, AttachRollback, Detach, DetachRollback};

use crate::world::{
    Action, Behaviour, Drivers, Occasion, Own, PRIMARY, Pid, World, devargs, device, rule,
};

const START: Time = ms(1000);
/// What every driver takes, where nothing else is said; a frame takes 1 ms.
const USUAL: Time = ms(10);
/// One round: the primary's driver, there, the others' drivers, back.
const ROUND: Time = ms(22);
const LONGEST: Time = Duration::from_secs(24 * 3600);
const SECONDARIES: usize = 3;
const ALL: [Pid; 4] = [PRIMARY, 1, 2, 3];

const fn ms(milliseconds: u64) -> Time {
    Duration::from_millis(milliseconds)
}

/// An operation on a device, and what comes between.
struct Scene {
    step: Step,
    /// Who calls.
    by: Pid,
    /// Who has the device at the start.
    having: Vec<Pid>,
    rules: Vec<((Pid, Option<u8>), Behaviour)>,
    actions: Vec<(Time, Action)>,
}

/// What came of it.
struct Played {
    world: World,
    step: Step,
    before: Vec<Option<CString>>,
    code: i32,
    took: Time,
}

impl Scene {
    /// The step in a group that is ready for it.
    fn new(step: Step, by: Pid) -> Self {
        let having = if step == Attach { vec![] } else { ALL.to_vec() };
        Self { step, by, having, rules: vec![], actions: vec![] }
    }

    fn having(mut self, having: &[Pid]) -> Self {
        self.having = having.to_vec();
        self
    }

    fn driver(
        mut self,
        pid: Pid,
        on: impl Into<Occasion>,
        takes: Time,
        result: Result<(), i32>,
    ) -> Self {
        self.rules.push(rule(pid, on.into(), takes, result));
        self
    }

    fn fails(self, pid: Pid, on: Step, code: i32) -> Self {
        self.driver(pid, on, USUAL, Err(code))
    }

    /// Lets something happen so long after the call.
    fn at(mut self, after: Time, action: Action) -> Self {
        self.actions.push((after, action));
        self
    }

    fn play(self) -> Played {
        let mut played = self.begin();
        played.go_on_until_told();
        played
    }

    fn begin(self) -> Played {
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

    fn states(&self) -> Vec<Option<CString>> {
        self.processes.iter().map(|p| p.devices.get(&device("a")).cloned()).collect()
    }

    fn standing(&self, pid: Pid) -> Option<Standing> {
        self.hub.roster.standing(PeerId(pid as u64))
    }
}

impl Played {
    fn go_on_until_told(&mut self) {
        while self.world.ended.is_empty() {
            assert!(self.world.advance() && self.world.now < LONGEST, "the caller waits for ever");
        }
        let told = &self.world.ended[0];
        (self.code, self.took) = (told.code, told.until - told.from);
    }

    /// The caller was told success, and the processes named have it so.
    fn succeeded(&self, pids: &[Pid]) {
        assert_eq!(self.code, 0);
        for pid in pids {
            let has = self.world.has(*pid, &device("a"));
            assert_eq!(has, self.step == Attach, "{pid} after {:?}", self.step);
        }
    }

    /// The caller was told this, and the processes named are as before.
    fn failed(&self, code: i32, pids: &[Pid]) {
        assert_eq!(self.code, code);
        self.is_as_before(pids);
    }

    fn is_as_before(&self, pids: &[Pid]) {
        let now = self.world.states();
        for pid in pids {
            let before = self.before.get(*pid).cloned().flatten();
            assert_eq!(now[*pid], before, "{pid} after {:?}", self.step);
        }
    }

    /// All who were stopped go on, and everything comes to its end.
    fn settle(&mut self) -> &mut Self {
        for pid in 0..self.world.processes.len() {
            self.world.act_at(self.world.now, Action::Continue(pid));
        }
        self.world.settle(LONGEST);
        self
    }

    fn in_line(&self, pids: &[Pid]) -> &Self {
        for pid in pids.iter().filter(|pid| **pid != PRIMARY) {
            assert_eq!(self.world.standing(*pid), Some(Standing::Member), "{pid}");
        }
        self
    }

    /// The next operations work in the processes named, now and without delay.
    fn next_ones_work(&mut self, pids: &[Pid]) {
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
fn every_call(check: impl Fn(Step, Pid)) {
    for step in [Attach, Detach] {
        for by in [PRIMARY, 1] {
            check(step, by);
        }
    }
}

/// Each step and call, and each moment of it.
fn every_moment(check: impl Fn(Step, Pid, Time)) {
    every_call(|step, by| {
        for half in 0..60 {
            check(step, by, Duration::from_micros(500 * half + 250));
        }
    });
}

/// From the call to its begin in the primary and, after the end, back.
fn way(by: Pid) -> Time {
    if by == PRIMARY { Time::ZERO } else { ms(1) }
}

#[test]
fn all_succeed() {
    every_call(|step, by| {
        let mut played = Scene::new(step, by).play();
        played.succeeded(&ALL);
        assert_eq!(played.took, ROUND + 2 * way(by));
        played.in_line(&ALL);
        played.next_ones_work(&ALL);
    });
}

#[test]
fn it_takes_as_long_as_the_slowest_and_not_as_all() {
    every_call(|step, by| {
        let scene = Scene::new(step, by);
        let scene = (1..=SECONDARIES).fold(scene, |s, pid| s.driver(pid, step, ms(500), Ok(())));
        let played = scene.play();
        played.succeeded(&ALL);
        assert_eq!(played.took, ROUND - USUAL + ms(500) + 2 * way(by));
    });
}

#[test]
fn the_primary_fails() {
    for code in [-libc::EIO, -libc::EEXIST, -libc::ENOENT] {
        every_call(|step, by| {
            let mut played = Scene::new(step, by).fails(PRIMARY, step, code).play();
            played.failed(code, &ALL);
            let asked =
                (1..=SECONDARIES).any(|pid| !played.world.processes[pid].changes.is_empty());
            assert_eq!(asked, step == Detach, "an attach is tried in the primary first");
            played.in_line(&ALL);
            played.next_ones_work(&ALL);
        });
    }
}

#[test]
fn one_fails() {
    // A driver may return what EAL takes for "attached already" or "not there": it is a failure.
    for code in [-libc::EIO, -libc::EEXIST, -libc::ENOENT, -libc::ENODEV] {
        every_call(|step, by| {
            for pid in 1..=SECONDARIES {
                let mut played = Scene::new(step, by).fails(pid, step, code).play();
                played.failed(code, &ALL);
                played.in_line(&ALL);
                played.next_ones_work(&ALL);
            }
        });
    }
}

#[test]
fn the_first_failure_is_told() {
    every_call(|step, by| {
        let scene = Scene::new(step, by).fails(1, step, -5).driver(3, step, ms(9), Err(-6));
        scene.play().failed(-6, &ALL);
    });
}

#[test]
fn all_fail() {
    every_call(|step, by| {
        let scene = Scene::new(step, by);
        let scene = (1..=SECONDARIES).fold(scene, |s, pid| s.fails(pid, step, -7));
        let mut played = scene.play();
        played.failed(-7, &ALL);
        played.next_ones_work(&ALL);
    });
}

#[test]
fn undoing_fails_in_one() {
    every_call(|step, by| {
        let undo = step.rollback();
        let mut played = Scene::new(step, by).fails(1, step, -5).fails(2, undo, -6).play();
        played.failed(-5, &[PRIMARY, 1, 3]);
        assert_eq!(played.world.has(2, &device("a")), step == Attach);
        assert_eq!(played.world.standing(2), Some(Standing::OutOfStep));
        let outcome = &played.world.hub.outcomes[0];
        let lost: Vec<_> = outcome.out_of_step.iter().map(|f| f.peer).collect();
        assert_eq!(lost, [Some(PeerId(2))], "and it is told");
        played.settle().in_line(&[1, 3]);
        played.next_ones_work(&ALL);
    });
}

#[test]
fn undoing_fails_in_the_primary() {
    let mut played =
        Scene::new(Attach, PRIMARY).fails(1, Attach, -5).fails(PRIMARY, AttachRollback, -6).play();
    played.failed(-5, &[1, 2, 3]);
    assert!(played.world.has(PRIMARY, &device("a")));
    assert_eq!(played.world.hub.outcomes[0].out_of_step[0].peer, None);
    played.next_ones_work(&ALL);
}

#[test]
fn already_attached_in_some_and_all_succeed() {
    for having in [&[][..], &[PRIMARY], &[1], &[PRIMARY, 2], &[1, 2, 3], &ALL] {
        let played = Scene::new(Attach, PRIMARY).having(having).play();
        played.succeeded(&ALL);
        for pid in having {
            let own = devargs("a", &format!("own={pid}"));
            assert_eq!(played.world.states()[*pid], Some(own), "{pid} was not touched");
        }
    }
}

#[test]
fn attached_in_some_only_and_all_detach() {
    for having in [&[PRIMARY][..], &[PRIMARY, 1], &[PRIMARY, 2, 3], &ALL] {
        let mut played = Scene::new(Detach, PRIMARY).having(having).play();
        played.succeeded(&ALL);
        played.next_ones_work(&ALL);
    }
}

#[test]
fn what_the_primary_does_not_have_is_not_detached() {
    for having in [&[][..], &[1, 2]] {
        let played = Scene::new(Detach, PRIMARY).having(having).play();
        played.failed(-libc::ENOENT, &ALL);
        assert!((1..=SECONDARIES).all(|pid| played.world.processes[pid].changes.is_empty()));
    }
}

#[test]
fn attached_in_some_before_and_still_after_a_failure() {
    every_call(|step, by| {
        for having in [&[][..], &[1], &[PRIMARY], &[PRIMARY, 1], &[1, 2], &[PRIMARY, 1, 2]] {
            if step == Detach && !(having.contains(&PRIMARY) && having.contains(&by)) {
                continue;
            }
            let mut having = having.to_vec();
            if step == Detach {
                having.push(3);
            }
            let mut played = Scene::new(step, by).having(&having).fails(3, step, -5).play();
            played.failed(-5, &ALL);
            played.settle().is_as_before(&ALL);
        }
    });
}

#[test]
fn a_private_device_stays() {
    let mut played = Scene::new(Detach, PRIMARY).begin();
    played.world.processes[2].private.insert(device("a"));
    played.go_on_until_told();
    played.succeeded(&[PRIMARY, 1, 3]);
    played.is_as_before(&[2]);
}

#[test]
fn a_slow_driver_is_waited_for() {
    every_call(|step, by| {
        let slow = Duration::from_secs(30);
        let mut played = Scene::new(step, by).driver(2, step, slow, Ok(())).play();
        played.succeeded(&ALL);
        assert_eq!(played.took, ROUND - USUAL + slow + 2 * way(by));
        played.in_line(&ALL);
        played.next_ones_work(&ALL);
    });
}

#[test]
fn a_slow_undoing_is_waited_for() {
    every_call(|step, by| {
        let (undo, slow) = (step.rollback(), Duration::from_secs(30));
        let mut played =
            Scene::new(step, by).fails(1, step, -5).driver(2, undo, slow, Ok(())).play();
        played.failed(-5, &ALL);
        played.in_line(&ALL);
        played.next_ones_work(&ALL);
    });
}

#[test]
fn a_driver_that_takes_too_long_is_undone_when_it_is_done() {
    for result in [Ok(()), Err(-5)] {
        every_call(|step, by| {
            let long = Duration::from_secs(100);
            let mut played = Scene::new(step, by).driver(2, step, long, result).play();
            played.failed(-libc::ENOMSG, &[PRIMARY, 1, 3]);
            let limit = played.world.limits.operation;
            assert!(played.took >= limit && played.took <= limit + ms(100), "{:?}", played.took);
            assert_eq!(played.world.standing(2), Some(Standing::OutOfStep));
            played.settle().in_line(&ALL).is_as_before(&ALL);
            played.next_ones_work(&ALL);
        });
    }
}

#[test]
fn one_that_took_too_long_and_cannot_undo_it_stays_out_of_step() {
    every_call(|step, by| {
        let long = Duration::from_secs(100);
        let scene =
            Scene::new(step, by).driver(2, step, long, Ok(())).fails(2, step.rollback(), -6);
        let mut played = scene.play();
        played.failed(-libc::ENOMSG, &[PRIMARY, 1, 3]);
        played.settle();
        assert_eq!(played.world.standing(2), Some(Standing::OutOfStep));
        played.next_ones_work(&ALL);
    });
}

#[test]
fn undoing_that_takes_too_long_is_told_and_ends_well() {
    every_call(|step, by| {
        let long = Duration::from_secs(100);
        let scene =
            Scene::new(step, by).fails(1, step, -5).driver(2, step.rollback(), long, Ok(()));
        let mut played = scene.play();
        played.failed(-5, &[PRIMARY, 1, 3]);
        assert_eq!(played.world.hub.outcomes[0].slow, [PeerId(2)]);
        assert_eq!(played.world.standing(2), Some(Standing::OutOfStep));
        played.settle().in_line(&ALL).is_as_before(&ALL);
        played.next_ones_work(&ALL);
    });
}

#[test]
fn one_dies_at_any_moment() {
    every_moment(|step, by, after| {
        let mut played = Scene::new(step, by).at(after, Action::Kill(2)).play();
        let living = [PRIMARY, 1, 3];
        played.succeeded(&living);
        assert!(played.took <= ROUND + 2 * way(by), "{after:?}: it waits for the dead");
        played.next_ones_work(&living);
    });
}

#[test]
fn one_dies_while_its_driver_hangs() {
    every_call(|step, by| {
        let hangs = Duration::from_secs(50_000);
        let scene = Scene::new(step, by).driver(2, step, hangs, Ok(()));
        let mut played = scene.at(ms(30), Action::Kill(2)).play();
        let living = [PRIMARY, 1, 3];
        played.succeeded(&living);
        assert!(played.took <= ms(31) + USUAL + 2 * way(by));
        played.next_ones_work(&living);
    });
}

#[test]
fn one_dies_at_any_moment_of_a_failure() {
    every_moment(|step, by, after| {
        let scene = Scene::new(step, by).fails(3, step, -5);
        let mut played = scene.at(after, Action::Kill(2)).play();
        played.failed(-5, &[PRIMARY, 1, 3]);
        assert!(played.took <= 2 * ROUND + 2 * way(by));
        played.next_ones_work(&[PRIMARY, 1, 3]);
    });
}

#[test]
fn the_one_that_failed_dies() {
    every_moment(|step, by, after| {
        let scene = Scene::new(step, by).fails(3, step, -5).at(after, Action::Kill(3));
        let mut played = scene.play();
        // Dead before it could answer, it does not count.
        if played.code == 0 {
            played.succeeded(&[PRIMARY, 1, 2]);
        } else {
            played.failed(-5, &[PRIMARY, 1, 2]);
        }
        played.next_ones_work(&[PRIMARY, 1, 2]);
    });
}

#[test]
fn the_caller_dies() {
    every_moment(|step, _, after| {
        let mut played = Scene::new(step, 1).at(after, Action::Kill(1)).begin();
        played.settle();
        let asked = !played.world.hub.outcomes.is_empty();
        let attached = (step == Attach) == asked;
        for pid in [PRIMARY, 2, 3] {
            assert_eq!(played.world.has(pid, &device("a")), attached, "{pid}, {after:?}");
        }
        played.next_ones_work(&[PRIMARY, 2, 3]);
    });
}

#[test]
fn one_stops_at_any_moment_and_goes_on_later() {
    for later in [ms(3000), Duration::from_secs(3000)] {
        every_moment(|step, by, after| {
            let scene = Scene::new(step, by).at(after, Action::Stop(2));
            let mut played = scene.at(after + later, Action::Continue(2)).play();
            let limit = played.world.limits.liveness;
            if played.code == 0 {
                played.succeeded(&ALL);
                assert!(played.took <= ROUND + 2 * way(by));
            } else {
                played.failed(-libc::ENOMSG, &[PRIMARY, 1, 3]);
                assert!(played.took <= limit + 2 * ROUND + ms(10), "{:?}", played.took);
                assert_eq!(played.world.standing(2), Some(Standing::Stopped));
                played.settle().in_line(&ALL).is_as_before(&ALL);
            }
            played.next_ones_work(&ALL);
        });
    }
}

#[test]
fn a_stopped_one_costs_the_liveness_time_once() {
    let mut played = Scene::new(Attach, PRIMARY).at(ms(0), Action::Stop(2)).play();
    assert_eq!(played.code, -libc::ENOMSG);
    for step in [Attach, Attach] {
        let now = played.world.now;
        played.world.act_at(now, Action::Call(PRIMARY, step, device("b"), devargs("b", "")));
        while played.world.ended.len() < 2 {
            assert!(played.world.advance());
        }
        let ended = played.world.ended.pop().unwrap();
        assert_eq!((ended.code, ended.until - ended.from), (-libc::ENOMSG, Time::ZERO));
    }
    played.next_ones_work(&ALL);
}

#[test]
fn one_that_stops_for_a_moment_is_waited_for() {
    every_moment(|step, by, after| {
        let scene = Scene::new(step, by).at(after, Action::Stop(2));
        let mut played = scene.at(after + ms(1500), Action::Continue(2)).play();
        played.succeeded(&ALL);
        played.in_line(&ALL);
        played.next_ones_work(&ALL);
    });
}

#[test]
fn a_stopped_one_dies() {
    every_moment(|step, by, after| {
        let scene = Scene::new(step, by).at(after, Action::Stop(2));
        let mut played = scene.at(after + ms(1000), Action::Kill(2)).play();
        played.succeeded(&[PRIMARY, 1, 3]);
        played.next_ones_work(&[PRIMARY, 1, 3]);
    });
}

/// It goes on after it was given up, while the others still undo their part: nobody asks it for
/// anything any more.
#[test]
fn one_goes_on_while_the_others_still_undo() {
    for (step, result) in [(Attach, Ok(())), (Attach, Err(-6)), (Detach, Ok(())), (Detach, Err(-6))]
    {
        for half in 0..20 {
            let undo = step.rollback();
            let scene = Scene::new(step, PRIMARY)
                .driver(1, undo, ms(5000), Ok(()))
                .driver(2, undo, USUAL, result)
                .at(ms(0), Action::Stop(2))
                .at(ms(2030 + half * 300), Action::Continue(2));
            let mut played = scene.play();
            played.failed(-libc::ENOMSG, &[PRIMARY, 1, 3]);
            played.settle();
            if result.is_ok() {
                played.in_line(&ALL).is_as_before(&ALL);
            } else {
                assert_eq!(played.world.standing(2), Some(Standing::OutOfStep));
            }
            played.next_ones_work(&ALL);
        }
    }
}

/// What an operation on another device has done in one that is given up meanwhile is still undone
/// when that operation fails, and stays when it succeeds.
#[test]
fn another_operation_goes_on_where_one_has_given_up() {
    for step in [Attach, Detach] {
        for result in [Ok(()), Err(-5)] {
            let scene = Scene::new(Attach, PRIMARY)
                .having(&[])
                .driver(1, step, ms(8000), result)
                .at(ms(50), Action::Stop(2))
                .at(ms(4000), Action::Continue(2));
            let mut played = scene.begin();
            for pid in ALL.iter().filter(|_| step == Detach) {
                played.world.processes[*pid].devices.insert(device("b"), devargs("b", "own"));
            }
            // The first one, with b, has been answered by 2 when 2 stops.
            let call = |step, name| Action::Call(PRIMARY, step, device(name), devargs(name, ""));
            played.world.act_at(START - ms(10), call(step, "b"));
            played.world.act_at(START + ms(60), call(Attach, "c"));
            played.world.settle(LONGEST);
            let ended = played.world.ended.iter().find(|e| e.device == device("b")).unwrap();
            assert_eq!(ended.code, result.err().unwrap_or(0));
            for pid in ALL {
                let attached = (step == Attach) == result.is_ok();
                assert_eq!(played.world.has(pid, &device("b")), attached, "{pid}, {step:?}");
            }
            played.next_ones_work(&ALL);
        }
    }
}

#[test]
fn one_joins_at_any_moment() {
    for embedded in [false, true] {
        every_moment(|step, by, after| {
            let scene = Scene::new(step, by).at(after, Action::Start(vec![]));
            let mut played = scene.begin();
            played.world.embedded = embedded;
            played.go_on_until_told();
            played.succeeded(&ALL);
            played.settle().in_line(&[1, 2, 3, 4]);
            assert_eq!(played.world.has(4, &device("a")), step == Attach, "{after:?}");
            played.next_ones_work(&[0, 1, 2, 3, 4]);
        });
    }
}

#[test]
fn one_joins_at_any_moment_of_a_failure() {
    for embedded in [false, true] {
        for failing in [PRIMARY, 2] {
            every_moment(|step, by, after| {
                let scene = Scene::new(step, by).fails(failing, step, -5);
                let mut played = scene.at(after, Action::Start(vec![])).begin();
                played.world.embedded = embedded;
                played.go_on_until_told();
                played.failed(-5, &ALL);
                played.settle().in_line(&[1, 2, 3, 4]).is_as_before(&ALL);
                // A device of the command line: shared where buses cannot find it themselves.
                let has = played.world.has(4, &device("a"));
                if step == Attach {
                    assert!(!has, "{after:?}");
                } else if embedded {
                    assert!(has, "{after:?}");
                }
                played.next_ones_work(&[0, 1, 2, 3, 4]);
            });
        }
    }
}

#[test]
fn one_that_joins_fails() {
    every_moment(|step, by, after| {
        let own = Own { device: device("a"), devargs: devargs("a", "own=4"), private: false };
        let own = if step == Attach { vec![] } else { vec![own] };
        let scene = Scene::new(step, by).fails(4, step, -5).driver(4, None, USUAL, Err(-6));
        let mut played = scene.at(after, Action::Start(own)).play();
        if played.code == 0 {
            played.succeeded(&ALL);
        } else {
            played.failed(-5, &ALL);
        }
        played.next_ones_work(&[0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_call_is_given_up_at_any_moment() {
    every_moment(|step, _, after| {
        let mut played = Scene::new(step, 1).at(after, Action::Cancel(1)).begin();
        played.world.settle(LONGEST);
        match played.world.ended.first() {
            // Begun and given up at once: nothing has happened.
            None => played.is_as_before(&ALL),
            Some(ended) if ended.code == 0 => {
                played.code = 0;
                played.succeeded(&ALL);
            }
            Some(ended) => {
                assert_eq!(ended.code, -libc::ENOMSG);
                played.is_as_before(&ALL);
            }
        }
        played.next_ones_work(&ALL);
    });
}

#[test]
fn the_primary_stops_at_any_moment() {
    for hours in [1, 5] {
        every_moment(|step, _, after| {
            let scene = Scene::new(step, PRIMARY).at(after, Action::Stop(PRIMARY));
            let later = after + Duration::from_secs(3600 * hours);
            let mut played = scene.at(later, Action::Continue(PRIMARY)).play();
            played.succeeded(&ALL);
            played.in_line(&ALL);
            played.next_ones_work(&ALL);
        });
    }
}

/// A secondary does not wait for a stopped primary; what it gave up is undone or was never begun.
#[test]
fn a_caller_gives_up_on_a_stopped_primary() {
    every_moment(|step, _, after| {
        let scene = Scene::new(step, 1).at(after, Action::Stop(PRIMARY));
        let mut played = scene.at(Duration::from_secs(3600), Action::Continue(PRIMARY)).play();
        if played.code != 0 {
            assert_eq!(played.code, -libc::ENOMSG);
            assert!(played.took <= played.world.limits.liveness + ms(600), "{:?}", played.took);
        }
        played.settle();
        let states = played.world.states();
        assert!(states.iter().all(|s| s.is_some() == states[0].is_some()), "{states:?}");
        played.in_line(&ALL);
        played.next_ones_work(&ALL);
    });
}

/// The time in which the primary stood still counts for nobody, neither for nor against.
#[test]
fn one_that_stops_after_the_primary_stood_still_is_noticed() {
    let still = Duration::from_secs(30);
    for step in [Attach, Detach] {
        // Around the answer to its first ping, which then waits for the primary to go on.
        for half in 0..60 {
            let scene = Scene::new(step, PRIMARY)
                .driver(2, step, Duration::from_secs(55), Ok(()))
                .at(ms(500) + Duration::from_micros(500 * half + 250), Action::Stop(PRIMARY))
                .at(still + ms(600), Action::Continue(PRIMARY))
                .at(still + ms(605), Action::Stop(2));
            let played = scene.play();
            played.failed(-libc::ENOMSG, &[PRIMARY, 1, 3]);
            let limit = still + played.world.limits.liveness + ms(1200);
            assert!(played.took <= limit, "{half}: {:?}", played.took);
        }
    }
}

#[test]
fn given_up_before_its_turn_it_does_nothing() {
    for step in [Attach, Detach] {
        let other = if step == Attach { Detach } else { Attach };
        let call = |by, step| Action::Call(by, step, device("a"), devargs("a", "second=1"));
        let scene = Scene::new(other, PRIMARY).driver(2, other, ms(500), Ok(()));
        let scene = scene.at(ms(5), call(1, step)).at(ms(100), Action::Cancel(1));
        let scene = if step == Attach { scene } else { scene.having(&[1]) };
        let mut played = scene.play();
        played.succeeded(&ALL);
        let changes = |played: &Played| -> Vec<usize> {
            played.world.processes.iter().map(|p| p.changes.len()).collect()
        };
        let before = changes(&played);
        played.settle();
        assert_eq!(played.world.ended[1].code, -libc::ENOMSG);
        assert_eq!(changes(&played), before, "{step:?}: no driver was called for it");
    }
}

/// What a process finds when it starts may have been detached since.
#[test]
fn one_that_joins_loses_what_was_detached_before() {
    let own = |private| {
        let (device, devargs) = (device("a"), devargs("a", "own=1"));
        Action::Start(vec![Own { device, devargs, private }])
    };
    let scene = Scene::new(Detach, PRIMARY).at(ms(100), own(false)).at(ms(100), own(true));
    let mut played = scene.play();
    played.settle().in_line(&[1, 2, 3, 4, 5]);
    assert!(!played.world.has(4, &device("a")), "and so does this one");
    assert!(played.world.has(5, &device("a")), "but not its very own");
}

#[test]
fn operations_on_one_device_run_in_order_and_on_others_at_once() {
    let scene = Scene::new(Attach, PRIMARY).driver(2, Attach, ms(5000), Ok(()));
    let call = |by, step, name| Action::Call(by, step, device(name), devargs(name, ""));
    let scene = scene.at(ms(1), call(1, Attach, "a")).at(ms(5), call(PRIMARY, Detach, "a"));
    let mut played = scene.at(ms(3), call(PRIMARY, Attach, "b")).play();
    played.settle();
    let told: Vec<_> = played
        .world
        .ended
        .iter()
        .map(|e| (e.by, e.step, e.device.name.to_str().unwrap(), e.code))
        .collect();
    let a = told.iter().filter(|e| e.2 == "a").copied().collect::<Vec<_>>();
    assert_eq!(a[0], (PRIMARY, Attach, "a", 0));
    assert!(a.contains(&(1, Attach, "a", 0)) && a.contains(&(PRIMARY, Detach, "a", 0)), "{a:?}");
    assert!(ALL.iter().all(|pid| !played.world.has(*pid, &device("a"))));
    let b = played.world.ended.iter().find(|e| e.device == device("b")).unwrap();
    assert_eq!((b.code, b.until - b.from), (0, ROUND - USUAL + ms(5000)), "as long as its own");
}

#[test]
fn undoing_a_detach_brings_the_devargs_back() {
    let played = Scene::new(Detach, PRIMARY).fails(3, Detach, -5).play();
    for pid in ALL {
        let own = devargs("a", &format!("own={pid}"));
        assert_eq!(played.world.states()[pid], Some(own), "{pid}");
    }
    let undone = played.world.processes[1].changes.last().unwrap();
    assert_eq!((undone.before.as_ref(), played.step.rollback()), (None, DetachRollback));
}

/// One that joins gets the device as the others have it.
#[test]
fn a_joiner_gets_the_devargs_with_which_the_device_was_attached() {
    let mut played = Scene::new(Attach, PRIMARY).play();
    let now = played.world.now;
    let again = Action::Call(PRIMARY, Attach, device("a"), devargs("a", "another=1"));
    played.world.act_at(now, again);
    played.world.act_at(now + ms(100), Action::Start(vec![]));
    played.settle();
    let states = played.world.states();
    assert_eq!(states.len(), 5);
    assert!(states.iter().all(|state| *state == Some(devargs("a", "new=1"))), "{states:?}");
}
