//! Drivers that take their time, and those that take too long.

use std::time::Duration;

use rte_hotplug::engine::coordinator::PeerId;
use rte_hotplug::engine::roster::Standing;

use super::scene::{ALL, ROUND, Scene, USUAL, every_call, ms, way};
use crate::world::PRIMARY;

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
