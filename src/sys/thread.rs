//! Threads of this library: named, deaf to signals, on the processors that control threads may use.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::sys::lock::Mutex;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::Pid;

/// Where our threads run; `None` lets them inherit it.
static AFFINITY: Mutex<Option<CpuSet>> = Mutex::new(None);

/// What drivers and callbacks have on EAL's own threads, by default.
const STACK: usize = 8 << 20;

/// The processors that the calling thread may use.
pub fn own_affinity() -> Option<CpuSet> {
    sched_getaffinity(Pid::from_raw(0)).ok()
}

/// Lets threads that start from now on run on these processors.
pub fn use_affinity(processors: CpuSet) {
    *AFFINITY.lock() = Some(processors);
}

/// Whether this process has a thread of this name.
pub fn is_there(name: &str) -> bool {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return false };
    let mut names =
        threads.flatten().filter_map(|thread| std::fs::read(thread.path().join("comm")).ok());
    names.any(|comm| comm.strip_suffix(b"\n").unwrap_or(&comm) == name.as_bytes())
}

/// How much processor time a thread of this process has used; `None` when it has ended.
pub fn processor_time(thread: Pid) -> Option<Duration> {
    let statistics = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    statistics.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Starts a thread. Its name is cut off after 15 bytes by the kernel.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // Set before the start and inherited, so that no signal arrives in between. Faults of the thread
    // itself stay unblocked: a driver in it may touch a device that is gone.
    let mut blocked = SigSet::all();
    for fault in [Signal::SIGBUS, Signal::SIGSEGV, Signal::SIGFPE, Signal::SIGILL] {
        blocked.remove(fault);
    }
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut before))?;
    let builder = Builder::new().name(name.to_owned()).stack_size(STACK);
    let started = builder.spawn(move || {
        if let Some(processors) = *AFFINITY.lock() {
            // Fewer processors than wanted are no reason to fail.
            let _ = sched_setaffinity(Pid::from_raw(0), &processors);
        }
        work();
    });
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started
}
