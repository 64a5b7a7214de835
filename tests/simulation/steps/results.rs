//! What the drivers' results come to.

use rte_hotplug::engine::coordinator::PeerId;
use rte_hotplug::engine::roster::Standing;
use rte_hotplug::proto::wire::Step::{Attach, AttachRollback, Detach};

use super::scene::{ALL, ROUND, SECONDARIES, Scene, USUAL, every_call, ms, way};
use crate::world::{PRIMARY, device};

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
