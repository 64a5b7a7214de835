//! A process's end as a readable descriptor.

use std::os::fd::{FromRawFd, OwnedFd};

/// Becomes readable when the process ends; `None` where the kernel or the pid namespace has no such
/// thing.
pub fn open(pid: i32) -> Option<OwnedFd> {
    if pid <= 0 {
        return None;
    }
    // SAFETY: two numbers; the result is a new descriptor (close-on-exec) or negative.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}
