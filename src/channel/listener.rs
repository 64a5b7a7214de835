//! The primary's listening socket, and the watch for a peer's death.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use crate::sys::lock::Mutex;
use nix::errno::Errno;

use super::connection::Connection;
use super::hub::Hub;
use super::reactor::{Ready, Source};
use crate::sys::unix;

/// Watches the listening socket.
pub struct Listener {
    socket: unix::Socket,
    /// Given up for a moment to turn connections away when there are no descriptors left: they
    /// would stay in the queue, and the reactor would look at it again and again.
    spare: Mutex<Option<File>>,
    hub: Weak<Hub>,
}

impl Listener {
    /// Hands connections to `hub`.
    pub fn new(socket: unix::Socket, hub: Weak<Hub>) -> Self {
        Self { socket, spare: Mutex::new(spare_descriptor()), hub }
    }

    /// Whether a connection was turned away.
    fn turn_away(&self, hub: &Hub) -> bool {
        let mut spare = self.spare.lock();
        if spare.take().is_none() {
            *spare = spare_descriptor();
            return false;
        }
        let turned_away = matches!(unix::accept(&self.socket), Ok(Some(_)));
        *spare = spare_descriptor();
        if turned_away {
            hub.options.counters.refused.add();
            log::error!("multi-process: a process was refused: there are no descriptors left");
        }
        turned_away
    }
}

impl Source for Listener {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn ready(self: Arc<Self>, _ready: Ready) -> bool {
        let Some(hub) = self.hub.upgrade() else { return false };
        loop {
            match unix::accept(&self.socket) {
                Ok(Some(connection)) => hub.clone().accept(connection),
                Err(Errno::EMFILE | Errno::ENFILE) if self.turn_away(&hub) => {}
                Ok(None) | Err(_) => return true,
            }
        }
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Watches for a peer's death: a descriptor that its child inherited would hide it.
pub struct Death {
    /// Readable when the process has ended.
    pub fd: OwnedFd,
    /// Its connection.
    pub connection: Arc<Connection>,
}

impl Source for Death {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn ready(self: Arc<Self>, _ready: Ready) -> bool {
        self.connection.close();
        false
    }
}
