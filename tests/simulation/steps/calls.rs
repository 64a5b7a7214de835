//! Calls that are given up, and several at once.

use rte_hotplug::proto::wire::Step::{Attach, Detach};

use super::scene::{ALL, LONGEST, Played, ROUND, Scene, USUAL, every_moment, ms};
use crate::process::Action;
use crate::world::{PRIMARY, devargs, device};

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
