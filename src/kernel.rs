//! The kernel as a source of device events: its messages, and what sysfs shows.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use crate::engine::tracker::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::ports::{Incoming, UeventSource, UeventWaiter};
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
    socket: Arc<Socket>,
    pci: PciDevices,
    buffer: Box<[u8; MAX_MESSAGE]>,
}

/// The socket, as far as there is one: a broken one is opened again.
#[derive(Default)]
struct Socket(Mutex<Option<Arc<UeventSocket>>>);

/// Waits for the kernel's events.
pub struct KernelWaiter {
    socket: Arc<Socket>,
    stop: Arc<EventFd>,
    /// How long somebody else has to take what has come.
    courtesy: Duration,
}

impl KernelEvents {
    /// Begins to listen.
    pub fn open() -> Result<Self> {
        let socket =
            UeventSocket::open(SOCKET_BUFFER).map_err(|e| cannot("listen to the kernel", e))?;
        log::debug!("uevent monitor: the kernel keeps up to {} bytes of events", socket.room());
        Ok(Self {
            socket: Arc::new(Socket(Mutex::new(Some(Arc::new(socket))))),
            pci: PciDevices::from_environment(),
            buffer: Box::new([0; MAX_MESSAGE]),
        })
    }

    /// A waiter for it, and what ends that: write to it. For so long the waiter leaves what has come to
    /// somebody else.
    pub fn waiter(&self, courtesy: Duration) -> Result<(KernelWaiter, Arc<EventFd>)> {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let stop = Arc::new(stop.map_err(|e| cannot("make an eventfd", e))?);
        Ok((KernelWaiter { socket: self.socket.clone(), stop: stop.clone(), courtesy }, stop))
    }

    /// The socket, for somebody else who waits for it.
    pub fn socket(&self) -> Option<Arc<UeventSocket>> {
        self.socket.0.lock().clone()
    }
}

impl UeventSource for KernelEvents {
    fn receive(&mut self) -> Incoming {
        let Some(socket) = self.socket() else {
            let Ok(again) = UeventSocket::open(SOCKET_BUFFER) else { return Incoming::Nothing };
            *self.socket.0.lock() = Some(Arc::new(again));
            // Whatever was sent meanwhile.
            return Incoming::Lost;
        };
        match socket.receive(&mut self.buffer[..]) {
            Ok(Received::Nothing) => Incoming::Nothing,
            Ok(Received::Message(length)) => match Uevent::parse(&self.buffer[..length]) {
                Ok(event) => Incoming::Event(event),
                Err(why) => Incoming::Malformed(why),
            },
            Ok(Received::TooLong) => Incoming::Malformed(Malformed::Unterminated),
            Ok(Received::Foreign) => Incoming::Foreign,
            Ok(Received::Overrun) => Incoming::Lost,
            Err(errno) => {
                log::error!("uevent monitor: its socket broke: {}; opening it again", errno.desc());
                // Somebody has closed it: its number may be something else's by now.
                std::mem::forget(socket);
                *self.socket.0.lock() = None;
                Incoming::Nothing
            }
        }
    }

    fn look(&mut self, device: &CStr) -> Option<Function> {
        self.pci.look(device)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        // Before anything is looked at.
        let since = sysfs::uevent_seqnum().unwrap_or(0);
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
        Ok(Snapshot { functions, since })
    }
}

impl UeventWaiter for KernelWaiter {
    fn wait(&self, limit: Option<Duration>) -> bool {
        let socket = self.socket.0.lock().clone();
        let limit = if socket.is_some() { limit } else { Some(REOPEN) };
        let readable = match &socket {
            Some(socket) => vec![self.stop.as_fd(), socket.as_fd()],
            None => vec![self.stop.as_fd()],
        };
        match ready(&readable, limit) {
            Some(0) => false,
            Some(_) => ready(&[self.stop.as_fd()], Some(self.courtesy)).is_none(),
            None => true,
        }
    }
}

/// The first of the descriptors that is ready; `None` after the limit, or a signal.
fn ready(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> Option<usize> {
    let mut watched: Vec<_> =
        descriptors.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let limit = match limit {
        None => PollTimeout::NONE,
        Some(limit) => PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
    };
    poll(&mut watched, limit).ok()?;
    watched.iter().position(|fd| fd.any().unwrap_or(false))
}

fn cannot(what: &str, errno: Errno) -> Error {
    let why = errno.desc();
    Error::new(Kind::Code(-(errno as i32)), format!("uevent monitor: cannot {what}: {why}"))
}
