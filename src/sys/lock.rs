//! Locks that are free in a forked child: a fork waits until no other thread has one, see [`fork::hold`].
//! They wait on futexes, so a child inherits no list of waiting threads either. A panic disables none.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{self, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Pid, gettid};

use super::fork::{self, Held, Thread};

/// A lock around a value. It is not to be held while something waits for another thread.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

/// The right to use the value of a [`Mutex`].
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` only while [`Condvar`] waits. Given back in this order.
    value: Option<sync::MutexGuard<'a, T>>,
    held: Option<Held>,
}

impl<T> Mutex<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = Some(fork::hold());
        MutexGuard { mutex: self, value: Some(self.value()), held }
    }

    fn value(&self) -> sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only Condvar takes it, and gives it back")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("only Condvar takes it, and gives it back")
    }
}

/// Lets threads wait for a change of what a [`Mutex`] guards. A thread that waits may wake for no reason.
#[derive(Debug, Default)]
pub struct Condvar {
    /// Changes with every notification.
    count: AtomicU32,
    /// In a forked child its parent's count as well, which costs a system call.
    waiting: AtomicU32,
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { count: AtomicU32::new(0), waiting: AtomicU32::new(0) }
    }

    /// Gives the lock back, waits, and takes the lock again.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.sleep(guard, None);
    }

    /// The same, but not beyond a time: whether that is over.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        // The kernel would sleep a little all the same.
        if left.is_zero() {
            return true;
        }
        self.sleep(guard, Some(left));
        Instant::now() >= until
    }

    /// The same, for a time.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Duration) -> bool {
        self.wait_until(guard, Instant::now() + limit)
    }

    /// Wakes one thread.
    pub fn notify_one(&self) {
        self.wake(1);
    }

    /// Wakes all threads.
    pub fn notify_all(&self) {
        self.wake(i32::MAX);
    }

    fn sleep<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Option<Duration>) {
        // With the lock held: whoever changes something afterwards sees that somebody waits.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let count = self.count.load(Ordering::SeqCst);
        guard.value = None;
        guard.held = None;
        wait_while(&self.count, count, limit);
        guard.held = Some(fork::hold());
        guard.value = Some(guard.mutex.value());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self, most: i32) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // SAFETY: wakes who waits for this address; nothing is written.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.count.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    most,
                )
            };
        }
    }
}

/// Waits until somebody wakes, the limit is over or for no reason; not at all when the value is another.
fn wait_while(value: &AtomicU32, expected: u32, limit: Option<Duration>) {
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    // SAFETY: the kernel reads the value and the time, both of which outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            value.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            limit.as_ref().map_or(ptr::null(), ptr::from_ref),
        )
    };
}

/// A lock that its thread may take again, and that may be held while other code works for long: no fork
/// waits for it, and in the child of one it is free unless the thread that forked has it.
#[derive(Debug, Default)]
pub struct ReentrantMutex {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    owner: Option<Owner>,
    /// How often it was free and taken.
    taken: u64,
}

#[derive(Debug)]
struct Owner {
    thread: Thread,
    id: Pid,
    times: u32,
}

/// Who has a [`ReentrantMutex`], and which time it is that somebody has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The thread.
    pub thread: Pid,
    taken: u64,
}

/// The right that a [`ReentrantMutex`] gives. It stays in its thread.
pub struct ReentrantGuard<'a>(&'a ReentrantMutex, PhantomData<*const ()>);

impl ReentrantMutex {
    /// A free lock.
    pub const fn new() -> Self {
        Self { state: Mutex::new(State { owner: None, taken: 0 }), changed: Condvar::new() }
    }

    /// Who has it now; equal ones have not let it go in between.
    pub fn holder(&self) -> Option<Holder> {
        let state = self.state.lock();
        state.owner.as_ref().map(|owner| Holder { thread: owner.id, taken: state.taken })
    }

    /// Waits for the lock.
    pub fn lock(&self) -> ReentrantGuard<'_> {
        loop {
            if let Some(guard) = self.lock_within(Duration::from_secs(3600)) {
                return guard;
            }
        }
    }

    /// Waits for the lock, but not for longer than this.
    pub fn lock_within(&self, limit: Duration) -> Option<ReentrantGuard<'_>> {
        let until = Instant::now() + limit;
        let mut state = self.state.lock();
        let mut is_over = false;
        loop {
            match &mut state.owner {
                Some(owner) if owner.thread.is_here() => {
                    owner.times += 1;
                    return Some(ReentrantGuard(self, PhantomData));
                }
                Some(owner) if !owner.thread.is_gone() => {
                    if is_over {
                        return None;
                    }
                    // Looked at once more: the one that is woken must not leave it free to nobody.
                    is_over = self.changed.wait_until(&mut state, until);
                }
                _ => {
                    state.owner = Some(Owner { thread: Thread::current(), id: gettid(), times: 1 });
                    state.taken += 1;
                    return Some(ReentrantGuard(self, PhantomData));
                }
            }
        }
    }
}

impl Drop for ReentrantGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if let Some(owner) = &mut state.owner {
            owner.times -= 1;
            if owner.times == 0 {
                state.owner = None;
                self.0.changed.notify_one();
            }
        }
    }
}

/// A value that is made once. What makes it must not wait for another thread.
#[derive(Debug)]
pub struct OnceCell<T>(once_cell::sync::OnceCell<T>);

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> OnceCell<T> {
    /// No value yet.
    pub const fn new() -> Self {
        Self(once_cell::sync::OnceCell::new())
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// The value, which is made if there is none.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.0.get() {
            return value;
        }
        let _held = fork::hold();
        self.0.get_or_init(make)
    }

    /// Sets the value; gives it back when there is one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let _held = fork::hold();
        self.0.set(value)
    }
}

/// A value that is made when it is first used. What makes it must not wait for another thread.
pub struct Lazy<T> {
    cell: OnceCell<T>,
    make: fn() -> T,
}

impl<T> Lazy<T> {
    /// No value yet.
    pub const fn new(make: fn() -> T) -> Self {
        Self { cell: OnceCell::new(), make }
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.cell.get_or_init(self.make)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_change_wakes_who_waits() {
        let shared: Arc<(Mutex<u32>, Condvar)> = Arc::default();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (value, changed) = &*shared;
                    let mut value = value.lock();
                    *value += 1;
                    changed.notify_all();
                    while *value < 4 {
                        changed.wait(&mut value);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let (value, changed) = &*shared;
        assert!(changed.wait_for(&mut value.lock(), Duration::from_millis(1)));
    }

    #[test]
    fn a_reentrant_lock_keeps_others_out() {
        let lock = Arc::new(ReentrantMutex::new());
        let (outer, inner) = (lock.lock(), lock.lock());
        let other = lock.clone();
        let try_it = move || other.lock_within(Duration::from_millis(1)).is_some();
        drop(inner);
        assert!(!thread::spawn(try_it.clone()).join().unwrap());
        drop(outer);
        assert!(thread::spawn(try_it).join().unwrap());
    }

    #[test]
    fn a_holder_is_another_one_each_time() {
        let lock = ReentrantMutex::new();
        assert_eq!(lock.holder(), None);
        let outer = lock.lock();
        let holder = lock.holder().unwrap();
        assert_eq!(holder.thread, gettid());
        drop(lock.lock());
        assert_eq!(lock.holder(), Some(holder), "it was not free");
        drop(outer);
        assert_eq!(lock.holder(), None);
        let _again = lock.lock();
        assert_ne!(lock.holder(), Some(holder));
    }

    #[test]
    fn a_panic_leaves_a_lock_usable() {
        let lock = Arc::new(Mutex::new(1));
        let other = lock.clone();
        let panics = thread::spawn(move || {
            let _guard = other.lock();
            panic!("expected by this test");
        });
        assert!(panics.join().is_err());
        assert_eq!(*lock.lock(), 1);
    }
}
