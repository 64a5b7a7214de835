//! The kernel as a source of device events: its messages, and what sysfs shows.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::engine::tracker::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::ports::{Incoming, UeventSource};
use crate::proto::pci::Function;
use crate::proto::uevent::{MAX_MESSAGE, Malformed, Uevent};
use crate::sys::netlink::{Received, UeventSocket};
use crate::sys::sysfs::{self, PciDevices};

/// How much the kernel may keep for us: as root. Others get what everybody may have.
const SOCKET_BUFFER: usize = 64 << 20;
/// How long to wait before a socket is opened again.
const REOPEN: Duration = Duration::from_millis(100);

/// The kernel's events.
pub struct KernelEvents {
    socket: Option<UeventSocket>,
    stop: Arc<EventFd>,
    pci: PciDevices,
    buffer: Box<[u8; MAX_MESSAGE]>,
    /// Whether [`Incoming::Idle`] was told since something came.
    idle: bool,
}

impl KernelEvents {
    /// Begins to listen.
    pub fn open() -> Result<Self> {
        let cannot = |what: &str, errno: Errno| {
            let why = errno.desc();
            Error::new(Kind::Code(-(errno as i32)), format!("uevent monitor: cannot {what}: {why}"))
        };
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| cannot("make an eventfd", e))?;
        let socket =
            UeventSocket::open(SOCKET_BUFFER).map_err(|e| cannot("listen to the kernel", e))?;
        Ok(Self {
            socket: Some(socket),
            stop: Arc::new(stop),
            pci: PciDevices::from_environment(),
            buffer: Box::new([0; MAX_MESSAGE]),
            idle: false,
        })
    }

    /// What ends it: write to it.
    pub fn stopper(&self) -> Arc<EventFd> {
        self.stop.clone()
    }

    /// The next message, if one is there.
    fn take(&mut self) -> Option<Incoming> {
        let received = self.socket.as_ref()?.receive(&mut self.buffer[..]);
        match received {
            Ok(Received::Nothing) => None,
            Ok(Received::Message(length)) => Some(match Uevent::parse(&self.buffer[..length]) {
                Ok(event) => Incoming::Event(event),
                Err(why) => Incoming::Malformed(why),
            }),
            Ok(Received::TooLong) => Some(Incoming::Malformed(Malformed::Unterminated)),
            Ok(Received::Foreign) => Some(Incoming::Foreign),
            Ok(Received::Overrun) => Some(Incoming::Lost),
            Err(errno) => {
                log::error!("uevent monitor: its socket broke: {}; opening it again", errno.desc());
                self.socket = None;
                None
            }
        }
    }

    /// Opens the socket again: what came meanwhile is lost.
    fn reopen(&mut self) -> Option<Incoming> {
        self.socket = UeventSocket::open(SOCKET_BUFFER).ok();
        self.socket.as_ref().map(|_| Incoming::Lost)
    }

    fn wait(&self, limit: Option<Duration>) -> Option<Incoming> {
        let mut watched = vec![PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        if let Some(socket) = &self.socket {
            watched.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        }
        let limit = match limit {
            None => PollTimeout::NONE,
            Some(limit) => PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut watched, limit) {
            Ok(0) => Some(Incoming::TimedOut),
            Ok(_) if watched[0].any().unwrap_or(false) => Some(Incoming::Stopped),
            // Looked at by the next take.
            Ok(_) | Err(_) => None,
        }
    }
}

impl UeventSource for KernelEvents {
    fn receive(&mut self, limit: Option<Duration>) -> Incoming {
        loop {
            if let Some(incoming) = self.take() {
                self.idle = false;
                return incoming;
            }
            if self.socket.is_some() && !std::mem::replace(&mut self.idle, true) {
                return Incoming::Idle;
            }
            let reopening = self.socket.is_none();
            match self.wait(if reopening { Some(REOPEN) } else { limit }) {
                Some(Incoming::TimedOut) if reopening => match self.reopen() {
                    Some(lost) => {
                        self.idle = false;
                        return lost;
                    }
                    None => continue,
                },
                Some(incoming) => return incoming,
                None => {}
            }
        }
    }

    fn look(&mut self, device: &CStr) -> Option<Function> {
        self.pci.look(device)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let names = match self.pci.list() {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let why = format!("uevent monitor: cannot list PCI devices: {error}");
                return Err(Error::new(Kind::NotFound, why));
            }
            // A machine without PCI has none.
            listed => listed.unwrap_or_default(),
        };
        // One that goes while they are looked at is not there.
        let there =
            names.into_iter().filter_map(|name| Some((name.clone(), self.pci.look(&name)?)));
        let functions: BTreeMap<CString, Function> = there.collect();
        Ok(Snapshot { functions, until: sysfs::uevent_seqnum().unwrap_or(0) })
    }
}
