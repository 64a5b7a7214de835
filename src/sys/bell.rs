//! An eventfd that somebody else rings, and the thread that waits for it.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A new one.
pub fn new() -> nix::Result<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
}

/// Waits until `bell` has rung, once or more often; `false` when `stop` has.
pub fn wait(bell: &EventFd, stop: &EventFd) -> bool {
    loop {
        let mut watched = [bell, stop].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match poll(&mut watched, PollTimeout::NONE) {
            Err(_) => {}
            Ok(_) if watched[1].any().unwrap_or(false) => return false,
            Ok(_) => {
                let _ = bell.read();
                return true;
            }
        }
    }
}
