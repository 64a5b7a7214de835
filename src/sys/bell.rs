//! An eventfd that somebody else rings, and the thread that waits for it.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A new one.
pub fn new() -> nix::Result<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
}

/// Waits until `bell` has rung, once or more often; `false` when `stop` has, or somebody has closed the
/// bell's descriptor.
pub fn wait(bell: &EventFd, stop: &EventFd) -> bool {
    loop {
        let mut watched = [bell, stop].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match poll(&mut watched, PollTimeout::NONE) {
            Err(_) => {}
            Ok(_) if watched[1].any().unwrap_or(false) => return false,
            Ok(_) => {
                let rang = watched[0].revents().is_some_and(|r| r.contains(PollFlags::POLLIN));
                let _ = bell.read();
                return rang;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_until_it_is_stopped() {
        let (bell, stop) = (new().unwrap(), new().unwrap());
        bell.write(2).unwrap();
        assert!(wait(&bell, &stop));
        stop.write(1).unwrap();
        assert!(!wait(&bell, &stop));
    }
}
