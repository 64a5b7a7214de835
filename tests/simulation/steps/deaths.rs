//! Processes that die.

use std::time::Duration;

use rte_hotplug::proto::wire::Step::Attach;

use super::scene::{ROUND, Scene, USUAL, every_call, every_moment, ms, way};
use crate::process::Action;
use crate::world::{PRIMARY, device};

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
fn a_stopped_one_dies() {
    every_moment(|step, by, after| {
        let scene = Scene::new(step, by).at(after, Action::Stop(2));
        let mut played = scene.at(after + ms(1000), Action::Kill(2)).play();
        played.succeeded(&[PRIMARY, 1, 3]);
        played.next_ones_work(&[PRIMARY, 1, 3]);
    });
}
