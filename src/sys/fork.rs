//! What a forked child has of its parent's: of the threads only the one that forked, no lock that another
//! thread had, and none of our sockets. CLOEXEC does not help before exec, and a socket that the child
//! inherits hides its parent's death from the peers.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between the process that asked first and this one: what was made at another count
/// belongs to another process.
pub fn count() -> u32 {
    notice();
    FORKS.load(Ordering::Relaxed)
}

/// Takes notice of forks from now on.
fn notice() {
    static NOTICES: AtomicBool = AtomicBool::new(false);
    if !NOTICES.load(Ordering::Relaxed) && !NOTICES.swap(true, Ordering::Relaxed) {
        // SAFETY: three functions that do nothing but wait for a bounded time, lock, close and unlock.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }
}

/// How many threads hold something; of a few threads each, so that they do not wait for each other's
/// cache lines.
static HOLDING: [Holding; 64] = [const { Holding(AtomicU32::new(0)) }; 64];
/// How many threads are about to fork.
static FORKING: AtomicU32 = AtomicU32::new(0);
/// Whether this process was forked although another thread did hold something.
static STUCK: AtomicBool = AtomicBool::new(false);
/// Whether a thread holds something although another is about to fork.
static IMPATIENT: AtomicBool = AtomicBool::new(false);
/// How long a fork waits for threads that hold something. They hold it for microseconds, unless they
/// wait for something of which nothing is known here, as a constructor that the linker runs.
const LIMIT: Duration = Duration::from_secs(1);
/// How long a thread waits for a fork: what other libraries do before it may wait for that thread.
const FORK_LIMIT: Duration = Duration::from_secs(3);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_micros(20);

/// What a thread knows of itself.
struct Own {
    /// How often it holds something.
    depth: Cell<u32>,
    /// Whether it forks although another thread holds something.
    forks_in_the_middle: Cell<bool>,
    /// Its name; 0: it has none yet.
    name: Cell<u64>,
}

thread_local! {
    /// Without a destructor, so it can be used to the very end of the thread.
    static OWN: Own = const {
        Own { depth: Cell::new(0), forks_in_the_middle: Cell::new(false), name: Cell::new(0) }
    };
}

impl Own {
    fn name(&self) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        if self.name.get() == 0 {
            self.name.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        self.name.get()
    }

    /// The counter that it is counted by.
    fn holding(&self) -> &'static AtomicU32 {
        &HOLDING[self.name() as usize % HOLDING.len()].0
    }
}

#[repr(align(64))]
struct Holding(AtomicU32);

/// While it lives, no other thread forks.
pub struct Held(PhantomData<*const ()>);

/// Begins what a forked child must not find half done. Not while anything waits for another thread.
pub fn hold() -> Held {
    OWN.with(|own| {
        let depth = own.depth.get();
        own.depth.set(depth + 1);
        if depth == 0 {
            notice();
            enter(own.holding());
        }
    });
    Held(PhantomData)
}

impl Drop for Held {
    fn drop(&mut self) {
        OWN.with(|own| {
            let depth = own.depth.get() - 1;
            own.depth.set(depth);
            if depth == 0 {
                own.holding().fetch_sub(1, Ordering::Release);
            }
        });
    }
}

fn enter(holding: &AtomicU32) {
    loop {
        // Counted first and looked afterwards, as the one that forks does it the other way round.
        holding.fetch_add(1, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) == 0 {
            return;
        }
        holding.fetch_sub(1, Ordering::SeqCst);
        let until = Instant::now() + FORK_LIMIT;
        while FORKING.load(Ordering::SeqCst) > 0 {
            if Instant::now() >= until {
                IMPATIENT.store(true, Ordering::SeqCst);
                holding.fetch_add(1, Ordering::SeqCst);
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether another thread was in the middle of something when this process was forked: what it held is
/// held for ever.
pub fn is_stuck() -> bool {
    STUCK.load(Ordering::Relaxed)
}

/// The thread that forked this process, by its name.
static SURVIVOR: AtomicU64 = AtomicU64::new(0);

/// A thread among those that live now, or did when this process was forked.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    name: u64,
    forks: u32,
}

impl Thread {
    /// The calling thread, also while its thread-local data is being destroyed.
    pub fn current() -> Self {
        Self { name: own_name(), forks: count() }
    }

    /// Whether it is the calling thread. The one that forked goes on in the child.
    pub fn is_here(self) -> bool {
        self.name == own_name()
    }

    /// Whether it is another thread of this process: of a parent's only the one that forked is here.
    pub fn is_elsewhere(self) -> bool {
        !self.is_here() && !self.is_gone()
    }

    /// Whether it is a thread of a process that this one was forked from.
    pub fn is_gone(self) -> bool {
        self.forks != count() && self.name != SURVIVOR.load(Ordering::Relaxed)
    }
}

fn own_name() -> u64 {
    OWN.with(Own::name)
}

/// The descriptors that a child closes.
struct Descriptors(UnsafeCell<Vec<RawFd>>, AtomicBool);

// SAFETY: the list is only reached while the flag is held.
unsafe impl Sync for Descriptors {}

static DESCRIPTORS: Descriptors = Descriptors(UnsafeCell::new(Vec::new()), AtomicBool::new(false));

/// Closes `fd` in every child that is forked from now on.
pub fn close_in_child(fd: RawFd) {
    notice();
    DESCRIPTORS.with(|list| list.push(fd));
}

/// The descriptor is about to be closed. If somebody else has closed it, another one of ours may have
/// its number by now: that one stays.
pub fn forget(fd: RawFd) {
    DESCRIPTORS.with(|list| {
        if let Some(at) = list.iter().position(|kept| *kept == fd) {
            list.swap_remove(at);
        }
    });
}

impl Descriptors {
    fn with(&self, work: impl Fn(&mut Vec<RawFd>)) {
        let _held = hold();
        while !self.try_with(&work) {
            std::thread::yield_now();
        }
    }

    /// Whether nobody else has the list.
    fn try_with(&self, work: impl FnOnce(&mut Vec<RawFd>)) -> bool {
        let is_free = !self.1.swap(true, Ordering::Acquire);
        if is_free {
            // SAFETY: the flag is held.
            work(unsafe { &mut *self.0.get() });
            self.1.store(false, Ordering::Release);
        }
        is_free
    }
}

unsafe extern "C" fn before() {
    if FORKING.fetch_add(1, Ordering::SeqCst) == 0 {
        IMPATIENT.store(false, Ordering::SeqCst);
    }
    let depth = OWN.with(|own| own.depth.replace(own.depth.get() + 1));
    // What runs in this thread from here until the fork is over is not waited for.
    let own = u32::from(depth > 0);
    let until = Instant::now() + LIMIT;
    let is_held = || HOLDING.iter().map(|some| some.0.load(Ordering::SeqCst)).sum::<u32>() > own;
    let mut in_the_middle = is_held();
    while in_the_middle && Instant::now() < until {
        std::thread::sleep(PAUSE);
        in_the_middle = is_held();
    }
    // Not looked at again: a thread that comes now is counted for a moment, and gets nothing.
    OWN.with(|own| own.forks_in_the_middle.set(in_the_middle));
}

unsafe extern "C" fn in_parent() {
    OWN.with(|own| own.depth.set(own.depth.get() - 1));
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

unsafe extern "C" fn in_child() {
    HOLDING.iter().for_each(|some| some.0.store(0, Ordering::SeqCst));
    OWN.with(|own| {
        let depth = own.depth.get() - 1;
        own.depth.set(depth);
        own.holding().store(u32::from(depth > 0), Ordering::SeqCst);
        if own.forks_in_the_middle.get() || IMPATIENT.load(Ordering::SeqCst) {
            STUCK.store(true, Ordering::Relaxed);
        }
    });
    SURVIVOR.store(own_name(), Ordering::Relaxed);
    FORKING.store(0, Ordering::SeqCst);
    FORKS.fetch_add(1, Ordering::Relaxed);
    DESCRIPTORS.try_with(|list| {
        for fd in list.drain(..) {
            // SAFETY: an open copy of one of ours, which nothing in the child uses.
            unsafe { libc::close(fd) };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use std::sync::mpsc::channel;

    fn child_is_stuck() -> bool {
        notice();
        // SAFETY: the child does nothing but read an atomic and exit.
        match unsafe { fork() }.unwrap() {
            // SAFETY: as above.
            ForkResult::Child => unsafe { libc::_exit(i32::from(is_stuck())) },
            ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, status) => status == 1,
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn a_fork_waits_for_others_but_not_for_ever() {
        assert!(!child_is_stuck());
        let _own = hold();
        assert!(!child_is_stuck(), "what it holds itself is no reason");
        let ((held, is_held), (go_on, may_go_on)) = (channel(), channel());
        let other = std::thread::spawn(move || {
            let _held = hold();
            held.send(()).unwrap();
            may_go_on.recv().unwrap();
        });
        is_held.recv().unwrap();
        assert!(child_is_stuck());
        go_on.send(()).unwrap();
        other.join().unwrap();
        assert!(!child_is_stuck());
    }
}
