//! Processes that join.

use rte_hotplug::proto::wire::Step::{Attach, Detach};

use super::scene::{ALL, Scene, USUAL, every_moment, ms};
use crate::process::{Action, Own};
use crate::world::{PRIMARY, devargs, device};

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
