//! Who works on which device: operations on one device run one after another, and no operation waits
//! here for one on another device.
//!
//! A call made from inside a probe, remove or callback belongs to the operation that its thread
//! carries out already and never waits for it.
//!
//! Some buses run a remove under a lock of their own. A call from in there may want a device whose
//! owner waits for that very lock, which no table shows: such a call waits for a bounded time only.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Kind, Result};
use crate::ports::label;

/// What a driver is doing with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its probe runs.
    Plug,
    /// Its remove runs.
    Unplug,
    /// Its remove runs, under a lock of the bus.
    LockedUnplug,
}

/// How long a call from inside a locked remove waits for its turn.
const LOCKED_WAIT: Duration = Duration::from_millis(100);

type Key = (CString, CString);
/// A chain is a thread's outermost operation with everything nested inside.
type Chain = u64;

#[derive(Default)]
struct Table {
    /// The chain that works on a device.
    owner: HashMap<Key, Chain>,
    /// The device that a chain waits for.
    waits: HashMap<Chain, Key>,
    /// The chains that wait for a device, first come first served.
    queue: HashMap<Key, VecDeque<Chain>>,
}

/// The table of devices under work.
#[derive(Default)]
pub struct Order {
    table: Mutex<Table>,
    changed: Condvar,
}

thread_local! {
    /// What this thread carries out now, outermost first.
    static STACK: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Uses the thread's stack; an empty one while the thread's data is being destroyed.
fn with_stack<T>(use_it: impl FnOnce(&mut Vec<Frame>) -> T) -> T {
    let mut use_it = Some(use_it);
    let used = STACK.try_with(|stack| use_it.take().map(|f| f(&mut stack.borrow_mut())));
    match (used, use_it) {
        (Ok(Some(value)), _) => value,
        (_, Some(use_it)) => use_it(&mut Vec::new()),
        _ => unreachable!("the closure was used or is left"),
    }
}

struct Frame {
    order: usize,
    key: Key,
    chain: Chain,
    phase: Option<Phase>,
}

static NEXT_CHAIN: AtomicU64 = AtomicU64::new(1);

/// The right to work on one device; given back on drop.
pub struct Turn<'a> {
    order: &'a Order,
    key: Key,
    /// The chain to release; `None` when an outer operation of this thread owns the device.
    owned: Option<Chain>,
    /// What the outer operation is doing with the same device.
    outer: Option<Phase>,
    /// A turn ends on its own thread, whose stack it stands on.
    _stays: PhantomData<*const ()>,
}

impl Order {
    /// Waits until no other chain works on the device, then takes it. Dropping the turn gives it back.
    ///
    /// Fails with [`Kind::Deadlock`] when waiting would close a circle.
    pub fn enter(&self, bus: &CStr, device: &CStr) -> Result<Turn<'_>> {
        let key = (bus.to_owned(), device.to_owned());
        let (chain, outer) = self.inherited(&key);
        let owned = match outer {
            Some(_) => None,
            None => self.acquire(&key, chain, self.inside_bus_lock(bus))?,
        };
        let chain = owned.or(chain).unwrap_or_default();
        with_stack(|stack| {
            stack.push(Frame { order: self.id(), key: key.clone(), chain, phase: None });
        });
        Ok(Turn { order: self, key, owned, outer: outer.flatten(), _stays: PhantomData })
    }

    /// The chain this thread belongs to, and whether (and where) it works on `key` already.
    fn inherited(&self, key: &Key) -> (Option<Chain>, Option<Option<Phase>>) {
        with_stack(|stack| {
            let mut mine = stack.iter().rev().filter(|f| f.order == self.id());
            let chain = mine.clone().next().map(|f| f.chain);
            let on_key = mine.clone().filter(|f| f.key == *key).find_map(|f| f.phase);
            (chain, mine.any(|f| f.key == *key).then_some(on_key))
        })
    }

    /// Whether this thread runs a remove under the lock of this bus.
    fn inside_bus_lock(&self, bus: &CStr) -> bool {
        with_stack(|stack| {
            let mut mine = stack.iter().filter(|f| f.order == self.id());
            mine.any(|f| f.phase == Some(Phase::LockedUnplug) && f.key.0.as_c_str() == bus)
        })
    }

    /// Takes the device; `None` when the caller may not wait any longer and goes on without.
    fn acquire(&self, key: &Key, chain: Option<Chain>, hurry: bool) -> Result<Option<Chain>> {
        let chain = chain.unwrap_or_else(|| NEXT_CHAIN.fetch_add(1, Ordering::Relaxed));
        let mut table = self.table.lock();
        if table.owner.contains_key(key) || table.queue.contains_key(key) {
            if table.would_deadlock(key, chain) {
                return Err(Error::new(
                    Kind::Deadlock,
                    format!(
                        "{}: the operation on it waits for a device that this call works on",
                        label(&key.0, &key.1)
                    ),
                ));
            }
            table.queue.entry(key.clone()).or_default().push_back(chain);
            table.waits.insert(chain, key.clone());
            while !table.is_turn_of(key, chain) {
                if !hurry {
                    self.changed.wait(&mut table);
                } else if self.changed.wait_for(&mut table, LOCKED_WAIT).timed_out() {
                    table.leave_queue(key, chain);
                    self.changed.notify_all();
                    return Ok(None);
                }
            }
            table.leave_queue(key, chain);
        }
        table.owner.insert(key.clone(), chain);
        Ok(Some(chain))
    }

    fn release(&self, key: &Key) {
        self.table.lock().owner.remove(key);
        self.changed.notify_all();
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

impl Table {
    fn is_turn_of(&self, key: &Key, chain: Chain) -> bool {
        !self.owner.contains_key(key) && self.queue.get(key).and_then(|q| q.front()) == Some(&chain)
    }

    fn leave_queue(&mut self, key: &Key, chain: Chain) {
        self.waits.remove(&chain);
        if let Some(queue) = self.queue.get_mut(key) {
            queue.retain(|c| *c != chain);
            if queue.is_empty() {
                self.queue.remove(key);
            }
        }
    }

    /// Whether the owner of `key`, or one queued before us, waits (through others) for `chain`.
    fn would_deadlock(&self, key: &Key, chain: Chain) -> bool {
        let mut open: Vec<&Key> = vec![key];
        let mut seen: Vec<Chain> = Vec::new();
        while let Some(key) = open.pop() {
            let queued = self.queue.get(key).into_iter().flatten();
            for holder in self.owner.get(key).into_iter().chain(queued) {
                if *holder == chain {
                    return true;
                }
                if !seen.contains(holder) {
                    seen.push(*holder);
                    open.extend(self.waits.get(holder));
                }
            }
        }
        false
    }
}

impl Turn<'_> {
    /// What an outer operation of this thread is doing with the same device, if anything.
    pub fn phase(&self) -> Option<Phase> {
        self.outer
    }

    /// Runs driver code, remembering what it does; no lock is held meanwhile.
    pub fn during<T>(&mut self, phase: Phase, work: impl FnOnce() -> T) -> T {
        self.set_phase(Some(phase));
        let result = work();
        self.set_phase(None);
        result
    }

    fn set_phase(&self, phase: Option<Phase>) {
        with_stack(|stack| {
            if let Some(frame) = stack.last_mut() {
                frame.phase = phase;
            }
        });
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        with_stack(|stack| drop(stack.pop()));
        if self.owned.is_some() {
            self.order.release(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
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
        assert!(table.owner.is_empty() && table.queue.is_empty() && table.waits.is_empty());
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
            while order.table.lock().waits.is_empty() {
                thread::yield_now();
            }
            let refused = order.enter(c"vdev", c"b").map(drop).unwrap_err();
            assert_eq!(refused.kind(), Kind::Deadlock);
            drop(_a);
        });
    }
}
