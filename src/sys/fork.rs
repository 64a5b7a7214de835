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

/// How many threads hold something.
static HOLDING: AtomicU32 = AtomicU32::new(0);
/// How many threads are about to fork.
static FORKING: AtomicU32 = AtomicU32::new(0);
/// Whether this process was forked although another thread did hold something.
static STUCK: AtomicBool = AtomicBool::new(false);
/// How long a fork waits for threads that hold something. They hold it for microseconds, unless they
/// wait for something of which nothing is known here, as a constructor that the linker runs.
const LIMIT: Duration = Duration::from_millis(200);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_micros(20);

thread_local! {
    /// How often this thread holds something.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Whether it forks although another thread holds something.
    static FORKS_IN_THE_MIDDLE: Cell<bool> = const { Cell::new(false) };
    /// Names this thread; 0: it has none yet.
    static NAME: Cell<u64> = const { Cell::new(0) };
}

/// While it lives, no other thread forks.
pub struct Held(PhantomData<*const ()>);

/// Begins what a forked child must not find half done. Not while anything waits for another thread.
pub fn hold() -> Held {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    if depth == 0 {
        notice();
        enter();
    }
    Held(PhantomData)
}

impl Drop for Held {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            HOLDING.fetch_sub(1, Ordering::Release);
        }
    }
}

fn enter() {
    loop {
        // Counted first and looked afterwards, as the one that forks does it the other way round.
        HOLDING.fetch_add(1, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) == 0 {
            return;
        }
        HOLDING.fetch_sub(1, Ordering::SeqCst);
        while FORKING.load(Ordering::SeqCst) > 0 {
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
    static LAST: AtomicU64 = AtomicU64::new(0);
    if NAME.get() == 0 {
        NAME.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
    }
    NAME.get()
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
    FORKING.fetch_add(1, Ordering::SeqCst);
    let depth = DEPTH.get();
    let own = u32::from(depth > 0);
    // What runs in this thread until the fork is over holds nothing that others wait for.
    DEPTH.set(depth + 1);
    let until = Instant::now() + LIMIT;
    let is_held = || HOLDING.load(Ordering::SeqCst) > own;
    while is_held() && Instant::now() < until {
        std::thread::sleep(PAUSE);
    }
    FORKS_IN_THE_MIDDLE.set(is_held());
}

unsafe extern "C" fn in_parent() {
    DEPTH.set(DEPTH.get() - 1);
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

unsafe extern "C" fn in_child() {
    let depth = DEPTH.get() - 1;
    DEPTH.set(depth);
    if FORKS_IN_THE_MIDDLE.get() {
        STUCK.store(true, Ordering::Relaxed);
    }
    HOLDING.store(u32::from(depth > 0), Ordering::SeqCst);
    FORKING.store(0, Ordering::SeqCst);
    FORKS.fetch_add(1, Ordering::Relaxed);
    SURVIVOR.store(NAME.get(), Ordering::Relaxed);
    DESCRIPTORS.try_with(|list| {
        for fd in list.drain(..) {
            // SAFETY: an open copy of one of ours, which nothing in the child uses.
            unsafe { libc::close(fd) };
        }
    });
}
