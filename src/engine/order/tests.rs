//! Who waits for whom, and who is refused.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

#[test]
fn one_device_one_at_a_time() {
    let order = Order::default();
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for _ in 0..200 {
                    let _turn = order.enter(c"vdev", c"a").unwrap();
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 1);
    let table = order.table.lock();
    assert!(table.owner.is_empty() && table.queue.is_empty());
}

#[test]
fn other_devices_do_not_wait() {
    let order = Order::default();
    let _a = order.enter(c"vdev", c"a").unwrap();
    thread::scope(|s| {
        s.spawn(|| drop(order.enter(c"vdev", c"b").unwrap())).join().unwrap();
    });
}

#[test]
fn nested_call_on_the_same_device_does_not_wait() {
    let order = Order::default();
    let mut outer = order.enter(c"vdev", c"a").unwrap();
    outer.during(Phase::Plug, || {
        let again = order.enter(c"vdev", c"a").unwrap();
        assert_eq!(again.phase(), Some(Phase::Plug));
        assert_eq!(order.enter(c"vdev", c"a").unwrap().phase(), Some(Phase::Plug), "deeper");
        drop(again);
        assert_eq!(order.enter(c"vdev", c"b").unwrap().phase(), None);
    });
    outer.during(Phase::Unplug, || {
        assert_eq!(order.enter(c"vdev", c"a").unwrap().phase(), Some(Phase::Unplug));
    });
}

#[test]
fn a_call_under_the_lock_of_its_bus_does_not_wait_for_ever() {
    let order = Order::default();
    let (done, waited_for) = channel::<()>();
    thread::scope(|s| {
        let order = &order;
        let _b = order.enter(c"vdev", c"b").unwrap();
        s.spawn(move || {
            let mut a = order.enter(c"vdev", c"a").unwrap();
            a.during(Phase::LockedUnplug, || drop(order.enter(c"vdev", c"b").unwrap()));
            done.send(()).unwrap();
        });
        waited_for.recv().unwrap();
        assert!(order.table.lock().queue.is_empty());
    });
}

#[test]
fn a_circle_is_refused() {
    let order = Order::default();
    let (has_b, b_taken) = channel();
    let (go, may_go) = channel::<()>();
    thread::scope(|s| {
        let _a = order.enter(c"vdev", c"a").unwrap();
        let order = &order;
        s.spawn(move || {
            let _b = order.enter(c"vdev", c"b").unwrap();
            has_b.send(()).unwrap();
            may_go.recv().unwrap();
            drop(order.enter(c"vdev", c"a").unwrap());
        });
        b_taken.recv().unwrap();
        go.send(()).unwrap();
        while order.table.lock().queue.is_empty() {
            thread::yield_now();
        }
        let refused = order.enter(c"vdev", c"b").map(drop).unwrap_err();
        assert_eq!(refused.kind(), Kind::Deadlock);
        drop(_a);
    });
}

#[test]
fn an_adopted_operation_is_continued_and_its_children_pass() {
    let order = Order::default();
    let outer = order.enter(c"vdev", c"a").unwrap();
    let child = Operation::new(Some(outer.operation()));
    thread::scope(|s| {
        s.spawn(|| {
            let _adopted = order.adopt(&child);
            let b = order.enter(c"vdev", c"b").unwrap();
            assert_eq!(*b.operation(), child);
            assert_eq!(order.enter(c"vdev", c"c").unwrap().operation().lineage[0], child.id);
            let a = order.enter(c"vdev", c"a").unwrap();
            assert!(!a.owns, "the parent of the adopted operation has it");
        });
    });
    assert_eq!(order.current().as_ref(), Some(outer.operation()));
}

#[test]
fn a_circle_through_children_in_other_threads_is_refused() {
    let order = Order::default();
    let a = order.enter(c"vdev", c"a").unwrap();
    let child_of_a = Operation::new(Some(a.operation()));
    thread::scope(|s| {
        let order = &order;
        let (took, taken) = channel();
        s.spawn(move || {
            let b = order.enter(c"vdev", c"b").unwrap();
            took.send(()).unwrap();
            // A child of b's operation waits for a.
            let child_of_b = Operation::new(Some(b.operation()));
            s.spawn(move || {
                let _adopted = order.adopt(&child_of_b);
                drop(order.enter(c"vdev", c"a").unwrap());
            })
            .join()
            .unwrap();
        });
        taken.recv().unwrap();
        while order.table.lock().queue.is_empty() {
            thread::yield_now();
        }
        s.spawn(move || {
            let _adopted = order.adopt(&child_of_a);
            let refused = order.enter(c"vdev", c"b").map(drop).unwrap_err();
            assert_eq!(refused.kind(), Kind::Deadlock);
        })
        .join()
        .unwrap();
        drop(a);
    });
}
