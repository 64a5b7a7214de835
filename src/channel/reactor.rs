//! The thread that waits for sockets and calls who is interested. Nothing in it may wait.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::sys::lock::Mutex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Error, Kind, Result};
use crate::sys::thread;

/// What is wrong with, or right about, a descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready {
    /// There is something to read.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
    /// The other end has gone.
    pub hangup: bool,
}

/// Something with a descriptor that the reactor watches.
pub trait Source: Send + Sync {
    /// Its descriptor; it must not change.
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Whether it waits for room to write.
    fn wants_write(&self) -> bool {
        false
    }
    /// The descriptor is ready. `false` ends the watching.
    fn ready(self: Arc<Self>, ready: Ready) -> bool;
    /// The watching has ended by a defect in [`Self::ready`].
    fn abandoned(self: Arc<Self>) {}
}

/// Names a watched source.
pub type Token = u64;

/// The reactor.
pub struct Reactor {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    wake: EventFd,
    stopping: AtomicBool,
    sources: Mutex<Sources>,
}

#[derive(Default)]
struct Sources {
    next: Token,
    watched: HashMap<Token, Arc<dyn Source>>,
}

impl Reactor {
    /// Starts the thread.
    pub fn start() -> Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| no_thread(&e.to_string()))?;
        let shared =
            Arc::new(Shared { wake, stopping: AtomicBool::new(false), sources: Mutex::default() });
        let watcher = shared.clone();
        let thread = thread::start("hotplug-channel", move || watcher.run())
            .map_err(|e| no_thread(&e.to_string()))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Watches a source until it says otherwise or [`Self::forget`] is called.
    pub fn watch(&self, source: Arc<dyn Source>) -> Token {
        let token = {
            let mut sources = self.shared.sources.lock();
            sources.next += 1;
            let token = sources.next;
            sources.watched.insert(token, source);
            token
        };
        self.wake();
        token
    }

    /// Watches it no longer. It may be called once more if that is under way.
    pub fn forget(&self, token: Token) {
        let forgotten = self.shared.sources.lock().watched.remove(&token);
        self.wake();
        drop(forgotten);
    }

    /// Lets it look again at what the sources want.
    pub fn wake(&self) {
        // A full counter wakes as well.
        let _ = self.shared.wake.write(1);
    }

    /// Ends the thread and drops every source.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.wake();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            if thread.thread().id() != std::thread::current().id() {
                // It does not panic: a defect in a source is caught.
                let _ = thread.join();
            }
        }
        let dropped = std::mem::take(&mut *self.shared.sources.lock());
        drop(dropped);
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            let watched: Vec<_> =
                self.sources.lock().watched.iter().map(|(t, s)| (*t, s.clone())).collect();
            let ready = self.wait(&watched);
            for ((token, source), ready) in watched.into_iter().zip(ready) {
                if let Some(ready) = ready {
                    self.call(token, source, ready);
                }
            }
        }
    }

    fn wait(&self, watched: &[(Token, Arc<dyn Source>)]) -> Vec<Option<Ready>> {
        let mut waiting = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        waiting.extend(watched.iter().map(|(_, source)| {
            let write = if source.wants_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
            PollFd::new(source.descriptor(), PollFlags::POLLIN | write)
        }));
        // An error means a signal or no memory: look again.
        if poll(&mut waiting, PollTimeout::NONE).is_err() {
            return vec![];
        }
        let mut ready = waiting.iter().map(|fd| fd.revents().and_then(readiness));
        if ready.next().flatten().is_some() {
            // Only what it says is of interest: that it has been written.
            let _ = self.wake.read();
        }
        ready.collect()
    }

    fn call(&self, token: Token, source: Arc<dyn Source>, ready: Ready) {
        if !self.sources.lock().watched.contains_key(&token) {
            return;
        }
        let mut keep = false;
        let mut returned = false;
        let again = source.clone();
        guarded(|| {
            keep = source.ready(ready);
            returned = true;
        });
        if !returned {
            guarded(|| again.abandoned());
        }
        if !keep {
            let dropped = self.sources.lock().watched.remove(&token);
            drop(dropped);
        }
    }
}

/// Runs code that must not end the thread.
pub fn guarded(work: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
        log::error!("a defect of this library, caught in a thread of its own");
    }
}

fn readiness(flags: PollFlags) -> Option<Ready> {
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    (!flags.is_empty()).then(|| Ready {
        read: flags.contains(PollFlags::POLLIN),
        write: flags.contains(PollFlags::POLLOUT),
        hangup: flags.intersects(gone),
    })
}

fn no_thread(cause: &str) -> Error {
    Error::new(Kind::NoMemory, format!("multi-process: cannot start the channel's thread: {cause}"))
}
