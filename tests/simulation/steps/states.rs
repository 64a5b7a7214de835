//! What processes had before.

use rte_hotplug::proto::wire::Step::{Attach, Detach, DetachRollback};

use super::scene::{ALL, SECONDARIES, Scene, every_call};
use crate::world::{PRIMARY, devargs, device};

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
fn undoing_a_detach_brings_the_devargs_back() {
    let played = Scene::new(Detach, PRIMARY).fails(3, Detach, -5).play();
    for pid in ALL {
        let own = devargs("a", &format!("own={pid}"));
        assert_eq!(played.world.states()[pid], Some(own), "{pid}");
    }
    let undone = played.world.processes[1].changes.last().unwrap();
    assert_eq!((undone.before.as_ref(), played.step.rollback()), (None, DetachRollback));
}
