//! Processes that are stopped, the primary too.

use std::time::Duration;

use rte_hotplug::engine::coordinator::Time;
use rte_hotplug::engine::roster::Standing;
use rte_hotplug::proto::wire::Step::{Attach, Detach};

use super::scene::{ALL, LONGEST, ROUND, START, Scene, USUAL, every_moment, ms, way};
use crate::process::Action;
use crate::world::{PRIMARY, devargs, device};

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
