//! The kernel as a source of device events: its messages, and what sysfs shows.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::sys::lock::Mutex;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::engine::tracker::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::hosted::interrupt::Interrupt;
use crate::ports::{Incoming, UeventSource, UeventWaiter};
use crate::proto::pci::Function;
use crate::proto::uevent::{MAX_MESSAGE, Malformed, Uevent};
use crate::sys::netlink::{Received, UeventSocket};
use crate::sys::sysfs::{self, PciDevices};

/// How much the kernel may keep for us: as root. Others get what everybody may have.
const SOCKET_BUFFER: usize = 64 << 20;
/// How long to wait before a socket is opened again.
const REOPEN: Duration = Duration::from_millis(100);
/// How long the interrupt thread has to take what has come, before the reader does.
const COURTESY: Duration = Duration::from_millis(1);

/// Lets the interrupt thread take what comes too, where there is one.
pub type Share = fn(Arc<UeventSocket>) -> Option<Interrupt>;

/// The kernel's events.
pub struct KernelEvents {
    listening: Arc<Mutex<Option<Listening>>>,
    share: Share,
    pci: PciDevices,
    buffer: Box<[u8; MAX_MESSAGE]>,
}

/// The socket, as far as there is one: a broken one is opened again.
struct Listening {
    socket: Arc<UeventSocket>,
    /// Where EAL's interrupt thread reads too.
    interrupt: Option<Interrupt>,
}

/// Waits for the kernel's events.
pub struct KernelWaiter {
    listening: Arc<Mutex<Option<Listening>>>,
    stop: Arc<EventFd>,
}

impl KernelEvents {
    /// Begins to listen.
    pub fn open(share: Share) -> Result<Self> {
        let listening = listen(share).map_err(|e| cannot("listen to the kernel", e))?;
        let room = listening.socket.room();
        log::debug!("uevent monitor: the kernel keeps up to {room} bytes of events");
        Ok(Self {
            listening: Arc::new(Mutex::new(Some(listening))),
            share,
            pci: PciDevices::from_environment(),
            buffer: Box::new([0; MAX_MESSAGE]),
        })
    }

    /// A waiter for it, and what ends that: write to it.
    pub fn waiter(&self) -> Result<(KernelWaiter, Arc<EventFd>)> {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let stop = Arc::new(stop.map_err(|e| cannot("make an eventfd", e))?);
        Ok((KernelWaiter { listening: self.listening.clone(), stop: stop.clone() }, stop))
    }

    /// Listens anew: whatever was sent meanwhile is lost.
    fn listen_again(&self) -> Incoming {
        let Ok(listening) = listen(self.share) else { return Incoming::Nothing };
        *self.listening.lock() = Some(listening);
        Incoming::Lost
    }
}

fn listen(share: Share) -> nix::Result<Listening> {
    let socket = Arc::new(UeventSocket::open(SOCKET_BUFFER)?);
    Ok(Listening { socket: socket.clone(), interrupt: share(socket) })
}

impl UeventSource for KernelEvents {
    fn receive(&mut self) -> Incoming {
        let socket = self.listening.lock().as_ref().map(|listening| listening.socket.clone());
        let Some(socket) = socket else { return self.listen_again() };
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
                // Somebody has closed it: EAL must not look at its number any more.
                let broken = self.listening.lock().take();
                drop(broken);
                log::error!("uevent monitor: its socket broke: {}; opening another", errno.desc());
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
                let code = -error.raw_os_error().unwrap_or(libc::EIO);
                let why = format!("uevent monitor: cannot list PCI devices: {error}");
                return Err(Error::new(Kind::Code(code), why));
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
        let listening = self.listening.lock().as_ref().map(|listening| {
            let courtesy = if listening.interrupt.is_some() { COURTESY } else { Duration::ZERO };
            (listening.socket.clone(), courtesy)
        });
        let (socket, courtesy) = listening.unzip();
        let limit = if socket.is_some() { limit } else { Some(REOPEN) };
        let readable = match &socket {
            Some(socket) => vec![self.stop.as_fd(), socket.as_fd()],
            None => vec![self.stop.as_fd()],
        };
        match ready(&readable, limit) {
            Some(0) => false,
            Some(_) => ready(&[self.stop.as_fd()], courtesy).is_none(),
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
