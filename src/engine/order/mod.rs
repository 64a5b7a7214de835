//! Who works on which device: operations on one device run one after another, and no operation waits
//! here for one on another device.
//!
//! A call made from inside a probe, remove or callback belongs to the operation that runs there, in
//! whichever thread or process it is carried out, and never waits for it.
//!
//! Some buses run a remove under a lock of their own. A call from in there may want a device whose
//! owner waits for that very lock, which no table shows: such a call waits for a bounded time only.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::sys::fork::{self, Thread};
use crate::sys::lock::{Condvar, Mutex, MutexGuard};

use super::operation::{Operation, OperationId};
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
    /// Other processes attach or detach it.
    Elsewhere,
}

/// How long a call from inside a locked remove waits for its turn.
const LOCKED_WAIT: Duration = Duration::from_millis(100);

type Key = (CString, CString);

#[derive(Default)]
struct Table {
    /// The operation that works on a device.
    owner: HashMap<Key, Owner>,
    /// The operations that wait for a device, first come first served.
    queue: HashMap<Key, VecDeque<Operation>>,
    /// The number of forks at which that was so.
    forks: u32,
}

struct Owner {
    operation: OperationId,
    phase: Option<Phase>,
    thread: Thread,
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
    /// The device; `None` where the thread carries out an operation of another thread.
    key: Option<Key>,
    operation: Operation,
}

/// The right to work on one device; given back on drop.
pub struct Turn<'a> {
    order: &'a Order,
    key: Key,
    operation: Operation,
    /// Whether this turn owns the device; otherwise an outer operation does.
    owns: bool,
    /// What the outer operation is doing with the same device.
    outer: Option<Phase>,
    /// A turn ends on its own thread, whose stack it stands on.
    _stays: PhantomData<*const ()>,
}

/// While it lives, the thread carries out an operation that began elsewhere.
pub struct Adoption {
    _stays: PhantomData<*const ()>,
}

impl Order {
    /// Waits until no other operation works on the device, then takes it. Dropping the turn gives it
    /// back.
    ///
    /// Fails with [`Kind::Deadlock`] when waiting would close a circle.
    pub fn enter(&self, bus: &CStr, device: &CStr) -> Result<Turn<'_>> {
        let key = (bus.to_owned(), device.to_owned());
        let operation = self.operation_for(&key);
        let (owns, outer) = self.acquire(&key, &operation, false)?;
        self.push(Some(key.clone()), operation.clone());
        Ok(Turn { order: self, key, operation, owns, outer, _stays: PhantomData })
    }

    /// As [`Self::enter`], but fails with [`Kind::Deadlock`] when it would have to wait for long.
    pub fn enter_soon(&self, bus: &CStr, device: &CStr) -> Result<Turn<'_>> {
        let key = (bus.to_owned(), device.to_owned());
        let operation = self.operation_for(&key);
        let (owns, outer) = self.acquire(&key, &operation, true)?;
        self.push(Some(key.clone()), operation.clone());
        Ok(Turn { order: self, key, operation, owns, outer, _stays: PhantomData })
    }

    /// Whether this thread runs a remove under the lock of this bus.
    pub fn holds_bus_lock(&self, bus: &CStr) -> bool {
        self.inside_bus_lock(&self.table(), bus)
    }

    /// Makes `operation`, which began in another thread or process, this thread's: what it enters
    /// next is that operation itself.
    pub fn adopt(&self, operation: &Operation) -> Adoption {
        self.push(None, operation.clone());
        Adoption { _stays: PhantomData }
    }

    /// The operation that this thread carries out.
    pub fn current(&self) -> Option<Operation> {
        with_stack(|stack| {
            stack.iter().rev().find(|f| f.order == self.id()).map(|f| f.operation.clone())
        })
    }

    /// The operation that this thread continues or begins by entering `key`.
    fn operation_for(&self, key: &Key) -> Operation {
        with_stack(|stack| {
            let mut mine = stack.iter().rev().filter(|f| f.order == self.id());
            let top = mine.clone().next();
            let same = mine.find(|f| f.key.as_ref() == Some(key));
            match (same, top) {
                (Some(same), _) => same.operation.clone(),
                (None, Some(top)) if top.key.is_none() => top.operation.clone(),
                (None, top) => Operation::new(top.map(|f| &f.operation)),
            }
        })
    }

    /// Takes the device: whether it is owned now, and what an outer operation does with it. `soon`
    /// fails rather than wait for long.
    fn acquire(
        &self,
        key: &Key,
        operation: &Operation,
        soon: bool,
    ) -> Result<(bool, Option<Phase>)> {
        let mut table = self.table();
        if let Some(owner) = table.owner.get(key) {
            if operation.is_or_descends_from(owner.operation) {
                return Ok((false, owner.phase));
            }
        }
        if table.owner.contains_key(key) || table.queue.contains_key(key) {
            if table.would_deadlock(key, operation) {
                return Err(Error::new(
                    Kind::Deadlock,
                    format!(
                        "{}: the operation on it waits for a device that this call works on",
                        label(&key.0, &key.1)
                    ),
                ));
            }
            let hurry = soon || self.inside_bus_lock(&table, &key.0);
            let until = Instant::now() + LOCKED_WAIT;
            table.queue.entry(key.clone()).or_default().push_back(operation.clone());
            while !table.is_turn_of(key, operation.id) {
                if !hurry {
                    self.changed.wait(&mut table);
                } else if self.changed.wait_until(&mut table, until) {
                    table.leave_queue(key, operation.id);
                    self.changed.notify_all();
                    if !soon {
                        return Ok((false, None));
                    }
                    return Err(Error::new(
                        Kind::Deadlock,
                        format!(
                            "{}: another operation on it goes on, which may wait for the bus lock \
                             that this call holds",
                            label(&key.0, &key.1)
                        ),
                    ));
                }
            }
            table.leave_queue(key, operation.id);
        }
        table.owner.insert(
            key.clone(),
            Owner { operation: operation.id, phase: None, thread: Thread::current() },
        );
        Ok((true, None))
    }

    /// Whether this thread runs a remove under the lock of this bus.
    fn inside_bus_lock(&self, table: &Table, bus: &CStr) -> bool {
        with_stack(|stack| {
            let mut keys =
                stack.iter().filter(|f| f.order == self.id()).filter_map(|f| f.key.as_ref());
            keys.any(|key| {
                let phase = table.owner.get(key).and_then(|owner| owner.phase);
                key.0.as_c_str() == bus && phase == Some(Phase::LockedUnplug)
            })
        })
    }

    /// Sets what happens to a device that `operation` has a right to, and returns what happened before.
    fn set_phase(&self, key: &Key, by: &Operation, phase: Option<Phase>) -> Option<Phase> {
        let mut table = self.table();
        let owner = table.owner.get_mut(key).filter(|o| by.is_or_descends_from(o.operation))?;
        std::mem::replace(&mut owner.phase, phase)
    }

    /// The table; in a forked child without what its parent's other threads were doing.
    fn table(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock();
        if table.forks != fork::count() {
            table.forks = fork::count();
            table.owner.retain(|_, owner| !owner.thread.is_gone());
            // The thread that forked does not wait.
            table.queue.clear();
        }
        table
    }

    fn release(&self, key: &Key) {
        let mut table = self.table();
        table.owner.remove(key);
        // Nobody waits: nobody to wake.
        if !table.queue.is_empty() {
            self.changed.notify_all();
        }
    }

    fn push(&self, key: Option<Key>, operation: Operation) {
        with_stack(|stack| stack.push(Frame { order: self.id(), key, operation }));
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

impl Table {
    fn is_turn_of(&self, key: &Key, operation: OperationId) -> bool {
        !self.owner.contains_key(key)
            && self.queue.get(key).and_then(|q| q.front()).is_some_and(|o| o.id == operation)
    }

    fn leave_queue(&mut self, key: &Key, operation: OperationId) {
        if let Some(queue) = self.queue.get_mut(key) {
            queue.retain(|o| o.id != operation);
            if queue.is_empty() {
                self.queue.remove(key);
            }
        }
    }

    /// Whether the owner of `key`, or one queued before us, waits (through others) for `operation`
    /// or for one that waits for it.
    fn would_deadlock(&self, key: &Key, operation: &Operation) -> bool {
        let mut open: Vec<&Key> = vec![key];
        let mut seen: Vec<OperationId> = Vec::new();
        while let Some(key) = open.pop() {
            let owner = self.owner.get(key).map(|o| o.operation);
            let queued = self.queue.get(key).into_iter().flatten().map(|o| o.id);
            for holder in owner.into_iter().chain(queued) {
                if operation.is_or_descends_from(holder) {
                    return true;
                }
                if !seen.contains(&holder) {
                    seen.push(holder);
                    open.extend(self.awaited_by(holder));
                }
            }
        }
        false
    }

    /// The devices that an operation, or one called inside of it, waits for.
    fn awaited_by(&self, holder: OperationId) -> impl Iterator<Item = &Key> {
        let waits = move |queue: &VecDeque<Operation>| {
            queue.iter().any(|waiting| waiting.is_or_descends_from(holder))
        };
        self.queue.iter().filter(move |(_, queue)| waits(queue)).map(|(key, _)| key)
    }
}

impl Turn<'_> {
    /// What an outer operation is doing with the same device, if anything.
    pub fn phase(&self) -> Option<Phase> {
        self.outer
    }

    /// The operation that has the turn.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Runs driver code, remembering what it does; no lock is held meanwhile.
    pub fn during<T>(&mut self, phase: Phase, work: impl FnOnce() -> T) -> T {
        let before = self.order.set_phase(&self.key, &self.operation, Some(phase));
        let result = work();
        self.order.set_phase(&self.key, &self.operation, before);
        result
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        with_stack(|stack| drop(stack.pop()));
        if self.owns {
            self.order.release(&self.key);
        }
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        with_stack(|stack| drop(stack.pop()));
    }
}

#[cfg(test)]
mod tests;
