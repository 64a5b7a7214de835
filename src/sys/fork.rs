//! What a forked child must not keep: our sockets. CLOEXEC does not help before exec, and a socket
//! that the child inherits hides its parent's death from the peers.

use std::cell::UnsafeCell;
use std::os::fd::RawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A list behind a lock that the child of a fork can take over: it is a flag, and nothing else is
/// to be put right there.
struct Descriptors {
    locked: AtomicBool,
    list: UnsafeCell<Vec<RawFd>>,
}

// SAFETY: the list is only reached while the flag is held.
unsafe impl Sync for Descriptors {}

static DESCRIPTORS: Descriptors =
    Descriptors { locked: AtomicBool::new(false), list: UnsafeCell::new(Vec::new()) };
static FORKS: AtomicU32 = AtomicU32::new(0);

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

/// How many forks lie between the process that asked first and this one: what was made at another count
/// belongs to another process.
pub fn count() -> u32 {
    notice();
    FORKS.load(Ordering::Relaxed)
}

/// Takes notice of forks from now on.
fn notice() {
    static HOOKS: Once = Once::new();
    HOOKS.call_once(|| {
        // SAFETY: three functions that do nothing but lock, close and unlock.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

impl Descriptors {
    fn with(&self, work: impl FnOnce(&mut Vec<RawFd>)) {
        self.lock();
        // SAFETY: the flag is held.
        work(unsafe { &mut *self.list.get() });
        self.unlock();
    }

    fn lock(&self) {
        while self.locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }
}

unsafe extern "C" fn before() {
    DESCRIPTORS.lock();
}

unsafe extern "C" fn in_parent() {
    DESCRIPTORS.unlock();
}

unsafe extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the flag was taken by `before`, in the thread that forked and is the child's only one.
    // The descriptors are open copies of ours, which nothing in the child uses.
    unsafe {
        for fd in (*DESCRIPTORS.list.get()).drain(..) {
            libc::close(fd);
        }
    }
    DESCRIPTORS.unlock();
}
