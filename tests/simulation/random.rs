//! Random schedules.
//!
//! `SIMULATION_SEED` is the first seed, `SIMULATION_RUNS` how many follow.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rte_hotplug::engine::coordinator::{PeerId, Time};
use rte_hotplug::engine::roster::Standing;
use rte_hotplug::proto::wire::{Device, Step};

use crate::drivers::Drivers;
use crate::process::{Action, Own};
use crate::rng::Random;
use crate::world::{PRIMARY, Pid, World, devargs, device};

const RUNS: u64 = 3000;
const NAMES: [&str; 3] = ["a", "b", "c"];
/// So many lines of what happened are shown for a failure.
const TAIL: usize = 400;
/// Nothing takes longer than this in the fake time.
const LONGEST: Time = Duration::from_secs(24 * 3600);

#[test]
fn promises_hold_in_any_order() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first: u64 = number("SIMULATION_SEED").unwrap_or(1);
    let runs: u64 = number("SIMULATION_RUNS").unwrap_or(RUNS);
    let mut reached = Reached::default();
    for seed in first..first + runs {
        let run = |trace| {
            let mut world = schedule(seed);
            world.trace = trace;
            let result = catch_unwind(AssertUnwindSafe(|| play(&mut world)));
            (world, result)
        };
        let (world, result) = run(None);
        if let Err(why) = result {
            // Once more with every event written down.
            let trace = run(Some(vec![])).0.trace.unwrap_or_default();
            let tail = &trace[trace.len().saturating_sub(TAIL)..];
            let why = why.downcast_ref::<String>().map_or("a panic", String::as_str);
            panic!("{}\n{why}\nSIMULATION_SEED={seed} SIMULATION_RUNS=1", tail.join("\n"));
        }
        reached.add(&world);
    }
    if runs >= RUNS {
        reached.check();
    }
}

/// What has happened in all runs: a simulation in which nothing happens proves nothing.
#[derive(Default, Debug)]
struct Reached {
    successes: usize,
    failures: usize,
    stopped: usize,
    slow: usize,
    out_of_step: usize,
    calls: usize,
}

impl Reached {
    fn add(&mut self, world: &World) {
        for outcome in &world.hub.outcomes {
            match outcome.failure {
                None => self.successes += 1,
                Some(_) => self.failures += 1,
            }
            self.stopped += outcome.stopped.len();
            self.slow += outcome.slow.len();
            self.out_of_step += outcome.out_of_step.len();
        }
        self.calls += world.ended.iter().filter(|ended| ended.by != PRIMARY).count();
    }

    fn check(&self) {
        let all = [self.successes, self.failures, self.stopped, self.slow, self.calls];
        assert!(all.iter().all(|count| *count >= 100) && self.out_of_step > 0, "{self:?}");
    }
}

fn own_devices(random: &mut Random, pid: Pid, chance: usize) -> Vec<Own> {
    let mut own = vec![];
    for name in NAMES {
        if random.percent(chance) {
            let private = pid != PRIMARY && random.percent(50);
            let devargs = devargs(name, &format!("own={pid}"));
            own.push(Own { device: device(name), devargs, private });
        }
    }
    own
}

/// A group, and what will happen to it.
fn schedule(seed: u64) -> World {
    let mut random = Random::new(seed ^ 0xface);
    let mut often = |chances: &[usize]| chances[random.below(chances.len())];
    let drivers = Drivers::Chaotic {
        fails: often(&[0, 5, 30]),
        undo_fails: often(&[0, 0, 10]),
        slow: often(&[0, 0, 10]),
        too_slow: often(&[0, 0, 3]),
    };
    let trouble = often(&[0, 10, 40, 70]);
    let primary_stops = often(&[0, 0, 20]);
    let own = often(&[0, 0, 30]);
    let span = Duration::from_millis(often(&[50, 500, 5000, 20_000]) as u64);
    let secondaries = often(&[1, 2, 3, 4]);
    let mut world = World::new(seed, drivers, own_devices(&mut random, PRIMARY, own));
    world.steady = false;
    world.embedded = random.percent(50);
    world.delay = Duration::from_micros([10, 1000, 5000][random.below(3)]);
    for pid in 1..=secondaries {
        let own = own_devices(&mut random, pid, own);
        world.act_at(Time::ZERO, Action::Start(own));
    }
    let mut known = secondaries;
    for number in 0..random.below(14) + 2 {
        let at = Duration::from_millis(10) + random.time(span);
        if random.percent(trouble) {
            disturb(&mut world, &mut random, at, span, &mut known, primary_stops);
        } else {
            let most = random.below(NAMES.len()) + 1;
            let name = NAMES[random.below(most)];
            let step = if random.percent(60) { Step::Attach } else { Step::Detach };
            let by = if random.percent(50) { PRIMARY } else { random.below(known + 1) };
            let devargs = devargs(name, &format!("number={number}"));
            world.act_at(at, Action::Call(by, step, device(name), devargs));
        }
    }
    world
}

fn disturb(
    world: &mut World,
    random: &mut Random,
    at: Time,
    span: Time,
    known: &mut usize,
    primary_stops: usize,
) {
    let victim = random.below(*known) + 1;
    match random.below(10) {
        0..5 => {
            let victim = if random.percent(primary_stops) { PRIMARY } else { victim };
            world.act_at(at, Action::Stop(victim));
            let most = [span, Duration::from_secs(4), Duration::from_millis(50)];
            let most = most[random.below(most.len())];
            let later = at + random.time(most);
            world.act_at(later, Action::Continue(victim));
        }
        5..7 => {
            *known += 1;
            let own = own_devices(random, *known, 10);
            world.act_at(Time::ZERO.max(at), Action::Start(own));
        }
        7 => world.act_at(at, Action::Leave(victim)),
        8 => world.act_at(at, Action::Cancel(victim)),
        _ => world.act_at(at, Action::Kill(victim)),
    }
}

fn play(world: &mut World) {
    world.settle(LONGEST);
    for pid in 0..world.processes.len() {
        world.act_at(world.now, Action::Continue(pid));
    }
    world.settle(LONGEST);
    check_settled(world);
    // Whatever was before, the next operations work.
    world.drivers = Drivers::Scripted { usual: Duration::from_millis(1), rules: [].into() };
    for name in NAMES {
        for step in [Step::Attach, Step::Detach, Step::Attach] {
            let ended = world.ended.len();
            let call = Action::Call(PRIMARY, step, device(name), devargs(name, "at=end"));
            world.act_at(world.now, call);
            world.settle(LONGEST);
            assert_eq!(world.ended[ended].code, 0, "the last {step:?} of {name}");
            check_settled(world);
        }
    }
}

fn check_settled(world: &World) {
    assert!(world.hub.runs.is_empty() && world.hub.turns.is_empty(), "an operation hangs");
    assert!(world.hub.calls.is_empty(), "a call hangs in the primary");
    let devices: BTreeSet<Device> = NAMES.iter().map(|name| device(name)).collect();
    let mut members = world.hub.members.iter().map(|peer| peer.0 as usize);
    for (pid, process) in world.processes.iter().enumerate().filter(|(_, p)| p.alive) {
        assert!(process.link.calls.is_empty(), "a call hangs in {pid}");
        assert_eq!(process.link.participant.busy(), 0, "work hangs in {pid}");
        if pid != PRIMARY {
            assert_eq!(members.next(), Some(pid), "it lives and is a member");
            check_member(world, pid);
        }
        for device in &devices {
            check_device(world, pid, device);
        }
    }
    assert_eq!(members.next(), None, "no dead one is a member");
}

fn check_member(world: &World, pid: Pid) {
    let peer = PeerId(pid as u64);
    for (_, device) in world.not_undone.iter().filter(|(of, _)| *of == pid) {
        let known = world.hub.roster.out_of_step(peer).any(|d| d == device);
        assert!(known, "{pid} could not undo {:?}, and nobody knows", device.name);
    }
    match world.hub.roster.standing(peer) {
        Some(Standing::Member) => {}
        Some(Standing::OutOfStep) => {
            for device in world.hub.roster.out_of_step(peer) {
                let wrong = world.loose.contains(&(pid, device.clone()));
                assert!(wrong, "{pid} is called out of step with {:?}", device.name);
            }
        }
        other => panic!("{pid} stays {other:?}"),
    }
}

/// What a process was told when it joined is what the primary has.
fn check_devargs(world: &World, pid: Pid, device: &Device) {
    let of = |pid: Pid| world.processes[pid].devices.get(device);
    let last = world.processes[pid].changes.iter().rev().find(|c| c.device == *device);
    if let (Some(primary), Some(change)) = (of(PRIMARY), last) {
        if change.operation.is_none() && change.after.is_some() {
            assert_eq!(of(pid), Some(primary), "{:?} in {pid}", device.name);
        }
    }
}

fn check_device(world: &World, pid: Pid, device: &Device) {
    let key = (pid, device.clone());
    if world.loose.contains(&key) {
        return;
    }
    let has = world.has(pid, device);
    let expected = world.expected.get(&key).copied().unwrap_or(false);
    assert_eq!(has, expected, "{:?} in {pid}", device.name);
    if world.agreed.contains(&key) && !world.loose.contains(&(PRIMARY, device.clone())) {
        let primary = world.has(PRIMARY, device);
        let private = world.processes[pid].private.contains(device);
        check_devargs(world, pid, device);
        assert!(has == primary || private, "{:?} in {pid} and in the primary", device.name);
    }
}
