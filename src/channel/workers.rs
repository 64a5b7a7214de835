//! Threads in which drivers run for other processes: started on demand, kept for a while.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys::lock::{Condvar, Mutex, MutexGuard};

use super::reactor::guarded;
use crate::sys::thread;

/// At most so many threads; work that others wait for inside of an operation is not counted.
const MOST: usize = 64;
/// How long a thread waits for more work.
const IDLE: Duration = Duration::from_secs(5);

type Work = Box<dyn FnOnce() + Send>;

/// The threads.
#[derive(Default)]
pub struct Workers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
    stopping: bool,
}

impl Workers {
    /// Runs `work` in a thread. What is `urgent` never waits for a free one.
    pub fn run(&self, urgent: bool, work: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state.lock();
        if state.stopping {
            return;
        }
        if urgent {
            state.queue.push_front(Box::new(work));
        } else {
            state.queue.push_back(Box::new(work));
        }
        if state.idle >= state.queue.len() {
            self.shared.changed.notify_one();
            return;
        }
        if state.threads < MOST || urgent {
            state.threads += 1;
            drop(state);
            let shared = self.shared.clone();
            if let Err(error) = thread::start("hotplug-worker", move || {
                WORKS_FOR.set(Arc::as_ptr(&shared) as usize);
                shared.work();
            }) {
                // One of those that run takes it later.
                self.shared.state.lock().threads -= 1;
                log::error!("multi-process: cannot start a worker thread: {error}");
            }
        }
    }

    /// Lets the threads end, and waits until they have, but for the calling one. Work that was not
    /// begun is dropped.
    pub fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.stopping = true;
        let dropped = std::mem::take(&mut state.queue);
        self.shared.changed.notify_all();
        let own = usize::from(is_worker_of(&self.shared));
        while state.threads > own {
            self.shared.changed.wait(&mut state);
        }
        drop(state);
        drop(dropped);
    }
}

thread_local! {
    /// Whose worker this thread is, by address.
    static WORKS_FOR: Cell<usize> = const { Cell::new(0) };
}

fn is_worker_of(shared: &Arc<Shared>) -> bool {
    WORKS_FOR.try_with(Cell::get) == Ok(Arc::as_ptr(shared) as usize)
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                guarded(work);
                state = self.state.lock();
                continue;
            }
            if state.stopping {
                break;
            }
            if !self.wait_for_work(&mut state) {
                break;
            }
        }
        state.threads -= 1;
        // Not otherwise: the others would begin to wait anew.
        if state.stopping {
            self.changed.notify_all();
        }
    }

    /// Waits as an idle thread; `false` when there was nothing to do for long enough.
    fn wait_for_work(&self, state: &mut MutexGuard<'_, State>) -> bool {
        let until = Instant::now() + IDLE;
        let mut timed_out = false;
        state.idle += 1;
        while state.queue.is_empty() && !state.stopping && !timed_out {
            timed_out = self.changed.wait_until(state, until);
        }
        state.idle -= 1;
        !timed_out || !state.queue.is_empty() || state.stopping
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn work_does_not_wait_for_other_work() {
        let workers = Workers::default();
        let (first, wait_first) = channel::<()>();
        let (done, all_done) = channel();
        let also_done = done.clone();
        workers.run(false, move || {
            wait_first.recv().unwrap();
            also_done.send(1).unwrap();
        });
        workers.run(false, move || {
            first.send(()).unwrap();
            done.send(2).unwrap();
        });
        let mut order = [all_done.recv().unwrap(), all_done.recv().unwrap()];
        order.sort_unstable();
        assert_eq!(order, [1, 2]);
        workers.stop();
        workers.run(false, || panic!("stopped"));
    }
}
